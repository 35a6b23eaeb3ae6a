package producer_test

import (
	"context"
	"fmt"
	"runtime"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sns"
	"github.com/aws/aws-sdk-go-v2/service/sns/types"

	"github.com/device-fanout/fanout/events"
	"github.com/device-fanout/fanout/events/device"
	"github.com/device-fanout/fanout/infra/local"
	"github.com/device-fanout/fanout/producer"
)

// slowTopic answers as late as a network makes it.
type slowTopic struct {
	producer.TopicAPI
	latency time.Duration
}

func (s slowTopic) PublishBatch(ctx context.Context, in *sns.PublishBatchInput, o ...func(*sns.Options)) (*sns.PublishBatchOutput, error) {
	if s.latency > 0 {
		time.Sleep(s.latency)
	}
	return s.TopicAPI.PublishBatch(ctx, in, o...)
}

func newTopic(b *testing.B, latency time.Duration) (api producer.TopicAPI, arn string) {
	b.Helper()
	client := local.New(local.Options{}).SNS()
	out, err := client.CreateTopic(context.Background(), &sns.CreateTopicInput{
		Name: aws.String("dev-device-events.fifo"), Attributes: map[string]string{"FifoTopic": "true", "FifoThroughputScope": "MessageGroup"},
	})
	if err != nil {
		b.Fatal(err)
	}
	return slowTopic{client, latency}, aws.ToString(out.TopicArn)
}

func devices(n int) []string {
	names := make([]string, n)
	for i := range names {
		names[i] = fmt.Sprintf("device-%07d", i)
	}
	return names
}

// reading is what device number i says.
func reading(names []string, i int) events.Event {
	return events.New(names[i%len(names)], device.TemperatureMeasured{Celsius: float64(i % 40)})
}

// BenchmarkThroughput compares, in one run over the same engine, a plain loop of PublishBatch with a Producer, without and with a
// spool: events per second until the last is confirmed, with 1,000 devices. An operation is one event.
func BenchmarkThroughput(b *testing.B) {
	b.Run("plain-loop", plainLoop)
	b.Run("producer", func(b *testing.B) { throughput(b, 0, producer.Config{}) })
	b.Run("spool", func(b *testing.B) { throughput(b, 0, producer.Config{Spool: b.TempDir()}) })
	b.Run("spool/sync=1s", func(b *testing.B) { throughput(b, 0, producer.Config{Spool: b.TempDir(), SpoolSync: time.Second}) })
}

// BenchmarkRoundTrip is BenchmarkThroughput for a topic 10 ms away: the local engine, whose work counts too, and one that costs nothing.
func BenchmarkRoundTrip(b *testing.B) {
	const latency = 10 * time.Millisecond
	b.Run("producer", func(b *testing.B) { throughput(b, latency, producer.Config{}) })
	b.Run("spool", func(b *testing.B) { throughput(b, latency, producer.Config{Spool: b.TempDir()}) })
	b.Run("free-topic", func(b *testing.B) {
		topic := &agreeable{}
		topic.open.Store(true)
		throughputOver(b, slowTopic{topic, latency}, benchTopic, producer.Config{})
	})
}

func throughput(b *testing.B, latency time.Duration, cfg producer.Config) {
	api, arn := newTopic(b, latency)
	throughputOver(b, api, arn, cfg)
}

func throughputOver(b *testing.B, api producer.TopicAPI, arn string, cfg producer.Config) {
	b.ReportAllocs()
	cfg.Source, cfg.Buffer = "gateway", 4000
	p, err := producer.New(api, arn, cfg)
	if err != nil {
		b.Fatal(err)
	}
	names := devices(1000)
	ctx := context.Background()
	failed := func(r producer.Result) {
		if r.Err != nil {
			b.Error(r.Err)
		}
	}
	start := time.Now()
	for i := 0; b.Loop(); i++ {
		if err := p.Enqueue(ctx, reading(names, i), failed); err != nil {
			b.Fatal(err)
		}
	}
	if err := p.Close(ctx); err != nil {
		b.Error(err)
	}
	b.ReportMetric(float64(p.Stats().Confirmed)/time.Since(start).Seconds(), "events/s")
	b.ReportMetric(p.Stats().BatchFill(), "entries/batch")
}

// plain does by hand what a Producer does when nothing fails: it encodes events and sends every ten in one request, one request
// after the other.
type plain struct {
	b     *testing.B
	api   producer.TopicAPI
	arn   string
	names []string
	batch []types.PublishBatchRequestEntry
}

func newPlainLoop(b *testing.B, names []string) *plain {
	b.Helper()
	api, arn := newTopic(b, 0)
	return &plain{b: b, api: api, arn: arn, names: names}
}

