package deadletter_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"
	"github.com/aws/smithy-go"

	"github.com/device-fanout/fanout/consumers/deadletter"
	"github.com/device-fanout/fanout/infra/local/faults"
)

func TestRedrive_MovesEverythingInOrder(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		want := map[string][]string{}
		for i := range 60 {
			device, id := fmt.Sprintf("d%d", i%3*i%2), fmt.Sprintf("e%02d", i) // d0 has far more than ten
			b.bury(device, id, record("bad"))
			want[device] = append(want[device], id)
		}
		sum, _ := b.redrive(b.api, deadletter.Filter{})
		wantSummary(t, sum, deadletter.Summary{Seen: 60, Matched: 60, Moved: 60})
		b.wantQueue(b.queue, want)
		b.nothingHidden(0)
	})
}

// TestRedrive_ChangesNothingButTheCount: body, group and attributes are those of the event, byte for byte.
func TestRedrive_ChangesNothingButTheCount(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		r := record("bad")
		r.Redrives = 2
		odd := "{ \"id\":\"e1\",\n\t\"x\": \"ä🔥\u2028\" }  "
		b.send(b.dlq, "lamp-7", "original", odd, map[string]types.MessageAttributeValue{
			"type": text("device.motion.changed.v1"), "traceparent": text("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),
			"weight": {DataType: aws.String("Number.float"), StringValue: aws.String("1.50")},
			"blob":   {DataType: aws.String("Binary.gzip"), BinaryValue: []byte{0, 255, 10}}, deadletter.Attribute: text(r.Encode()),
		})
		before := b.receive(b.dlq, time.Second)[0]
		time.Sleep(time.Second)
		at := time.Now().UTC()
		b.redrive(b.api, deadletter.Filter{})
		after := b.receive(b.queue, time.Second)[0]
		if aws.ToString(after.Body) != odd || after.Attributes["MessageGroupId"] != "lamp-7" {
			t.Errorf("got body %q in group %q", aws.ToString(after.Body), after.Attributes["MessageGroupId"])
		}
		record, err := deadletter.ParseRecord(aws.ToString(after.MessageAttributes[deadletter.Attribute].StringValue))
		r.Redrives, r.RedrivenAt = 3, at
		if err != nil || record != r {
			t.Errorf("got record %+v, %v, want %+v", record, err, r)
		}
		delete(before.MessageAttributes, deadletter.Attribute)
		delete(after.MessageAttributes, deadletter.Attribute)
		if got, want := fmt.Sprint(flat(after)), fmt.Sprint(flat(before)); got != want {
			t.Errorf("attributes: got %s, want %s", got, want)
		}
		if n := after.Attributes["ApproximateReceiveCount"]; n != "1" {
			t.Errorf("receive count: got %s, want it to start anew", n)
		}
		if id := after.Attributes["MessageDeduplicationId"]; !strings.HasPrefix(id, "redrive-"+aws.ToString(before.MessageId)+"-") {
			t.Errorf("deduplication ID: got %s, want one that follows from the dead letter's message ID", id)
		}
	})
}

func flat(m types.Message) []string {
	var list []string
	for name, v := range m.MessageAttributes {
		list = append(list, fmt.Sprintf("%s=%s:%s:%x", name, aws.ToString(v.DataType), aws.ToString(v.StringValue), v.BinaryValue))
	}
	slices.Sort(list)
	return list
}

// TestRedrive_InsideTheDeduplicationWindow: the queue still remembers the event's own deduplication ID.
func TestRedrive_InsideTheDeduplicationWindow(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		b.send(b.queue, "d1", "e1", body("d1", "e1"), nil)
		b.takeAll(b.queue)
		b.bury("d1", "e1", record("bad"))
		b.redrive(b.api, deadletter.Filter{})
		b.wantQueue(b.queue, map[string][]string{"d1": {"e1"}})
	})
}

