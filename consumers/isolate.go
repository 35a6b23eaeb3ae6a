package consumers

import "time"

// How an event that kills its process is kept from taking others along. SQS counts a receive for everything that the process held, so
// after a few deaths it would move all of that to the dead-letter queue, untried. A message that comes for the third time without a
// verdict is therefore isolated: it is run while no other of its kind is, and those, and its followers, are hidden for longer than
// itself before. If it kills this process too, it comes again alone.

// isolateAfter is how often an event must have come before, without a verdict, to be isolated.
const isolateAfter = 2

// mustIsolate tells whether a message may be what killed the processes that had it before.
func (r *run) mustIsolate(m *message) bool {
	return m.ReceiveCount > isolateAfter && !r.tried.has(m.ID) && !r.draining
}

// hideFollowers hides what waits behind a message that is to be isolated.
func (r *run) hideFollowers(l *lane) {
	if l.current != nil || l.queued || l.hiding > 0 || len(l.waiting) < 2 || !r.mustIsolate(l.waiting[0]) {
		return
	}
	for _, m := range l.waiting[1:] {
		r.hideBehind(m, l.waiting[0])
	}
}

// hideBehind keeps m hidden until SQS will have moved the isolated message, should that kill every process that gets it.
func (r *run) hideBehind(m, isolated *message) {
	if m.extending || m.isHidden {
		return
	}
	times := 10
	if r.facts.maxReceives > 0 {
		times = min(max(r.facts.maxReceives-isolated.ReceiveCount, 0)+2, times)
	}
	m.isHidden = true
	r.hideFor(m, time.Duration(times)*r.facts.visibility)
}

// hideFor asks for a visibility timeout, at most as long as SQS allows. The message's lane waits until that is answered.
func (r *run) hideFor(m *message, d time.Duration) {
	m.extending, m.hide = true, max(min(d, mostHidden-time.Since(m.receivedAt)), time.Second)
	r.changes.extends = append(r.changes.extends, m)
	m.lane.hiding++
}

// hideAnswered lets the lane go on for which hideFor was called: SQS has answered, whatever it said, or the message is not held any more.
func (r *run) hideAnswered(m *message) {
	if m.hide > 0 {
		m.hide = 0
		m.lane.hiding--
	}
}

// startIsolated lets the next message that is to be isolated wait for a slot, once it can take no other one along: the one before it has
// a verdict and is deleted, or hangs rather than kills; and those that wait for their turn are hidden for longer than it is.
func (r *run) startIsolated() {
	if len(r.toIsolate) == 0 {
		return
	}
	alone := r.nextIsolated == nil && !r.mayStillKill(r.isolated)
	if r.isolated != nil && r.isolated.state == finished {
		r.deletes.hurry()
	}
	others := r.toIsolate
	if alone {
		others = others[1:]
	}
	for _, l := range others {
		if len(l.waiting) > 0 {
			r.hideBehind(l.waiting[0], l.waiting[0])
			alone = alone && l.waiting[0].isHidden && l.hiding == 0
		}
	}
	if !alone {
		return
	}
	next := r.toIsolate[0]
	if len(next.waiting) > 0 {
		if m := next.waiting[0]; m.isHidden { // it waited for its turn, and is to come back before the others
			if m.extending {
				return
			}
			m.isHidden = false
			r.hideFor(m, r.facts.visibility)
		}
	}
	if next.hiding > 0 {
		return
	}
	r.toIsolate[0] = nil
	r.toIsolate = r.toIsolate[1:]
	r.nextIsolated = next
	r.ready = append(r.ready, next) // it is queued all the while
}

// mayStillKill tells whether an isolated message may still kill the process, or would come again if another one did.
func (r *run) mayStillKill(m *message) bool {
	return m != nil && (m.state == running || m.state == finished) && !m.stuck && !r.tried.has(m.ID)
}
