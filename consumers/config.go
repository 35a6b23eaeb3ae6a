package consumers

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/device-fanout/fanout/consumers/internal/attempt"
	"github.com/device-fanout/fanout/consumers/parking"
	"github.com/device-fanout/fanout/consumers/sqsapi"
)

// QueueAPI is what a Consumer needs of Amazon SQS; [*sqs.Client] has it.
type QueueAPI interface {
	sqsapi.Describer
	sqsapi.Receiver
	sqsapi.Deleter
	sqsapi.VisibilityChanger
	sqsapi.Sender
}

// Queue names what a Consumer reads: a service's queue and its dead-letter queue.
type Queue = sqsapi.Queues

// Config sets how a Consumer works. The zero value is ready for production.
type Config struct {
	// Slots is how many handlers may run at once. Zero means DefaultSlots. The Consumer asks for messages only when slots are
	// free, or will be within 20 ms at the pace of the moment; as one receive can return several events of one device, up to ten
	// times as many messages may be held.
	Slots int
	// Pollers is how many receives may be under way at once under load; when idle there is one. Zero means DefaultPollers.
	Pollers int
	// WaitTime is how long one receive waits for a message, in whole seconds from 1 to 20. Zero means 20 s. A Consumer that
	// stops lets its last receive end by itself: cut off, it could leave messages in flight until their visibility timeout.
	WaitTime time.Duration
	// HandlerTimeout is how long the handling of one event may take, its quick retries included; then its context ends. Waiting for its turn
	// to write, by package database, does not count. Zero means DefaultHandlerTimeout.
	HandlerTimeout time.Duration
	// Retries is how often an event is tried again at once after an unknown error. Zero means DefaultRetries; a negative
	// value means never.
	Retries int
	// RetryDelay is the pause before the first retry; each further one is twice as long. Zero means DefaultRetryDelay, with
	// which the three default retries are over within a second.
	RetryDelay time.Duration
	// DeleteLinger is the longest that a finished event waits for others to share its delete request, and only while
	// enough are finishing to fill it. Zero means DefaultDeleteLinger; a negative value means never.
	DeleteLinger time.Duration
	// DrainTimeout is how long running handlers may go on after Run's context has ended, at least WaitTime. Then their
	// contexts end. Zero means DefaultDrainTimeout.
	DrainTimeout time.Duration
	// Check tells whether what the handlers depend on works: nil when it does. It is called before the first receive, while events that have
	// failed with unknown errors wait for evidence, and before the open circuit breaker lets one be tried: one call at a time, at most two in
	// a second, and every ten seconds while it fails. Each has CheckTimeout. While it fails an event that fails waits; once it passes, the
	// event fails again and it passes once more, the event is dead-lettered. A Check that panics or does not return has failed. It must look
	// at everything without which handlers fail, or an outage of that makes dead letters. Nil means that the service has none; see MaxHold.
	Check func(ctx context.Context) error
	// MaxHold is how long an event is held and tried again that fails with unknown errors in a service without a Check, while no other event
	// of its type is handled; then it is dead-lettered as exhausted. Zero means DefaultMaxHold. At most 11 hours, as SQS lets nobody hold a
	// message for longer than twelve.
	MaxHold time.Duration
	// Known are errors of the service's own that no retry can mend, by their codes: an error that matches one, as errors.Is tells,
	// is treated like [Known] with that code.
	Known map[string]error
	// GroupPolicy is what happens to a device's later events when one is dead-lettered. Empty means Skip.
	GroupPolicy GroupPolicy
	// Parking is where parked devices are recorded, for all processes of the service alike. [Park] needs it.
	Parking parking.Store
	// UnknownTypes hands the handler also events of types that this program has not registered: their payload is an [events.Raw].
	// It is for services that store or pass on events as they are. Without it such an event is a known error, with the code
	// unknown_type; and so it is in a [Mux] without a handler for events.Raw.
	UnknownTypes bool
	// RefuseReused makes an event a known error, with the code id_reused, that has the identity of an earlier one and another type or payload.
	// Without it such an event is counted, logged and passed over, as every duplicate is. It is for services that must not lose an event to
	// a device that numbers its events anew after a restart. See [Reused] for who finds out. While programs that know different fields of a type
	// run side by side, a plain second delivery may differ by such a field, and is refused too: deploy the new program everywhere first.
	RefuseReused bool
	// Hooks hear of every event that is handled, for traces and metrics. See package telemetry.
	Hooks Hooks
	// Logger hears of starts, stops, dead letters and trouble. Nil logs nothing. Event bodies are never logged.
	Logger *slog.Logger
}

