package before_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"

	"github.com/device-fanout/fanout/consumers/deadletter"
	"github.com/device-fanout/fanout/infra/local"
)

// message is one that stood in a queue, or stands in one now.
type message struct {
	ID              string               `json:"message_id"`
	Group           string               `json:"message_group_id"`
	DeduplicationID string               `json:"message_deduplication_id"`
	Attributes      map[string]attribute `json:"message_attributes"`
	Body            string               `json:"body"`
}

type attribute struct {
	Type   string  `json:"type"`
	Text   *string `json:"text,omitempty"`
	Binary []byte  `json:"binary,omitempty"`
}

// record is the text of the message's dead-letter record, or "".
func (m message) record() string { return aws.ToString(m.Attributes["deadletter"].Text) }

// snapshot is what the queues of a service held.
type snapshot struct {
	URL    string    `json:"url"`
	DLQURL string    `json:"dlq_url"`
	Queue  []message `json:"queue"`
	DLQ    []message `json:"dlq"`
}

// queues are the queues of one service on an engine. They show a message that stood in them before under its old message ID.
type queues struct {
	*sqs.Client
	t   *testing.T
	old map[string]string // by message ID
}

func newQueues(t *testing.T, s snapshot) *queues {
	t.Helper()
	q := &queues{local.New(local.Options{AccountID: "111122223333"}).SQS(), t, map[string]string{}}
	for _, url := range []string{s.DLQURL, s.URL} {
		attributes := map[string]string{"FifoQueue": "true", "DeduplicationScope": "messageGroup", "FifoThroughputLimit": "perMessageGroupId"}
		if url == s.URL {
			attributes["RedrivePolicy"] = fmt.Sprintf(`{"deadLetterTargetArn":"arn:aws:sqs:eu-central-1:111122223333:%s","maxReceiveCount":"10"}`, path.Base(s.DLQURL))
		}
		if _, err := q.CreateQueue(t.Context(), &sqs.CreateQueueInput{QueueName: aws.String(path.Base(url)), Attributes: attributes}); err != nil {
			t.Fatal(err)
		}
	}
	q.put(s.DLQURL, s.DLQ...)
	q.put(s.URL, s.Queue...)
	return q
}

// put puts messages into a queue.
func (q *queues) put(url string, list ...message) {
	q.t.Helper()
	for _, m := range list {
		attributes := map[string]types.MessageAttributeValue{}
		for name, a := range m.Attributes {
			attributes[name] = types.MessageAttributeValue{DataType: &a.Type, StringValue: a.Text, BinaryValue: a.Binary}
		}
		out, err := q.SendMessage(q.t.Context(), &sqs.SendMessageInput{
			QueueUrl: &url, MessageBody: &m.Body, MessageGroupId: &m.Group, MessageDeduplicationId: &m.DeduplicationID, MessageAttributes: attributes,
		})
		if err != nil {
			q.t.Fatal(err)
		}
		q.old[*out.MessageId] = m.ID
	}
}

func (q *queues) ReceiveMessage(ctx context.Context, in *sqs.ReceiveMessageInput, more ...func(*sqs.Options)) (*sqs.ReceiveMessageOutput, error) {
	out, err := q.Client.ReceiveMessage(ctx, in, more...)
	if err == nil {
		for i, m := range out.Messages {
			if old := q.old[*m.MessageId]; old != "" {
				out.Messages[i].MessageId = &old
			}
		}
	}
	return out, err
}

// take empties a queue.
func (q *queues) take(url string) (list []message) {
	q.t.Helper()
	for {
		out, err := q.ReceiveMessage(q.t.Context(), &sqs.ReceiveMessageInput{
			QueueUrl: &url, MaxNumberOfMessages: 10, MessageAttributeNames: []string{"All"},
			MessageSystemAttributeNames: []types.MessageSystemAttributeName{types.MessageSystemAttributeNameAll},
		})
		if err != nil {
			q.t.Fatal(err)
		}
		if len(out.Messages) == 0 {
			return list
		}
		for _, m := range out.Messages {
			taken := message{*m.MessageId, m.Attributes["MessageGroupId"], m.Attributes["MessageDeduplicationId"], map[string]attribute{}, *m.Body}
			for name, v := range m.MessageAttributes {
				taken.Attributes[name] = attribute{*v.DataType, v.StringValue, v.BinaryValue}
			}
			list = append(list, taken)
			if _, err := q.DeleteMessage(q.t.Context(), &sqs.DeleteMessageInput{QueueUrl: &url, ReceiptHandle: m.ReceiptHandle}); err != nil {
				q.t.Fatal(err)
			}
		}
	}
}

