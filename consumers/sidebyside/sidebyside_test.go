// Package sidebyside_test runs three consumers of an SQS FIFO queue side by side on one local engine: this project's runtime,
// watermill-aws and gocloud.dev/pubsub. It is a module of its own, so that the root module needs neither of them.
package sidebyside_test

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill"
	wsqs "github.com/ThreeDotsLabs/watermill-aws/sqs"
	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"
	"gocloud.dev/pubsub/awssnssqs"

	"github.com/device-fanout/fanout/consumers"
	"github.com/device-fanout/fanout/events"
	"github.com/device-fanout/fanout/events/device"
	"github.com/device-fanout/fanout/infra/local"
	"github.com/device-fanout/fanout/infra/local/faults"
)

const (
	devices = 1000
	each    = 4 // events of a device
	total   = devices * each
	workers = 32 // handlers at once, where the library has such a thing
)

// track is a queue that holds the events of all devices, and watches what becomes of them.
type track struct {
	b      *testing.B
	engine *local.Engine
	queue  consumers.Queue
	takes  time.Duration // a handler
	full   chan struct{} // all events were handled

	mu         sync.Mutex
	last       map[string]int  // by device: the highest event that was begun
	running    map[string]bool // devices whose handler runs
	seen       map[string]bool // events
	violations int
}

func newTrack(b *testing.B, takes, latency time.Duration) *track {
	b.Helper()
	k := &track{
		b: b, engine: local.New(local.Options{}), takes: takes, full: make(chan struct{}),
		last: map[string]int{}, running: map[string]bool{}, seen: map[string]bool{},
	}
	api := k.engine.SQS()
	create := func(name string) string {
		out, err := api.CreateQueue(context.Background(), &sqs.CreateQueueInput{QueueName: &name, Attributes: map[string]string{
			"FifoQueue": "true", "DeduplicationScope": "messageGroup", "FifoThroughputLimit": "perMessageGroupId",
		}})
		if err != nil {
			b.Fatal(err)
		}
		return aws.ToString(out.QueueUrl)
	}
	k.queue = consumers.Queue{Service: "bench", URL: create("bench.fifo"), DLQURL: create("bench-dlq.fifo")}
	for i := 0; i < total; i += 10 {
		entries := make([]types.SendMessageBatchRequestEntry, 10)
		for j := range entries {
			e := events.New(fmt.Sprintf("device-%04d", (i+j)%devices), device.TemperatureMeasured{Celsius: 21})
			e.ID, e.Source = strconv.Itoa((i+j)/devices+1)+"-"+e.DeviceID, "gateway"
			body, err := events.Encode(e)
			if err != nil {
				b.Fatal(err)
			}
			entries[j] = types.SendMessageBatchRequestEntry{
				Id: aws.String(strconv.Itoa(j)), MessageBody: aws.String(string(body)), MessageGroupId: &e.DeviceID, MessageDeduplicationId: &e.ID,
			}
		}
		if _, err := api.SendMessageBatch(context.Background(), &sqs.SendMessageBatchInput{QueueUrl: &k.queue.URL, Entries: entries}); err != nil {
			b.Fatal(err)
		}
	}
	if latency > 0 {
		k.engine.Faults().Add(faults.Rule{Kind: faults.Delay, Delay: latency})
	}
	return k
}