func TestRedrive_AFailedSendStopsItsDeviceOnly(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		for i := range 12 {
			b.bury(fmt.Sprintf("d%d", i%3), fmt.Sprintf("e%02d", i), record("bad"))
		}
		api := &meddler{QueueAPI: b.api, send: func(in *sqs.SendMessageInput) error {
			if strings.Contains(aws.ToString(in.MessageBody), `"e04"`) { // the second of d1
				return errReset
			}
			return nil
		}}
		sum, failures := b.redrive(api, deadletter.Filter{})
		wantSummary(t, sum, deadletter.Summary{Seen: 12, Matched: 12, Moved: 9, Failed: 1, Held: 2})
		if len(failures) != 1 || !strings.Contains(failures[0].Error(), errReset.Error()) || !strings.Contains(failures[0].Error(), "e04") {
			t.Errorf("got failures %v", failures)
		}
		b.nothingHidden(3)
		b.wantQueue(b.queue, map[string][]string{"d0": {"e00", "e03", "e06", "e09"}, "d1": {"e01"}, "d2": {"e02", "e05", "e08", "e11"}})
		b.wantQueue(b.dlq, map[string][]string{"d1": {"e04", "e07", "e10"}})
	})
}

// TestRedrive_FailedDeleteMakesNoSecondCopy: the event is back, its message still there; the next run only removes the message.
func TestRedrive_FailedDeleteMakesNoSecondCopy(t *testing.T) {
	t.Parallel()
	for name, fail := range map[string]*meddler{
		"delete fails":    {delete: func() error { return errReset }},
		"send reply lost": {afterSend: func(*sqs.SendMessageInput) error { return errReset }},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				b := newBench(t)
				b.bury("d1", "e1", record("bad"))
				b.bury("d1", "e2", record("bad"))
				fail.QueueAPI = b.api
				sum, failures := b.redrive(fail, deadletter.Filter{})
				if sum.Moved != 0 || sum.Failed+sum.Held != 2 || len(failures) != sum.Failed {
					t.Errorf("got %+v and failures %v, want none moved", sum, failures)
				}
				time.Sleep(4 * time.Minute)
				sum, _ = b.redrive(b.api, deadletter.Filter{})
				wantSummary(t, sum, deadletter.Summary{Seen: 2, Matched: 2, Moved: 2})
				b.wantQueue(b.queue, map[string][]string{"d1": {"e1", "e2"}})
				b.nothingHidden(0)
			})
		})
	}
}

// TestRedrive_KilledBetweenSendAndDelete: the process is gone and releases nothing. What it held must become visible in time for
// another run inside the deduplication window.
func TestRedrive_KilledBetweenSendAndDelete(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		for i := range 5 {
			b.bury("d1", fmt.Sprintf("e%d", i), record("bad"))
		}
		killed := false
		gone := func() error {
			if killed {
				return errReset
			}
			return nil
		}
		api := &meddler{
			QueueAPI: b.api,
			receive:  func(*sqs.ReceiveMessageInput) error { return gone() },
			show:     func(*sqs.ChangeMessageVisibilityBatchInput) error { return gone() },
			send:     func(*sqs.SendMessageInput) error { return gone() },
			delete:   gone,
			afterSend: func(in *sqs.SendMessageInput) error {
				killed = strings.Contains(aws.ToString(in.MessageBody), `"e2"`)
				return nil
			},
		}
		_, _ = deadletter.Redrive(t.Context(), api, b.from, deadletter.Config{})
		if !killed {
			t.Fatal("was not killed")
		}
		for range 4 { // whoever runs it again until nothing is left
			time.Sleep(50 * time.Second)
			b.redrive(b.api, deadletter.Filter{})
		}
		b.nothingHidden(0)
		b.wantQueue(b.queue, map[string][]string{"d1": {"e0", "e1", "e2", "e3", "e4"}})
	})
}

