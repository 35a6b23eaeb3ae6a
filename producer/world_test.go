package producer_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sns"
	"github.com/aws/aws-sdk-go-v2/service/sqs"

	"github.com/device-fanout/fanout/events"
	"github.com/device-fanout/fanout/events/device"
	"github.com/device-fanout/fanout/infra/local"
	"github.com/device-fanout/fanout/producer"
)

// world is a topic with two queues on a local engine.
type world struct {
	*local.Instance
	topic  string
	queues []string
}

func newWorld(t local.TB) *world { return newWorldOf(t, "MessageGroup") }

// newWorldOf is newWorld with a topic that deduplicates in that scope.
func newWorldOf(t local.TB, scope string) *world {
	t.Helper()
	ctx := context.Background()
	w := &world{Instance: local.Start(t, local.Options{})}
	topic, err := w.SNS.CreateTopic(ctx, &sns.CreateTopicInput{
		Name: aws.String("dev-device-events.fifo"), Attributes: map[string]string{"FifoTopic": "true", "FifoThroughputScope": scope},
	})
	if err != nil {
		t.Fatalf("%v", err)
	}
	w.topic = *topic.TopicArn
	for _, name := range []string{"dev-history", "dev-state"} {
		q, err := w.SQS.CreateQueue(ctx, &sqs.CreateQueueInput{QueueName: aws.String(name + ".fifo"), Attributes: map[string]string{
			"FifoQueue": "true", "DeduplicationScope": "messageGroup", "FifoThroughputLimit": "perMessageGroupId",
		}})
		if err != nil {
			t.Fatalf("%v", err)
		}
		w.queues = append(w.queues, *q.QueueUrl)
		_, err = w.SNS.Subscribe(ctx, &sns.SubscribeInput{
			TopicArn: topic.TopicArn, Protocol: aws.String("sqs"), Attributes: map[string]string{"RawMessageDelivery": "true"},
			Endpoint: aws.String("arn:aws:sqs:" + local.DefaultRegion + ":" + local.DefaultAccount + ":" + name + ".fifo"),
		})
		if err != nil {
			t.Fatalf("%v", err)
		}
	}
	return w
}

func (w *world) producer(t testing.TB, api producer.TopicAPI, cfg producer.Config) *producer.Producer {
	t.Helper()
	p, err := producer.New(api, w.topic, cfg)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// received empties a queue: the IDs of the events by device, in the order in which each came first.
func (w *world) received(t testing.TB, queue string) map[string][]string {
	t.Helper()
	got := map[string][]string{}
	seen := map[string]bool{}
	for {
		out, err := w.SQS.ReceiveMessage(context.Background(), &sqs.ReceiveMessageInput{QueueUrl: &queue, MaxNumberOfMessages: 10})
		if err != nil {
			t.Fatal(err)
		}
		if len(out.Messages) == 0 {
			return got
		}
		for _, m := range out.Messages {
			e, err := events.Decode([]byte(*m.Body))
			if err != nil {
				t.Fatal(err)
			}
			if !seen[e.ID] {
				seen[e.ID] = true
				got[e.DeviceID] = append(got[e.DeviceID], e.ID)
			}
			if _, err := w.SQS.DeleteMessage(context.Background(), &sqs.DeleteMessageInput{QueueUrl: &queue, ReceiptHandle: m.ReceiptHandle}); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// expect checks that every queue has all of want, by device, in its order.
func (w *world) expect(t testing.TB, want map[string][]string) {
	t.Helper()
	for _, queue := range w.queues {
		got := w.received(t, queue)
		for device, ids := range want {
			if !isSubsequence(ids, got[device]) {
				t.Errorf("%s: device %s: got %v, want them to have %v in this order", queue, device, got[device], ids)
			}
		}
	}
}

// isSubsequence tells whether list has all of part, in the order of part.
func isSubsequence(part, list []string) bool {
	for _, item := range list {
		if len(part) > 0 && part[0] == item {
			part = part[1:]
		}
	}
	return len(part) == 0
}

// zipfDevices draws devices as skewed as real ones are.
func zipfDevices(seed uint64, devices int) func() string {
	z := rand.NewZipf(rand.New(rand.NewPCG(seed, 1)), 1.3, 1, uint64(devices-1))
	return func() string { return fmt.Sprintf("device-%02d", z.Uint64()) }
}

// connection leads to a topic until it is cut, and at times loses the mention of an entry on its way back.
type connection struct {
	producer.TopicAPI

	mu    sync.Mutex
	cut   bool
	loses float64
	rand  *rand.Rand
}

var errCut = errors.New("connection cut")

func (c *connection) PublishBatch(ctx context.Context, in *sns.PublishBatchInput, o ...func(*sns.Options)) (*sns.PublishBatchOutput, error) {
	if c.isCut() {
		return nil, errCut
	}
	out, err := c.TopicAPI.PublishBatch(ctx, in, o...)
	if c.isCut() {
		return nil, errCut
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if err == nil && len(out.Successful) > 0 && c.loses > 0 && c.rand.Float64() < c.loses {
		i := c.rand.IntN(len(out.Successful))
		out.Successful = slices.Delete(out.Successful, i, i+1)
	}
	return out, err
}

func (c *connection) isCut() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.cut
}

func (c *connection) cutOff() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.cut = true
}

func motion(deviceID, id string) events.Event {
	e := events.New(deviceID, device.MotionChanged{Detected: true})
	e.ID = id
	return e
}

// over is a context that has ended.
func over() context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	return ctx
}
