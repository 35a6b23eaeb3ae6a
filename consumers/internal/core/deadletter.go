package core

import (
	"time"
)

// Dead letters on their way. The copy is sent for as long as it takes, and then the message is deleted; its lane waits for both: were the message
// deleted first, it would be lost with the process; did followers start first, they would overtake it where it comes again. The heartbeat keeps
// its lease meanwhile.

func (c *Core) send(m *Message) {
	m.busy = true
	c.requests++
	v := m.trouble
	if c.isParking() {
		v = m.park.failed
	}
	c.work.Send = append(c.work.Send, Send{m, v})
}

// sent goes on after an attempt to send a dead letter.
func (c *Core) sent(in Sent) {
	m := in.Message
	m.busy = false
	c.requests--
	parking := c.isParking()
	if m.state == Lost {
		if in.Err == nil && !parking { // the copy is there, so that the message must not run again
			c.done.add(m.ID)
		}
		c.gone(m)
		return
	}
	if in.Err == nil {
		m.failures = 0
		if parking {
			c.askWhether(m, Confirm)
			return
		}
		c.counts.DeadLettered++
		c.note(Note{Kind: NoteDeadLettered, Message: m, Verdict: m.trouble})
		c.finishHead(m)
		return
	}
	m.failures++
	again := c.backoff(m.failures, 100*time.Millisecond, 10*time.Second)
	c.note(Note{Kind: NoteSendFailed, Message: m, Failures: m.failures, In: again, Err: in.Err})
	c.waitsLong(m)
	if parking { // it asks before it sends again: when a release has begun, a new dead letter must not get between those that come back
		c.to(m, Asking)
		m.park.question = Find
		c.askLater(m, again)
		return
	}
	if c.aborted {
		c.handBackAll(m.lane)
		c.proceed(m.lane)
		return
	}
	c.at(m, again)
}

// waitsLong takes note that a message waits for something that may take long. Its followers go back, so that they are not held: they stay
// withheld behind it.
func (c *Core) waitsLong(m *Message) {
	if !m.long {
		m.long = true
		c.setAside(m.lane, true)
		c.handBack(m.lane)
	}
}