func TestRedrive_Interrupted(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		want := map[string][]string{}
		for i := range 30 {
			device, id := fmt.Sprintf("d%d", i%4), fmt.Sprintf("e%02d", i)
			b.bury(device, id, record("bad"))
			want[device] = append(want[device], id)
		}
		ctx, cancel := context.WithCancel(t.Context())
		moved := 0
		sum, err := deadletter.Redrive(ctx, b.api, b.from, deadletter.Config{Report: func(o deadletter.Outcome) {
			if moved++; moved == 7 {
				cancel()
			}
		}})
		if !errors.Is(err, context.Canceled) || sum.Moved < 7 || sum.Failed != 0 {
			t.Errorf("got %+v, %v, want at least seven moved and the context's error", sum, err)
		}
		left := 30 - sum.Moved
		b.nothingHidden(int64(left))
		sum, _ = b.redrive(b.api, deadletter.Filter{})
		if sum.Moved != left {
			t.Errorf("second run: got %+v, want %d moved", sum, left)
		}
		b.wantQueue(b.queue, want)
	})
}

func TestRedrive_LimitCountsAttempts(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		for i := range 20 {
			b.bury(fmt.Sprintf("d%d", i%2), fmt.Sprintf("e%02d", i), record("bad"))
		}
		sum, _ := b.redrive(b.api, deadletter.Filter{Limit: 3})
		if sum.Moved != 3 || sum.Matched != 3 {
			t.Errorf("got %+v, want 3 moved", sum)
		}
		b.nothingHidden(17)
		api := &meddler{QueueAPI: b.api, send: func(in *sqs.SendMessageInput) error {
			if aws.ToString(in.MessageGroupId) == "d0" {
				return errReset
			}
			return nil
		}}
		// d0 fails at once; what is held behind it does not use the limit up.
		sum, _ = b.redrive(api, deadletter.Filter{Limit: 12})
		if sum.Seen != 17 || sum.Failed != 1 || sum.Moved+sum.Held != 16 || sum.Held == 0 {
			t.Errorf("got %+v, want one failed, and all of the other device moved", sum)
		}
	})
}

func TestRedrive_FilterLeavesTheOthersInPlace(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		for i := range 9 {
			b.bury("d1", fmt.Sprintf("e%d", i), record([]string{"a", "b", "c"}[i%3]))
		}
		sum, _ := b.redrive(b.api, deadletter.Filter{Code: "b"})
		wantSummary(t, sum, deadletter.Summary{Seen: 9, Matched: 3, Moved: 3})
		b.nothingHidden(6)
		b.wantQueue(b.queue, map[string][]string{"d1": {"e1", "e4", "e7"}})
		b.wantQueue(b.dlq, map[string][]string{"d1": {"e0", "e2", "e3", "e5", "e6", "e8"}})
	})
}

// TestRedrive_OfWhatSQSMoved: a message that was received too often has no record; it goes to the queue that it came from.
func TestRedrive_OfWhatSQSMoved(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		b.send(b.queue, "d1", "e1", body("d1", "e1"), map[string]types.MessageAttributeValue{"type": text("device.motion.changed.v1")})
		for range 3 {
			b.receive(b.queue, time.Second)
			time.Sleep(time.Second)
		}
		b.nothingHidden(1)
		sum, _ := b.redrive(b.api, deadletter.Filter{Class: deadletter.Moved})
		wantSummary(t, sum, deadletter.Summary{Seen: 1, Matched: 1, Moved: 1})
		m := b.wantQueue(b.queue, map[string][]string{"d1": {"e1"}})[0]
		r, err := deadletter.ParseRecord(aws.ToString(m.MessageAttributes[deadletter.Attribute].StringValue))
		if err != nil || r.Redrives != 1 || r.Class != deadletter.Moved {
			t.Errorf("got record %+v, %v, want one redrive counted", r, err)
		}
	})
}

