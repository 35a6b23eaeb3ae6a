package local_test

import (
	"fmt"
	"net/http"
	"runtime"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sns"
	snstypes "github.com/aws/aws-sdk-go-v2/service/sns/types"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	sqstypes "github.com/aws/aws-sdk-go-v2/service/sqs/types"

	"github.com/device-fanout/fanout/infra/local"
)

// eventBody is an event of the usual size, about 420 bytes.
const eventBody = `{"specversion":"1.0","id":"0192f0c1-7e1a-7cc3-98c4-dc0c0c07398f","source":"urn:gateway:demo","subject":"lamp-0001",` +
	`"type":"device.power.changed.v1","time":"2026-01-31T12:00:00.123456Z","datacontenttype":"application/json",` +
	`"dataschema":"https://device-fanout.example/schemas/device.power.changed.v1.json","sequence":"00000000000000000042",` +
	`"data":{"on":true,"level_percent":42.5}}`

// fanout is a FIFO topic with three raw subscriptions, and clients.
type fanout struct {
	engine *local.Engine
	sns    *sns.Client
	sqs    *sqs.Client
	topic  string
	queues []string
	n      int
}

func newFanout(b *testing.B, sockets bool) *fanout {
	b.Helper()
	e := local.New(local.Options{})
	cfg := e.Config()
	if sockets {
		url, err := e.Listen("127.0.0.1:0")
		if err != nil {
			b.Fatal(err)
		}
		transport := &http.Transport{MaxIdleConnsPerHost: 10}
		b.Cleanup(func() { transport.CloseIdleConnections(); _ = e.Close() })
		cfg.BaseEndpoint, cfg.HTTPClient = &url, &http.Client{Transport: transport}
	}
	f := &fanout{engine: e, sns: sns.NewFromConfig(cfg), sqs: sqs.NewFromConfig(cfg)}
	topic, err := f.sns.CreateTopic(b.Context(), &sns.CreateTopicInput{Name: aws.String("t.fifo"), Attributes: attrs{"FifoTopic": "true"}})
	if err != nil {
		b.Fatal(err)
	}
	f.topic = *topic.TopicArn
	for i := range 3 {
		name := fmt.Sprintf("q%d.fifo", i)
		q, err := f.sqs.CreateQueue(b.Context(), &sqs.CreateQueueInput{QueueName: &name, Attributes: attrs{"FifoQueue": "true"}})
		if err != nil {
			b.Fatal(err)
		}
		f.queues = append(f.queues, *q.QueueUrl)
		if _, err := f.sns.Subscribe(b.Context(), &sns.SubscribeInput{
			TopicArn: &f.topic, Protocol: aws.String("sqs"), Endpoint: aws.String(arnPrefix + name), Attributes: raw,
		}); err != nil {
			b.Fatal(err)
		}
	}
	return f
}

// publish publishes a batch of ten events of ten devices.
func (f *fanout) publish(b *testing.B) {
	entries := make([]snstypes.PublishBatchRequestEntry, 10)
	for i := range entries {
		f.n++
		entries[i] = snstypes.PublishBatchRequestEntry{
			Id:                     aws.String(fmt.Sprint(i)),
			Message:                aws.String(eventBody),
			MessageGroupId:         aws.String(fmt.Sprintf("lamp-%04d", f.n%1000)),
			MessageDeduplicationId: aws.String(fmt.Sprintf("0192f0c1-7e1a-7cc3-98c4-%012d", f.n)),
			MessageAttributes: map[string]snstypes.MessageAttributeValue{
				"type":   {DataType: aws.String("String"), StringValue: aws.String("device.power.changed.v1")},
				"source": {DataType: aws.String("String"), StringValue: aws.String("urn:gateway:demo")},
			},
		}
	}
	out, err := f.sns.PublishBatch(b.Context(), &sns.PublishBatchInput{TopicArn: &f.topic, PublishBatchRequestEntries: entries})
	if err != nil || len(out.Successful) != 10 {
		b.Fatal(err, out)
	}
}

// drain receives ten messages of a queue and deletes them.
func (f *fanout) drain(b *testing.B, url string) {
	out, err := f.sqs.ReceiveMessage(b.Context(), &sqs.ReceiveMessageInput{
		QueueUrl: &url, MaxNumberOfMessages: 10, WaitTimeSeconds: 20, MessageAttributeNames: []string{"All"},
		MessageSystemAttributeNames: []sqstypes.MessageSystemAttributeName{"All"},
	})
	if err != nil || len(out.Messages) != 10 {
		b.Fatal(err, out)
	}
	entries := make([]sqstypes.DeleteMessageBatchRequestEntry, len(out.Messages))
	for i, m := range out.Messages {
		entries[i] = sqstypes.DeleteMessageBatchRequestEntry{Id: aws.String(fmt.Sprint(i)), ReceiptHandle: m.ReceiptHandle}
	}
	deleted, err := f.sqs.DeleteMessageBatch(b.Context(), &sqs.DeleteMessageBatchInput{QueueUrl: &url, Entries: entries})
	if err != nil || len(deleted.Successful) != len(entries) {
		b.Fatal(err, deleted)
	}
}

// BenchmarkFanout takes ten events to three queues and out of them again: seven requests.
func BenchmarkFanout(b *testing.B) {
	for name, sockets := range map[string]bool{"in process": false, "loopback": true} {
		b.Run(name, func(b *testing.B) {
			f := newFanout(b, sockets)
			b.ReportAllocs()
			for b.Loop() {
				f.publish(b)
				for _, url := range f.queues {
					f.drain(b, url)
				}
			}
			b.ReportMetric(float64(b.N)*10/b.Elapsed().Seconds(), "events/s")
		})
	}
}

// BenchmarkRequests takes the same way with requests made beforehand: what remains is the engine itself.
func BenchmarkRequests(b *testing.B) {
	b.Run("publish 10 to 3 queues", func(b *testing.B) {
		f := newFanout(b, false)
		b.ReportAllocs()
		for b.Loop() {
			f.publish(b)
		}
		b.ReportMetric(float64(b.N)*10/b.Elapsed().Seconds(), "events/s")
	})
	b.Run("receive and delete 10", func(b *testing.B) {
		f := newFanout(b, false)
		b.ReportAllocs()
		for b.Loop() {
			b.StopTimer()
			f.publish(b)
			b.StartTimer()
			f.drain(b, f.queues[0])
		}
	})
}

// BenchmarkMemory tells what a queued message costs beyond its body, attributes and IDs.
func BenchmarkMemory(b *testing.B) {
	for b.Loop() {
		f := newFanout(b, false)
		heap := func() uint64 {
			runtime.GC()
			var m runtime.MemStats
			runtime.ReadMemStats(&m)
			return m.HeapAlloc
		}
		const batches = 10_000
		before := heap()
		for range batches {
			f.publish(b)
		}
		perMessage := float64(heap()-before) / (batches * 10 * 3)
		b.ReportMetric(perMessage, "heap-B/message")
		content := len(eventBody) + len("typeStringdevice.power.changed.v1sourceStringurn:gateway:demo") + 36
		b.ReportMetric(perMessage-float64(content)/3, "overhead-B/message")
		runtime.KeepAlive(f)
	}
}
