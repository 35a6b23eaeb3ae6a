package consumers

import (
	"context"
	"time"

	"github.com/device-fanout/fanout/consumers/internal/attempt"
	"github.com/device-fanout/fanout/consumers/internal/core"
	"github.com/device-fanout/fanout/events"
)

// How the handlers run: a slot each, on goroutines that are kept.

// verdict is what is to become of a message, and why.
type verdict = attempt.Verdict

// job is a message whose handler is to run, with the context of the run.
type job struct {
	ctx    context.Context
	cancel context.CancelCauseFunc
	m      *message
	once   bool // without quick retries
}

// start runs a message's handler.
func (r *run) start(c core.Run) {
	ctx, cancel := context.WithCancelCause(r.work)
	m := of(c.Message)
	m.cancel = cancel
	r.running++
	r.jobs <- job{ctx, cancel, m, c.Once}
	r.enoughWorkers()
}

// enoughWorkers makes sure that every handler that is to run has a goroutine.
func (r *run) enoughWorkers() {
	for r.workers < r.running {
		r.workers++
		go r.worker()
	}
}

// worker runs one handler after the other until the loop has ended, or until a handler ends its goroutine.
func (r *run) worker() {
	defer r.signal(r.exited)
	id := goroutineID()
	for j := range r.jobs {
		j.m.goroutine.Store(id)
		r.handle(j)
	}
}

// handle brings a message to its verdict.
func (r *run) handle(j job) {
	v := &verdict{Earlier: j.m.Attempts() > 0}
	ended := core.AttemptEnded{Message: &j.m.Message, Verdict: v, Began: time.Now()}
	posted, becomes := false, core.None
	defer func() { // deferred, since a handler may end its goroutine
		value := recover()
		j.cancel(nil)
		if posted {
			r.signal(r.returned)
			return
		}
		if value != nil {
			v.Panicked(value)
		}
		r.post(ended)
	}()
	t := attempt.Timing{
		Timeout:  r.cfg.HandlerTimeout,
		LeaseEnd: j.m.leaseEnd,
		Once:     j.once,
		Failed: func() {
			if ended.FailedAt.IsZero() {
				ended.FailedAt = time.Now()
			}
			so := *v
			so.Attempts += j.m.Attempts()
			r.post(core.TryFailed{Message: &j.m.Message, Verdict: &so})
		},
		Retry: func() { r.retries.Add(1) },
	}
	if r.cfg.Hooks.Handle != nil {
		t.Judge = func(v *verdict) { // the hook wants to hear what becomes of it, which the core decides
			if v.Kind == attempt.Handled || v.Kind == attempt.Released {
				return
			}
			decided := make(chan core.State, 1)
			ended.Ref, posted = decided, true
			r.post(ended)
			select {
			case becomes = <-decided:
			case <-r.ended:
			}
		}
		t.Hook = func(ctx context.Context, event events.Event) (context.Context, func()) {
			ctx, finish := r.cfg.Hooks.Handle(ctx, j.m.delivery(r.queue.Service, event))
			if finish == nil {
				return ctx, nil
			}
			return ctx, func() {
				o := outcomeOf(v)
				if v.Kind == attempt.Dead {
					holds := becomes == core.Resting || becomes == core.Waiting
					switch {
					case becomes == core.Gone, becomes == core.Lost, holds && r.draining.Load(): // it comes again, and may be handled then
						o.Verdict, o.Class = VerdictReleased, ""
					case holds: // what waits for a dependency has a word of its own
						o.Verdict = VerdictHeld
					}
				}
				finish(o)
			}
		}
	}
	r.service.Run(j.ctx, &j.m.in, t, v)
}