// TestRedrive_WithoutARecord: somebody put it there by hand, and SQS does not know where it came from.
func TestRedrive_WithoutARecord(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		full := map[string]types.MessageAttributeValue{}
		for i := range 10 {
			full[fmt.Sprintf("a%d", i)] = text("x")
		}
		large := fmt.Sprintf(`{"id":"large","x":"%s"}`, strings.Repeat("x", 1<<20-len(`{"id":"large","x":""}`)))
		b.send(b.dlq, "d1", "1", body("d1", "none"), nil)
		b.send(b.dlq, "d1", "2", body("d1", "garbage"), map[string]types.MessageAttributeValue{deadletter.Attribute: text("look at this later")})
		b.send(b.dlq, "d1", "3", body("d1", "full"), full)
		b.send(b.dlq, "d1", "4", large, nil)
		sum, failures := b.redrive(b.api, deadletter.Filter{})
		if sum.Moved != 4 {
			t.Errorf("got %+v, %v, want all moved to the fallback queue", sum, failures)
		}
		for _, m := range b.wantQueue(b.queue, map[string][]string{"d1": {"none", "garbage", "full", "large"}}) {
			if _, ok := m.MessageAttributes["a0"]; ok && len(m.MessageAttributes) != 10 {
				t.Errorf("got %d attributes, want the ten that were there", len(m.MessageAttributes))
			}
		}
	})
}

func TestRedrive_ToAQueueThatIsNotThere(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		b.from.Queue = "dev-gone.fifo"
		gone := record("bad")
		gone.Queue = arnPrefix + "dev-gone.fifo"
		for i := range 31 {
			b.bury(fmt.Sprintf("gone%02d", i), fmt.Sprintf("g%02d", i), gone)
		}
		// The lanes all ask while the answer is on its way.
		b.engine.Faults().Add(faults.Rule{Kind: faults.Delay, Action: "GetQueueUrl", Delay: time.Second})
		lookups := b.engine.Requests()["sqs.GetQueueUrl"]
		sum, failures := b.redrive(b.api, deadletter.Filter{})
		wantSummary(t, sum, deadletter.Summary{Seen: 31, Matched: 31, Failed: 31})
		for _, err := range failures {
			if !strings.Contains(err.Error(), `"dev-gone.fifo"`) {
				t.Errorf("got %v, want it to name the queue", err)
			}
		}
		if n := b.engine.Requests()["sqs.GetQueueUrl"] - lookups; n != 1 {
			t.Errorf("looked %d times for a queue", n)
		}
		b.nothingHidden(31)
	})
}