// handle is the handler of all three.
func (k *track) handle(id string) {
	number, device, _ := strings.Cut(id, "-")
	n, _ := strconv.Atoi(number)
	k.mu.Lock()
	if k.running[device] || n <= k.last[device] && !k.seen[id] || n > k.last[device]+1 {
		k.violations++
	}
	k.running[device] = true
	k.last[device] = max(k.last[device], n)
	k.mu.Unlock()
	if k.takes > 0 {
		time.Sleep(k.takes)
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	delete(k.running, device)
	if !k.seen[id] {
		k.seen[id] = true
		if len(k.seen) == total {
			close(k.full)
		}
	}
}

// decode is what a service on the other libraries does with a body.
func decode(body []byte) string {
	e, err := events.Decode(body)
	if err != nil {
		panic(err)
	}
	return e.ID
}

// competitors run until ctx ends. Each is set up as its own documentation shows, with as many handlers as it takes.
var competitors = []struct {
	name string
	run  func(ctx context.Context, k *track) error
}{
	{"fanout", func(ctx context.Context, k *track) error {
		c, err := consumers.New(k.engine.SQS(), k.queue, func(_ context.Context, e events.Event) error { k.handle(e.ID); return nil },
			consumers.Config{Slots: workers, WaitTime: time.Second})
		if err != nil {
			return err
		}
		return c.Run(ctx)
	}},
	{"watermill-aws", func(ctx context.Context, k *track) error { return watermillAWS(ctx, k, 1, 1) }},
	{"watermill-aws-32-workers", func(ctx context.Context, k *track) error { return watermillAWS(ctx, k, workers, workers) }},
	{"gocloud-1-handler", func(ctx context.Context, k *track) error { return gocloud(ctx, k, 1) }},
	{"gocloud-32-handlers", func(ctx context.Context, k *track) error { return gocloud(ctx, k, workers) }},
}

func gocloud(ctx context.Context, k *track, handlers int) error {
	s := awssnssqs.OpenSubscription(ctx, k.engine.SQS(), k.queue.URL, &awssnssqs.SubscriptionOptions{Raw: true, WaitTime: time.Second})
	defer s.Shutdown(context.Background())
	slots := make(chan struct{}, handlers)
	for {
		m, err := s.Receive(ctx)
		if err != nil {
			return nil // ctx has ended
		}
		slots <- struct{}{}
		go func() {
			defer func() { <-slots }()
			k.handle(decode(m.Body))
			m.Ack()
		}()
	}
}

func watermillAWS(ctx context.Context, k *track, pollers, handlers int) error {
	s, err := wsqs.NewSubscriber(wsqs.SubscriberConfig{
		AWSConfig: k.engine.Config(), DoNotCreateQueueIfNotExists: true, QueueUrlResolver: wsqs.TransparentUrlResolver{}, ConsumeWorkers: pollers,
		GenerateReceiveMessageInput: func(_ context.Context, queueURL wsqs.QueueURL) (*sqs.ReceiveMessageInput, error) {
			return &sqs.ReceiveMessageInput{
				QueueUrl: aws.String(string(queueURL)), MaxNumberOfMessages: 10, WaitTimeSeconds: 1, MessageAttributeNames: []string{"All"},
			}, nil
		},
	}, watermill.NopLogger{})
	if err != nil {
		return err
	}
	messages, err := s.Subscribe(ctx, k.queue.URL)
	if err != nil {
		return err
	}
	var all sync.WaitGroup
	for range handlers {
		all.Go(func() {
			for m := range messages {
				k.handle(decode(m.Payload))
				m.Ack()
			}
		})
	}
	all.Wait()
	return s.Close()
}

// BenchmarkSideBySide handles 4,000 events of 1,000 devices; run it with -benchtime 1x.
func BenchmarkSideBySide(b *testing.B) {
	for _, latency := range []time.Duration{0, 5 * time.Millisecond} {
		for _, takes := range []time.Duration{0, 5 * time.Millisecond} {
			for _, c := range competitors {
				b.Run(fmt.Sprintf("request=%v/handler=%v/%s", latency, takes, c.name), func(b *testing.B) {
					var took time.Duration
					var requests, deletes, violations float64
					for b.Loop() {
						k := newTrack(b, takes, latency)
						before := sum(k.engine.Requests(), "")
						ctx, cancel := context.WithCancel(context.Background())
						done := make(chan error, 1)
						start := time.Now()
						go func() { done <- c.run(ctx, k) }()
						<-k.full
						took += time.Since(start)
						for left := int64(1); left > 0; { // deletes
							time.Sleep(10 * time.Millisecond)
							left = 0
							for _, q := range k.engine.Queues() {
								left += int64(q.Visible + q.InFlight)
							}
						}
						requests += float64(sum(k.engine.Requests(), "") - before)
						deletes += float64(sum(k.engine.Requests(), "DeleteMessage"))
						violations += float64(k.violations)
						cancel()
						if err := <-done; err != nil {
							b.Fatal(err)
						}
					}
					n := float64(b.N * total)
					b.ReportMetric(n/took.Seconds(), "events/s")
					b.ReportMetric(requests/n, "requests/event")
					b.ReportMetric(deletes/n, "deletes/event")
					b.ReportMetric(violations/float64(b.N), "violations")
					b.ReportMetric(0, "ns/op")
				})
			}
		}
	}
}

// sum adds the requests of all actions that begin so.
func sum[N int | int64 | uint64](requests map[string]N, action string) (n N) {
	for name, count := range requests {
		if strings.HasPrefix(name[strings.LastIndexByte(name, '.')+1:], action) {
			n += count
		}
	}
	return n
}