// CheckTimeout is how long one call of Config.Check may take.
const CheckTimeout = 5 * time.Second

// Defaults of Config.
const (
	DefaultSlots          = 32
	DefaultPollers        = 4
	DefaultWaitTime       = 20 * time.Second
	DefaultHandlerTimeout = 10 * time.Second
	DefaultRetries        = 3
	DefaultRetryDelay     = 100 * time.Millisecond
	DefaultDeleteLinger   = 10 * time.Millisecond
	DefaultDrainTimeout   = 30 * time.Second
	DefaultMaxHold        = 5 * time.Minute
)

func (cfg Config) withDefaults() Config {
	cfg.Slots = cmp.Or(cfg.Slots, DefaultSlots)
	cfg.Pollers = cmp.Or(cfg.Pollers, DefaultPollers)
	cfg.WaitTime = cmp.Or(cfg.WaitTime, DefaultWaitTime)
	cfg.HandlerTimeout = cmp.Or(cfg.HandlerTimeout, DefaultHandlerTimeout)
	cfg.Retries = cmp.Or(cfg.Retries, DefaultRetries)
	cfg.RetryDelay = cmp.Or(cfg.RetryDelay, DefaultRetryDelay)
	cfg.DeleteLinger = cmp.Or(cfg.DeleteLinger, DefaultDeleteLinger)
	cfg.DrainTimeout = cmp.Or(cfg.DrainTimeout, DefaultDrainTimeout)
	cfg.MaxHold = cmp.Or(cfg.MaxHold, DefaultMaxHold)
	cfg.GroupPolicy = cmp.Or(cfg.GroupPolicy, Skip)
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	return cfg
}

func (cfg Config) validate() error {
	var faults []error
	fault := func(format string, args ...any) {
		faults = append(faults, fmt.Errorf("consumers: config: "+format, args...))
	}
	if cfg.Slots < 1 {
		fault("Slots: got %d, want at least 1", cfg.Slots)
	}
	if cfg.Pollers < 1 {
		fault("Pollers: got %d, want at least 1", cfg.Pollers)
	}
	if cfg.WaitTime < time.Second || cfg.WaitTime > 20*time.Second || cfg.WaitTime%time.Second != 0 {
		fault("WaitTime: got %v, want whole seconds from 1s to 20s", cfg.WaitTime)
	}
	if cfg.HandlerTimeout <= 0 {
		fault("HandlerTimeout: got %v, want more than 0", cfg.HandlerTimeout)
	}
	if cfg.RetryDelay < 0 {
		fault("RetryDelay: got %v, want at least 0", cfg.RetryDelay)
	}
	if cfg.DrainTimeout < cfg.WaitTime {
		fault("DrainTimeout: got %v, want at least the WaitTime of %v: draining waits for the last receive", cfg.DrainTimeout, cfg.WaitTime)
	}
	if err := cfg.GroupPolicy.Validate(); err != nil {
		fault("GroupPolicy: %w", err)
	}
	if cfg.MaxHold < time.Second || cfg.MaxHold > MaxRetryAfter {
		fault("MaxHold: got %v, want from 1s to %v: SQS lets nobody hold a message for longer than 12h", cfg.MaxHold, MaxRetryAfter)
	}
	_, wrong := attempt.Sentinels(cfg.Known)
	for _, err := range wrong {
		fault("Known: %w", err)
	}
	if cfg.GroupPolicy == Park && cfg.Parking == nil {
		fault("Parking: got nil, want a parking store: GroupPolicy park records its devices there; see package parkingdb")
	}
	return errors.Join(faults...)
}