// TestRedrive_SendsToNoOtherQueue: whoever can write to a dead-letter queue chooses no other queue to write to. What names one stays,
// whatever is selected, and does not hold up what is behind it.
func TestRedrive_SendsToNoOtherQueue(t *testing.T) {
	t.Parallel()
	for _, deliveries := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			b := newBench(t)
			b.from.Delivery = deliveries
			victim := b.create("dev-victim.fifo", nil)
			forged := func(queue string) deadletter.Record {
				r := record("bad")
				r.Queue = queue
				return r
			}
			for i := range 12 { // more than SQS shows of a device
				b.bury("forged", fmt.Sprintf("f%02d", i), forged(arnPrefix+"dev-victim.fifo"))
			}
			b.bury("forged", "behind", record("bad"))
			for i, queue := range []string{"dev-victim.fifo", arnPrefix + dlqName, ":", "arn:aws:sqs:eu-central-1:111111111111:dev-victim.fifo", arnPrefix + queueName + " "} {
				b.bury(fmt.Sprint("other", i), fmt.Sprint("o", i), forged(queue))
			}
			b.bury("well", "w1", record("bad"))
			survey, err := deadletter.Look(t.Context(), b.api, b.from, deadletter.Filter{}, nil)
			if err != nil || survey.Foreign != 14 { // of the first ten that are shown
				t.Errorf("survey: got %+v, %v, want 14 that name another queue", survey, err)
			}
			for _, filter := range []deadletter.Filter{{Limit: 1}, {}} {
				sum, failures := b.redrive(b.api, filter)
				if sum.Failed != sum.Foreign || len(failures) != sum.Foreign {
					t.Errorf("got %+v and %d failures, want one for each that names another queue", sum, len(failures))
				}
				for _, err := range failures {
					if !strings.Contains(err.Error(), "stays where it is") || !strings.Contains(err.Error(), "is the dead-letter queue of "+queueName) {
						t.Errorf("got %v, want it to say where it stays and why", err)
					}
				}
			}
			b.wantQueue(victim, nil)
			b.wantQueue(b.queue, map[string][]string{"forged": {"behind"}, "other2": {"o2"}, "well": {"w1"}}) // a name that is empty is none
			b.nothingHidden(16)

			path := filepath.Join(t.TempDir(), "dropped.ndjson")
			archive, err := deadletter.CreateArchive(path)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := deadletter.Drop(t.Context(), b.api, b.from, archive, deadletter.Config{Filter: deadletter.Filter{Device: "other0"}}); err != nil {
				t.Fatal(err)
			}
			if err := archive.Close(); err != nil {
				t.Fatal(err)
			}
			file, err := os.Open(path)
			if err != nil {
				t.Fatal(err)
			}
			defer file.Close()
			if sent, failed, err := deadletter.Resend(t.Context(), b.api, file, deadletter.ResendConfig{}); sent != 1 || failed != 0 || err != nil {
				t.Errorf("sent again: got %d, %d failed, %v, want 1", sent, failed, err)
			}
			b.wantQueue(victim, nil)
			b.wantQueue(b.queue, map[string][]string{"other0": {"o0"}})
		})
	}
}

func TestRedrive_WantsToKnowWhoseQueueItIs(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		b.bury("well", "w1", record("bad"))
		archive, err := deadletter.CreateArchive(filepath.Join(t.TempDir(), "archive"))
		if err != nil {
			t.Fatal(err)
		}
		defer archive.Close()
		for _, queue := range []string{"", dlqName} {
			b.from.Queue = queue
			for name, run := range map[string]func() (deadletter.Summary, error){
				"redrive": func() (deadletter.Summary, error) {
					return deadletter.Redrive(t.Context(), b.api, b.from, deadletter.Config{})
				},
				"export": func() (deadletter.Summary, error) {
					return deadletter.Export(t.Context(), b.api, b.from, archive, deadletter.Config{})
				},
				"drop": func() (deadletter.Summary, error) {
					return deadletter.Drop(t.Context(), b.api, b.from, archive, deadletter.Config{})
				},
			} {
				if _, err := run(); err == nil || !strings.Contains(err.Error(), "want another one's name") {
					t.Errorf("%s, queue %q: got %v, want that it is no queue to send to", name, queue, err)
				}
			}
		}
		b.nothingHidden(1)
	})
}

// TestRedrive_BesideAConsumerThatStillFails ends, though what it sends comes back at once.
func TestRedrive_BesideAConsumerThatStillFails(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		for i := range 5 {
			b.bury("d1", fmt.Sprintf("e%d", i), record("bad"))
		}
		api := &meddler{QueueAPI: b.api}
		rounds := 0
		api.afterSend = func(*sqs.SendMessageInput) error {
			for _, m := range b.takeAll(b.queue) {
				rounds++
				b.send(b.dlq, "d1", aws.ToString(m.MessageId), aws.ToString(m.Body), m.MessageAttributes)
			}
			return nil
		}
		sum, _ := b.redrive(api, deadletter.Filter{})
		wantSummary(t, sum, deadletter.Summary{Seen: 10, Matched: 5, Moved: 5, Returned: 5})
		if rounds != 5 {
			t.Errorf("the consumer failed %d times, want once for every event", rounds)
		}
		b.nothingHidden(5)
	})
}

