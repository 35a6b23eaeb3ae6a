package deadletter_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"

	"github.com/device-fanout/fanout/consumers/deadletter"
)

// Sweeps that are interrupted in the middle of a device: by other readers, kills and disks, and by messages without room for a record.

// numbered are n event IDs in order.
func numbered(n int) []string {
	var list []string
	for i := range n {
		list = append(list, fmt.Sprintf("e%03d", i))
	}
	return list
}

// none selects no message, so that a redrive only goes through the queue.
var none = deadletter.Filter{Code: "none"}

func (b *bench) buryNumbered(n int) {
	for _, id := range numbered(n) {
		b.bury("d1", id, record("stay"))
	}
}

// sendWithoutRoom sends messages whose ten attributes leave no room for a record.
func (b *bench) sendWithoutRoom(n int) {
	full := map[string]types.MessageAttributeValue{}
	for i := range 10 {
		full[fmt.Sprintf("a%d", i)] = types.MessageAttributeValue{DataType: aws.String("Binary"), BinaryValue: []byte{byte(i), 0xff}}
	}
	for _, id := range numbered(n) {
		b.send(b.dlq, "d1", id, body("d1", id), full)
	}
}

func openJournal(t *testing.T, path, dlq string) *deadletter.Journal {
	t.Helper()
	j, err := deadletter.OpenJournal(path, dlq)
	if err != nil {
		t.Fatal(err)
	}
	return j
}

// journaled is a redrive with the journal at path, one device after the other. It returns how many rotations are
// open in the journal then.
func (b *bench) journaled(path string, api deadletter.QueueAPI, filter deadletter.Filter) (sum deadletter.Summary, rotations int, err error) {
	b.t.Helper()
	j, err := deadletter.OpenJournal(path, b.dlq)
	if err != nil {
		b.t.Fatal(err)
	}
	sum, err = deadletter.Redrive(b.t.Context(), api, b.from, deadletter.Config{Filter: filter, Lanes: 1, Journal: j})
	_, rotations = j.Open()
	if err := j.Close(); err != nil {
		b.t.Error(err)
	}
	return sum, rotations, err
}

// TestRedrive_WaitsForARotationThatAnotherReaderHoldsUp, for a moment, so that receives return nothing during it.
func TestRedrive_WaitsForARotationThatAnotherReaderHoldsUp(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "journal")
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		b.buryNumbered(25)
		receives := 0
		var once sync.Once
		api := &meddler{QueueAPI: b.api, receive: func(*sqs.ReceiveMessageInput) error {
			if receives++; receives > 1 && b.status(dlqName).InFlight == 0 {
				once.Do(func() { b.receive(b.dlq, 30*time.Second) }) // as dlq ls does
			}
			return nil
		}}
		if sum, rotations, err := b.journaled(path, api, none); rotations > 0 || err != nil || sum.Broken > 0 {
			t.Errorf("%d devices are out of order: %+v, %v", rotations, sum, err)
		}
		time.Sleep(2 * time.Minute)
		b.wantQueue(b.dlq, map[string][]string{"d1": numbered(25)})
	})
}

// TestRedrive_RunAgainAtOnceAfterAKill ends the rotation, though what the killed run had received is hidden for a while.
func TestRedrive_RunAgainAtOnceAfterAKill(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "journal")
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		b.buryNumbered(25)
		receives := 0
		dead := &meddler{
			QueueAPI: b.api,
			afterReceive: func(*sqs.ReceiveMessageOutput) error {
				if receives++; receives > 1 {
					return errReset // received, and killed
				}
				return nil
			},
			show: func(*sqs.ChangeMessageVisibilityBatchInput) error { return errReset },
		}
		for i, api := range []deadletter.QueueAPI{dead, b.api} {
			switch sum, rotations, err := b.journaled(path, api, none); {
			case i == 0 && (err == nil || sum.Broken != 1 || rotations != 1):
				t.Errorf("the run that was cut off: %+v, %v with %d rotations, want the device told of", sum, err, rotations)
			case i == 1 && (err != nil || sum.Broken > 0 || rotations > 0):
				t.Errorf("run again: %+v, %v with %d rotations", sum, err, rotations)
			}
		}
		time.Sleep(2 * time.Minute)
		b.wantQueue(b.dlq, map[string][]string{"d1": numbered(25)})
	})
}

