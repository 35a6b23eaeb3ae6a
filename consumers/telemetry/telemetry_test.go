package telemetry_test

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"

	"github.com/device-fanout/fanout/consumers"
	"github.com/device-fanout/fanout/consumers/health"
	"github.com/device-fanout/fanout/consumers/telemetry"
	"github.com/device-fanout/fanout/events"
	"github.com/device-fanout/fanout/events/device"
	"github.com/device-fanout/fanout/infra/local"
)

const parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"

// TestTelemetry_LinksToTheProducerAndCounts: two events, one of which fails, and what is said of them.
func TestTelemetry_LinksToTheProducerAndCounts(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ctx := t.Context()
		api := local.New(local.Options{}).SQS()
		create := func(name string) string {
			out, err := api.CreateQueue(ctx, &sqs.CreateQueueInput{QueueName: &name, Attributes: map[string]string{"FifoQueue": "true"}})
			if err != nil {
				t.Fatal(err)
			}
			return aws.ToString(out.QueueUrl)
		}
		queue := consumers.Queue{Service: "lights", URL: create("dev-lights.fifo"), DLQURL: create("dev-lights-dlq.fifo")}
		for _, deviceID := range []string{"good", "bad", "broken"} {
			e := events.New(deviceID, device.MotionChanged{Detected: true})
			e.ID, e.Source = deviceID, "test"
			body, err := events.Encode(e)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := api.SendMessage(ctx, &sqs.SendMessageInput{
				QueueUrl: &queue.URL, MessageBody: aws.String(string(body)), MessageGroupId: &deviceID, MessageDeduplicationId: &deviceID,
				MessageAttributes: map[string]types.MessageAttributeValue{
					"type":        {DataType: aws.String("String"), StringValue: aws.String(e.Type())},
					"traceparent": {DataType: aws.String("String"), StringValue: aws.String(parent)},
				},
			}); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(3 * time.Second) // it has some latency
		recorder, reader := tracetest.NewSpanRecorder(), sdkmetric.NewManualReader()
		watch, err := telemetry.New(telemetry.Config{
			TracerProvider: sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(recorder)),
			MeterProvider:  sdkmetric.NewMeterProvider(sdkmetric.WithReader(reader)), Queue: queue.URL,
		})
		if err != nil {
			t.Fatal(err)
		}
		c, err := consumers.New(api, queue, func(ctx context.Context, e events.Event) error {
			if !trace.SpanContextFromContext(ctx).IsValid() {
				t.Error("the handler's context has no span")
			}
			switch e.ID {
			case "bad":
				return consumers.Known("refused", errors.New("no"))
			case "broken": // it is held first, and becomes a dead letter between two attempts
				return errors.New("broken")
			}
			return nil
		}, consumers.Config{
			WaitTime: time.Second, Hooks: watch.Hooks(), Slots: 1, Retries: -1, Check: func(context.Context) error { return nil },
		})
		if err != nil {
			t.Fatal(err)
		}
		stop, err := watch.Observe(c)
		if err != nil {
			t.Fatal(err)
		}
		server := health.Handler(c)
		look := func(path string, code int, want string) {
			t.Helper()
			w := httptest.NewRecorder()
			server.ServeHTTP(w, httptest.NewRequest(http.MethodGet, path, nil))
			if w.Code != code || !strings.Contains(w.Body.String(), want) || !json.Valid(w.Body.Bytes()) {
				t.Errorf("%s: got %d %s, want %d with %s", path, w.Code, w.Body, code, want)
			}
		}
		look("/readyz", 503, "stopped")
		running, cancel := context.WithCancel(ctx)
		done := make(chan error)
		go func() { done <- c.Run(running) }()
		time.Sleep(5 * time.Second)
		look("/healthz", 200, "ok")
		look("/livez", 200, "ok")
		look("/startupz", 200, "ok")
		look("/readyz", 200, "ok")
		look("/blocked", 200, "[]")
		look("/stats", 200, `"Handled":1`)
		c.Pause()
		look("/readyz", 503, "paused")

		var data metricdata.ResourceMetrics
		if err := reader.Collect(ctx, &data); err != nil {
			t.Fatal(err)
		}
		got := map[string]float64{}
		for _, m := range data.ScopeMetrics[0].Metrics {
			switch d := m.Data.(type) {
			case metricdata.Sum[int64]:
				for _, p := range d.DataPoints {
					verdict, _ := p.Attributes.Value("fanout.verdict")
					class, _ := p.Attributes.Value("fanout.class")
					got[strings.TrimSpace(m.Name+" "+verdict.AsString())] += float64(p.Value)
					got[strings.TrimSpace(m.Name+" of class "+class.AsString())] += float64(p.Value)
				}
			case metricdata.Gauge[int64]:
				for _, p := range d.DataPoints {
					got[m.Name] += float64(p.Value)
				}
			case metricdata.Histogram[float64]:
				for _, p := range d.DataPoints {
					got[m.Name] += float64(p.Count)
					if m.Name == "fanout.consumer.latency" && p.Sum < 3 {
						t.Errorf("latency: got %v s, want at least 3", p.Sum)
					}
				}
			}
		}
		for name, want := range map[string]float64{
			"fanout.consumer.verdicts handled": 1, "fanout.consumer.verdicts known": 1, "fanout.consumer.verdicts held": 2, "messaging.process.duration": 4,
			"fanout.consumer.dead_letters of class known": 1, "fanout.consumer.dead_letters of class exhausted": 1,
			"fanout.consumer.latency": 1, "fanout.consumer.received": 3, "fanout.consumer.dead_lettered": 2, "fanout.consumer.delete.entries": 3,
			"fanout.consumer.held": 0, "fanout.consumer.breaker.open": 0,
			"fanout.consumer.receive.failures": 0,
		} {
			if value, ok := got[name]; !ok || value != want {
				t.Errorf("metric %s: got %v (there: %v), want %v", name, value, ok, want)
			}
		}
		spans := recorder.Ended()
		if len(spans) != 4 {
			t.Fatalf("%d spans, want 4", len(spans))
		}
		for _, s := range spans {
			if s.Name() != "process dev-lights.fifo" || len(s.Links()) != 1 || s.Links()[0].SpanContext.SpanID().String() != "b7ad6b7169203331" ||
				s.SpanContext().TraceID().String() == "0af7651916cd43dd8448eb211c80319c" {
				t.Errorf("got span %q with links %+v, want one of its own trace that links to the producer's", s.Name(), s.Links())
			}
		}
		if err := stop(); err != nil {
			t.Error(err)
		}
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		look("/readyz", 503, "stopped")
	})
}

// TestConsumers_DoNotLinkOpenTelemetry: the runtime's imports stay light, the database drivers included.
func TestConsumers_DoNotLinkOpenTelemetry(t *testing.T) {
	t.Parallel()
	out, err := exec.CommandContext(t.Context(), "go", "list", "-deps", "github.com/device-fanout/fanout/consumers", "github.com/device-fanout/fanout/consumers/health").Output()
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range strings.Fields(string(out)) {
		for _, heavy := range []string{"go.opentelemetry.io", "github.com/prometheus", "modernc.org", "github.com/jackc"} {
			if strings.HasPrefix(name, heavy) {
				t.Errorf("consumers imports %s", name)
			}
		}
	}
}
