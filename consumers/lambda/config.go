package lambda

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/device-fanout/fanout/consumers"
	"github.com/device-fanout/fanout/consumers/internal/attempt"
	"github.com/device-fanout/fanout/consumers/sqsapi"
	"github.com/device-fanout/fanout/internal/pauses"
)

// QueueAPI is what a Function needs of Amazon SQS; [*sqs.Client] has it.
type QueueAPI interface {
	sqsapi.Sender
	sqsapi.VisibilityChanger
}

// Config sets how a Function works. The zero value is ready for production.
type Config struct {
	// HandlerTimeout is how long the handling of one event may take, its quick retries included; then its context ends. It never
	// goes beyond the function's own time. Zero means consumers.DefaultHandlerTimeout.
	HandlerTimeout time.Duration
	// Retries is how often an event is tried again at once after an unknown error. Zero means consumers.DefaultRetries; a
	// negative value means never.
	Retries int
	// RetryDelay is the pause before the first retry; each further one is twice as long. Zero means
	// consumers.DefaultRetryDelay.
	RetryDelay time.Duration
	// Check tells whether what the handler depends on works: nil when it does. It is called when an event has failed with an unknown error
	// and nothing else shows that the handler works, at most once a second, one call at a time, and has consumers.CheckTimeout, or what is
	// left of the function's time. While it fails the event waits; once it passes and the event fails again, the event is dead-lettered.
	// A Check that hangs or panics has failed. Nil means that the service has none; see MaxHold.
	Check func(ctx context.Context) error
	// MaxHold is how long an event is delivered again that fails with unknown errors in a service without a Check, while no other event of
	// its type is handled in this process; then it is dead-lettered as exhausted. It begins when the event fails first; where another
	// process may have tried it before, when it was received first. From 1 s to consumers.MaxRetryAfter. Zero means
	// consumers.DefaultMaxHold.
	MaxHold time.Duration
	// MaxReceiveCount is that of the queue: an event that fails with any error at this delivery is dead-lettered as exhausted, as SQS would
	// else move it without a record. Zero means that it is not known.
	MaxReceiveCount int
	// HandBack is how long an event that failed stays hidden before it is delivered again, in whole seconds. Each further pause is twice as
	// long, up to 100 s, and up to 15 min from the fourth hour on; one that is longer than these stays as it is. Zero means
	// DefaultHandBack. A negative value means the same, except for events that were not started: they are not hidden at all.
	HandBack time.Duration
	// Margin is how much of the function's time is kept back for dead letters and for handing back: no handler runs in it.
	// The function's timeout must be longer. Zero means DefaultMargin.
	Margin time.Duration
	// Known are errors of the service's own that no retry can mend, by their codes; see consumers.Config.
	Known map[string]error
	// RefuseReused makes an event a known error that has the identity of an earlier one and says something else; see consumers.Config.
	RefuseReused bool
	// Hooks hear of every event that is handled, for traces and metrics; see consumers.Hooks.
	Hooks consumers.Hooks
	// UnknownTypes hands the handler also events of types that this program has not registered; see consumers.Config.
	UnknownTypes bool
	// Logger hears of dead letters and trouble. Nil logs nothing. Event bodies are never logged.
	Logger *slog.Logger
}

// Defaults of Config.
const (
	DefaultHandBack = pauses.First
	DefaultMargin   = 2 * time.Second
)

func (cfg Config) withDefaults() Config {
	cfg.HandlerTimeout = cmp.Or(cfg.HandlerTimeout, consumers.DefaultHandlerTimeout)
	cfg.Retries = cmp.Or(cfg.Retries, consumers.DefaultRetries)
	cfg.RetryDelay = cmp.Or(cfg.RetryDelay, consumers.DefaultRetryDelay)
	cfg.MaxHold = cmp.Or(cfg.MaxHold, consumers.DefaultMaxHold)
	cfg.HandBack = max(0, cmp.Or(cfg.HandBack, DefaultHandBack))
	cfg.Margin = cmp.Or(cfg.Margin, DefaultMargin)
	cfg.Logger = cmp.Or(cfg.Logger, slog.New(slog.DiscardHandler))
	return cfg
}

func (cfg Config) validate() error {
	var faults []error
	for _, field := range []struct {
		name  string
		value time.Duration
	}{{"HandlerTimeout", cfg.HandlerTimeout}, {"RetryDelay", cfg.RetryDelay}, {"Margin", cfg.Margin}} {
		if field.value < 0 {
			faults = append(faults, fmt.Errorf("lambda: config: %s: got %v, want more than 0", field.name, field.value))
		}
	}
	_, wrong := attempt.Sentinels(cfg.Known)
	for _, err := range wrong {
		faults = append(faults, fmt.Errorf("lambda: config: Known: %w", err))
	}
	if cfg.MaxHold < time.Second || cfg.MaxHold > consumers.MaxRetryAfter {
		faults = append(faults, fmt.Errorf("lambda: config: MaxHold: got %v, want from 1s to %v: SQS lets nobody hold a message for longer than 12h",
			cfg.MaxHold, consumers.MaxRetryAfter))
	}
	if cfg.MaxReceiveCount < 0 {
		faults = append(faults, fmt.Errorf("lambda: config: MaxReceiveCount: got %d, want that of the queue, or 0", cfg.MaxReceiveCount))
	}
	if cfg.HandBack%time.Second != 0 || cfg.HandBack > 12*time.Hour {
		faults = append(faults, fmt.Errorf("lambda: config: HandBack: got %v, want whole seconds, at most 12h", cfg.HandBack))
	}
	return errors.Join(faults...)
}