// byDevice lists the times of events, as the body tells them, by message group, in the order of the list.
func byDevice(t *testing.T, list []message) map[string][]string {
	t.Helper()
	times := map[string][]string{}
	for _, m := range list {
		times[m.Group] = append(times[m.Group], event(t, []byte(m.Body)).Time.Format(time.TimeOnly))
	}
	return times
}

// TestJournal_TheRunGoesOn where a redrive of what failed with code timeout was killed: between the confirmation of what it had sent and the
// delete (begun), between the confirmation of copies at the end of the queue and the delete (copied), and before the confirmation (tried). By
// now SQS has forgotten deduplication IDs, so that only the journal knows what was sent.
func TestJournal_TheRunGoesOn(t *testing.T) {
	t.Parallel()
	const journal = "redrive.journal"
	for _, at := range []string{"begun", "copied", "tried"} {
		for name, damage := range map[string]func(t *testing.T, path string){
			"as it is":       func(*testing.T, string) {},
			"a line in part": cutLine,
		} {
			t.Run(at+"/"+name, func(t *testing.T) {
				t.Parallel()
				dir := unpack(t, "journals.zip", at)
				if old, err := os.ReadFile(filepath.Join(dir, journal)); err != nil || bytes.Contains(old, []byte("version")) {
					t.Fatalf("got %s, %v, want a journal without a version", old, err)
				}
				damage(t, filepath.Join(dir, journal))
				text, err := os.ReadFile(filepath.Join(dir, "queues.json"))
				if err != nil {
					t.Fatal(err)
				}
				var held snapshot
				decodeJSON(t, text, &held)
				sent, stay := map[string][]string{}, map[string][]string{}
				for _, m := range append(slices.Clone(held.Queue), held.DLQ...) {
					part := stay
					if strings.Contains(m.record(), `"code":"timeout"`) {
						part = sent
					}
					part[m.Group] = append(part[m.Group], event(t, []byte(m.Body)).Time.Format(time.TimeOnly))
				}
				for _, part := range []map[string][]string{sent, stay} {
					for device := range part {
						slices.Sort(part[device])
						part[device] = slices.Compact(part[device])
					}
				}
				if at != "begun" && (len(sent["hall-lamp"]) != 5 || len(stay["hall-lamp"]) != 20) || len(sent["attic/sensor-1"]) != 3 {
					t.Fatalf("%v to be sent and %v to stay, want others", sent, stay)
				}

				synctest.Test(t, func(t *testing.T) {
					q := newQueues(t, held)
					time.Sleep(10 * time.Minute)
					j, err := deadletter.OpenJournal(filepath.Join(dir, journal), held.DLQURL)
					if err != nil {
						t.Fatal(err)
					}
					if messages, devices := j.Open(); messages == 0 || devices == 0 && at != "begun" {
						t.Errorf("the journal has %d messages and %d devices open, want some", messages, devices)
					}
					sum, err := deadletter.Redrive(t.Context(), q, deadletter.Source{Service: "history", URL: held.DLQURL, Queue: path.Base(held.URL)},
						deadletter.Config{Filter: deadletter.Filter{Code: "timeout"}, Journal: j})
					if err != nil || sum.Failed+sum.Held+sum.Broken > 0 || sum.Cleared == 0 {
						t.Errorf("redrive: got %+v, %v", sum, err)
					}
					if err := j.Close(); err != nil {
						t.Error(err)
					}
					if got := byDevice(t, q.take(held.URL)); !reflect.DeepEqual(got, sent) {
						t.Errorf("the queue has %v, want %v", got, sent)
					}
					if got := byDevice(t, q.take(held.DLQURL)); !reflect.DeepEqual(got, stay) {
						t.Errorf("the dead-letter queue has %v, want %v", got, stay)
					}
				})
				j, err := deadletter.OpenJournal(filepath.Join(dir, journal), held.DLQURL)
				if err != nil {
					t.Fatal(err)
				}
				if messages, devices := j.Open(); messages+devices > 0 {
					t.Errorf("the journal still has %d messages and %d devices open", messages, devices)
				}
				if err := j.Close(); err != nil {
					t.Error(err)
				}
			})
		}
	}
}

