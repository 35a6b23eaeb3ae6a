package consumers_test

import (
	"context"
	"fmt"
	"runtime"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"

	"github.com/device-fanout/fanout/consumers"
	"github.com/device-fanout/fanout/events"
	"github.com/device-fanout/fanout/events/device"
	"github.com/device-fanout/fanout/infra/local"
)

// A round is 1,000 events of 100 devices, which wait in the queue of an engine in the same process. It is so small that a fixed
// count, such as -benchtime 300x, ends in a few minutes at most.
const (
	roundEvents  = 1000
	roundDevices = 100
)

// track is a queue for rounds.
type track struct {
	b      *testing.B
	api    *sqs.Client
	queue  consumers.Queue
	bodies [][]types.SendMessageBatchRequestEntry
	events int // of a round
	round  int
}

func newTrack(b *testing.B) *track { return newTrackOf(b, roundEvents, roundDevices) }

func newTrackOf(b *testing.B, count, devices int) *track {
	b.Helper()
	engine := local.New(local.Options{})
	k := &track{b: b, api: engine.SQS(), events: count}
	create := func(name string) string {
		out, err := k.api.CreateQueue(context.Background(), &sqs.CreateQueueInput{QueueName: &name, Attributes: map[string]string{
			"FifoQueue": "true", "DeduplicationScope": "messageGroup", "FifoThroughputLimit": "perMessageGroupId",
		}})
		if err != nil {
			b.Fatal(err)
		}
		return aws.ToString(out.QueueUrl)
	}
	k.queue = consumers.Queue{Service: "bench", URL: create("bench.fifo"), DLQURL: create("bench-dlq.fifo")}
	for i := range count {
		e := events.New(fmt.Sprintf("device-%06d", i%devices), device.TemperatureMeasured{Celsius: float64(i % 40)})
		e.Source = "gateway"
		body, err := events.Encode(e)
		if err != nil {
			b.Fatal(err)
		}
		if i%10 == 0 {
			k.bodies = append(k.bodies, nil)
		}
		last := &k.bodies[len(k.bodies)-1]
		*last = append(*last, types.SendMessageBatchRequestEntry{
			Id: aws.String(strconv.Itoa(len(*last))), MessageBody: aws.String(string(body)), MessageGroupId: aws.String(e.DeviceID),
			MessageAttributes: map[string]types.MessageAttributeValue{"type": {DataType: aws.String("String"), StringValue: aws.String(e.Type())}},
		})
	}
	return k
}

// fill puts a round into the queue.
func (k *track) fill() {
	k.b.Helper()
	k.round++
	for i, batch := range k.bodies {
		for j := range batch {
			batch[j].MessageDeduplicationId = aws.String(fmt.Sprintf("%d-%d-%d", k.round, i, j))
		}
		if _, err := k.api.SendMessageBatch(context.Background(), &sqs.SendMessageBatchInput{QueueUrl: &k.queue.URL, Entries: batch}); err != nil {
			k.b.Fatal(err)
		}
	}
}

// bare receives and deletes a round, ten by ten, and looks at nothing but, if it is to decode, at the events.
func (k *track) bare(decode bool) {
	k.b.Helper()
	for left := k.events; left > 0; {
		out, err := k.api.ReceiveMessage(context.Background(), &sqs.ReceiveMessageInput{
			QueueUrl: &k.queue.URL, MaxNumberOfMessages: 10, MessageAttributeNames: []string{"All"},
			MessageSystemAttributeNames: []types.MessageSystemAttributeName{types.MessageSystemAttributeNameAll},
		})
		if err != nil || len(out.Messages) == 0 {
			k.b.Fatal(err, len(out.Messages))
		}
		entries := make([]types.DeleteMessageBatchRequestEntry, len(out.Messages))
		for i, m := range out.Messages {
			entries[i] = types.DeleteMessageBatchRequestEntry{Id: aws.String(strconv.Itoa(i)), ReceiptHandle: m.ReceiptHandle}
			if decode {
				if _, err := events.Decode([]byte(aws.ToString(m.Body))); err != nil {
					k.b.Fatal(err)
				}
			}
		}
		if _, err := k.api.DeleteMessageBatch(context.Background(), &sqs.DeleteMessageBatchInput{QueueUrl: &k.queue.URL, Entries: entries}); err != nil {
			k.b.Fatal(err)
		}
		left -= len(entries)
	}
}

