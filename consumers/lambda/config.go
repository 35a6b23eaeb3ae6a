package lambda

import (
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/device-fanout/fanout/consumers"
	"github.com/device-fanout/fanout/consumers/internal/attempt"
	"github.com/device-fanout/fanout/consumers/sqsapi"
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
	// Deliveries is how often an event may be delivered before an unknown error sends it to the dead-letter queue. It must
	// be below the queue's maxReceiveCount. Zero means DefaultDeliveries.
	Deliveries int
	// HandBack is how long an event that failed stays hidden before it is delivered again, in whole seconds. Zero means
	// DefaultHandBack; a negative value means not at all. After an Unavailable it is only the first pause, and each further one is twice as
	// long; that of a negative value begins with DefaultHandBack, since an outage would else use up the queue's maxReceiveCount in seconds.
	HandBack time.Duration
	// Margin is how much of the function's time is kept back for dead letters and for handing back: no handler runs in it.
	// The function's timeout must be longer. Zero means DefaultMargin.
	Margin time.Duration
	// Known are errors of the service's own that no retry can mend, by their codes; see consumers.Config.
	Known map[string]error
	// Hooks hear of every event that is handled, for traces and metrics; see consumers.Hooks.
	Hooks consumers.Hooks
	// UnknownTypes hands the handler also events of types that this program has not registered; see consumers.Config.
	UnknownTypes bool
	// Logger hears of dead letters and trouble. Nil logs nothing. Event bodies are never logged.
	Logger *slog.Logger
}

// Defaults of Config.
const (
	DefaultDeliveries = 3
	DefaultHandBack   = 5 * time.Second
	DefaultMargin     = 2 * time.Second
)

func (cfg Config) withDefaults() Config {
	cfg.HandlerTimeout = cmp.Or(cfg.HandlerTimeout, consumers.DefaultHandlerTimeout)
	cfg.Retries = cmp.Or(cfg.Retries, consumers.DefaultRetries)
	cfg.RetryDelay = cmp.Or(cfg.RetryDelay, consumers.DefaultRetryDelay)
	cfg.Deliveries = cmp.Or(cfg.Deliveries, DefaultDeliveries)
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
	if cfg.Deliveries < 1 {
		faults = append(faults, fmt.Errorf("lambda: config: Deliveries: got %d, want at least 1", cfg.Deliveries))
	}
	if cfg.HandBack%time.Second != 0 || cfg.HandBack > 12*time.Hour {
		faults = append(faults, fmt.Errorf("lambda: config: HandBack: got %v, want whole seconds, at most 12h", cfg.HandBack))
	}
	return errors.Join(faults...)
}