func (l *plain) publish(i int) {
	e := reading(l.names, i)
	e.Source = "gateway"
	body, err := events.Encode(e)
	if err != nil {
		l.b.Fatal(err)
	}
	l.batch = append(l.batch, types.PublishBatchRequestEntry{
		Id: aws.String(strconv.Itoa(len(l.batch))), Message: aws.String(string(body)),
		MessageGroupId: aws.String(e.DeviceID), MessageDeduplicationId: aws.String(e.ID),
		MessageAttributes: map[string]types.MessageAttributeValue{
			"type":   {DataType: aws.String("String"), StringValue: aws.String(e.Type())},
			"source": {DataType: aws.String("String"), StringValue: aws.String(e.Source)},
		},
	})
	if len(l.batch) < producer.MaxBatchEntries {
		return
	}
	out, err := l.api.PublishBatch(context.Background(), &sns.PublishBatchInput{TopicArn: &l.arn, PublishBatchRequestEntries: l.batch})
	if err != nil || len(out.Failed) > 0 {
		l.b.Fatal(err, out)
	}
	l.batch = l.batch[:0]
}

func plainLoop(b *testing.B) {
	b.ReportAllocs()
	loop := newPlainLoop(b, devices(1000))
	start := time.Now()
	for i := 0; b.Loop(); i++ {
		loop.publish(i)
	}
	b.ReportMetric(float64(b.N)/time.Since(start).Seconds(), "events/s")
}

// agreeable is a topic that confirms everything at no cost, once it is open.
type agreeable struct{ open atomic.Bool }

func (a *agreeable) PublishBatch(ctx context.Context, in *sns.PublishBatchInput, _ ...func(*sns.Options)) (*sns.PublishBatchOutput, error) {
	if !a.open.Load() {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	out := &sns.PublishBatchOutput{Successful: make([]types.PublishBatchResultEntry, len(in.PublishBatchRequestEntries))}
	for i := range out.Successful {
		out.Successful[i].Id = in.PublishBatchRequestEntries[i].Id
	}
	return out, nil
}

const benchTopic = "arn:aws:sns:eu-central-1:000000000000:dev-device-events.fifo"

// BenchmarkOwnCost is what a Producer itself costs per event, for few devices and for many: no topic, no network.
func BenchmarkOwnCost(b *testing.B) {
	for _, n := range []int{10, 1000, 100_000, 1_000_000} {
		b.Run(fmt.Sprintf("devices=%d", n), func(b *testing.B) {
			b.ReportAllocs()
			topic := &agreeable{}
			topic.open.Store(true)
			p, err := producer.New(topic, benchTopic, producer.Config{Source: "gateway", Buffer: 2000, BufferPerDevice: 200})
			if err != nil {
				b.Fatal(err)
			}
			names := devices(n)
			event := reading(names, 0)
			ctx := context.Background()
			for i := 0; b.Loop(); i++ {
				event.DeviceID = names[i%n]
				if err := p.Enqueue(ctx, event, nil); err != nil {
					b.Fatal(err)
				}
			}
			if err := p.Close(ctx); err != nil {
				b.Error(err)
			}
		})
	}
}

// BenchmarkMemory is what an event costs in memory while it waits: in the buffer, and in the spool during an outage. An operation is one
// event; run it for a second or more, so that what is there without events does not count.
func BenchmarkMemory(b *testing.B) {
	for _, spooled := range []bool{false, true} {
		for _, n := range []int{1000, 100_000} {
			b.Run(fmt.Sprintf("spool=%v/devices=%d", spooled, n), func(b *testing.B) { memory(b, spooled, n) })
		}
	}
}

func memory(b *testing.B, spooled bool, n int) {
	const plenty = 1 << 40
	names := devices(n)
	cfg := producer.Config{Buffer: plenty, BufferPerDevice: plenty}
	if spooled {
		cfg = producer.Config{Spool: b.TempDir(), SpoolSync: -1, SpoolBytes: plenty, Buffer: 1000}
	}
	p, err := producer.New(&agreeable{}, benchTopic, cfg)
	if err != nil {
		b.Fatal(err)
	}
	before := heap()
	for i := 0; b.Loop(); i++ {
		if err := p.Enqueue(context.Background(), reading(names, i), nil); err != nil {
			b.Fatal(err)
		}
	}
	for spooled && p.Stats().Spooled < b.N {
		time.Sleep(time.Millisecond)
	}
	b.ReportMetric(float64(heap()-before)/float64(b.N), "B/event")
	if err := p.Close(over()); spooled && err != nil {
		b.Error(err)
	}
	runtime.KeepAlive(names)
}

func heap() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// BenchmarkRestart opens a spool in which 10,000 events of 1,000 devices wait.
func BenchmarkRestart(b *testing.B) {
	const count = 10_000
	cfg := producer.Config{Spool: b.TempDir(), SpoolSync: -1}
	names := devices(1000)
	p, err := producer.New(&agreeable{}, benchTopic, cfg)
	if err != nil {
		b.Fatal(err)
	}
	for i := range count {
		if err := p.Enqueue(context.Background(), reading(names, i), nil); err != nil {
			b.Fatal(err)
		}
	}
	if err := p.Close(over()); err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		p, err := producer.New(&agreeable{}, benchTopic, cfg)
		if err != nil {
			b.Fatal(err)
		}
		if n := p.Stats().Spooled; n != count {
			b.Fatalf("%d events wait, want %d", n, count)
		}
		b.StopTimer()
		if err := p.Close(over()); err != nil {
			b.Fatal(err)
		}
		b.StartTimer()
	}
}