// gate lets receives through while it is open, so that a consumer waits for the beginning of a round.
type gate struct {
	consumers.QueueAPI
	open  atomic.Pointer[chan struct{}]
	under sync.RWMutex // held by receives under way
}

func (g *gate) ReceiveMessage(ctx context.Context, in *sqs.ReceiveMessageInput, o ...func(*sqs.Options)) (*sqs.ReceiveMessageOutput, error) {
	select {
	case <-*g.open.Load():
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	g.under.RLock()
	defer g.under.RUnlock()
	return g.QueueAPI.ReceiveMessage(ctx, in, o...)
}

// worker is a Consumer whose handler does nothing but count.
type worker struct {
	*consumers.Consumer
	gate    *gate
	handled atomic.Int64
	full    chan struct{} // a round is handled
	stop    func()
}

func (k *track) worker() *worker {
	k.b.Helper()
	r := &worker{gate: &gate{QueueAPI: k.api}, full: make(chan struct{}, 1)}
	closed := make(chan struct{})
	r.gate.open.Store(&closed)
	var err error
	r.Consumer, err = consumers.New(r.gate, k.queue, func(context.Context, events.Event) error {
		if r.handled.Add(1)%int64(k.events) == 0 {
			r.full <- struct{}{}
		}
		return nil
	}, consumers.Config{WaitTime: time.Second, DrainTimeout: 5 * time.Second})
	if err != nil {
		k.b.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- r.Run(ctx) }()
	r.stop = func() {
		close(*r.gate.open.Load())
		cancel()
		if err := <-done; err != nil {
			k.b.Error(err)
		}
	}
	return r
}

// play handles a round.
func (r *worker) play() {
	close(*r.gate.open.Load())
	<-r.full
}

// rest waits until nothing of the round is left, neither a delete nor a receive under way.
func (r *worker) rest() {
	closed := make(chan struct{})
	r.gate.open.Store(&closed)
	r.gate.under.Lock()
	defer r.gate.under.Unlock()
	for r.Stats().Held > 0 {
		time.Sleep(time.Millisecond)
	}
}

// BenchmarkRun handles a round per operation.
func BenchmarkRun(b *testing.B) {
	b.ReportAllocs()
	k := newTrack(b)
	r := k.worker()
	for b.Loop() {
		b.StopTimer()
		k.fill()
		b.StartTimer()
		r.play()
		b.StopTimer()
		r.rest()
		b.StartTimer()
	}
	b.ReportMetric(float64(b.N)*roundEvents/b.Elapsed().Seconds(), "events/s")
	r.stop()
	s := r.Stats()
	b.ReportMetric(float64(s.Deletes)/float64(s.DeleteEntries), "deletes/event")
	b.ReportMetric(float64(s.Receives)/float64(s.Received), "receives/event")
}

// BenchmarkBareLoop receives and deletes a round per operation, with no order, no handler and no care.
func BenchmarkBareLoop(b *testing.B) {
	b.ReportAllocs()
	k := newTrack(b)
	for b.Loop() {
		b.StopTimer()
		k.fill()
		b.StartTimer()
		k.bare(false)
	}
	b.ReportMetric(float64(b.N)*roundEvents/b.Elapsed().Seconds(), "events/s")
}

// BenchmarkRunAgainstBareLoop runs the consumer, the bare loop, and a bare loop that decodes the events in turns, so that the
// machine's moods concern all alike. The last one is the least that any service does.
func BenchmarkRunAgainstBareLoop(b *testing.B) {
	k := newTrack(b)
	r := k.worker()
	var bare, decoding, run time.Duration
	timed := func(sum *time.Duration, play func()) {
		k.fill()
		start := time.Now()
		play()
		*sum += time.Since(start)
	}
	for b.Loop() {
		timed(&bare, func() { k.bare(false) })
		timed(&run, r.play)
		r.rest()
		timed(&decoding, func() { k.bare(true) })
	}
	r.stop()
	rate := func(took time.Duration) float64 { return float64(b.N) * roundEvents / took.Seconds() }
	b.ReportMetric(rate(bare), "bare-events/s")
	b.ReportMetric(rate(run), "run-events/s")
	b.ReportMetric(rate(run)/rate(bare), "run/bare")
	b.ReportMetric(rate(run)/rate(decoding), "run/decoding")
}

// BenchmarkDevices handles 10,000 events, or as many as there are devices, of few and of many.
func BenchmarkDevices(b *testing.B) {
	for _, devices := range []int{10, 1000, 100_000} {
		b.Run(strconv.Itoa(devices), func(b *testing.B) {
			k := newTrackOf(b, max(10_000, devices), devices)
			r := k.worker()
			var took time.Duration
			for b.Loop() {
				k.fill()
				start := time.Now()
				r.play()
				took += time.Since(start)
				r.rest()
			}
			r.stop()
			s := r.Stats()
			b.ReportMetric(float64(b.N*k.events)/took.Seconds(), "events/s")
			b.ReportMetric(float64(s.Deletes)/float64(s.DeleteEntries), "deletes/event")
		})
	}
}

// BenchmarkHeldLane tells what a device costs whose event is being handled, beyond what the engine keeps of it: the handler's
// goroutine, the message and its lane.
func BenchmarkHeldLane(b *testing.B) {
	const devices = 10_000
	heap := func() float64 {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return float64(m.HeapAlloc + m.StackInuse)
	}
	for b.Loop() {
		k := newTrackOf(b, devices, devices)
		k.fill()
		before := heap()
		release := make(chan struct{})
		c, err := consumers.New(k.api, k.queue, func(context.Context, events.Event) error { <-release; return nil },
			consumers.Config{Slots: devices, WaitTime: time.Second, Check: works})
		if err != nil {
			b.Fatal(err)
		}
		ctx, cancel := context.WithCancel(context.Background())
		done := make(chan error, 1)
		go func() { done <- c.Run(ctx) }()
		for c.Stats().Held < devices {
			time.Sleep(time.Millisecond)
		}
		b.ReportMetric((heap()-before)/devices, "B/lane")
		close(release)
		cancel()
		if err := <-done; err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkLatency measures from the send to the handler, idle and at half of the load that the consumer can take.
func BenchmarkLatency(b *testing.B) {
	for _, load := range []struct {
		name  string
		pause time.Duration // between two events; zero for half load
	}{{"idle", 5 * time.Millisecond}, {"half", 0}} {
		b.Run(load.name, func(b *testing.B) {
			k := newTrack(b)
			if load.pause == 0 {
				r := k.worker()
				k.fill()
				start := time.Now()
				r.play()
				load.pause = 2 * time.Since(start) / roundEvents
				r.rest()
				r.stop()
			}
			var mu sync.Mutex
			var took []time.Duration
			c, err := consumers.New(k.api, k.queue, func(_ context.Context, e events.Event) error {
				mu.Lock()
				defer mu.Unlock()
				took = append(took, time.Since(e.Time))
				return nil
			}, consumers.Config{WaitTime: time.Second})
			if err != nil {
				b.Fatal(err)
			}
			ctx, cancel := context.WithCancel(context.Background())
			done := make(chan error, 1)
			go func() { done <- c.Run(ctx) }()
			i := 0
			next := time.Now()
			for b.Loop() {
				next = next.Add(load.pause)
				time.Sleep(time.Until(next))
				i++
				e := events.New(fmt.Sprintf("device-%d", i%1000), device.TemperatureMeasured{Celsius: 21})
				e.Source = "gateway"
				body, err := events.Encode(e)
				if err != nil {
					b.Fatal(err)
				}
				if _, err := k.api.SendMessage(ctx, &sqs.SendMessageInput{
					QueueUrl: &k.queue.URL, MessageBody: aws.String(string(body)), MessageGroupId: &e.DeviceID, MessageDeduplicationId: &e.ID,
				}); err != nil {
					b.Fatal(err)
				}
			}
			for c.Stats().Handled < int64(i) {
				time.Sleep(time.Millisecond)
			}
			cancel()
			if err := <-done; err != nil {
				b.Fatal(err)
			}
			slices.Sort(took)
			b.ReportMetric(float64(took[len(took)/2].Microseconds()), "p50-µs")
			b.ReportMetric(float64(took[len(took)*99/100].Microseconds()), "p99-µs")
			b.ReportMetric(1/load.pause.Seconds(), "events/s")
		})
	}
}
