package consumers

import "time"

// Pauses of an open circuit breaker between two attempts.
const (
	minBreak = time.Second
	maxBreak = time.Minute
)

// breaker stops the intake while no event can be handled: a handler has said so, or one device after the other has failed. What
// is held stays held, so that no receive is counted for it. After a pause one event is tried; if that succeeds, all go on.
type breaker struct {
	failed map[string]bool // devices that failed with unknown errors since the last success
	open   bool
	since  time.Time
	reason string
	pause  time.Duration
	until  time.Time // when the next attempt may start
	probe  *message  // that attempt
	polled bool      // in this pause a receive has asked for an event to try
	tried  []*lane   // lanes whose first event was tried in vain; they come after the others
}

// unknownFailure counts a failure and tells whether the breaker is open: the event is then kept.
func (r *run) unknownFailure(m *message, v *verdict) bool {
	b := &r.breaker
	if b.open {
		return true
	}
	if r.cfg.BreakAfter < 0 {
		return false
	}
	if b.failed == nil {
		b.failed = map[string]bool{}
	}
	b.failed[m.Device] = true
	if len(b.failed) < r.cfg.BreakAfter {
		return false
	}
	r.openBreaker(v)
	return true
}

// openBreaker opens the breaker, or keeps it open for longer when its attempt has failed.
func (r *run) openBreaker(v *verdict) {
	b := &r.breaker
	if !b.open {
		b.open, b.since, b.pause = true, time.Now(), minBreak
		r.stats.breaks.Add(1)
		r.cfg.Logger.Error("circuit breaker opens: events can't be handled; nothing is received until one can", "code", v.Code, "err", v.Text)
	}
	b.reason = v.Text
	clear(b.failed)
}

// probed ends an attempt of the open breaker. Success is any verdict for which the handler needed nothing that is down.
func (r *run) probed(m *message, success bool) {
	b := &r.breaker
	if !b.open || b.probe != m {
		return
	}
	b.probe = nil
	if !success {
		b.pause = min(2*b.pause, maxBreak)
		b.until = time.Now().Add(b.pause)
		b.polled = false
		return
	}
	r.cfg.Logger.Info("circuit breaker closes", "after", time.Since(b.since).Round(time.Millisecond))
	r.ready = append(b.tried, r.ready...)
	*b = breaker{}
}

// postpone puts an event back to the head of its lane, which waits for the breaker to close.
func (r *run) postpone(m *message) {
	l := m.lane
	l.current = nil
	m.state = waiting
	l.waiting = append([]*message{m}, l.waiting...)
	if r.draining {
		r.releaseWaiting(l)
		r.proceed(l)
		return
	}
	l.queued = true
	r.breaker.tried = append(r.breaker.tried, l)
}

// mayStart tells whether a handler may start now. While the breaker is open one may, after each pause.
func (r *run) mayStart() bool {
	b := &r.breaker
	if !b.open {
		return true
	}
	if b.until.IsZero() {
		b.until = time.Now().Add(b.pause)
	}
	if b.probe != nil {
		return false
	}
	if wait := time.Until(b.until); wait > 0 {
		r.wakeWithin(wait)
		return false
	}
	if len(r.ready) == 0 && len(b.tried) > 0 && ((b.polled || r.paused.Load()) && r.poll.underWay == 0 || len(r.held) >= r.mostHeld()) {
		r.ready, b.tried = append(r.ready, b.tried[0]), b.tried[1:]
	}
	return true
}

// mayPoll tells how many messages may be asked for: all, or while the breaker is open one in each pause.
func (b *breaker) mayPoll(n int) int {
	switch {
	case !b.open:
		return n
	case b.probe != nil || b.polled || time.Now().Before(b.until) || b.until.IsZero():
		return 0
	}
	return 1
}
