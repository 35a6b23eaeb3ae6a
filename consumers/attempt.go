package consumers

import (
	"context"

	"github.com/device-fanout/fanout/consumers/internal/attempt"
	"github.com/device-fanout/fanout/events"
)

// verdict is what is to become of a message, and why.
type verdict = attempt.Verdict

// attempt brings a message to its verdict. It runs on a goroutine of its own; ctx ends when the lease is lost or when draining takes
// too long.
func (r *run) attempt(ctx context.Context, m *message, v *verdict) {
	t := attempt.Timing{
		Timeout:  r.cfg.HandlerTimeout,
		LeaseEnd: m.leaseEnd,
		Failed:   func() { m.noteFailure(v) },
		Retry:    func() { r.stats.retries.Add(1) },
	}
	if r.cfg.Hooks.Handle != nil {
		t.Hook = func(ctx context.Context, event events.Event) (context.Context, func()) {
			ctx, finish := r.cfg.Hooks.Handle(ctx, m.delivery(r.queue.Service, event))
			return ctx, func() { finish(outcomeOf(v)) }
		}
	}
	r.service.Run(ctx, &m.Message, t, v)
}