// TestRedrive_ForgetsARotationOfMessagesThatAreGone, as after a purge, rather than wait for them in every run.
func TestRedrive_ForgetsARotationOfMessagesThatAreGone(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "journal")
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		writeFile(t, path, fmt.Sprintf("{\"queue\":%q}\n{\"device\":\"d1\",\"lap\":\"killed\"}\n", b.dlq))
		b.bury("d2", "e1", record("a"))
		if sum, rotations, err := b.journaled(path, b.api, deadletter.Filter{}); rotations > 0 || err != nil || sum.Broken > 0 || sum.Moved != 1 {
			t.Errorf("got %+v, %v with %d rotations, want none left", sum, err, rotations)
		}
	})
}

// TestDrop_WhatCannotBeVerifiedKeepsItsPlace among those of its device that are being moved to the end.
func TestDrop_WhatCannotBeVerifiedKeepsItsPlace(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		for i, id := range numbered(25) {
			b.bury("d1", id, record(map[bool]string{true: "move", false: "stay"}[i%5 == 2]))
		}
		for run, code := range []string{"move", "none"} {
			path := filepath.Join(dir, code)
			j := openJournal(t, filepath.Join(dir, "journal"), b.dlq)
			archive, err := deadletter.CreateArchive(path)
			if err != nil {
				t.Fatal(err)
			}
			_, err = deadletter.Drop(t.Context(), b.api, b.from, archive, deadletter.Config{
				Journal: j, Lanes: 1, Filter: deadletter.Filter{Code: code}, Select: func(l *deadletter.Message) bool {
					if l.EventID == "e007" {
						if err := os.Truncate(path, 0); err != nil { // the disk loses e002, which was written just before
							t.Error(err)
						}
					}
					return true
				},
			})
			if (err != nil) != (run == 0) {
				t.Errorf("run %d: got %v", run, err)
			}
			if err := archive.Close(); err != nil {
				t.Error(err)
			}
			if err := j.Close(); err != nil {
				t.Error(err)
			}
			time.Sleep(2 * time.Minute)
		}
		b.wantQueue(b.dlq, map[string][]string{"d1": numbered(25)})
	})
}

// TestExport_MessagesWithoutRoomForARecord are written once each, though copies of them are moved to the end.
func TestExport_MessagesWithoutRoomForARecord(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "archive")
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		b.sendWithoutRoom(25)
		archive, err := deadletter.CreateArchive(path)
		if err != nil {
			t.Fatal(err)
		}
		sum, err := deadletter.Export(t.Context(), b.api, b.from, archive, deadletter.Config{})
		if err != nil {
			t.Error(err)
		}
		wantSummary(t, sum, deadletter.Summary{Seen: 25, Matched: 25, Moved: 25})
		if err := archive.Close(); err != nil {
			t.Error(err)
		}
		file, err := os.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		defer file.Close()
		if sent, failed, err := deadletter.Resend(t.Context(), b.api, file, deadletter.ResendConfig{}); sent != 25 || failed > 0 || err != nil {
			t.Errorf("resend: %d sent, %d failed, %v", sent, failed, err)
		}
		b.wantQueue(b.queue, map[string][]string{"d1": numbered(25)})
	})
}

