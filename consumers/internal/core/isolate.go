package core

import "time"

// How an event that kills its process is kept from taking others along. SQS counts a receive for everything that the process held, so
// after a few deaths it would move all of that to the dead-letter queue, untried. A message that comes for the third time without a
// verdict is therefore isolated: it is run while no other of its kind is, and those, and its followers, are hidden for longer than
// itself before. If it kills this process too, it comes again alone.

// isolateAfter is how often an event must have come before, without a verdict, to be isolated.
const isolateAfter = 2

// isolatePolicy is the [policy] of events that may kill the process.
type isolatePolicy struct {
	c    *Core
	list []*Lane  // lanes whose first messages are to be isolated, the longest waiting first
	next *Lane    // the one of them that waits for a slot
	last *Message // the isolated message that was started last
}

func (p *isolatePolicy) before(l *Lane, m *Message) decision {
	switch {
	case l.hiding > 0:
		return wait
	case !p.must(m) || p.next == l:
		return run
	}
	p.c.turnLane(l, Isolating)
	p.list = append(p.list, l)
	return divert
}

// must tells whether a message may be what killed the processes that had it before.
func (p *isolatePolicy) must(m *Message) bool {
	return m.ReceiveCount > isolateAfter && !p.c.tried.has(m.ID) && !p.c.draining
}

// started takes note of a handler's start.
func (p *isolatePolicy) started(m *Message) {
	if m.lane == p.next {
		p.next = nil
	}
	if p.must(m) {
		p.last = m
	}
}

func (p *isolatePolicy) clear() { p.list, p.next = nil, nil }

// hideFollowers hides what waits behind a message that is to be isolated.
func (p *isolatePolicy) hideFollowers(l *Lane) {
	if l.state != Free && l.state != Withheld || l.hiding > 0 || len(l.waiting) < 2 || !p.must(l.waiting[0]) {
		return
	}
	for _, m := range l.waiting[1:] {
		p.hideBehind(m, l.waiting[0])
	}
}

// hideBehind keeps m hidden until SQS will have moved the isolated message, should that kill every process that gets it.
func (p *isolatePolicy) hideBehind(m, isolated *Message) {
	if m.lease.changing || m.lease.hidden {
		return
	}
	times := 10
	if most := p.c.cfg.MaxReceives; most > 0 {
		times = min(max(most-isolated.ReceiveCount, 0)+2, times)
	}
	m.lease.hidden = true
	p.c.hideFor(m, time.Duration(times)*p.c.cfg.Visibility)
}

// answered lets the lane go on for which hideFor was called: SQS has answered, whatever it said, or the message is not held any more.
func (p *isolatePolicy) answered(m *Message) {
	if m.lease.hide > 0 {
		m.lease.hide = 0
		m.lane.hiding--
	}
}

// turn lets the next message that is to be isolated wait for a slot, once it can take no other one along: the one before it has
// a verdict and is deleted, or hangs rather than kills; and those that wait for their turn are hidden for longer than it is.
func (p *isolatePolicy) turn() {
	for len(p.list) > 0 && p.takeTurn() {
	}
}

// takeTurn gives the first one its turn, if it may have it.
func (p *isolatePolicy) takeTurn() (taken bool) {
	c := p.c
	if p.next != nil && p.next.state != Ready { // it was lost before its turn came, or waits for something else first, such as the breaker
		p.next = nil
	}
	alone := p.next == nil && !p.mayStillKill(p.last)
	if p.last != nil && p.last.state == Done {
		c.deletes.hurry(c.now)
	}
	others := p.list
	if alone {
		others = others[1:]
	}
	for _, l := range others {
		if m := l.first(); m != nil {
			p.hideBehind(m, m)
			alone = alone && m.lease.hidden && l.hiding == 0
		}
	}
	if !alone {
		return false
	}
	l := p.list[0]
	if m := l.first(); m != nil && m.lease.hidden { // it waited for its turn, and is to come back before the others
		if m.lease.changing {
			return false
		}
		m.lease.hidden = false
		c.hideFor(m, c.cfg.Visibility)
	}
	if l.hiding > 0 {
		return false
	}
	p.next = shift(&p.list)
	c.turnLane(l, Free)
	c.proceed(l)
	return true
}

// mayStillKill tells whether an isolated message may still kill the process, or would come again if another one did.
func (p *isolatePolicy) mayStillKill(m *Message) bool {
	return m != nil && (m.state == Running || m.state == Done || m.state == Deleting) && !m.stuck && !p.c.tried.has(m.ID)
}
