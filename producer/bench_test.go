package producer_test

import (
	"context"
	"fmt"
	"strconv"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sns"
	"github.com/aws/aws-sdk-go-v2/service/sns/types"

	"github.com/device-fanout/fanout/events"
	"github.com/device-fanout/fanout/infra/local"
	"github.com/device-fanout/fanout/producer"
)

// latencies are those of a topic in the same process and of one in the same region.
var latencies = []time.Duration{0, 10 * time.Millisecond}

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

func devices() []string {
	names := make([]string, 1000)
	for i := range names {
		names[i] = fmt.Sprintf("device-%03d", i)
	}
	return names
}

// BenchmarkProducer publishes events of 1,000 devices, one per operation. Compare it with BenchmarkPlainLoop.
func BenchmarkProducer(b *testing.B) {
	for _, latency := range latencies {
		b.Run("latency="+latency.String(), func(b *testing.B) {
			b.ReportAllocs()
			api, arn := newTopic(b, latency)
			p, err := producer.New(api, arn, producer.Config{Source: "gateway", Buffer: 2000})
			if err != nil {
				b.Fatal(err)
			}
			names := devices()
			ctx := context.Background()
			failed := func(r producer.Result) {
				if r.Err != nil {
					b.Error(r.Err)
				}
			}
			for i := 0; b.Loop(); i++ {
				if err := p.Enqueue(ctx, events.New(names[i%len(names)], events.TemperatureMeasured{Celsius: float64(i % 40)}), failed); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(p.Stats().Confirmed)/b.Elapsed().Seconds(), "events/s")
			b.ReportMetric(p.Stats().BatchFill(), "entries/batch")
			if err := p.Close(ctx); err != nil {
				b.Error(err)
			}
		})
	}
}

// BenchmarkPlainLoop does by hand what a Producer does when nothing fails: it encodes events and sends every ten in one request,
// one request after the other.
func BenchmarkPlainLoop(b *testing.B) {
	for _, latency := range latencies {
		b.Run("latency="+latency.String(), func(b *testing.B) {
			b.ReportAllocs()
			api, arn := newTopic(b, latency)
			names := devices()
			ctx := context.Background()
			var batch []types.PublishBatchRequestEntry
			for i := 0; b.Loop(); i++ {
				e := events.New(names[i%len(names)], events.TemperatureMeasured{Celsius: float64(i % 40)})
				e.Source = "gateway"
				body, err := events.Encode(e)
				if err != nil {
					b.Fatal(err)
				}
				batch = append(batch, types.PublishBatchRequestEntry{
					Id: aws.String(strconv.Itoa(len(batch))), Message: aws.String(string(body)),
					MessageGroupId: aws.String(e.DeviceID), MessageDeduplicationId: aws.String(e.ID),
					MessageAttributes: map[string]types.MessageAttributeValue{
						"type":   {DataType: aws.String("String"), StringValue: aws.String(e.Type())},
						"source": {DataType: aws.String("String"), StringValue: aws.String(e.Source)},
					},
				})
				if len(batch) < producer.MaxBatchEntries {
					continue
				}
				out, err := api.PublishBatch(ctx, &sns.PublishBatchInput{TopicArn: &arn, PublishBatchRequestEntries: batch})
				if err != nil || len(out.Failed) > 0 {
					b.Fatal(err, out)
				}
				batch = batch[:0]
			}
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "events/s")
		})
	}
}