// failAgain moves what is in the queue back to the dead-letter queue, as a consumer does that still fails.
func (b *bench) failAgain() (n int) {
	b.t.Helper()
	for _, m := range b.receive(b.queue, time.Minute) {
		in, _ := deadletter.Failed{Body: *m.Body, Group: m.Attributes["MessageGroupId"], Attributes: m.MessageAttributes}.To(b.dlq,
			deadletter.Record{Service: "history", MessageID: *m.MessageId, FailedAt: time.Now()})
		if _, err := b.api.SendMessage(b.t.Context(), in); err != nil {
			b.t.Error(err)
		}
		if _, err := b.api.DeleteMessage(b.t.Context(), &sqs.DeleteMessageInput{QueueUrl: &b.queue, ReceiptHandle: m.ReceiptHandle}); err != nil {
			b.t.Error(err)
		}
		n++
	}
	return n
}

// TestRedrive_MessagesWithoutRoomForARecord do not go round in circles beside a consumer that still fails, and no rule redrives
// what cannot count its redrives.
func TestRedrive_MessagesWithoutRoomForARecord(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		b.sendWithoutRoom(1)
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
		defer cancel()
		rounds := 0
		stop := make(chan struct{})
		var failing sync.WaitGroup
		failing.Go(func() {
			for {
				rounds += b.failAgain()
				select {
				case <-stop:
					return
				case <-time.After(50 * time.Millisecond):
				}
			}
		})
		sum, err := deadletter.Redrive(ctx, b.api, b.from, deadletter.Config{})
		close(stop)
		failing.Wait()
		if rounds > 1 || sum.Returned != 1 || err != nil {
			t.Errorf("%d rounds: %+v, %v, want one that came back", rounds, sum, err)
		}
		time.Sleep(time.Hour)
		if r, err := deadletter.Watch(t.Context(), b.api, b.from, rules(t, "redrive after=1m times=3"), deadletter.Config{}); err != nil || r.Due > 0 || r.Left != 1 {
			t.Errorf("watch: %+v, %v, want it left", r, err)
		}
	})
}

// TestWatch_EndsARotationThatWasCutOff, also when no message is due.
func TestWatch_EndsARotationThatWasCutOff(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "journal")
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		for i := 3; i < 5; i++ {
			b.bury("d1", fmt.Sprintf("e%03d", i), record("stay"))
		}
		for i := range 3 {
			r := record("stay")
			r.Rotation = deadletter.Rotation{Origin: fmt.Sprint(i), ID: "killed"}
			b.bury("d1", fmt.Sprintf("e%03d", i), r)
		}
		writeFile(t, path, fmt.Sprintf("{\"queue\":%q}\n{\"device\":\"d1\",\"lap\":\"killed\"}\n", b.dlq))
		j := openJournal(t, path, b.dlq)
		if _, err := deadletter.Watch(t.Context(), b.api, b.from, rules(t, "redrive code=move after=1s"), deadletter.Config{Journal: j}); err != nil {
			t.Error(err)
		}
		if err := j.Close(); err != nil {
			t.Error(err)
		}
		b.wantQueue(b.dlq, map[string][]string{"d1": numbered(5)})
	})
}

// TestExport_WhatIsHiddenTooShortlyIsWrittenLater: a message that was counted, and whose lease was then too short, is received again.
func TestExport_WhatIsHiddenTooShortlyIsWrittenLater(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "archive")
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		b.buryNumbered(10)
		start := time.Now()
		api := &meddler{QueueAPI: b.api, show: func(in *sqs.ChangeMessageVisibilityBatchInput) error {
			if at := time.Since(start); at > 20*time.Second && at < 70*time.Second && in.Entries[0].VisibilityTimeout > 0 {
				return errReset
			}
			return nil
		}}
		archive, err := deadletter.CreateArchive(path)
		if err != nil {
			t.Fatal(err)
		}
		defer archive.Close()
		sum, err := deadletter.Export(t.Context(), api, b.from, archive, deadletter.Config{Rate: 0.1})
		if err != nil {
			t.Error(err)
		}
		wantSummary(t, sum, deadletter.Summary{Seen: 10, Matched: 10, Moved: 10})
	})
}

