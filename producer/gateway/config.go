package gateway

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"net/http"
	"time"

	"github.com/device-fanout/fanout/events"
)

// Config sets how a Gateway works. The zero value is ready for production.
type Config struct {
	// MaxEventBytes bounds the body of one event, and one line of a stream. Zero means DefaultMaxEventBytes. The topic's own limit
	// is checked by the producer.
	MaxEventBytes int
	// MaxFuture refuses an event whose time is further ahead than that: the clock of its device is wrong, and services that keep the newest
	// state would believe nothing else for as long. Zero means DefaultMaxFuture, and a negative value takes any time. So does a host whose
	// own clock shows a year before 2026: it has not been set.
	MaxFuture time.Duration
	// Limit is the limit of keys that have none of their own, and of what comes over MQTT. The zero value is no limit.
	Limit Limit
	// BodyTimeout is how long the body of one event may take to arrive. Zero means DefaultBodyTimeout.
	BodyTimeout time.Duration
	// LineTimeout is how long a stream may take for its next line. A client that has no event sends an empty line, or
	// connects again. Zero means DefaultLineTimeout.
	LineTimeout time.Duration
	// Patience is how long the request of a single event, or of a batch, waits for acceptance before it is answered with 503. The event may be
	// accepted later nevertheless. Streams wait as long as the producer does. Zero means DefaultPatience.
	Patience time.Duration
	// Window is how many lines of one stream may wait for their acceptance, as long as they have no more than 8 MiB together. Zero
	// means DefaultWindow.
	Window int
	// MaxStreams is how many streams a key may have open at once. Zero means DefaultMaxStreams.
	MaxStreams int
	// Trace adds the trace context of a request's header to the context that the producer's hooks get. Nil adds nothing;
	// producer/telemetry has one, named Continue.
	Trace func(context.Context, http.Header) context.Context
	// ShutdownDelay is how long Serve goes on after its context has ended: /readyz says no at once, so that a load balancer sends no more here,
	// and until it has noticed, requests and new connections are served as before, with answers that end their connection. Zero means not
	// at all.
	ShutdownDelay time.Duration
	// DrainTimeout is how long Serve lets requests end after its context has ended and ShutdownDelay is over. Zero means DefaultDrainTimeout.
	DrainTimeout time.Duration
	// Logger takes warnings and errors, and changes of connections and keys. Nil logs nothing. Event bodies and secrets are never logged.
	Logger *slog.Logger
}

// Limit bounds how many events come in.
type Limit struct {
	// PerSecond is how many events there may be per second. Zero means no limit.
	PerSecond float64
	// Burst is how many may come at once after a quiet time. Zero means those of one second, at least 1.
	Burst int
	// PerDevicePerSecond is the same for every single device. Zero means no limit.
	PerDevicePerSecond float64
	// PerDeviceBurst is Burst for every single device.
	PerDeviceBurst int
}

// Defaults of Config.
const (
	DefaultMaxEventBytes = 256 << 10
	DefaultMaxFuture     = events.DefaultMaxFuture
	DefaultBodyTimeout   = 10 * time.Second
	DefaultLineTimeout   = time.Minute
	DefaultPatience      = 20 * time.Second
	DefaultWindow        = 1000
	DefaultMaxStreams    = 100
	DefaultDrainTimeout  = 20 * time.Second
)

const (
	// roomPatience is how long an event waits for room in the producer's buffer.
	roomPatience = time.Second
	// windowBytes bounds the lines of a stream that wait for their acceptance.
	windowBytes = 8 << 20
	// writeTimeout is how long a client may take to read one answer.
	writeTimeout   = 30 * time.Second
	idleTimeout    = 2 * time.Minute
	maxHeaderBytes = 16 << 10
)

func (cfg Config) withDefaults() Config {
	cfg.MaxEventBytes = cmp.Or(cfg.MaxEventBytes, DefaultMaxEventBytes)
	cfg.MaxFuture = cmp.Or(cfg.MaxFuture, DefaultMaxFuture)
	cfg.Limit = cfg.Limit.withDefaults()
	cfg.BodyTimeout = cmp.Or(cfg.BodyTimeout, DefaultBodyTimeout)
	cfg.LineTimeout = cmp.Or(cfg.LineTimeout, DefaultLineTimeout)
	cfg.Patience = cmp.Or(cfg.Patience, DefaultPatience)
	cfg.Window = cmp.Or(cfg.Window, DefaultWindow)
	cfg.MaxStreams = cmp.Or(cfg.MaxStreams, DefaultMaxStreams)
	cfg.DrainTimeout = cmp.Or(cfg.DrainTimeout, DefaultDrainTimeout)
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	return cfg
}

func (cfg Config) validate() error {
	var faults []error
	fault := func(name string, got any, want string) {
		faults = append(faults, fmt.Errorf("gateway: config: %s: got %v, want %s", name, got, want))
	}
	if cfg.MaxEventBytes < 1 {
		fault("MaxEventBytes", cfg.MaxEventBytes, "at least 1")
	}
	if cfg.Window < 1 {
		fault("Window", cfg.Window, "at least 1")
	}
	if cfg.MaxStreams < 1 {
		fault("MaxStreams", cfg.MaxStreams, "at least 1")
	}
	for name, d := range map[string]time.Duration{
		"BodyTimeout": cfg.BodyTimeout, "LineTimeout": cfg.LineTimeout, "Patience": cfg.Patience, "DrainTimeout": cfg.DrainTimeout,
		"ShutdownDelay": cfg.ShutdownDelay,
	} {
		if d < 0 {
			fault(name, d, "a positive duration")
		}
	}
	if err := cfg.Limit.validate(); err != nil {
		faults = append(faults, fmt.Errorf("gateway: config: Limit: %w", err))
	}
	return errors.Join(faults...)
}

func (l Limit) withDefaults() Limit {
	l.Burst = cmp.Or(l.Burst, max(1, int(math.Ceil(l.PerSecond))))
	l.PerDeviceBurst = cmp.Or(l.PerDeviceBurst, max(1, int(math.Ceil(l.PerDevicePerSecond))))
	return l
}

func (l Limit) validate() error {
	for _, rate := range []float64{l.PerSecond, l.PerDevicePerSecond} {
		if !(rate >= 0 && rate <= maxRate) {
			return fmt.Errorf("got %v events per second, want from 0 to %v", rate, float64(maxRate))
		}
	}
	for _, burst := range []int{l.Burst, l.PerDeviceBurst} {
		if burst < 0 {
			return fmt.Errorf("got a burst of %d, want at least 1", burst)
		}
	}
	return nil
}

const maxRate = 1e9
