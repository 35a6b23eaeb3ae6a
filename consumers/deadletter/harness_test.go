package deadletter_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"

	"github.com/device-fanout/fanout/consumers/deadletter"
	"github.com/device-fanout/fanout/infra/local"
)

const (
	queueName = "dev-history.fifo"
	dlqName   = "dev-history-dlq.fifo"
	arnPrefix = "arn:aws:sqs:eu-central-1:000000000000:"
)

// bench is a queue with its dead-letter queue on the local engine, without sockets, so that it works inside synctest.
type bench struct {
	t      testing.TB
	engine *local.Engine
	api    *sqs.Client
	queue  string // URL
	dlq    string // URL
	from   deadletter.Source
}

func newBench(t testing.TB) *bench {
	t.Helper()
	engine := local.New(local.Options{})
	b := &bench{t: t, engine: engine, api: engine.SQS()}
	b.dlq = b.create(dlqName, nil)
	b.queue = b.create(queueName, map[string]string{
		"RedrivePolicy": `{"deadLetterTargetArn":"` + arnPrefix + dlqName + `","maxReceiveCount":"2"}`,
	})
	b.from = deadletter.Source{Service: "history", URL: b.dlq, Queue: queueName}
	return b
}

func (b *bench) create(name string, more map[string]string) string {
	b.t.Helper()
	attributes := map[string]string{"FifoQueue": "true", "DeduplicationScope": "messageGroup", "FifoThroughputLimit": "perMessageGroupId"}
	maps.Copy(attributes, more)
	out, err := b.api.CreateQueue(b.t.Context(), &sqs.CreateQueueInput{QueueName: &name, Attributes: attributes})
	if err != nil {
		b.t.Fatal(err)
	}
	return aws.ToString(out.QueueUrl)
}

func text(value string) types.MessageAttributeValue {
	return types.MessageAttributeValue{DataType: aws.String("String"), StringValue: &value}
}

func body(device, id string) string {
	return fmt.Sprintf(`{"id":%q,"subject":%q,"type":"device.motion.changed.v1","data":{"detected":true}}`, id, device)
}

func record(code string) deadletter.Record {
	return deadletter.Record{
		Service: "history", Queue: arnPrefix + queueName, Class: deadletter.Known, Code: code, Error: "no: " + code, Attempts: 1, ReceiveCount: 1,
		Fingerprint: deadletter.FingerprintOf("history", "device.motion.changed.v1", code, ""), FailedAt: time.Now().UTC(),
	}
}

// bury puts a dead letter into the dead-letter queue as a consumer would.
func (b *bench) bury(device, id string, r deadletter.Record) {
	b.t.Helper()
	b.send(b.dlq, device, "original-"+id, body(device, id), map[string]types.MessageAttributeValue{
		"type": text("device.motion.changed.v1"), "source": text("gateway"), deadletter.Attribute: text(r.Encode()),
	})
}

func (b *bench) send(url, group, dedup, body string, attributes map[string]types.MessageAttributeValue) {
	b.t.Helper()
	_, err := b.api.SendMessage(b.t.Context(), &sqs.SendMessageInput{
		QueueUrl: &url, MessageBody: &body, MessageGroupId: &group, MessageDeduplicationId: &dedup, MessageAttributes: attributes,
	})
	if err != nil {
		b.t.Fatal(err)
	}
}

// receive takes up to ten messages of a queue and leaves them in flight.
func (b *bench) receive(url string, hide time.Duration) []types.Message {
	b.t.Helper()
	out, err := b.api.ReceiveMessage(b.t.Context(), &sqs.ReceiveMessageInput{
		QueueUrl: &url, MaxNumberOfMessages: 10, VisibilityTimeout: int32(hide / time.Second), MessageAttributeNames: []string{"All"},
		MessageSystemAttributeNames: []types.MessageSystemAttributeName{types.MessageSystemAttributeNameAll},
	})
	if err != nil {
		b.t.Fatal(err)
	}
	return out.Messages
}

// takeAll empties a queue.
func (b *bench) takeAll(url string) []types.Message {
	b.t.Helper()
	var all []types.Message
	for {
		batch := b.receive(url, time.Minute)
		if len(batch) == 0 {
			return all
		}
		for _, m := range batch {
			if _, err := b.api.DeleteMessage(b.t.Context(), &sqs.DeleteMessageInput{QueueUrl: &url, ReceiptHandle: m.ReceiptHandle}); err != nil {
				b.t.Fatal(err)
			}
		}
		all = append(all, batch...)
	}
}

// ids tells by device which events a list of messages holds, in order.
func ids(messages []types.Message) map[string][]string {
	list := map[string][]string{}
	for _, m := range messages {
		device := m.Attributes["MessageGroupId"]
		_, id, _ := strings.Cut(aws.ToString(m.Body), `"id":"`)
		id, _, _ = strings.Cut(id, `"`)
		list[device] = append(list[device], id)
	}
	return list
}

func (b *bench) wantQueue(url string, want map[string][]string) []types.Message {
	b.t.Helper()
	all := b.takeAll(url)
	if got := ids(all); !maps.EqualFunc(got, want, slices.Equal) {
		b.t.Errorf("%s holds %v, want %v", url, got, want)
	}
	return all
}

func (b *bench) status(name string) local.QueueStatus {
	b.t.Helper()
	for _, q := range b.engine.Queues() {
		if q.Name == name {
			return q
		}
	}
	b.t.Fatalf("no queue %s", name)
	return local.QueueStatus{}
}

