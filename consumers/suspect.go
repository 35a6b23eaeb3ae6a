package consumers

import "time"

// suspectAfter is how often an event must have come before, without a verdict, to be suspected of killing its process.
const suspectAfter = 2

// isSuspect tells whether a message may be what killed the processes that had it before. It is run apart then: if it kills this one
// too, it comes again alone, time after time, until SQS moves it to the dead-letter queue. Otherwise its receives would count for
// those beside it and behind it as well, and they would be moved there with it, untried.
func (r *run) isSuspect(m *message) bool {
	return m.ReceiveCount > suspectAfter && !r.trusted.has(m.ID) && !r.draining
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
		times = min(max(r.facts.maxReceives-suspect.ReceiveCount, 0)+2, times)
	}
	m.isHidden = true
	r.shieldFor(m, time.Duration(times)*r.facts.visibility)
}

// shieldFor asks for a visibility timeout, as long as SQS allows; the message's lane waits for the answer.
func (r *run) shieldFor(m *message, d time.Duration) {
	m.extending, m.hide = true, max(min(d, mostHidden-time.Since(m.receivedAt)), time.Second)
	r.changes.extends = append(r.changes.extends, m)
	m.lane.shields++
}

// shielded says that the answer has come, or that none is wanted any more.
func (r *run) shielded(m *message) {
	if m.hide > 0 {
		m.hide = 0
		m.lane.shields--
	}
}

// startSuspect lets the next suspect wait for a slot, when it would take no other one along: the one before it has a verdict and is
// gone, or hangs instead of killing anything; those that wait are hidden for longer; and it is not any more.
func (r *run) startSuspect() {
	if len(r.suspects) == 0 {
		return
	}
	alone := r.nextSuspect == nil && !r.isBusy(r.apart)
	if r.apart != nil && r.apart.state == finished {
		r.deletes.hurry()
	}
	waits := r.suspects
	if alone {
		waits = waits[1:]
	}
	for _, l := range waits {
		if len(l.waiting) > 0 {
			r.hide(l.waiting[0], l.waiting[0])
			alone = alone && l.waiting[0].isHidden && l.shields == 0
		}
	}
	if !alone {
		return
	}
	next := r.suspects[0]
	if len(next.waiting) > 0 {
		if m := next.waiting[0]; m.isHidden { // it waited itself, and is to come back before those that it may take along
			if m.extending {
				return
			}
			m.isHidden = false
			r.shieldFor(m, r.facts.visibility)
		}
	}
	if next.shields > 0 {
		return
	}
	r.suspects[0] = nil
	r.suspects = r.suspects[1:]
	r.nextSuspect = next
	r.ready = append(r.ready, next) // it is queued all the while
}

// isBusy tells whether a suspect may still kill the process, or would come again if another one did.
func (r *run) isBusy(m *message) bool {
	return m != nil && (m.state == running || m.state == finished) && !m.stuck && !r.trusted.has(m.ID)
}
