// Package reused is what becomes of an event whose identity was used before for something else.
package reused

import (
	"context"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	"golang.org/x/time/rate"

	"github.com/device-fanout/fanout/consumers/failure"
	"github.com/device-fanout/fanout/events"
)

// Watch counts and logs such events for one service. It is safe for concurrent use.
type Watch struct {
	refuse bool
	logger *slog.Logger
	log    rate.Sometimes
	count  atomic.Int64
}

// New makes a Watch. With refuse such an event is a known error.
func New(logger *slog.Logger, refuse bool) *Watch {
	return &Watch{logger: logger, refuse: refuse, log: rate.Sometimes{First: 10, Interval: time.Second}}
}

// Count is how many there were.
func (w *Watch) Count() int64 { return w.count.Load() }

type key struct{}

// In returns a context for the service's handlers, from which [Tell] finds w.
func (w *Watch) In(ctx context.Context) context.Context { return context.WithValue(ctx, key{}, w) }

// Tell is consumers.Reused.
func Tell(ctx context.Context, event events.Event, earlier time.Time) error {
	w, _ := ctx.Value(key{}).(*Watch)
	if w == nil {
		return nil
	}
	w.count.Add(1)
	w.log.Do(func() {
		w.logger.Warn("an event says something else than an earlier one of the same identity", "event_id", event.ID, "source", event.Source,
			"device_id", event.DeviceID, "event_type", event.Type(), "time", event.Time, "earlier_time", earlier, "refused", w.refuse)
	})
	if !w.refuse {
		return nil
	}
	return &failure.KnownError{Code: failure.CodeIDReused, Err: fmt.Errorf("event %v says something else than an earlier one of the same identity: "+
		"this one happened at %s, that at %s", event.Identity(), text(event.Time), text(earlier))}
}

func text(t time.Time) string { return t.UTC().Format(time.RFC3339Nano) }