// TestRedrive_SendsUnderTheSameDeduplicationIDs, so that SQS itself knows what a run of before has sent less than five minutes ago.
func TestRedrive_SendsUnderTheSameDeduplicationIDs(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile(filepath.Join(unpack(t, "journals.zip", "begun"), "queues.json"))
	if err != nil {
		t.Fatal(err)
	}
	var held snapshot
	decodeJSON(t, text, &held)
	synctest.Test(t, func(t *testing.T) {
		q := newQueues(t, held)
		from := deadletter.Source{Service: "history", URL: held.DLQURL, Queue: path.Base(held.URL)}
		if sum, err := deadletter.Redrive(t.Context(), q, from, deadletter.Config{}); err != nil || sum.Moved != 3 {
			t.Errorf("redrive: got %+v, %v, want three that are there already", sum, err)
		}
		if got, want := byDevice(t, q.take(held.URL)), byDevice(t, held.Queue); !reflect.DeepEqual(got, want) {
			t.Errorf("the queue has %v, want %v", got, want)
		}
	})
}

// cutLine adds the beginning of a line to a journal, as a process leaves it that is killed while it writes.
func cutLine(t *testing.T, path string) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteString(`{"sent":"01`); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
}

// TestJournal_IsLeftToAProcessOfBefore that still runs and has it open.
func TestJournal_IsLeftToAProcessOfBefore(t *testing.T) {
	t.Parallel()
	dir := unpack(t, "journals.zip", "begun")
	hold(t, filepath.Join(dir, "redrive.journal.lock"))
	if _, err := deadletter.OpenJournal(filepath.Join(dir, "redrive.journal"), "any"); !errors.Is(err, deadletter.ErrBusy) {
		t.Errorf("got %v, want %v", err, deadletter.ErrBusy)
	}
}

// TestArchive_ComesBack: what dlq drop and dlq export have written goes back to its queue, in order and as it was.
func TestArchive_ComesBack(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]int{"dropped": 13, "exported": 2} {
		file := "archives/" + name + ".ndjson"
		text := read(t, file)
		if bytes.HasPrefix(text, []byte(`{"version"`)) {
			t.Fatalf("%s says its version, want lines from before there was one", name)
		}
		var wanted []message
		for _, line := range lines(t, file) {
			var m message
			decodeJSON(t, line, &m)
			wanted = append(wanted, m)
		}
		if len(wanted) != want {
			t.Fatalf("%s has %d lines, want %d", file, len(wanted), want)
		}
		synctest.Test(t, func(t *testing.T) {
			const url = "http://127.0.0.1:4566/111122223333/dev-history.fifo"
			q := newQueues(t, snapshot{URL: url, DLQURL: strings.Replace(url, ".fifo", "-dlq.fifo", 1)})
			for range 2 { // the second sends no second copy
				sent, failed, err := deadletter.Resend(t.Context(), q, bytes.NewReader(text), deadletter.ResendConfig{
					Reject: func(e *deadletter.LineError) { t.Error(e) },
				})
				if sent != want || failed > 0 || err != nil {
					t.Errorf("%s: %d sent, %d failed, %v", name, sent, failed, err)
				}
			}
			got := q.take(url)
			for i := range got {
				got[i].ID = ""
			}
			bySender := func(list []message) map[string][]message {
				groups := map[string][]message{}
				for _, m := range list {
					groups[m.Group] = append(groups[m.Group], m)
				}
				return groups
			}
			if !reflect.DeepEqual(bySender(got), bySender(wanted)) {
				t.Errorf("%s: the queue has %+v, want %+v", name, got, wanted)
			}
		})
	}
}

