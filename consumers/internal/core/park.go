package core

import (
	"time"

	"github.com/device-fanout/fanout/consumers/failure"
	"github.com/device-fanout/fanout/consumers/internal/attempt"
	"github.com/device-fanout/fanout/consumers/parking"
)

// Parked devices: with the group policy park, whose events follow to the dead-letter queue and whose may run is for the parking store to say. Every
// request to it is repeated for as long as it takes.

// askAgain is how often it is asked whether the release of a device is over.
const askAgain = time.Second

// parkStep is what is being done with a message about the parking store.
type parkStep struct {
	question  Question
	failed    *attempt.Verdict // for which its device is parked
	recorded  bool             // that is recorded
	cleared   bool             // the store says that it may run
	announced bool             // its device is parked in case that its last delivery kills the process
}

// parkPolicy is the [policy] of parked devices.
type parkPolicy struct{ c *Core }

func (c *Core) isParking() bool { return c.cfg.Policy == failure.Park }

func (p *parkPolicy) before(l *Lane, m *Message) decision {
	c := p.c
	question := Find
	switch {
	// Should this process die, those come again, and the device's live events must not run before that.
	case m.Mark && p.undeleted(l.group):
		c.deletes.hurry(c.now)
		return wait
	case l.asks && !m.park.cleared && c.isParking():
		if m.Mark {
			question = EndMark
		} else if m.park.failed != nil && !m.park.recorded {
			question = Record
		}
	case c.isLast(m):
		question = Announce
	default:
		return run
	}
	c.turnLane(l, Busy)
	c.takeFirst(l)
	c.askWhether(m, question)
	return divert
}

// isLast tells whether a message is delivered for the last time before SQS moves it to the dead-letter queue, where that must park its
// device. If its handler kills the process, nothing would park it: so the device is parked before, and that is taken back when the handler
// has succeeded. The message is deleted after that. A process that dies in between leaves one dead letter too many, whose event was handled, but
// nothing that overtakes.
func (c *Core) isLast(m *Message) bool {
	return c.isParking() && c.isSpent(m) && !m.Mark && !m.park.announced
}

// undeleted tells whether messages of a group are handled and not yet deleted.
func (p *parkPolicy) undeleted(group string) bool {
	for _, m := range p.c.held {
		if m.Group == group && (m.state == Done || m.state == Deleting) {
			return true
		}
	}
	return false
}

// resumeMark lets the end mark go on that may have waited for a message to be deleted.
func (p *parkPolicy) resumeMark(m *Message) {
	if l := p.c.lanes[m.Group]; m.Released && l != nil {
		p.c.proceed(l)
	}
}

// returnMark hands back the end mark that has waited for a message to be deleted which comes again instead.
func (p *parkPolicy) returnMark(m *Message) {
	l := p.c.lanes[m.Group]
	if m.Released && l != nil && len(l.waiting) > 0 && l.waiting[0].Mark {
		p.c.releaseWaiting(l)
		p.c.proceed(l)
	}
}

// askWhether turns a lane's head to the parking store.
func (c *Core) askWhether(m *Message, question Question) {
	m.park.question = question
	c.to(m, Asking)
	c.ask(m)
}

func (c *Core) ask(m *Message) {
	m.busy = true
	c.requests++
	a := Ask{Message: m, Question: m.park.question}
	if a.Question == Record {
		a.Verdict = m.park.failed
	}
	c.work.Ask = append(c.work.Ask, a)
}

// next goes on with another question.
func (c *Core) next(m *Message, question Question) {
	m.park.question = question
	c.ask(m)
}

// StandingOf is the answer to [Find]: what the parking store's record of its device, the zero Device if there is none, means for a message.
func StandingOf(d parking.Device, m *Message) Standing {
	switch {
	case d.State == "", m.Released && d.State == parking.Releasing && !d.FailedAgain:
		return MayRun
	case d.Last == m.ID:
		return IsThere
	case d.State == parking.Releasing && !m.Released:
		return MustWait
	}
	return Follows
}

// answered does what the parking store's answer asks for.
func (c *Core) answered(in Answered) {
	m, l := in.Message, in.Message.lane
	m.busy = false
	c.requests--
	if m.state == Lost {
		switch {
		case in.Question == Withdraw: // it was handled
			c.counts.Handled++
			c.done.add(m.ID)
		case in.Err == nil && (in.Standing == IsThere || in.Question == Confirm && in.Standing == Noted):
			c.done.add(m.ID)
		}
		c.gone(m)
		return
	}
	if in.Err != nil {
		m.failures++
		again := c.backoff(m.failures, 100*time.Millisecond, 5*time.Second)
		c.note(Note{Kind: NoteStoreFailed, Message: m, Failures: m.failures, In: again, Err: in.Err})
		c.askLater(m, again)
		return
	}
	m.failures = 0
	switch in.Question {
	case Record:
		m.park.recorded = true
		c.next(m, Find)
	case Announce:
		m.park.announced = true
		c.mayRun(m)
	case Withdraw:
		m.park.announced = false
		c.handled(m)
	case EndMark:
		c.finishHead(m)
	case Confirm:
		if in.Standing == TooLate { // the release has begun meanwhile, and has sent the last dead letter that it knows of
			c.note(Note{Kind: NoteReleasedMeanwhile, Message: m})
			c.next(m, Find)
			return
		}
		c.isDead(m)
	case Find:
		switch in.Standing {
		case MayRun:
			m.park, m.hold = parkStep{cleared: true}, hold{} // it begins anew, and is announced anew
			m.trouble, m.reason, m.since = nil, "", time.Time{}
			l.asks = m.Released // of a release, each message asks: an earlier one may have failed
			m.long = false
			c.mayRun(m)
		case IsThere:
			c.isDead(m)
		case MustWait: // its dead letters come first
			m.waits(c.now, ReasonReleasing)
			c.waitsLong(m)
			c.askLater(m, askAgain)
		default:
			m.waits(c.now, ReasonParked)
			c.to(m, Sending)
			c.send(m)
		}
	}
}

// askLater repeats a question after a pause, unless draining ends that.
func (c *Core) askLater(m *Message, pause time.Duration) {
	if c.aborted || c.draining && m.stops() {
		c.handBackAll(m.lane)
		c.proceed(m.lane)
		return
	}
	c.at(m, pause)
}

// stops tells whether draining ends what a message waits for.
func (m *Message) stops() bool { return m.state == Asking && m.park.question != Withdraw }

// mayRun puts a message back in front of its lane.
func (c *Core) mayRun(m *Message) {
	l := m.lane
	c.to(m, Waiting)
	c.putBack(l)
	c.turnLane(l, Free)
	if c.draining {
		c.handBack(l)
	}
	c.proceed(l)
}

// isDead takes note that a message is in the dead-letter queue, and has it deleted.
func (c *Core) isDead(m *Message) {
	c.counts.DeadLettered++
	if m.park.failed == nil {
		c.counts.Parked++
	} else {
		c.note(Note{Kind: NoteDeadLettered, Message: m, Verdict: m.park.failed})
	}
	c.finishHead(m)
}

// finishHead has a lane's head deleted; the lane goes on after that.
func (c *Core) finishHead(m *Message) {
	c.finish(m)
	c.deletes.hurry(c.now)
}
