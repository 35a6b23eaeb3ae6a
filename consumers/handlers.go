package consumers

import (
	"context"
	"time"
)

// How the handlers run: a slot each, on goroutines that are kept.

// startHandlers fills the free slots.
func (r *run) startHandlers() {
	for r.running < r.cfg.Slots && r.mayStart() && len(r.ready) > 0 {
		l := r.ready[0]
		r.ready[0] = nil
		r.ready = r.ready[1:]
		l.queued = false
		if l == r.nextIsolated {
			r.nextIsolated = nil
		}
		if len(l.waiting) == 0 {
			r.proceed(l)
			continue
		}
		m := l.waiting[0]
		l.waiting[0] = nil
		l.waiting = l.waiting[1:]
		if r.done.has(m.ID) { // it ended while this delivery of it was waiting
			r.finish(m)
			r.proceed(l)
			continue
		}
		if r.mustIsolate(m) {
			r.isolated = m
		}
		l.current = m
		m.state = running
		m.overdue = time.Now().Add(2 * r.cfg.HandlerTimeout)
		r.running++
		if m.trouble.Load() != nil {
			m.noteBlocked(BlockedRetrying, nil)
		}
		if r.breaker.open {
			r.breaker.probe = m
		}
		ctx, cancel := context.WithCancelCause(r.work)
		m.cancel = cancel
		r.jobs <- job{ctx, m}
		r.enoughWorkers()
	}
}

// job is a message whose handler is to run, with the context of the run.
type job struct {
	ctx context.Context
	m   *message
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
	defer r.post(func() {
		r.workers--
		r.enoughWorkers()
	})
	id := goroutineID()
	for j := range r.jobs {
		j.m.goroutine.Store(id)
		r.handle(j.ctx, j.m)
	}
}

// handle brings a message to its verdict.
func (r *run) handle(ctx context.Context, m *message) {
	v := new(verdict)
	defer func() { // deferred, since a handler may end its goroutine
		if value := recover(); value != nil {
			v.Panicked(value)
		}
		m.cancel(nil)
		r.post(func() { r.act(m, v) })
	}()
	if r.isLast(m) {
		r.attemptLast(ctx, m, v)
		return
	}
	r.attempt(ctx, m, v)
}

// reportOverdue logs the handlers that go on although their contexts ended long ago. Nothing else can be done about them: their
// devices wait, since a second handler must not run beside the first.
func (r *run) reportOverdue() {
	for _, l := range r.lanes {
		if m := l.current; m != nil && !m.overdue.IsZero() && time.Now().After(m.overdue) {
			m.overdue, m.stuck = time.Time{}, true
			r.cfg.Logger.Error("handler does not end although its context has ended; the device waits",
				"message_id", m.ID, "group_id", m.Group, "handler_timeout", r.cfg.HandlerTimeout, "stack", stackOf(m.goroutine.Load()))
			r.probed(m, false) // an open breaker tries another
		}
	}
}
