package telemetry

import (
	"cmp"
	"context"
	"errors"
	"net/http"
	"strings"
	"time"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/propagation"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
	"go.opentelemetry.io/otel/trace"

	"github.com/device-fanout/fanout/events"
	"github.com/device-fanout/fanout/producer"
)

const scope = "github.com/device-fanout/fanout/producer/telemetry"

// Config says where spans and metrics go. The zero value takes the global providers of OpenTelemetry.
type Config struct {
	TracerProvider trace.TracerProvider // nil means the global one
	MeterProvider  metric.MeterProvider // nil means the global one
	// TopicARN names the topic in what does not come with a request. Empty leaves it out there.
	TopicARN string
}

// Telemetry watches producers. It is safe for concurrent use.
type Telemetry struct {
	tracer trace.Tracer
	meter  metric.Meter
	topic  attribute.Set // what all metrics carry
	name   string

	sent              metric.Int64Counter
	requests, latency metric.Float64Histogram
	fill              metric.Int64Histogram
	failed            metric.Int64Counter
}

// New makes a Telemetry. The error is that of a meter provider that refuses an instrument.
func New(cfg Config) (*Telemetry, error) {
	if cfg.TracerProvider == nil {
		cfg.TracerProvider = otel.GetTracerProvider()
	}
	if cfg.MeterProvider == nil {
		cfg.MeterProvider = otel.GetMeterProvider()
	}
	t := &Telemetry{
		tracer: cfg.TracerProvider.Tracer(scope), meter: cfg.MeterProvider.Meter(scope), name: cfg.TopicARN[strings.LastIndexByte(cfg.TopicARN, ':')+1:],
	}
	t.topic = attribute.NewSet(t.common()...)
	var faults [5]error
	t.sent, faults[0] = t.meter.Int64Counter("messaging.client.sent.messages", metric.WithUnit("{message}"),
		metric.WithDescription("Entries of requests to the topic"))
	t.requests, faults[1] = t.meter.Float64Histogram("messaging.client.operation.duration", metric.WithUnit("s"),
		metric.WithDescription("Duration of requests to the topic"),
		metric.WithExplicitBucketBoundaries(.005, .01, .025, .05, .075, .1, .25, .5, .75, 1, 2.5, 5, 7.5, 10))
	t.latency, faults[2] = t.meter.Float64Histogram("fanout.producer.latency", metric.WithUnit("s"),
		metric.WithDescription("Time from an event's acceptance to its confirmation"),
		metric.WithExplicitBucketBoundaries(.005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60, 300, 1800, 3600))
	t.fill, faults[3] = t.meter.Int64Histogram("fanout.producer.batch.fill", metric.WithUnit("{message}"),
		metric.WithDescription("Entries in a request"), metric.WithExplicitBucketBoundaries(1, 2, 3, 4, 5, 6, 7, 8, 9, 10))
	t.failed, faults[4] = t.meter.Int64Counter("fanout.producer.failed", metric.WithUnit("{event}"),
		metric.WithDescription("Events that failed for good"))
	return t, errors.Join(faults[:]...)
}

// common are the attributes of everything.
func (t *Telemetry) common(more ...attribute.KeyValue) []attribute.KeyValue {
	list := []attribute.KeyValue{semconv.MessagingSystemAWSSNS}
	if t.name != "" {
		list = append(list, semconv.MessagingDestinationName(t.name))
	}
	return append(list, more...)
}

// Hooks are what [producer.Config] wants.
func (t *Telemetry) Hooks() producer.Hooks {
	return producer.Hooks{Accept: t.accept, Request: t.request, Resolved: t.resolved}
}

// accept starts the span of an event.
func (t *Telemetry) accept(ctx context.Context, e events.Event) (producer.Trace, func(producer.Result)) {
	ctx, span := t.tracer.Start(ctx, spanName("create", t.name), trace.WithSpanKind(trace.SpanKindProducer), trace.WithAttributes(t.common(
		semconv.MessagingOperationTypeCreate, semconv.MessagingOperationName("create"),
		semconv.CloudEventsEventID(e.ID), semconv.CloudEventsEventType(e.Type()), semconv.CloudEventsEventSubject(e.DeviceID),
	)...))
	carrier := propagation.MapCarrier{}
	propagation.TraceContext{}.Inject(ctx, carrier)
	headers := producer.Trace{Parent: carrier["traceparent"], State: carrier["tracestate"]}
	if !span.IsRecording() {
		return headers, nil
	}
	return headers, func(r producer.Result) {
		switch {
		case r.Err != nil:
			fail(span, errorType("", r.Err), r.Err)
		case r.Spooled:
			span.SetAttributes(attribute.Bool("fanout.spooled", true))
		default:
			span.SetAttributes(semconv.MessagingMessageID(r.MessageID))
		}
		span.End()
	}
}

// Continue returns a context in which the trace that an HTTP request's header names goes on: the spans of events that are published with
// it are children of the client's. It is what a gateway's Config.Trace wants. A header that names none leaves ctx as it is.
func Continue(ctx context.Context, header http.Header) context.Context {
	return propagation.TraceContext{}.Extract(ctx, propagation.HeaderCarrier(header))
}