// hugeQueue shows more devices than may be in flight at once.
type hugeQueue struct {
	deadletter.QueueAPI
	deadletter.DepthAPI
	shown int
}

func (q *hugeQueue) ReceiveMessage(context.Context, *sqs.ReceiveMessageInput, ...func(*sqs.Options)) (*sqs.ReceiveMessageOutput, error) {
	out := &sqs.ReceiveMessageOutput{}
	for range 10 {
		q.shown++
		id := fmt.Sprint(q.shown)
		out.Messages = append(out.Messages, types.Message{
			MessageId: &id, ReceiptHandle: &id, Body: aws.String("{}"), Attributes: map[string]string{"MessageGroupId": "d" + id},
		})
	}
	return out, nil
}

func (q *hugeQueue) ChangeMessageVisibilityBatch(_ context.Context, in *sqs.ChangeMessageVisibilityBatchInput, _ ...func(*sqs.Options)) (*sqs.ChangeMessageVisibilityBatchOutput, error) {
	out := &sqs.ChangeMessageVisibilityBatchOutput{}
	for _, e := range in.Entries {
		out.Successful = append(out.Successful, types.ChangeMessageVisibilityBatchResultEntry{Id: e.Id})
	}
	return out, nil
}

func (q *hugeQueue) GetQueueAttributes(context.Context, *sqs.GetQueueAttributesInput, ...func(*sqs.Options)) (*sqs.GetQueueAttributesOutput, error) {
	return &sqs.GetQueueAttributesOutput{Attributes: map[string]string{
		"ApproximateNumberOfMessages": "150000", "ApproximateNumberOfMessagesNotVisible": "0", "ApproximateNumberOfMessagesDelayed": "0",
	}}, nil
}

// TestLook_TellsWhatIsTooMuchToBeSeen, and does not refuse to look, since after a large outage it is needed most.
func TestLook_TellsWhatIsTooMuchToBeSeen(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("looks at 100,000 messages; run without -short")
	}
	s, err := deadletter.Look(t.Context(), &hugeQueue{}, deadletter.Source{Service: "history", URL: "http://x/dlq.fifo"}, deadletter.Filter{}, nil)
	if err != nil || s.Seen < 100_000 || s.Seen+s.Unseen() != 150_000 {
		t.Errorf("got %d seen and %d unseen, %v, want 100,000 or so, and the rest of 150,000", s.Seen, s.Unseen(), err)
	}
}

// TestJournal_AFullDisk: what was confirmed before the line could be written is deleted, and nothing more is sent. A line that was
// written in part is cut off, so that the journal can be read again.
func TestJournal_AFullDisk(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "journal")
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		want := map[string][]string{}
		for i := range 5 {
			device := fmt.Sprintf("d%d", i)
			b.bury(device, "e-"+device, record("a"))
			want[device] = []string{"e-" + device}
		}
		j := openJournal(t, path, b.dlq)
		j.FillDisk()
		sum, err := deadletter.Redrive(t.Context(), b.api, b.from, deadletter.Config{Journal: j, Lanes: 1})
		if err == nil || sum.Moved == 0 || sum.Failed > 0 {
			t.Errorf("on a full disk: %+v, %v, want an error, and what was sent as moved", sum, err)
		}
		if in, out := b.status(queueName).Visible, b.status(dlqName).Visible; in+out != 5 || int(in) != sum.Moved {
			t.Errorf("%d are in the queue and %d in the dead-letter queue, want each in one, and %d moved", in, out, sum.Moved)
		}
		if err := j.Close(); err != nil {
			t.Error(err)
		}
		time.Sleep(10 * time.Minute) // somebody makes room
		if _, _, err := b.journaled(path, b.api, deadletter.Filter{}); err != nil {
			t.Error(err)
		}
		b.wantQueue(b.queue, want)
	})
}
