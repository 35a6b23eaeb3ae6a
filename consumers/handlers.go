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

// handling is a message on the way to its verdict.
type handling struct {
	*run
	job
	v       verdict
	ended   core.AttemptEnded
	posted  bool       // that is reported
	becomes core.State // what the core has made of it then
}

// handle brings a message to its verdict.
func (r *run) handle(j job) {
	h := &handling{run: r, job: j}
	h.v.Earlier = j.m.Attempts() > 0
	h.ended = core.AttemptEnded{Message: &j.m.Message, Verdict: &h.v, Began: time.Now()}
	defer h.end() // deferred, since a handler may end its goroutine
	t := attempt.Timing{Timeout: r.cfg.HandlerTimeout, LeaseEnd: j.m.leaseEnd, Once: j.once, Failed: h.tryFailed, Retry: r.retried}
	if r.cfg.Hooks.Handle != nil {
		t.Judge, t.Hook = h.judge, h.hook
	}
	r.service.Run(j.ctx, &j.m.in, t, &h.v)
}

func (h *handling) end() {
	value := recover()
	h.cancel(nil)
	if h.posted {
		h.signal(h.returned)
		return
	}
	if value != nil {
		h.v.Panicked(value)
	}
	h.post(h.ended)
}

func (r *run) retried() { r.retries.Add(1) }

// tryFailed reports a try of several.
func (h *handling) tryFailed() {
	if h.ended.FailedAt.IsZero() {
		h.ended.FailedAt = time.Now()
	}
	so := h.v
	so.Attempts += h.m.Attempts()
	h.post(core.TryFailed{Message: &h.m.Message, Verdict: &so})
}

// judge waits for what becomes of a message that was not handled: the hook wants to hear that, and the core decides it.
func (h *handling) judge(v *verdict) {
	if v.Kind == attempt.Handled || v.Kind == attempt.Released {
		return
	}
	decided := make(chan core.State, 1)
	h.ended.Ref, h.posted = decided, true
	h.post(h.ended)
	select {
	case h.becomes = <-decided:
	case <-h.run.ended:
	}
}

func (h *handling) hook(ctx context.Context, event events.Event) (context.Context, func()) {
	ctx, finish := h.cfg.Hooks.Handle(ctx, h.m.delivery(h.queue.Service, event))
	if finish == nil {
		return ctx, nil
	}
	return ctx, func() {
		o := outcomeOf(&h.v)
		if h.v.Kind == attempt.Dead {
			holds := h.becomes == core.Resting || h.becomes == core.Waiting
			switch {
			case h.becomes == core.Gone, h.becomes == core.Lost, holds && h.draining.Load(): // it comes again, and may be handled then
				o.Verdict, o.Class = VerdictReleased, ""
			case holds: // what waits for a dependency has a word of its own
				o.Verdict = VerdictHeld
			}
		}
		finish(o)
	}
}
