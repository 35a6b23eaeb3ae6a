package core

import (
	"time"

	"github.com/device-fanout/fanout/consumers/failure"
	"github.com/device-fanout/fanout/consumers/internal/attempt"
	awsx "github.com/device-fanout/fanout/internal/aws"
)

// What a verdict comes to.

// MaxRetryAfter is the longest delay of a handler's RetryAfter.
const MaxRetryAfter = 11 * time.Hour

// attemptEnded does what a verdict asks for.
func (c *Core) attemptEnded(in AttemptEnded) {
	m, v, l := in.Message, in.Verdict, in.Message.lane
	m.busy = false
	m.overdue, m.stuck = time.Time{}, false
	c.slots.ended(m)
	worked := v.Attempts > 0 && (v.Kind == attempt.Handled || v.Kind == attempt.RetryAfter || v.Kind == attempt.Dead && v.Known)
	m.attempts += v.Attempts
	v.Attempts = m.attempts
	if v.Kind != attempt.Handled {
		c.tried.add(m.ID)
	}
	c.breaker.probed(m, worked)
	if worked {
		c.works(m, in)
	}
	if m.state == Lost { // nothing is deleted on this handler's behalf
		if v.Kind == attempt.Handled {
			c.counts.Handled++
			c.done.add(m.ID)
		}
		c.gone(m)
		return
	}
	switch v.Kind {
	case attempt.Handled:
		c.recovers(l, m)
		if m.park.announced {
			c.askWhether(m, Withdraw)
			return
		}
		c.handled(m)
	case attempt.RetryAfter:
		if c.cfg.Policy != failure.Block && c.isSpent(m) {
			v.Kind, v.Class = attempt.Dead, failure.Exhausted
			c.dead(m, v)
			return
		}
		c.counts.RetriesLater++
		m.lease.delay = min(max(v.Delay, time.Second), MaxRetryAfter)
		c.handBackAll(l)
		c.proceed(l)
	case attempt.Unavailable:
		if m.trouble == nil {
			c.failsFirst(m)
		}
		m.fails(c.now, ReasonBreaker, v)
		if c.draining {
			c.givesUp(m, ReasonBreaker, v)
			return
		}
		c.to(m, Waiting)
		c.putBack(l)
		c.turnLane(l, Free)
		c.breaker.opens(v)
		c.breaker.gate(l, true)
	case attempt.Dead:
		if v.Known {
			c.dead(m, v)
			return
		}
		c.failing.add(m.Device)
		c.setAside(l, true)
		c.unknown(m, in)
	case attempt.Released: // we stop
		c.handBackAll(l)
		c.proceed(l)
	}
}

// handled has a message deleted whose handler succeeded. Its device's next one runs at once.
func (c *Core) handled(m *Message) {
	c.counts.Handled++
	c.finish(m)
	c.dropHead(m.lane)
	c.proceed(m.lane)
}

// recovers takes note that a device does not fail any more.
func (c *Core) recovers(l *Lane, m *Message) {
	if len(c.failing.known) > 0 {
		c.failing.remove(m.Device)
	}
	if l.aside {
		c.setAside(l, false)
	}
}

// dead carries out, by the group policy, that an event failed for good or can't be handled at all.
func (c *Core) dead(m *Message, v *attempt.Verdict) {
	c.evidence.drop(m)
	m.wake = time.Time{}
	m.fails(c.now, ReasonDeadLetter, v)
	if m.lane.state == Paused {
		c.turnLane(m.lane, Busy)
	}
	switch c.cfg.Policy {
	case failure.Block:
		c.block(m, v)
	case failure.Park:
		m.park.failed = v
		m.lane.asks = true
		c.askWhether(m, Record)
	default: // followers wait until it is there and m is deleted
		c.to(m, Sending)
		c.send(m)
	}
}

// Pauses between attempts at an event that rests.
const (
	minRest = time.Second
	maxRest = 30 * time.Second
)

func restPause(rests int, most time.Duration) time.Duration {
	return awsx.Backoff{First: minRest, Most: most}.Doubled(rests)
}

// rest lets a message wait before it is tried again.
func (c *Core) rest(m *Message, pause time.Duration) {
	c.to(m, Resting)
	c.turnLane(m.lane, Paused)
	c.at(m, pause)
}

// again lets a message go on that rests.
func (c *Core) again(m *Message) {
	l := m.lane
	c.evidence.drop(m)
	m.wake = time.Time{}
	c.to(m, Waiting)
	c.putBack(l)
	c.turnLane(l, Free)
	c.proceed(l)
}