// TestRedrive_LongerThanTheVisibilityTimeout: messages that are left alone become visible again while the run goes on.
func TestRedrive_LongerThanTheVisibilityTimeout(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		wantMoved, wantLeft := map[string][]string{}, map[string][]string{}
		for i := range 400 {
			device, id := fmt.Sprintf("d%02d", i%50), fmt.Sprintf("e%03d", i)
			if i%50 < 25 {
				b.bury(device, id, record("leave"))
				wantLeft[device] = append(wantLeft[device], id)
			} else {
				b.bury(device, id, record("move"))
				wantMoved[device] = append(wantMoved[device], id)
			}
		}
		api := &meddler{QueueAPI: b.api, batch: func() { time.Sleep(9 * time.Second) }}
		start := time.Now()
		sum, failures := b.redrive(api, deadletter.Filter{Code: "move"})
		if sum.Matched != 200 || sum.Moved != 200 || sum.Failed != 0 {
			t.Errorf("got %+v, %v, want 200 moved", sum, failures)
		}
		if took := time.Since(start); took < time.Minute {
			t.Fatalf("took only %v", took)
		}
		b.nothingHidden(200)
		b.wantQueue(b.queue, wantMoved)
		b.wantQueue(b.dlq, wantLeft)
	})
}

// TestRedrive_DeleteThatFailedIsMadeUpFor at the end of the same run; the message is not sent again, whatever time has passed.
func TestRedrive_DeleteThatFailedIsMadeUpFor(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		want := map[string][]string{}
		for i := range 400 {
			device, id := fmt.Sprintf("d%03d", i), fmt.Sprintf("e%03d", i)
			b.bury(device, id, record("bad"))
			want[device] = []string{id}
		}
		start, refused := time.Now(), 0
		api := &meddler{
			QueueAPI: b.api,
			delete: func() error {
				if time.Since(start) < 30*time.Second {
					refused++
					return errReset
				}
				return nil
			},
			batch: func() { time.Sleep(5 * time.Second) },
		}
		sum, failures := b.redrive(api, deadletter.Filter{})
		wantSummary(t, sum, deadletter.Summary{Seen: 400, Matched: 400, Moved: 400})
		if len(failures) != 0 || refused < 40 {
			t.Errorf("got failures %v after %d refused deletes", failures, refused)
		}
		b.wantQueue(b.queue, want)
		b.nothingHidden(0)
	})
}

// TestRedrive_TwoAtOnce share the work: every event goes back once and in order.
func TestRedrive_TwoAtOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		want := map[string][]string{}
		for i := range 200 {
			device, id := fmt.Sprintf("d%d", i*i%17), fmt.Sprintf("e%03d", i)
			b.bury(device, id, record("bad"))
			want[device] = append(want[device], id)
		}
		var mu sync.Mutex
		sends := 0
		api := &meddler{QueueAPI: b.api, batch: func() {
			mu.Lock()
			sends++
			slow := sends%7 == 0
			mu.Unlock()
			if slow {
				time.Sleep(9 * time.Second)
			}
			time.Sleep(10 * time.Millisecond)
		}}
		var both sync.WaitGroup
		moved := make([]int, 2)
		for i := range moved {
			both.Go(func() {
				// Fewer lanes than devices, so that neither takes them all.
				sum, err := deadletter.Redrive(t.Context(), api, b.from, deadletter.Config{Lanes: 3})
				if err != nil {
					t.Error(err)
				}
				moved[i] = sum.Moved
			})
		}
		both.Wait()
		if moved[0]+moved[1] != 200 || moved[0] == 0 || moved[1] == 0 {
			t.Errorf("moved %v, want 200 in all", moved)
		}
		b.nothingHidden(0)
		got := ids(b.takeAll(b.queue))
		if !maps.EqualFunc(got, want, slices.Equal) {
			t.Errorf("the queue holds %v, want %v", got, want)
		}
	})
}

