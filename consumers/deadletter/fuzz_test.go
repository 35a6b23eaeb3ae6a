package deadletter

import (
	"bytes"
	"context"
	"encoding/json"
	"maps"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"
)

// FuzzJournal: whatever stands in a journal, opening it is refused and leaves it as it is, or it says the same when it is opened again, and
// what is recorded then is there too.
func FuzzJournal(f *testing.F) {
	const queue = "http://x/dlq"
	for _, lines := range [][]journalLine{
		nil,
		{{Sent: "m1"}, {Copied: "m2"}, {Gone: "m1"}, {Try: "t1"}, {Try: "t2"}, {Kept: "t1"}, {Device: "d1", Lap: "l1"}, {Device: "d2", Lap: "l2"}, {Device: "d1"}},
		{{Version: 2}},
		{{Queue: "http://x/other"}},
	} {
		f.Add(encodeLines(append([]journalLine{{Version: journalVersion, Queue: queue}}, lines...)))
	}
	f.Add([]byte(""))
	f.Add([]byte(`{"queue":"http://x/dlq"}` + "\n" + `{"sent":"m1"}` + "\n" + `{"se`))
	f.Add([]byte(`{"queue":"http://x/dlq"}` + "\n\n"))
	f.Add([]byte(`{"version":1e0,"queue":"http://x/dlq"}` + "\n" + `null` + "\n" + `{"SENT":"m1","gone":"m1"}` + "\n"))
	f.Add([]byte("\x00\x00\x00\x00"))
	f.Add([]byte("\uFEFF" + `{"queue":"http://x/dlq"}` + "\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		path := filepath.Join(t.TempDir(), "journal")
		if err := os.WriteFile(path, text, 0o600); err != nil {
			t.Fatal(err)
		}
		j, err := OpenJournal(path, queue)
		if err != nil {
			if left, _ := os.ReadFile(path); !bytes.Equal(left, text) {
				t.Fatalf("refused with %v, and changed to %q", err, left)
			}
			return
		}
		if err := j.put(journalLine{Sent: "one more"}); err != nil {
			t.Fatal(err)
		}
		if err := j.Close(); err != nil {
			t.Fatal(err)
		}
		again, err := OpenJournal(path, queue)
		if err != nil {
			t.Fatalf("opened once, and then: %v", err)
		}
		defer again.Close()
		if !maps.Equal(j.open, again.open) || !maps.Equal(j.try, again.try) || !maps.Equal(j.rotations, again.rotations) || !again.is(journalSent, "one more") {
			t.Errorf("got %v %v %v, want %v %v %v", again.open, again.try, again.rotations, j.open, j.try, j.rotations)
		}
	})
}

// openQueues takes everything, and notes what.
type openQueues struct {
	QueueAPI
	mu   sync.Mutex
	sent []string // queue, group and body
}

func (q *openQueues) GetQueueUrl(_ context.Context, in *sqs.GetQueueUrlInput, _ ...func(*sqs.Options)) (*sqs.GetQueueUrlOutput, error) {
	return &sqs.GetQueueUrlOutput{QueueUrl: aws.String(aws.ToString(in.QueueName))}, nil
}

func (q *openQueues) SendMessageBatch(_ context.Context, in *sqs.SendMessageBatchInput, _ ...func(*sqs.Options)) (*sqs.SendMessageBatchOutput, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	out := &sqs.SendMessageBatchOutput{}
	for _, e := range in.Entries {
		q.sent = append(q.sent, aws.ToString(in.QueueUrl))
		out.Successful = append(out.Successful, types.SendMessageBatchResultEntry{Id: e.Id})
	}
	return out, nil
}

// FuzzResend: whatever stands in an archive, every line is sent or reported once up to where reading ends, only to queues that are allowed.
func FuzzResend(f *testing.F) {
	const ours = "dev-history.fifo"
	line := func(change func(*archived)) []byte {
		l := archived{
			Version: archiveVersion, Service: "history", Queue: ours, DeviceID: "d", EventID: "e", Type: "t", Group: "d", DeduplicationID: "redrive-1",
			Attributes: map[string]archivedValue{"type": {Type: "String", Text: aws.String("t")}, "b": {Type: "Binary", Binary: []byte{0, 255}}},
			Record:     Record{Service: "history", MessageID: "m"}, Body: "{}",
		}
		change(&l)
		text, err := json.Marshal(l)
		if err != nil {
			f.Fatal(err)
		}
		return append(text, '\n')
	}
	good := line(func(*archived) {})
	f.Add(good)
	f.Add(append(bytes.Clone(good), good[:len(good)/2]...))
	f.Add(line(func(l *archived) { l.Queue = "prod-history.fifo" }))
	f.Add(line(func(l *archived) { l.Group, l.Body = "", "" }))
	f.Add(append(line(func(l *archived) { l.Version = 9 }), good...))
	f.Add([]byte("\n\r\nnull\n[]\n{}\n\x00\n"))
	f.Add([]byte(`{"version":"1"}` + "\n" + `{"message_attributes":{"a":null,"b":{"binary":"!"}}}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		queues := &openQueues{}
		seen := map[int]bool{}
		sent, failed, err := Resend(t.Context(), queues, bytes.NewReader(text), ResendConfig{
			Allow: func(queue string) error {
				if queue != ours {
					return os.ErrPermission
				}
				return nil
			},
			Reject: func(e *LineError) {
				if seen[e.Line] || e.Err == nil {
					t.Errorf("line %d is reported twice, or without a reason", e.Line)
				}
				seen[e.Line] = true
			},
		})
		for _, queue := range queues.sent {
			if queue != ours {
				t.Errorf("sent to %q", queue)
			}
		}
		if sent != len(queues.sent) || failed != len(seen) {
			t.Errorf("sent %d of %d, failed %d of %d", sent, len(queues.sent), failed, len(seen))
		}
		lines := bytes.Count(text, []byte("\n"))
		if len(text) > 0 && text[len(text)-1] != '\n' {
			lines++
		}
		if err == nil && sent+failed != lines {
			t.Errorf("sent %d and failed %d of %d lines", sent, failed, lines)
		}
	})
}
