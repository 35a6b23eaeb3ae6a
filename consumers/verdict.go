package consumers

import (
	"time"

	"github.com/device-fanout/fanout/consumers/deadletter"
	"github.com/device-fanout/fanout/consumers/internal/attempt"
	awsx "github.com/device-fanout/fanout/internal/aws"
)

// act does what a verdict asks for.
func (r *run) act(m *message, v *verdict) {
	r.running--
	m.overdue, m.stuck = time.Time{}, false
	if v.Kind != attempt.Handled {
		r.tried.add(m.ID)
	}
	r.probed(m, v.Kind == attempt.Handled || v.Kind == attempt.RetryAfter || v.Kind == attempt.Dead && v.Known)
	l := m.lane
	if m.state == gone { // the lease was lost meanwhile: nothing is deleted on this handler's behalf
		if v.Kind == attempt.Handled {
			r.stats.handled.Add(1)
			r.done.add(m.ID)
		}
		l.current = nil
		r.proceed(l)
		return
	}
	switch v.Kind {
	case attempt.Handled:
		r.stats.handled.Add(1)
		clear(r.breaker.failed)
		l.current = nil
		r.finish(m)
		r.proceed(l)
	case attempt.RetryAfter:
		if r.cfg.GroupPolicy != Block && r.facts.maxReceives > 0 && m.ReceiveCount >= r.facts.maxReceives {
			v.Kind, v.Class = attempt.Dead, deadletter.Exhausted
			r.dead(m, v)
			return
		}
		r.stats.retriesLater.Add(1)
		l.current = nil
		m.delay = min(max(v.Delay, time.Second), MaxRetryAfter)
		r.handBackWith(l, m)
		r.proceed(l)
	case attempt.Unavailable:
		m.noteBlocked(BlockedBreaker, v)
		r.openBreaker(v)
		r.postpone(m)
	case attempt.Dead:
		r.dead(m, v)
	case attempt.Released: // we stop
		l.current = nil
		r.handBackWith(l, m)
		r.proceed(l)
	}
}

// dead carries out, by the group policy, that an event failed for good or can't be handled at all.
func (r *run) dead(m *message, v *verdict) {
	if v.Known {
		clear(r.breaker.failed)
	} else if v.Kind == attempt.Dead && r.unknownFailure(m, v) {
		m.noteBlocked(BlockedBreaker, v)
		r.postpone(m)
		return
	}
	switch r.cfg.GroupPolicy {
	case Block:
		r.block(m, v)
	case Park:
		m.failed = v
		m.lane.asks = true
		m.noteBlocked(BlockedDeadLetter, v)
		r.sendParked(m)
	default:
		m.noteBlocked(BlockedDeadLetter, v)
		r.sendDeadLetter(m, v) // followers wait until it is there and m is deleted
	}
}

// Pauses between attempts at an event that blocks its device.
const (
	minBlock = time.Second
	maxBlock = time.Minute
)

// maxBlockers bounds how many events that block their devices are held beside the others.
const maxBlockers = 10_000

// block keeps an event at the head of its device and tries it again later. Its followers go back, so that they are not held: they
// stay withheld behind it.
func (r *run) block(m *message, v *verdict) {
	l := m.lane
	m.noteBlocked(BlockedPolicy, v)
	r.blocking[m]++
	l.current = nil
	if r.draining {
		r.release(m)
		r.proceed(l)
		return
	}
	r.releaseWaiting(l)
	m.state = waiting
	l.waiting = []*message{m}
	l.blocker = m
	pause := awsx.Backoff{First: minBlock, Most: maxBlock}.Doubled(r.blocking[m])
	r.cfg.Logger.Error("event blocks its device", "event_id", v.EventID, "event_type", v.EventType, "device_id", m.Device,
		"message_id", m.ID, "code", v.Code, "attempts", v.Attempts, "retry_in", pause, "err", v.Text)
	time.AfterFunc(pause, func() {
		r.post(func() {
			if l.blocker == m {
				l.blocker = nil
				if m.state == waiting && !r.draining {
					r.proceed(l)
				}
			}
		})
	})
}
