package telemetry_test

import (
	"context"
	"maps"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sns"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"go.opentelemetry.io/otel/attribute"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"

	"github.com/device-fanout/fanout/events"
	"github.com/device-fanout/fanout/events/device"
	"github.com/device-fanout/fanout/infra/local"
	"github.com/device-fanout/fanout/infra/local/faults"
	"github.com/device-fanout/fanout/producer"
	"github.com/device-fanout/fanout/producer/telemetry"
)

// scene is a producer that is watched, before a topic with one queue.
type scene struct {
	*local.Instance
	queue  string
	p      *producer.Producer
	spans  *tracetest.SpanRecorder
	tracer trace.Tracer
	reader *sdkmetric.ManualReader
}

func newScene(t *testing.T, cfg producer.Config) *scene {
	t.Helper()
	ctx := t.Context()
	s := &scene{Instance: local.Start(t, local.Options{}), spans: tracetest.NewSpanRecorder(), reader: sdkmetric.NewManualReader()}
	topic, err := s.SNS.CreateTopic(ctx, &sns.CreateTopicInput{Name: aws.String("dev-device-events.fifo"), Attributes: map[string]string{"FifoTopic": "true"}})
	if err != nil {
		t.Fatal(err)
	}
	q, err := s.SQS.CreateQueue(ctx, &sqs.CreateQueueInput{QueueName: aws.String("dev-history.fifo"), Attributes: map[string]string{"FifoQueue": "true"}})
	if err != nil {
		t.Fatal(err)
	}
	s.queue = *q.QueueUrl
	if _, err := s.SNS.Subscribe(ctx, &sns.SubscribeInput{
		TopicArn: topic.TopicArn, Protocol: aws.String("sqs"), Attributes: map[string]string{"RawMessageDelivery": "true"},
		Endpoint: aws.String("arn:aws:sqs:" + local.DefaultRegion + ":" + local.DefaultAccount + ":dev-history.fifo"),
	}); err != nil {
		t.Fatal(err)
	}
	traces := sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(s.spans))
	s.tracer = traces.Tracer("test")
	watch, err := telemetry.New(telemetry.Config{
		TracerProvider: traces, MeterProvider: sdkmetric.NewMeterProvider(sdkmetric.WithReader(s.reader)), TopicARN: *topic.TopicArn,
	})
	if err != nil {
		t.Fatal(err)
	}
	cfg.Hooks = watch.Hooks()
	if s.p, err = producer.New(s.SNS, *topic.TopicArn, cfg); err != nil {
		t.Fatal(err)
	}
	if _, err := watch.Observe(s.p); err != nil {
		t.Fatal(err)
	}
	return s
}

func (s *scene) named(name string) []sdktrace.ReadOnlySpan {
	var list []sdktrace.ReadOnlySpan
	for _, span := range s.spans.Ended() {
		if span.Name() == name {
			list = append(list, span)
		}
	}
	return list
}

// metrics returns the sums and gauges, and the counts of histograms, by name and error type.
func (s *scene) metrics(t *testing.T) map[string]float64 {
	t.Helper()
	var all metricdata.ResourceMetrics
	if err := s.reader.Collect(context.Background(), &all); err != nil {
		t.Fatal(err)
	}
	got := map[string]float64{}
	add := func(name string, set attribute.Set, value float64) {
		for _, kv := range set.ToSlice() {
			switch {
			case kv.Key == "error.type":
				name += " " + kv.Value.AsString()
			case kv.Key != "messaging.system" && kv.Key != "messaging.destination.name":
				t.Errorf("metric %s has the attribute %s", name, kv.Key)
			}
		}
		got[name] += value
	}
	for _, scope := range all.ScopeMetrics {
		for _, m := range scope.Metrics {
			switch data := m.Data.(type) {
			case metricdata.Sum[int64]:
				for _, p := range data.DataPoints {
					add(m.Name, p.Attributes, float64(p.Value))
				}
			case metricdata.Gauge[int64]:
				for _, p := range data.DataPoints {
					add(m.Name, p.Attributes, float64(p.Value))
				}
			case metricdata.Gauge[float64]:
				for _, p := range data.DataPoints {
					add(m.Name, p.Attributes, p.Value)
				}
			case metricdata.Histogram[float64]:
				for _, p := range data.DataPoints {
					add(m.Name, p.Attributes, float64(p.Count))
				}
			case metricdata.Histogram[int64]:
				for _, p := range data.DataPoints {
					add(m.Name, p.Attributes, float64(p.Count))
				}
			}
		}
	}
	return got
}