// TestRedrive_SlowReporter: Report blocks, as while somebody reads a page of outcomes, longer than messages stay hidden.
func TestRedrive_SlowReporter(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		var want []string
		for i := range 20 {
			b.bury("d1", fmt.Sprintf("e%02d", i), record("bad"))
			want = append(want, fmt.Sprintf("e%02d", i))
		}
		n := 0
		sum, err := deadletter.Redrive(t.Context(), b.api, b.from, deadletter.Config{Report: func(deadletter.Outcome) {
			if n++; n%3 == 0 {
				time.Sleep(6 * time.Minute)
			}
		}})
		if err != nil || sum.Moved != 20 || sum.Failed != 0 {
			t.Errorf("got %+v, %v, want 20 moved", sum, err)
		}
		b.wantQueue(b.queue, map[string][]string{"d1": want})
	})
}

// kmsThrottled answers as SQS does when there are too many requests of the queue's KMS key: whole receives, and entries of sends.
type kmsThrottled struct {
	deadletter.QueueAPI
	err      error
	attempts []string // IDs of the receives that failed
	receives int      // to fail
	sends    int      // whose entries fail
}

func (k *kmsThrottled) ReceiveMessage(ctx context.Context, in *sqs.ReceiveMessageInput, o ...func(*sqs.Options)) (*sqs.ReceiveMessageOutput, error) {
	if len(k.attempts) < k.receives {
		k.attempts = append(k.attempts, *in.ReceiveRequestAttemptId)
		return nil, &smithy.OperationError{ServiceID: "SQS", OperationName: "ReceiveMessage", Err: k.err}
	}
	return k.QueueAPI.ReceiveMessage(ctx, in, o...)
}

func (k *kmsThrottled) SendMessageBatch(ctx context.Context, in *sqs.SendMessageBatchInput, o ...func(*sqs.Options)) (*sqs.SendMessageBatchOutput, error) {
	if k.sends--; k.sends < 0 {
		return k.QueueAPI.SendMessageBatch(ctx, in, o...)
	}
	out := &sqs.SendMessageBatchOutput{}
	for _, e := range in.Entries {
		out.Failed = append(out.Failed, types.BatchResultErrorEntry{Id: e.Id, Code: aws.String("KmsThrottled"), SenderFault: true})
	}
	return out, nil
}

// TestRedrive_GoesOnWhenThrottled, by SQS or by KMS alike: either passes. What a person must fix ends it at once.
func TestRedrive_GoesOnWhenThrottled(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		err    error
		passes bool
	}{
		{&types.RequestThrottled{}, true},
		{&types.KmsThrottled{}, true},
		{&smithy.GenericAPIError{Code: "KMS.ThrottlingException", Fault: smithy.FaultClient}, true},
		{&smithy.GenericAPIError{Code: "ExpiredToken", Fault: smithy.FaultClient}, true},
		{&types.KmsAccessDenied{}, false},
		{&types.QueueDoesNotExist{}, false},
	} {
		synctest.Test(t, func(t *testing.T) {
			b := newBench(t)
			b.bury("d1", "e1", record("bad"))
			api := &kmsThrottled{QueueAPI: b.api, err: tt.err, receives: 3, sends: 3}
			sum, err := deadletter.Redrive(t.Context(), api, b.from, deadletter.Config{Lanes: 1})
			if tt.passes {
				if err != nil || sum.Moved != 1 || sum.Failed != 0 {
					t.Errorf("%v: got %+v, %v, want one message moved", tt.err, sum, err)
				}
			} else if err == nil || sum.Moved != 0 || len(api.attempts) != 1 {
				t.Errorf("%v: got %+v, %v after %d receives, want an error after one", tt.err, sum, err, len(api.attempts))
			}
			if slices.Sort(api.attempts); len(slices.Compact(api.attempts)) < len(api.attempts) {
				t.Errorf("%v: an attempt ID was used again after an answer", tt.err)
			}
		})
	}
}