// request starts the span of a request.
func (t *Telemetry) request(ctx context.Context, r producer.Request) (context.Context, func(producer.RequestEnd)) {
	ctx, span := t.tracer.Start(ctx, spanName("send", t.name), trace.WithSpanKind(trace.SpanKindClient), trace.WithLinks(links(r.Traces)...),
		trace.WithAttributes(t.common(
			semconv.MessagingOperationTypeSend, semconv.MessagingOperationName("publish_batch"),
			semconv.MessagingBatchMessageCount(r.Entries), semconv.AWSSNSTopicARN(r.Topic),
		)...))
	return ctx, func(end producer.RequestEnd) {
		background := context.Background()
		common := metric.WithAttributeSet(t.topic)
		code := ""
		if end.Failed > 0 {
			code = errorType(end.Code, end.Err)
			t.sent.Add(background, int64(end.Failed), common, metric.WithAttributes(semconv.ErrorTypeKey.String(code)))
		}
		if confirmed := r.Entries - end.Failed; confirmed > 0 {
			t.sent.Add(background, int64(confirmed), common)
		}
		t.fill.Record(background, int64(r.Entries), common)
		if end.Err != nil {
			t.requests.Record(background, end.Took.Seconds(), common, metric.WithAttributes(semconv.ErrorTypeKey.String(code)))
			fail(span, code, end.Err)
		} else {
			t.requests.Record(background, end.Took.Seconds(), common)
			if end.Failed > 0 {
				span.SetAttributes(semconv.ErrorTypeKey.String(code), attribute.Int("fanout.failed_entries", end.Failed))
			}
		}
		span.End()
	}
}

func (t *Telemetry) resolved(r producer.Resolved) {
	if r.Err == nil {
		t.latency.Record(context.Background(), r.Took.Seconds(), metric.WithAttributeSet(t.topic))
		return
	}
	t.failed.Add(context.Background(), 1, metric.WithAttributeSet(t.topic),
		metric.WithAttributes(semconv.ErrorTypeKey.String(errorType(r.Code, r.Err))))
}

// Observe reports the counts of a producer until stop is called. It costs nothing between two collections.
func (t *Telemetry) Observe(p *producer.Producer) (stop func() error, err error) {
	var faults []error
	counter := func(name, unit, description string) metric.Int64Observable {
		c, err := t.meter.Int64ObservableCounter(name, metric.WithUnit(unit), metric.WithDescription(description))
		faults = append(faults, err)
		return c
	}
	gauge := func(name, unit, description string) metric.Int64Observable {
		g, err := t.meter.Int64ObservableGauge(name, metric.WithUnit(unit), metric.WithDescription(description))
		faults = append(faults, err)
		return g
	}
	accepted := counter("fanout.producer.accepted", "{event}", "Events accepted")
	confirmed := counter("fanout.producer.confirmed", "{event}", "Events that the topic has confirmed")
	retried := counter("fanout.producer.retried", "{message}", "Entries sent again")
	setAside := counter("fanout.producer.set_aside", "{event}", "What the spool has set aside")
	buffered := gauge("fanout.producer.buffered", "{event}", "Events accepted and not resolved")
	spooled := gauge("fanout.producer.spooled", "{event}", "Events in the spool")
	oldest, err := t.meter.Float64ObservableGauge("fanout.producer.oldest", metric.WithUnit("s"), metric.WithDescription("Age of the oldest event that is not resolved"))
	if err := errors.Join(append(faults, err)...); err != nil {
		return nil, err
	}
	common := metric.WithAttributeSet(t.topic)
	registration, err := t.meter.RegisterCallback(func(_ context.Context, o metric.Observer) error {
		s := p.Stats()
		o.ObserveInt64(accepted, s.Accepted, common)
		o.ObserveInt64(confirmed, s.Confirmed, common)
		o.ObserveInt64(retried, s.Retried, common)
		o.ObserveInt64(setAside, s.SetAside, common)
		o.ObserveInt64(buffered, int64(s.Buffered), common)
		o.ObserveInt64(spooled, int64(s.Spooled), common)
		age := time.Duration(0)
		if !s.Oldest.IsZero() {
			age = max(0, time.Since(s.Oldest))
		}
		o.ObserveFloat64(oldest, age.Seconds(), common)
		return nil
	}, accepted, confirmed, retried, setAside, buffered, spooled, oldest)
	if err != nil {
		return nil, err
	}
	return registration.Unregister, nil
}

func spanName(operation, topic string) string { return strings.TrimSpace(operation + " " + topic) }

// links point at the spans of the events in a request.
func links(traces []producer.Trace) []trace.Link {
	list := make([]trace.Link, 0, len(traces))
	for _, t := range traces {
		carrier := propagation.MapCarrier{"traceparent": t.Parent, "tracestate": t.State}
		if to := trace.SpanContextFromContext(propagation.TraceContext{}.Extract(context.Background(), carrier)); to.IsValid() {
			list = append(list, trace.Link{SpanContext: to})
		}
	}
	return list
}

func fail(span trace.Span, kind string, err error) {
	span.SetAttributes(semconv.ErrorTypeKey.String(kind))
	span.SetStatus(codes.Error, err.Error())
}

// errorType names an error for metrics: few names, each for one cause.
func errorType(code string, err error) string {
	var blocked *producer.BlockedError
	var published *producer.PublishError
	var invalid *producer.InvalidError
	var large *producer.TooLargeError
	var spool *producer.SpoolError
	switch {
	case errors.As(err, &blocked):
		return "blocked"
	case errors.As(err, &invalid):
		return "invalid"
	case errors.As(err, &large):
		return "too_large"
	case errors.As(err, &spool):
		return "spool"
	case errors.Is(err, producer.ErrBufferFull):
		return "buffer_full"
	case code == "" && errors.As(err, &published):
		code = published.Code
	}
	switch {
	case code != "":
		return code
	case errors.Is(err, producer.ErrUnknownOutcome):
		return "unknown_outcome"
	case errors.Is(err, producer.ErrClosed):
		return "closed"
	case errors.Is(err, context.DeadlineExceeded):
		return "timeout"
	}
	return cmp.Or(code, "other")
}
