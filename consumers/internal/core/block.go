package core

import (
	"time"

	"github.com/device-fanout/fanout/consumers/internal/attempt"
)

// The group policy block: nothing goes to the dead-letter queue.

// maxBlock is the longest pause between attempts at an event that blocks its device.
const maxBlock = time.Minute

// block keeps an event at the head of its device and tries it again later. Its followers go back, so that they are not held: they
// stay withheld behind it.
func (c *Core) block(m *Message, v *attempt.Verdict) {
	l := m.lane
	m.fails(c.now, ReasonBlock, v)
	if c.draining {
		c.givesUp(m, ReasonBlock, v)
		return
	}
	c.setAside(l, true)
	c.releaseWaiting(l)
	m.hold.rests++
	pause := restPause(m.hold.rests, maxBlock)
	c.rest(m, pause)
	c.note(Note{Kind: NoteBlocks, Message: m, Verdict: v, In: pause})
}
