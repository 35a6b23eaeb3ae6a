package attempt

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/device-fanout/fanout/consumers/failure"
	"github.com/device-fanout/fanout/events"
)

// hook calls the hook before the handler. Whatever that does, hooked is ctx but for its values. finish may be nil.
func (s *Service) hook(ctx context.Context, t Timing, event events.Event) (hooked context.Context, finish func()) {
	hooked = ctx
	defer func() {
		if value := recover(); value != nil {
			s.Faults.Panicked(value)
		}
	}()
	returned, finish := t.Hook(ctx, event)
	switch {
	case returned == nil:
		s.Faults.report("a hook has returned no context; the handler gets its own")
	case returned == ctx:
	case returned.Err() != nil && ctx.Err() == nil:
		s.Faults.report("a hook has returned a context that has ended; the handler gets one that has not", "err", returned.Err())
		fallthrough
	default:
		values := context.WithoutCancel(returned)
		values.Value(probe{}) // panics here, and not in the handler, if there is nothing in the interface
		hooked = watched{ctx, values}
	}
	if finish == nil {
		s.Faults.report("a hook has returned no func for the verdict")
	}
	return hooked, finish
}

// finish tells the hook that the verdict is complete.
func (s *Service) finish(finish func()) {
	if finish == nil {
		return
	}
	defer func() {
		if value := recover(); value != nil {
			s.Faults.Panicked(value)
		}
	}()
	finish()
}

// watched is a context with another's values, as far as that has any: it ends when it would, and for the same cause.
type watched struct {
	context.Context
	values context.Context // never ends
}

func (c watched) Value(key any) any {
	if value := c.values.Value(key); value != nil {
		return value
	}
	return c.Context.Value(key)
}

type probe struct{}

// HookFaults logs what hooks do wrong, once a minute at most. It is safe for concurrent use, and nil logs nothing.
type HookFaults struct {
	logger *slog.Logger

	mu      sync.Mutex
	last    time.Time
	skipped int // since then
}

// NewHookFaults makes a HookFaults that logs to logger.
func NewHookFaults(logger *slog.Logger) *HookFaults { return &HookFaults{logger: logger} }

// faultsEvery is how long the log says no more about hooks.
const faultsEvery = time.Minute

// Panicked logs that a hook has panicked.
func (f *HookFaults) Panicked(value any) {
	f.report("a hook has panicked; the verdict stands", "err", failure.Recovered(value).Error())
}

func (f *HookFaults) report(text string, facts ...any) {
	if f == nil {
		return
	}
	f.mu.Lock()
	now := time.Now()
	if !f.last.IsZero() && now.Sub(f.last) < faultsEvery {
		f.skipped++
		f.mu.Unlock()
		return
	}
	skipped := f.skipped
	f.last, f.skipped = now, 0
	f.mu.Unlock()
	f.logger.Error(text, append(facts, "not_logged_before", skipped)...)
}
