package consumers_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"

	"github.com/device-fanout/fanout/consumers"
	"github.com/device-fanout/fanout/consumers/deadletter"
	"github.com/device-fanout/fanout/events"
	"github.com/device-fanout/fanout/events/device"
	"github.com/device-fanout/fanout/infra/local"
)

// bench is a queue with its dead-letter queue on the local engine, without sockets, so that it works inside synctest.
type bench struct {
	t      *testing.T
	engine *local.Engine
	api    *sqs.Client
	queue  consumers.Queue

	noCheck bool // start gives a consumer without a check of its own none that passes
}

func newBench(t *testing.T) *bench {
	t.Helper()
	engine := local.New(local.Options{})
	b := &bench{t: t, engine: engine, api: engine.SQS()}
	b.queue = consumers.Queue{Service: "test", URL: b.create("test.fifo", "30"), DLQURL: b.create("test-dlq.fifo", "30")}
	return b
}

func (b *bench) create(name, visibility string) string {
	b.t.Helper()
	out, err := b.api.CreateQueue(b.t.Context(), &sqs.CreateQueueInput{QueueName: &name, Attributes: map[string]string{
		"FifoQueue": "true", "VisibilityTimeout": visibility, "DeduplicationScope": "messageGroup", "FifoThroughputLimit": "perMessageGroupId",
	}})
	if err != nil {
		b.t.Fatal(err)
	}
	return aws.ToString(out.QueueUrl)
}

// send puts events into the queue as the topic would deliver them.
func (b *bench) send(list ...events.Event) {
	b.t.Helper()
	for _, e := range list {
		e.Source = "test"
		body, err := events.Encode(e)
		if err != nil {
			b.t.Fatal(err)
		}
		b.sendBody(e.DeviceID, e.ID, e.Type(), string(body))
	}
}

func (b *bench) sendBody(group, id, eventType, body string) {
	b.t.Helper()
	_, err := b.api.SendMessage(b.t.Context(), &sqs.SendMessageInput{
		QueueUrl: &b.queue.URL, MessageBody: &body, MessageGroupId: &group, MessageDeduplicationId: &id,
		MessageAttributes: map[string]types.MessageAttributeValue{
			"type":   {DataType: aws.String("String"), StringValue: &eventType},
			"source": {DataType: aws.String("String"), StringValue: aws.String("test")},
		},
	})
	if err != nil {
		b.t.Fatal(err)
	}
}

// maxReceives gives the queue a redrive policy.
func (b *bench) maxReceives(n int) {
	b.t.Helper()
	b.set("RedrivePolicy", fmt.Sprintf(`{"deadLetterTargetArn":"arn:aws:sqs:eu-central-1:000000000000:test-dlq.fifo","maxReceiveCount":%d}`, n))
}

func (b *bench) set(attribute, value string) {
	b.t.Helper()
	_, err := b.api.SetQueueAttributes(b.t.Context(), &sqs.SetQueueAttributesInput{
		QueueUrl: &b.queue.URL, Attributes: map[string]string{attribute: value},
	})
	if err != nil {
		b.t.Fatal(err)
	}
}

// start runs a consumer; the returned func drains it and fails the test when that goes wrong.
func (b *bench) start(api consumers.QueueAPI, handle consumers.Handler, cfg consumers.Config) (*consumers.Consumer, func()) {
	b.t.Helper()
	if cfg.Check == nil && !b.noCheck {
		cfg.Check = works
	}
	c, err := consumers.New(api, b.queue, handle, cfg)
	if err != nil {
		b.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- c.Run(ctx) }()
	return c, func() {
		b.t.Helper()
		cancel()
		if err := <-done; err != nil {
			b.t.Errorf("run: %v", err)
		}
	}
}

// works is a check of dependencies that are there.
func works(context.Context) error { return nil }

// depth is how many messages a queue holds in all.
func (b *bench) depth(name string) int {
	b.t.Helper()
	for _, q := range b.engine.Queues() {
		if q.Name == name {
			return int(q.Visible + q.InFlight + q.Delayed)
		}
	}
	b.t.Fatalf("no queue %s", name)
	return 0
}

// deadLetters reads the dead-letter queue.
func (b *bench) deadLetters() []*deadletter.Message {
	b.t.Helper()
	var list []*deadletter.Message
	err := deadletter.Scan(b.t.Context(), b.api, deadletter.Source{Service: "test", URL: b.queue.DLQURL}, func(l *deadletter.Message) bool {
		list = append(list, l)
		return true
	})
	if err != nil {
		b.t.Fatal(err)
	}
	return list
}

// log remembers what handlers did.
type journal struct {
	mu   sync.Mutex
	list []string
}

func (j *journal) add(s string) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.list = append(j.list, s)
}

func (j *journal) all() []string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return slices.Clone(j.list)
}

func (j *journal) want(t *testing.T, want ...string) {
	t.Helper()
	if got := j.all(); !slices.Equal(got, want) {
		t.Errorf("handled %q, want %q", got, want)
	}
}

// wantAgain is want where processes end: what was handled and not yet deleted is handled again, with its followers and none left out.
func (j *journal) wantAgain(t *testing.T, want ...string) {
	t.Helper()
	got, next := j.all(), 0
	for _, id := range got {
		i := slices.Index(want, id)
		if i < 0 || i > next {
			t.Errorf("handled %q out of order in %q, want %q", id, got, want)
			return
		}
		next = i + 1
	}
	if next != len(want) {
		t.Errorf("handled %q, want %q", got, want)
	}
}

func motion(deviceID, id string) events.Event {
	e := events.New(deviceID, device.MotionChanged{Detected: true})
	e.ID = id
	return e
}

var errBroken = errors.New("database is down")

// visible is how many messages of a queue can be received now.
func (b *bench) visible(name string) int {
	b.t.Helper()
	for _, q := range b.engine.Queues() {
		if q.Name == name {
			return int(q.Visible)
		}
	}
	b.t.Fatalf("no queue %s", name)
	return 0
}

// takeAll empties a queue.
func (b *bench) takeAll(url string) []types.Message {
	b.t.Helper()
	var all []types.Message
	for {
		out, err := b.api.ReceiveMessage(b.t.Context(), &sqs.ReceiveMessageInput{
			QueueUrl: &url, MaxNumberOfMessages: 10, MessageAttributeNames: []string{"All"},
			MessageSystemAttributeNames: []types.MessageSystemAttributeName{types.MessageSystemAttributeNameAll},
		})
		if err != nil {
			b.t.Fatal(err)
		}
		if len(out.Messages) == 0 {
			return all
		}
		for _, m := range out.Messages {
			if _, err := b.api.DeleteMessage(b.t.Context(), &sqs.DeleteMessageInput{QueueUrl: &url, ReceiptHandle: m.ReceiptHandle}); err != nil {
				b.t.Fatal(err)
			}
		}
		all = append(all, out.Messages...)
	}
}

var errReset = errors.New("read: connection reset by peer")
