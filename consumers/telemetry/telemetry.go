package telemetry

import (
	"context"
	"errors"
	"strings"
	"time"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/propagation"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
	"go.opentelemetry.io/otel/trace"

	"github.com/device-fanout/fanout/consumers"
)

const scope = "github.com/device-fanout/fanout/consumers/telemetry"

// Config says where spans and metrics go. The zero value takes the global providers of OpenTelemetry.
type Config struct {
	TracerProvider trace.TracerProvider // nil means the global one
	MeterProvider  metric.MeterProvider // nil means the global one
	Queue          string               // the queue's name or URL; empty leaves it out
}

// Telemetry watches consumers of one queue. It is safe for concurrent use.
type Telemetry struct {
	tracer trace.Tracer
	meter  metric.Meter
	common []attribute.KeyValue
	span   string // name

	duration, latency     metric.Float64Histogram
	verdicts, deadLetters metric.Int64Counter
}

// seconds are the histograms' boundaries.
var seconds = []float64{.001, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60, 300, 1800, 3600, 86400}

// New makes a Telemetry. The error is that of a meter provider that refuses an instrument.
func New(cfg Config) (*Telemetry, error) {
	if cfg.TracerProvider == nil {
		cfg.TracerProvider = otel.GetTracerProvider()
	}
	if cfg.MeterProvider == nil {
		cfg.MeterProvider = otel.GetMeterProvider()
	}
	name := cfg.Queue[strings.LastIndexByte(cfg.Queue, '/')+1:]
	t := &Telemetry{
		tracer: cfg.TracerProvider.Tracer(scope), meter: cfg.MeterProvider.Meter(scope),
		common: []attribute.KeyValue{semconv.MessagingSystemAWSSQS}, span: strings.TrimSpace("process " + name),
	}
	if name != "" {
		t.common = append(t.common, semconv.MessagingDestinationName(name))
	}
	var faults [4]error
	t.duration, faults[0] = t.meter.Float64Histogram("messaging.process.duration", metric.WithUnit("s"),
		metric.WithDescription("Duration of all attempts at an event"), metric.WithExplicitBucketBoundaries(seconds...))
	t.latency, faults[1] = t.meter.Float64Histogram("fanout.consumer.latency", metric.WithUnit("s"),
		metric.WithDescription("Time from the event to its handling"), metric.WithExplicitBucketBoundaries(seconds...))
	t.verdicts, faults[2] = t.meter.Int64Counter("fanout.consumer.verdicts", metric.WithUnit("{event}"),
		metric.WithDescription("Events by verdict"))
	t.deadLetters, faults[3] = t.meter.Int64Counter("fanout.consumer.dead_letters", metric.WithUnit("{event}"),
		metric.WithDescription("Events that failed and that the dead-letter queue has confirmed"))
	return t, errors.Join(faults[:]...)
}

// Hooks are what [consumers.Config] wants.
func (t *Telemetry) Hooks() consumers.Hooks {
	return consumers.Hooks{Handle: t.handle, DeadLettered: t.deadLettered}
}

// deadLettered counts an event that has become a dead letter; one that was held does so between two attempts, and has no verdict of its own.
func (t *Telemetry) deadLettered(_ consumers.Delivery, o consumers.Outcome) {
	attributes := append(t.common[:len(t.common):len(t.common)], semconv.ErrorTypeKey.String(o.Code), attribute.String("fanout.class", string(o.Class)))
	t.deadLetters.Add(context.Background(), 1, metric.WithAttributeSet(attribute.NewSet(attributes...)))
}

// handle starts the span of an event.
func (t *Telemetry) handle(ctx context.Context, d consumers.Delivery) (context.Context, func(consumers.Outcome)) {
	start := time.Now()
	carrier := propagation.MapCarrier{"traceparent": d.Attribute("traceparent"), "tracestate": d.Attribute("tracestate")}
	options := []trace.SpanStartOption{trace.WithSpanKind(trace.SpanKindConsumer), trace.WithAttributes(t.common...)}
	if to := trace.SpanContextFromContext(propagation.TraceContext{}.Extract(context.Background(), carrier)); to.IsValid() {
		options = append(options, trace.WithLinks(trace.Link{SpanContext: to}))
	}
	ctx, span := t.tracer.Start(ctx, t.span, options...)
	if span.IsRecording() {
		span.SetAttributes(
			semconv.MessagingOperationTypeProcess, semconv.MessagingOperationName("process"), semconv.MessagingMessageID(d.MessageID),
			semconv.CloudEventsEventID(d.Event.ID), semconv.CloudEventsEventType(d.Type), semconv.CloudEventsEventSubject(d.DeviceID),
			attribute.Int("fanout.receive_count", d.ReceiveCount),
		)
	}
	return ctx, func(o consumers.Outcome) {
		now := time.Now()
		attributes := append(t.common[:len(t.common):len(t.common)], attribute.String("fanout.verdict", string(o.Verdict)))
		if o.Verdict == consumers.VerdictHandled {
			if at := d.Event.Time; !at.IsZero() {
				t.latency.Record(ctx, max(0, now.Sub(at).Seconds()), metric.WithAttributes(t.common...))
			}
		} else if o.Code != "" {
			attributes = append(attributes, semconv.ErrorTypeKey.String(o.Code))
			if o.Class != "" {
				attributes = append(attributes, attribute.String("fanout.class", string(o.Class)))
			}
			span.SetStatus(codes.Error, o.Error)
		}
		set := metric.WithAttributeSet(attribute.NewSet(attributes...))
		t.verdicts.Add(ctx, 1, set)
		t.duration.Record(ctx, now.Sub(start).Seconds(), set)
		span.SetAttributes(attribute.String("fanout.verdict", string(o.Verdict)), attribute.Int("fanout.attempts", o.Attempts))
		if o.Code != "" {
			span.SetAttributes(semconv.ErrorTypeKey.String(o.Code))
		}
		if o.Class != "" {
			span.SetAttributes(attribute.String("fanout.class", string(o.Class)))
		}
		span.End()
	}
}

