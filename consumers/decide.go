package consumers

import (
	"time"

	"github.com/device-fanout/fanout/consumers/deadletter"
)

// What a verdict comes to, by the group policy.

// decide acts on a verdict.
func (r *run) decide(m *message, v *verdict) {
	r.running--
	m.overdue, m.stuck = time.Time{}, false
	if v.fate != handled {
		r.trusted.add(m.id)
	}
	r.probed(m, v.fate == handled || v.fate == later || v.fate == dead && v.known)
	l := m.lane
	if m.state == gone { // the lease was lost meanwhile: nothing is deleted on this handler's behalf
		if v.fate == handled {
			r.stats.handled.Add(1)
			r.done.add(m.id)
		}
		l.current = nil
		r.proceed(l)
		return
	}
	switch v.fate {
	case handled:
		r.stats.handled.Add(1)
		clear(r.breaker.failed)
		l.current = nil
		r.finish(m)
		r.proceed(l)
	case later:
		if r.cfg.GroupPolicy != Block && r.facts.maxReceives > 0 && m.receiveCount >= r.facts.maxReceives {
			v.fate, v.class = dead, deadletter.Exhausted
			r.dead(m, v)
			return
		}
		r.stats.retriesLater.Add(1)
		l.current = nil
		r.release(reversed(l.waiting)...)
		l.waiting = nil
		m.delay = min(max(v.delay, time.Second), MaxRetryAfter)
		r.release(m)
		r.proceed(l)
	case down:
		m.hinders(BlockedBreaker, v)
		r.openBreaker(v)
		r.postpone(m)
	case dead:
		r.dead(m, v)
	case released: // we stop
		l.current = nil
		r.handBackWith(l, m)
		r.proceed(l)
	}
}

// dead sees to an event that failed for good, or that can't be handled at all.
func (r *run) dead(m *message, v *verdict) {
	if v.known {
		clear(r.breaker.failed)
	} else if v.fate == dead && r.unknownFailure(m, v) {
		m.hinders(BlockedBreaker, v)
		r.postpone(m)
		return
	}
	switch r.cfg.GroupPolicy {
	case Block:
		r.block(m, v)
	case Park:
		m.failed = v
		m.lane.asks = true
		m.hinders(BlockedDeadLetter, v)
		r.sendParked(m)
	default:
		m.hinders(BlockedDeadLetter, v)
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
	m.hinders(BlockedPolicy, v)
	r.blocking[m]++
	l.current = nil
	if r.draining {
		r.release(m)
		r.proceed(l)
		return
	}
	r.release(reversed(l.waiting)...)
	m.state = waiting
	l.waiting = []*message{m}
	l.blocker = m
	pause := min(minBlock<<min(r.blocking[m]-1, 10), maxBlock)
	r.cfg.Logger.Error("event blocks its device", "event_id", v.eventID, "event_type", v.eventType, "device_id", m.device,
		"message_id", m.id, "code", v.code, "attempts", v.attempts, "retry_in", pause, "err", v.text)
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
