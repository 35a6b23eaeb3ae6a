package consumers

import "time"

// suspectAfter is how often an event must have come before, without a verdict, to be suspected of killing its process.
const suspectAfter = 2

// isSuspect tells whether a message may be what killed the processes that had it before. It is run apart then: if it kills this one
// too, it comes again alone, time after time, until SQS moves it to the dead-letter queue. Otherwise its receives would count for
// those beside it and behind it as well, and they would be moved there with it, untried.
func (r *run) isSuspect(m *message) bool {
	return m.receiveCount > suspectAfter && !r.trusted.has(m.id) && !r.draining
}

// shield hides the followers of a suspect for longer than itself, before it is run.
func (r *run) shield(l *lane) {
	if l.current != nil || l.queued || l.shields > 0 || len(l.waiting) < 2 || !r.isSuspect(l.waiting[0]) {
		return
	}
	for _, m := range l.waiting[1:] {
		r.hide(m, l.waiting[0])
	}
}

// hide keeps a message hidden until the suspect will have been moved, should it kill every process.
func (r *run) hide(m, suspect *message) {
	if m.extending || m.isHidden {
		return
	}
	times := 10
	if r.facts.maxReceives > 0 {
		times = min(max(r.facts.maxReceives-suspect.receiveCount, 0)+2, times)
	}
	m.extending, m.isHidden, m.hide = true, true, time.Duration(times)*r.facts.visibility
	r.changes.extends = append(r.changes.extends, m)
	m.lane.shields++
}

// shielded says that a message needs no longer visibility timeout any more.
func (r *run) shielded(m *message) {
	if m.hide > 0 {
		m.hide = 0
		m.lane.shields--
	}
}

// startSuspect lets the next suspect wait for a slot, when it would take no other one along: the one before it has a verdict and is
// gone, or hangs instead of killing anything, and those that wait are hidden.
func (r *run) startSuspect() {
	if len(r.suspects) == 0 {
		return
	}
	next := r.suspects[0]
	alone := r.apart == nil || r.apart.state == gone || r.apart.stuck || r.trusted.has(r.apart.id)
	waits := r.suspects
	if alone {
		waits = waits[1:]
	}
	for _, l := range waits {
		if len(l.waiting) > 0 {
			r.hide(l.waiting[0], l.waiting[0])
		}
		alone = alone && l.shields == 0
	}
	if !alone {
		return
	}
	r.suspects[0] = nil
	r.suspects = r.suspects[1:]
	if len(next.waiting) > 0 {
		r.apart = next.waiting[0]
	}
	r.ready = append(r.ready, next) // it is queued all the while
}