// counts are the metrics that a consumer counts itself.
var counts = []struct {
	name, unit, about string
	gauge             bool
	of                func(consumers.Stats) int64
}{
	{"received", "{message}", "Messages received, repeated deliveries included", false, func(s consumers.Stats) int64 { return s.Received }},
	{"redelivered", "{message}", "Messages that had been delivered before", false, func(s consumers.Stats) int64 { return s.Redelivered }},
	{"retries", "{attempt}", "Handlers started again at once", false, func(s consumers.Stats) int64 { return s.Retries }},
	{"dead_lettered", "{message}", "Messages that the dead-letter queue has confirmed", false, func(s consumers.Stats) int64 { return s.DeadLettered }},
	{"parked", "{message}", "Messages that followed a failed one to the dead-letter queue", false, func(s consumers.Stats) int64 { return s.Parked }},
	{"released", "{message}", "Messages handed back", false, func(s consumers.Stats) int64 { return s.Released }},
	{"reused", "{message}", "Messages with the identity of an earlier event that said something else", false, func(s consumers.Stats) int64 { return s.Reused }},
	{"lease.extensions", "{request}", "Requests that extended visibility timeouts", false, func(s consumers.Stats) int64 { return s.Extensions }},
	{"lease.losses", "{message}", "Messages whose lease was lost", false, func(s consumers.Stats) int64 { return s.LeasesLost }},
	{"delete.requests", "{request}", "Delete requests", false, func(s consumers.Stats) int64 { return s.Deletes }},
	{"delete.entries", "{message}", "Messages in delete requests", false, func(s consumers.Stats) int64 { return s.DeleteEntries }},
	{"delete.failures", "{message}", "Messages that a delete request did not delete", false, func(s consumers.Stats) int64 { return s.DeletesFailed }},
	{"receive.requests", "{request}", "Receive requests", false, func(s consumers.Stats) int64 { return s.Receives }},
	{"receive.failures", "{request}", "Receive requests that failed", false, func(s consumers.Stats) int64 { return s.ReceivesFailed }},
	{"breaks", "{break}", "How often the circuit breaker opened", false, func(s consumers.Stats) int64 { return s.Breaks }},
	{"held", "{message}", "Messages held", true, func(s consumers.Stats) int64 { return s.Held }},
	{"lanes", "{device}", "Devices of which messages are held", true, func(s consumers.Stats) int64 { return s.Devices }},
	{"lane.depth", "{message}", "Messages held of the device that has the most", true, func(s consumers.Stats) int64 { return s.Deepest }},
	{"breaker.open", "1", "1 while the circuit breaker is open", true, func(s consumers.Stats) int64 {
		if s.Open {
			return 1
		}
		return 0
	}},
}

// Observe reports the counts of a consumer until stop is called. It costs nothing between two collections.
func (t *Telemetry) Observe(c *consumers.Consumer) (stop func() error, err error) {
	var faults []error
	var all []metric.Observable
	var instruments []metric.Int64Observable
	for _, n := range counts {
		name := "fanout.consumer." + n.name
		var o metric.Int64Observable
		var err error
		if n.gauge {
			o, err = t.meter.Int64ObservableGauge(name, metric.WithUnit(n.unit), metric.WithDescription(n.about))
		} else {
			o, err = t.meter.Int64ObservableCounter(name, metric.WithUnit(n.unit), metric.WithDescription(n.about))
		}
		faults, instruments, all = append(faults, err), append(instruments, o), append(all, o)
	}
	blocked, err := t.meter.Int64ObservableGauge("fanout.consumer.blocked", metric.WithUnit("{device}"), metric.WithDescription("Devices that can't go on"))
	if err := errors.Join(append(faults, err)...); err != nil {
		return nil, err
	}
	common := metric.WithAttributeSet(attribute.NewSet(t.common...))
	registration, err := t.meter.RegisterCallback(func(ctx context.Context, o metric.Observer) error {
		s := c.Stats()
		for i, n := range counts {
			o.ObserveInt64(instruments[i], n.of(s), common)
		}
		list, err := c.Blocked(ctx)
		reasons := map[consumers.BlockedReason]int64{}
		for _, b := range list {
			reasons[b.Reason]++
		}
		for reason, n := range reasons {
			o.ObserveInt64(blocked, n, common, metric.WithAttributes(attribute.String("fanout.reason", string(reason))))
		}
		return err
	}, append(all, blocked)...)
	if err != nil {
		return nil, err
	}
	return registration.Unregister, nil
}
