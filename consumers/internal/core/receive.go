package core

import (
	"time"

	awsx "github.com/device-fanout/fanout/internal/aws"
)

// The intake: how much is received, and when.

// intake is the state of receiving.
type intake struct {
	underWay int
	asked    int // messages that those under way ask for
	wanted   int // receives to keep under way: one when idle, more while they come back full
	failures int // receives in a row that failed
	after    time.Time
	short    time.Time // since when fewer slots are free than are worth a receive; zero when that is not so
	lost     []string  // request attempt IDs of receives whose replies were lost, to be used again
}

const (
	// pollLinger is how long a few free slots wait for more of them, so that slots which become free one by one do not make a
	// request each.
	pollLinger = 20 * time.Millisecond
	// maxAside bounds how many messages of devices that fail or stand still are held beside the others.
	maxAside = 10_000
)

// receive asks for what free slots can take, and those that soon will be: at once when that is a full ten, or half of the slots if they
// are few. Where nothing shows that events can be handled, it asks for what finding out needs.
//
// Dead letters on their way take no slot: a dead-letter queue that can't be reached does not stop the other devices.
func (c *Core) receive() {
	p := &c.intake
	for !c.draining && !c.paused && p.underWay < p.wanted {
		if wait := p.after.Sub(c.now); wait > 0 {
			c.wakeWithin(wait)
			return
		}
		free := c.slots.free(c.cfg.Slots) + c.soonFree() - p.asked
		if c.isInDoubt() {
			if free = min(free, c.probes()); free < 1 {
				return
			}
		} else if !c.worthAReceive(free) {
			return
		}
		if len(c.held)-min(c.aside, maxAside)+len(c.changes.releases) >= awsx.MaxBatch*c.cfg.Slots {
			return // deletes, dead letters or releases do not keep up
		}
		attempt, ok := p.takeLost()
		if !ok {
			attempt = c.cfg.NewID()
		}
		c.startReceive(Receive{Max: min(awsx.MaxBatch, free), Wait: c.cfg.WaitTime, Attempt: attempt})
	}
	if c.draining {
		c.fetchLost()
	}
}

// soonFree is how many slots become free within pollLinger, all at most, at the pace at which messages are finished now. They
// are asked for ahead, or quick handlers would wait for every receive.
func (c *Core) soonFree() int {
	d := &c.deletes
	if d.last.IsZero() {
		return 0
	}
	pace := max(d.pace, c.now.Sub(d.last))
	return int(min(pollLinger/max(pace, 1), time.Duration(c.cfg.Slots)))
}

// worthAReceive tells whether that many free slots are enough for a receive, or have waited long enough for more.
func (c *Core) worthAReceive(free int) bool {
	p := &c.intake
	if free < 1 {
		p.short = time.Time{}
		return false
	}
	if free < min(awsx.MaxBatch, (c.cfg.Slots+1)/2) {
		if p.underWay > 0 { // a small one beside it would only break up what one receive can bring
			p.short = time.Time{}
			return false
		}
		if p.short.IsZero() {
			p.short = c.now
		}
		if wait := p.short.Add(pollLinger).Sub(c.now); wait > 0 {
			c.wakeWithin(wait)
			return false
		}
	}
	p.short = time.Time{}
	return true
}

func (c *Core) startReceive(r Receive) {
	c.intake.underWay++
	c.intake.asked += r.Max
	c.work.Receive = append(c.work.Receive, r)
}

// fetchLost asks once more for what lost replies brought, so that it can be handed back.
func (c *Core) fetchLost() {
	for len(c.intake.lost) > 0 {
		if wait := c.intake.after.Sub(c.now); wait > 0 {
			c.wakeWithin(wait)
			return
		}
		attempt, _ := c.intake.takeLost()
		// A wait of zero would mean the queue's own.
		c.startReceive(Receive{Max: awsx.MaxBatch, Wait: time.Second, Attempt: attempt, Repeats: true})
	}
}

func (p *intake) takeLost() (attempt string, ok bool) {
	if len(p.lost) == 0 {
		return "", false
	}
	attempt, p.lost = p.lost[0], p.lost[1:]
	return attempt, true
}

// received takes in what one receive returned.
func (c *Core) received(in Received) {
	c.counts.Receives++
	p := &c.intake
	p.underWay--
	p.asked -= in.Asked
	for i, m := range in.Messages {
		c.take(m, in, i)
	}
	for _, m := range in.Messages {
		if m.state == Waiting && c.draining {
			c.handBack(m.lane)
		}
		c.isolate.hideFollowers(m.lane)
		c.proceed(m.lane)
	}
	switch {
	case in.Err != nil: // the messages are kept, and each asks for itself: handed back they would use up their receives
		failures, again := c.waitAfterFailure()
		c.note(Note{Kind: NoteStoreFailed, Failures: failures, In: again, Err: in.Err})
		return
	case len(in.Messages) >= in.Asked:
		p.wanted = min(p.wanted+1, c.cfg.Pollers)
	case len(in.Messages) == 0:
		p.wanted = 1
	}
	p.failures = 0
}

// take puts one of the received messages into its lane.
func (c *Core) take(m *Message, in Received, i int) {
	m.lease.ends, m.answer = in.Lease, c.counts.Receives
	c.counts.Received++
	if m.ReceiveCount > 1 {
		c.counts.Redelivered++
	}
	if old := c.held[m.ID]; old != nil { // its lease ended without our knowing; the new delivery takes its place
		c.lose(old, true)
	}
	c.held[m.ID] = m
	l := c.lane(m)
	m.lane = l
	if c.done.has(m.ID) {
		c.finish(m)
		return
	}
	if !c.untrusted {
		for _, before := range in.Messages[:i] {
			if before.lane == l && before.Sequence > m.Sequence {
				c.untrusted = true
				c.note(Note{Kind: NoteOutOfOrder, Message: m})
				break
			}
		}
	}
	l.asks = l.asks || in.Err != nil && c.isParking() || in.Parked[m.Device]
	if len(c.failing.known) > 0 && c.failing.has(m.Device) {
		c.setAside(l, true)
	}
	c.to(m, Waiting)
	c.insert(l, m)
}

// receiveFailed waits a growing time before the next receive. When no answer came, the messages of the lost reply are asked for
// again by the same attempt ID, also if this request was never sent: one before it with that ID may have been. After an answer,
// such as throttling, that ID is no longer valid.
func (c *Core) receiveFailed(in ReceiveFailed) {
	c.counts.Receives++
	c.counts.ReceivesFailed++
	c.intake.underWay--
	c.intake.asked -= in.Max
	if in.Lost && !in.Repeats {
		c.intake.lost = append(c.intake.lost, in.Attempt)
	}
	failures, again := c.waitAfterFailure()
	c.note(Note{Kind: NoteReceiveFailed, Failures: failures, In: again, Err: in.Err})
}

// waitAfterFailure pauses receiving.
func (c *Core) waitAfterFailure() (failures int, again time.Duration) {
	p := &c.intake
	p.failures++
	again = c.backoff(p.failures, 100*time.Millisecond, 10*time.Second)
	p.after = c.now.Add(again)
	return p.failures, again
}