func TestTrace_GoesFromTheCallerToTheQueue(t *testing.T) {
	t.Parallel()
	for name, cfg := range map[string]producer.Config{"memory": {}, "spool": {Spool: t.TempDir()}} {
		s := newScene(t, cfg)
		ctx, caller := s.tracer.Start(t.Context(), "switch pressed")
		if err := s.p.Publish(ctx, events.New("lamp-7", device.PowerChanged{On: true})); err != nil {
			t.Fatal(err)
		}
		caller.End()
		if err := s.p.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
		created, sent := s.named("create dev-device-events.fifo"), s.named("send dev-device-events.fifo")
		if len(created) != 1 || len(sent) != 1 {
			t.Fatalf("%s: %d create and %d send spans, want one each", name, len(created), len(sent))
		}
		if created[0].Parent().SpanID() != caller.SpanContext().SpanID() || created[0].SpanKind() != trace.SpanKindProducer {
			t.Errorf("%s: the create span is no producer span under the caller's", name)
		}
		if l := sent[0].Links(); len(l) != 1 || l[0].SpanContext.SpanID() != created[0].SpanContext().SpanID() {
			t.Errorf("%s: the send span links to %v, want the create span", name, l)
		}
		out, err := s.SQS.ReceiveMessage(t.Context(), &sqs.ReceiveMessageInput{QueueUrl: &s.queue, MessageAttributeNames: []string{"All"}})
		if err != nil || len(out.Messages) != 1 {
			t.Fatal(out, err)
		}
		want := "00-" + caller.SpanContext().TraceID().String() + "-" + created[0].SpanContext().SpanID().String() + "-01"
		if got := aws.ToString(out.Messages[0].MessageAttributes["traceparent"].StringValue); got != want {
			t.Errorf("%s: the message has traceparent %q, want %q", name, got, want)
		}
	}
}

func TestMetrics_CountWhatHappens(t *testing.T) {
	t.Parallel()
	s := newScene(t, producer.Config{})
	s.Engine.Faults().Add(faults.Rule{Kind: faults.Throttle, Action: "PublishBatch", Count: 1})
	s.Engine.Faults().Add(faults.Rule{Kind: faults.FailEntry, Action: "PublishBatch", Group: "bad", Code: "InvalidParameter", SenderFault: true})
	if err := s.p.Publish(t.Context(), events.New("lamp-7", device.PowerChanged{On: true})); err != nil {
		t.Fatal(err)
	}
	if err := s.p.Publish(t.Context(), events.New("bad", device.PowerChanged{On: true})); err == nil {
		t.Error("published what the topic refuses")
	}
	if err := s.p.Publish(t.Context(), events.New("lamp-7", device.HumidityMeasured{Percent: 140})); err == nil {
		t.Error("published an invalid event")
	}
	if err := s.p.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	want := map[string]float64{
		"messaging.client.sent.messages":                  1,
		"messaging.client.sent.messages Throttled":        1,
		"messaging.client.sent.messages InvalidParameter": 1,
		"messaging.client.operation.duration":             2,
		"messaging.client.operation.duration Throttled":   1,
		"fanout.producer.accepted":                        2,
		"fanout.producer.confirmed":                       1,
		"fanout.producer.failed InvalidParameter":         1,
		"fanout.producer.retried":                         1,
		"fanout.producer.set_aside":                       0,
		"fanout.producer.latency":                         1,
		"fanout.producer.batch.fill":                      3,
		"fanout.producer.buffered":                        0,
		"fanout.producer.spooled":                         0,
		"fanout.producer.oldest":                          0,
	}
	if got := s.metrics(t); !maps.Equal(got, want) {
		t.Errorf("got %v\nwant %v", got, want)
	}
	var failures []string
	for _, span := range s.named("create dev-device-events.fifo") {
		for _, kv := range span.Attributes() {
			if kv.Key == "error.type" {
				failures = append(failures, kv.Value.AsString())
			}
		}
	}
	if !slices.Equal(failures, []string{"InvalidParameter", "invalid"}) {
		t.Errorf("create spans failed with %v", failures)
	}
}

// TestProducer_DoesNotLinkOpenTelemetry: who does not watch does not pay, not even in the size of the program.
func TestProducer_DoesNotLinkOpenTelemetry(t *testing.T) {
	t.Parallel()
	out, err := exec.Command("go", "list", "-deps", "github.com/device-fanout/fanout/producer").Output()
	if err != nil {
		t.Fatal(err)
	}
	for dependency := range strings.Lines(string(out)) {
		if strings.Contains(dependency, "opentelemetry") {
			t.Errorf("the producer imports %s", strings.TrimSpace(dependency))
		}
	}
}
