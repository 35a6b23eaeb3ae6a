package core

import "time"

// The slots: which lanes wait for one, and which gets the next.

// slots shares the handlers' slots among the lanes. Devices whose last event failed get half of them at most, so that the others need not wait for
// handlers that run into their time.
type slots struct {
	running int
	ready   []*Lane // lanes that wait, the longest waiting first
	failing struct {
		running int
		ready   []*Lane
	}
	since int // messages started since one of a failing device was
}

// share is how many of n slots devices that fail may have.
func (s *slots) share(n int) int { return max(1, n/2) }

// free is how many of n slots are neither used nor waited for.
func (s *slots) free(n int) int {
	healthy := s.running - s.failing.running + len(s.ready)
	return n - healthy - min(s.failing.running+len(s.failing.ready), s.share(n))
}

// queue lets a lane wait for a slot.
func (s *slots) queue(l *Lane) {
	if l.aside {
		s.failing.ready = append(s.failing.ready, l)
	} else {
		s.ready = append(s.ready, l)
	}
}

// next takes the lane that gets a slot, if there is one for any.
func (s *slots) next(n int) *Lane {
	if s.running >= n {
		return nil
	}
	f := &s.failing
	fails := len(f.ready) > 0 && f.running < s.share(n)
	switch {
	// Nobody waits for ever: one slot, or with a single one every tenth turn, is theirs however busy the others are.
	case fails && (len(s.ready) == 0 || f.running == 0 && (n > 1 || s.since >= 10)):
		return shift(&f.ready)
	case len(s.ready) > 0:
		return shift(&s.ready)
	}
	return nil
}

// clear forgets who waits, and returns them.
func (s *slots) clear() []*Lane {
	all := append(s.ready, s.failing.ready...)
	s.ready, s.failing.ready = nil, nil
	return all
}

func shift(list *[]*Lane) *Lane {
	l := (*list)[0]
	(*list)[0] = nil
	*list = (*list)[1:]
	return l
}

// start fills the free slots. It tells whether it may be another lane's turn by now.
func (c *Core) start() (passed bool) {
	for {
		l := c.slots.next(c.cfg.Slots)
		if l == nil {
			return passed
		}
		m := l.first()
		if m == nil {
			passed = true
			c.turnLane(l, Free)
			c.proceed(l)
			continue
		}
		c.turnLane(l, Busy)
		c.takeFirst(l)
		if c.done.has(m.ID) { // it ended while this delivery of it was waiting
			passed = true
			c.finish(m)
			c.dropHead(l)
			c.proceed(l)
			continue
		}
		c.run(m)
		passed = passed || len(c.isolate.list) > 0 // it may have been the turn of one of these to wait for
	}
}

// longestTurn is how long a handler may wait for its turn to write to its database, while its time stands.
const longestTurn = 30 * time.Second

// run starts a message's handler.
func (c *Core) run(m *Message) {
	c.to(m, Running)
	m.busy = true
	m.overdue = c.now.Add(2*c.cfg.HandlerTimeout + longestTurn)
	c.slots.running++
	c.slots.since++
	if m.lane.aside {
		m.hold.share = true
		c.slots.failing.running++
		c.slots.since = 0
	}
	if m.trouble != nil {
		m.reason = ReasonRetrying
	}
	c.breaker.started(m)
	c.isolate.started(m)
	m.hold.trial, m.hold.doubts = c.proof(m), c.evidence.doubts
	c.work.Run = append(c.work.Run, Run{Message: m, Once: !m.hold.failedAt.IsZero()})
}

// ended frees a message's slot.
func (s *slots) ended(m *Message) {
	s.running--
	if m.hold.share {
		m.hold.share = false
		s.failing.running--
	}
}

// reportOverdue tells of handlers that go on although their contexts ended long ago. Nothing else can be done about them: their devices
// wait, since a second handler must not run beside the first.
func (c *Core) reportOverdue() {
	for _, l := range c.sortedLanes() {
		if m := l.head; m != nil && !m.overdue.IsZero() && c.now.After(m.overdue) {
			m.overdue, m.stuck = time.Time{}, true
			c.note(Note{Kind: NoteStuck, Message: m})
			c.breaker.probed(m, false) // another is tried
		}
	}
}