// TestRecord_IsReadWithAllItsFields, and written as it was.
func TestRecord_IsReadWithAllItsFields(t *testing.T) {
	t.Parallel()
	classes, fields := map[deadletter.Class]bool{}, map[string]bool{}
	var messages []message
	for i, line := range lines(t, "records.ndjson") {
		r, err := deadletter.ParseRecord(string(line))
		if err != nil {
			t.Errorf("line %d: %v", i+1, err)
			continue
		}
		if again := r.Encode(); !sameJSON(t, []byte(again), line) {
			t.Errorf("line %d: got %s, want %s", i+1, again, line)
		}
		var want map[string]any
		decodeJSON(t, line, &want)
		got := map[string]any{
			"service": r.Service, "queue": r.Queue, "class": string(r.Class), "code": r.Code, "error": r.Error, "fingerprint": r.Fingerprint,
			"attempts": float64(r.Attempts), "receive_count": float64(r.ReceiveCount), "message_id": r.MessageID, "redrives": float64(r.Redrives),
			"sent_at": r.SentAt.Format(time.RFC3339Nano), "failed_at": r.FailedAt.Format(time.RFC3339Nano),
		}
		if !r.RedrivenAt.IsZero() {
			got["redriven_at"] = r.RedrivenAt.Format(time.RFC3339Nano)
		}
		if r.Release != "" {
			got["release"], got["device"] = r.Release, r.Device
		}
		if r.Rotation != (deadletter.Rotation{}) {
			got["aside"] = map[string]any{"letter": r.Rotation.Origin, "lap": r.Rotation.ID, "try": r.Rotation.Try}
		}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("line %d: got %v, want %v", i+1, got, want)
		}
		classes[r.Class] = true
		for name := range want {
			fields[name] = true
		}
		text := string(line)
		messages = append(messages, message{
			Group: fmt.Sprint(i), DeduplicationID: fmt.Sprint(i), Body: "{}", Attributes: map[string]attribute{"deadletter": {Type: "String", Text: &text}},
		})
	}
	for _, c := range []string{"known", "exhausted", "unknown", "parked", "moved", "undelivered"} {
		if !classes[deadletter.Class(c)] {
			t.Errorf("no record has class %s", c)
		}
	}
	if len(fields) != 16 {
		t.Errorf("the records have %d fields, %v, want all 16 that there were", len(fields), slices.Sorted(maps.Keys(fields)))
	}

	// In a queue they are found by what they say.
	synctest.Test(t, func(t *testing.T) {
		time.Sleep(time.Until(time.Date(2027, 1, 1, 0, 0, 0, 0, time.UTC))) // after they failed: a queue believes no later time
		held := snapshot{URL: "http://127.0.0.1:4566/111122223333/dev-x.fifo", DLQURL: "http://127.0.0.1:4566/111122223333/dev-x-dlq.fifo", DLQ: messages}
		found := 0
		err := deadletter.Scan(t.Context(), newQueues(t, held), deadletter.Source{Service: "x", URL: held.DLQURL}, func(l *deadletter.Message) bool {
			found++
			for i, m := range messages {
				if m.Group != l.DeviceID {
					continue
				}
				if want, _ := deadletter.ParseRecord(m.record()); l.Record != want {
					t.Errorf("line %d: got %+v, want %+v", i+1, l.Record, want)
				}
				f := deadletter.Filter{Class: l.Record.Class, Code: l.Record.Code, Fingerprint: l.Record.Fingerprint, Text: l.Record.Error}
				if err := f.Validate(); err != nil || !f.Matches(l, time.Now()) {
					t.Errorf("line %d: %+v does not select it: %v", i+1, f, err)
				}
			}
			return true
		})
		if err != nil || found != len(messages) {
			t.Errorf("got %d messages, %v, want %d", found, err, len(messages))
		}
	})
}