// nothingHidden fails the test unless everything in the dead-letter queue can be received now.
func (b *bench) nothingHidden(want int64) {
	b.t.Helper()
	if s := b.status(dlqName); s.InFlight != 0 || int64(s.Visible) != want {
		b.t.Errorf("the dead-letter queue has %d visible messages and %d in flight, want %d visible", s.Visible, s.InFlight, want)
	}
}

func (b *bench) redrive(api deadletter.QueueAPI, filter deadletter.Filter) (deadletter.Summary, []error) {
	b.t.Helper()
	var failures []error
	sum, err := deadletter.Redrive(b.t.Context(), api, b.from, deadletter.Config{Filter: filter, Report: func(o deadletter.Outcome) {
		if o.Err != nil {
			failures = append(failures, o.Err)
		}
	}})
	if err != nil {
		b.t.Errorf("redrive: %v", err)
	}
	return sum, failures
}

func wantSummary(t *testing.T, got, want deadletter.Summary) {
	t.Helper()
	if got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
}

var errReset = errors.New("read: connection reset by peer")

// meddler is between the library and SQS, and makes requests fail where a test asks for it.
type meddler struct {
	deadletter.QueueAPI
	one          hooks
	receive      func(*sqs.ReceiveMessageInput) error // after an error the request is not made
	afterReceive func(*sqs.ReceiveMessageOutput) error
	send         func(*sqs.SendMessageInput) error
	afterSend    func(*sqs.SendMessageInput) error // an error loses the reply
	delete       func() error
	batch        func() // before each batch is sent
	show         func(*sqs.ChangeMessageVisibilityBatchInput) error
}

// hooks lets one hook run at a time. It is not a mutex, so that the clock can move while some wait.
type hooks struct {
	once sync.Once
	turn chan struct{}
}

func (h *hooks) run(hook func() error) error {
	h.once.Do(func() { h.turn = make(chan struct{}, 1) })
	h.turn <- struct{}{}
	defer func() { <-h.turn }()
	return hook()
}

func (m *meddler) ReceiveMessage(ctx context.Context, in *sqs.ReceiveMessageInput, o ...func(*sqs.Options)) (*sqs.ReceiveMessageOutput, error) {
	if m.receive != nil {
		if err := m.one.run(func() error { return m.receive(in) }); err != nil {
			return nil, err
		}
	}
	out, err := m.QueueAPI.ReceiveMessage(ctx, in, o...)
	if err == nil && m.afterReceive != nil {
		err = m.one.run(func() error { return m.afterReceive(out) })
	}
	return out, err
}

func (m *meddler) SendMessageBatch(ctx context.Context, in *sqs.SendMessageBatchInput, o ...func(*sqs.Options)) (*sqs.SendMessageBatchOutput, error) {
	if m.batch != nil {
		m.batch()
	}
	pass := *in
	pass.Entries = nil
	var failed []types.BatchResultErrorEntry
	single := func(e types.SendMessageBatchRequestEntry) *sqs.SendMessageInput {
		return &sqs.SendMessageInput{
			QueueUrl: in.QueueUrl, MessageBody: e.MessageBody, MessageGroupId: e.MessageGroupId,
			MessageDeduplicationId: e.MessageDeduplicationId, MessageAttributes: e.MessageAttributes,
		}
	}
	for _, e := range in.Entries {
		if m.send != nil {
			if err := m.one.run(func() error { return m.send(single(e)) }); err != nil {
				failed = append(failed, types.BatchResultErrorEntry{Id: e.Id, Code: aws.String("InternalError"), Message: aws.String(err.Error())})
				continue
			}
		}
		pass.Entries = append(pass.Entries, e)
	}
	out := &sqs.SendMessageBatchOutput{}
	var err error
	if len(pass.Entries) > 0 {
		out, err = m.QueueAPI.SendMessageBatch(ctx, &pass, o...)
	}
	if err != nil {
		return nil, err
	}
	for _, e := range pass.Entries {
		if m.afterSend != nil {
			if err := m.one.run(func() error { return m.afterSend(single(e)) }); err != nil {
				return nil, err
			}
		}
	}
	out.Failed = append(out.Failed, failed...)
	return out, nil
}

func (m *meddler) DeleteMessageBatch(ctx context.Context, in *sqs.DeleteMessageBatchInput, o ...func(*sqs.Options)) (*sqs.DeleteMessageBatchOutput, error) {
	pass := *in
	pass.Entries = nil
	var failed []types.BatchResultErrorEntry
	for _, e := range in.Entries {
		if m.delete != nil {
			if err := m.one.run(m.delete); err != nil {
				failed = append(failed, types.BatchResultErrorEntry{Id: e.Id, Code: aws.String("InternalError"), Message: aws.String(err.Error())})
				continue
			}
		}
		pass.Entries = append(pass.Entries, e)
	}
	if len(pass.Entries) == 0 {
		return &sqs.DeleteMessageBatchOutput{Failed: failed}, nil
	}
	out, err := m.QueueAPI.DeleteMessageBatch(ctx, &pass, o...)
	if err != nil {
		return nil, err
	}
	out.Failed = append(out.Failed, failed...)
	return out, nil
}

func (m *meddler) ChangeMessageVisibilityBatch(ctx context.Context, in *sqs.ChangeMessageVisibilityBatchInput, o ...func(*sqs.Options)) (*sqs.ChangeMessageVisibilityBatchOutput, error) {
	if m.show != nil {
		if err := m.one.run(func() error { return m.show(in) }); err != nil {
			return nil, err
		}
	}
	return m.QueueAPI.ChangeMessageVisibilityBatch(ctx, in, o...)
}

func writeFile(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}
