package core

import (
	"time"

	"github.com/device-fanout/fanout/consumers/internal/attempt"
)

// What whoever is on call wants to know: which devices can't go on, why, and what they wait for.

// Reason is why a device can't go on.
type Reason string

// The reasons.
const (
	ReasonRetrying   Reason = "retrying"    // its event failed and is tried again
	ReasonBlock      Reason = "block"       // its event failed, and the group policy is block
	ReasonEvidence   Reason = "evidence"    // its event failed, and nothing shows that the handler works
	ReasonDeadLetter Reason = "dead_letter" // its event is on the way to the dead-letter queue
	ReasonStuck      Reason = "stuck"       // its handler does not end though its context has ended
	ReasonParked     Reason = "parked"      // its event follows to the dead-letter queue
	ReasonReleasing  Reason = "releasing"   // its dead letters come back first
	ReasonBreaker    Reason = "breaker"     // a dependency is down
)

// Blocked is a device that can't go on.
type Blocked struct {
	Message *Message
	Reason  Reason
	Since   time.Time
	Verdict *attempt.Verdict // the last failure; nil if there was none
	Behind  int              // messages behind it
	Until   time.Time        // when it goes on or is given up at the latest; zero if that is open
	Check   error            // what the service's check says, where that is waited for
}

// fails keeps what went wrong at an attempt.
func (m *Message) fails(now time.Time, reason Reason, v *attempt.Verdict) {
	m.trouble = v
	m.waits(now, reason)
}

// waits keeps why a message can't go on.
func (m *Message) waits(now time.Time, reason Reason) {
	if m.since.IsZero() {
		m.since = now
	}
	m.reason = reason
}

// Blocked lists the devices that can't go on, in no order.
func (c *Core) Blocked() []Blocked {
	var list []Blocked
	for _, l := range c.lanes {
		m, behind := l.head, len(l.waiting)
		if m == nil {
			if m, behind = l.first(), behind-1; m == nil {
				continue
			}
		}
		if m.reason == "" && !m.stuck {
			continue
		}
		b := Blocked{Message: m, Reason: m.reason, Since: m.since, Verdict: m.trouble, Behind: behind}
		if b.Since.IsZero() {
			b.Since = m.ReceivedAt
		}
		switch {
		case m.stuck:
			b.Reason = ReasonStuck
		case m.reason == ReasonEvidence && !c.cfg.Check:
			b.Until = c.heldUntil(m)
		case m.reason == ReasonEvidence, m.reason == ReasonBreaker:
			b.Check = c.evidence.err
		case m.reason == ReasonBlock:
			b.Until = m.wake
		}
		list = append(list, b)
	}
	return list
}

// Doubt says why events can't be handled as far as is known; nil while nothing speaks against it.
func (c *Core) Doubt() (reason Reason, check error) {
	switch {
	case c.breaker.open:
		return ReasonBreaker, c.evidence.err
	case c.isUnchecked() && c.evidence.err != nil, c.evidence.resting > 0 && c.isInDoubt():
		return ReasonEvidence, c.evidence.err
	}
	return "", nil
}
