package core

import (
	"maps"
	"slices"
	"time"

	"github.com/device-fanout/fanout/consumers/failure"
	"github.com/device-fanout/fanout/consumers/internal/attempt"
)

// When is an event that fails with unknown errors itself to blame? Only when something shows that its handler works: since it first failed, another event
// of its type was handled whose handler began after that, or the service's own check of its dependencies has passed. With that evidence the
// event is tried once more, and if it fails again it is dead-lettered as soon as such evidence comes once more, since the dependency may have been
// away just then. Without evidence the event rests, its lease is kept, and it is tried again with growing pauses. A service without a check
// dead-letters it after MaxHold all the same.

const (
	// handful is how many messages a process asks for without a pause while events can't be handled.
	handful = 5
	// relieveAfter is how often a message rests before those behind it are handed back.
	relieveAfter = 3
	// quiet is how long after the last success nothing shows any more that events can be handled, if some fail.
	quiet = 2 * time.Second
	// minCheck is the shortest time between two calls of the service's check, and maxCheck the longest while it fails.
	minCheck = 500 * time.Millisecond
	maxCheck = 10 * time.Second
	// maxProbe is the longest pause before another message is asked for to find out whether events can be handled.
	maxProbe = 5 * time.Second
)

// evidence is what is known of whether events can be handled.
type evidence struct {
	worked     bool                  // an event was handled, or refused by the handler, in this process
	lastWorked time.Time             // when that was last
	types      map[string]time.Time  // by type: when the handler began whose event was handled last
	doubts     int                   // how often all that was voided
	waiting    map[string][]*Message // by type: messages that rest until there is evidence
	resting    int                   // how many that are

	checking bool
	passed   time.Time // when the last check that passed began
	failures int       // checks in a row that failed
	since    time.Time // of the first of them
	err      error     // of the last
	next     time.Time // when the next may begin

	fresh int       // messages that failed for the first time since something worked
	came  bool      // one of them had come before, to a process that has ended
	after time.Time // when another message may be asked for to find out
}

// maxTypes bounds how many types evidence is kept of, and maxType the bytes of one: it is the message's word, which anybody may have sent.
const (
	maxTypes = 10_000
	maxType  = 512
)

// hold is what is kept of a message that fails with unknown errors.
type hold struct {
	failedAt time.Time // its first failure
	last     time.Time // its last
	rests    int
	trial    proof // the evidence with which its attempt has begun
	doubts   int   // evidence.doubts then
	confirm  bool  // it has failed with that evidence, which has to be given again
	waiting  bool  // it is in evidence.waiting
	share    bool  // it uses a slot of those that fail
}

// proof is what shows that a handler works.
type proof uint8

const (
	noProof   proof = iota
	bySuccess       // another event of its type was handled
	byCheck         // the service's check passed
)

// proof tells what shows that the handler of a message works, since the message has failed.
func (c *Core) proof(m *Message) proof {
	e := &c.evidence
	switch {
	case m.hold.failedAt.IsZero(), c.breaker.open && !c.cfg.Check:
	case c.worksSince(m, m.hold.failedAt):
		return bySuccess
	case !e.passed.Before(m.hold.last) && !e.passed.IsZero():
		return byCheck
	}
	return noProof
}

// works takes note of an attempt that reached a verdict of the handler's own.
func (c *Core) works(m *Message, in AttemptEnded) {
	e := &c.evidence
	e.worked, e.lastWorked, e.fresh, e.came = true, c.now, 0, false
	if in.Verdict.Kind != attempt.Handled || len(m.Type) > maxType {
		return
	}
	if e.types == nil || len(e.types) >= maxTypes {
		e.types = map[string]time.Time{}
	}
	if in.Began.After(e.types[m.Type]) {
		e.types[m.Type] = in.Began
	}
	for _, w := range slices.Clone(e.waiting[m.Type]) {
		switch {
		case w.hold.confirm:
			if c.worksSince(w, w.hold.last) {
				c.dead(w, w.trouble)
			}
		case c.proof(w) == bySuccess:
			c.again(w)
		}
	}
}

// worksSince tells whether an event of a message's type was handled whose handler began after that.
func (c *Core) worksSince(m *Message, since time.Time) bool {
	return c.evidence.types[m.Type].After(since)
}

// doubt voids what has shown until now that events can be handled: the check fails, or a handler says that a dependency is down.
func (c *Core) doubt() {
	e := &c.evidence
	e.doubts++
	clear(e.types)
	e.passed = time.Time{}
}

// unknown does what an unknown failure asks for.
func (c *Core) unknown(m *Message, in AttemptEnded) {
	v, h := in.Verdict, &m.hold
	if c.cfg.Policy == failure.Block {
		c.dead(m, v)
		return
	}
	first := h.failedAt.IsZero()
	if first {
		h.failedAt = in.FailedAt
		if h.failedAt.IsZero() {
			h.failedAt = c.now
		}
	}
	h.last = c.now
	tried := h.trial != noProof && h.doubts == c.evidence.doubts
	switch {
	case c.heldEnough(m):
		c.dead(m, v)
		return
	case c.draining && c.isSpent(m):
		m.trouble = v
		c.exhaust(m)
		return
	case c.draining:
		c.givesUp(m, ReasonEvidence, v)
		return
	case tried:
		h.confirm = true
	}
	m.fails(c.now, ReasonEvidence, v)
	if first {
		c.failsFirst(m)
		c.note(Note{Kind: NoteHeld, Message: m, Verdict: v})
	}
	h.rests++
	pause := restPause(h.rests, maxRest)
	if !c.cfg.Check {
		pause = min(pause, c.heldUntil(m).Sub(c.now))
	}
	c.rest(m, pause)
	c.evidence.add(m)
	if !h.confirm && !tried && c.proof(m) == bySuccess {
		c.again(m)
		return
	}
	if h.rests > relieveAfter && !c.isInDoubt() {
		c.relieve(m.lane)
	}
}

// failsFirst takes note that a message has failed for the first time: the more of them in a row, the later the next is asked for to find out.
func (c *Core) failsFirst(m *Message) {
	e := &c.evidence
	e.fresh++
	e.came = e.came || m.ReceiveCount > 1
	most := maxProbe
	if c.breaker.open {
		most = maxRest
	}
	e.after = c.now.Add(restPause(max(1, e.fresh-handful+1), most))
}

// heldUntil is when a message without evidence is dead-lettered after all.
func (c *Core) heldUntil(m *Message) time.Time { return m.hold.failedAt.Add(c.cfg.MaxHold) }

func (c *Core) heldEnough(m *Message) bool {
	return !c.cfg.Check && !c.now.Before(c.heldUntil(m))
}

// rested lets a message go on whose pause is over; when it has been held for long enough, for the last time.
func (c *Core) rested(m *Message) {
	if m.hold.confirm && c.cfg.Check { // it will tell
		c.at(m, minRest)
		return
	}
	c.again(m)
}

// exhaust dead-letters a message whose tries are used up.
func (c *Core) exhaust(m *Message) {
	v := *m.trouble
	v.Class = failure.Exhausted
	c.dead(m, &v)
}

// isSpent tells whether SQS would move a message to the dead-letter queue at its next receive.
func (c *Core) isSpent(m *Message) bool {
	return c.cfg.MaxReceives > 0 && m.ReceiveCount >= c.cfg.MaxReceives
}

// isExhausted tells whether a message has been held without evidence and can't be handed back, since SQS would move it, without a word on why.
func (c *Core) isExhausted(m *Message) bool { return c.isSpent(m) && !m.hold.failedAt.IsZero() }

// relieve hands back what waits behind a message that has rested more than once, so that it need not be held; but nothing twice, since
// that uses up receives.
func (c *Core) relieve(l *Lane) {
	for _, m := range l.waiting {
		if m.ReceiveCount > 1 {
			return
		}
	}
	c.releaseWaiting(l)
}

// add lets a message wait for evidence.
func (e *evidence) add(m *Message) {
	if e.waiting == nil {
		e.waiting = map[string][]*Message{}
	}
	m.hold.waiting = true
	e.waiting[m.Type] = append(e.waiting[m.Type], m)
	e.resting++
}

// all lists the messages that wait for evidence, in an order that is always the same.
func (e *evidence) all() []*Message {
	list := make([]*Message, 0, e.resting)
	for _, eventType := range slices.Sorted(maps.Keys(e.waiting)) {
		list = append(list, e.waiting[eventType]...)
	}
	return list
}

// drop takes a message from those that wait for evidence.
func (e *evidence) drop(m *Message) {
	m.hold.confirm = false
	if !m.hold.waiting {
		return
	}
	m.hold.waiting = false
	e.resting--
	list := e.waiting[m.Type]
	if len(list) == 1 {
		delete(e.waiting, m.Type)
		return
	}
	i := slices.Index(list, m)
	e.waiting[m.Type] = slices.Delete(list, i, i+1)
}

// check has the service's check called when it is needed: before the first receive, while events wait for evidence, and before the open breaker
// lets one be tried.
func (c *Core) check() {
	e := &c.evidence
	if !c.cfg.Check || e.checking || c.draining {
		return
	}
	if !(c.isUnchecked() || e.resting > 0 || c.breaker.wantsCheck()) {
		return
	}
	if wait := e.next.Sub(c.now); wait > 0 {
		c.wakeWithin(wait)
		return
	}
	e.checking, e.next = true, c.now.Add(minCheck)
	c.work.Check = true
}

// isUnchecked tells whether this process has neither handled anything nor heard of a check that passed.
func (c *Core) isUnchecked() bool {
	return c.cfg.Check && !c.evidence.worked && c.evidence.passed.IsZero()
}

// checked takes in what the service's check has said.
func (c *Core) checked(in Checked) {
	e := &c.evidence
	e.checking = false
	if in.Err != nil {
		e.failures++
		if e.failures == 1 {
			e.since = c.now
		}
		e.err = in.Err
		again := c.backoff(e.failures, minRest, maxCheck)
		e.next = c.now.Add(again)
		if e.failures == 1 {
			c.note(Note{Kind: NoteCheckFailed, Failures: e.failures, In: again, Err: in.Err})
		}
		c.doubt()
		for _, m := range e.all() {
			m.hold.confirm = m.hold.confirm && m.hold.last.After(in.Began)
		}
		c.breaker.probeFailed()
		return
	}
	if e.failures > 0 {
		c.note(Note{Kind: NoteCheckPassed, In: c.now.Sub(e.since)})
	}
	e.passed, e.failures, e.fresh, e.came, e.err = in.Began, 0, 0, false, nil
	for _, m := range e.all() {
		switch {
		case m.hold.last.After(in.Began):
		case m.hold.confirm:
			c.dead(m, m.trouble)
		default:
			c.again(m)
		}
	}
}

// isInDoubt tells whether nothing shows that events can be handled: this process has not handled any, or some fail and nothing has
// succeeded since, or a dependency is down.
func (c *Core) isInDoubt() bool {
	e := &c.evidence
	if !e.worked && e.passed.IsZero() || c.breaker.open {
		return true
	}
	last := e.lastWorked
	if e.failures == 0 && e.passed.After(last) {
		last = e.passed
	}
	return e.resting > 0 && c.now.Sub(last) > quiet
}

// probes is how many messages to ask for while in doubt: one at a time, so that none of its device come along that are only to wait. At first as many
// as find out whether it is this or that device that fails. Once a dependency is said to be down, or messages fail that have failed in other
// processes already, only a handful, and then one more after a growing pause each time that all those held have failed. A new process whose check
// fails asks for none. So restarts use up few receives.
func (c *Core) probes() int {
	e := &c.evidence
	if c.isUnchecked() || c.intake.asked > 0 {
		return 0
	}
	if len(c.held) < handful || !e.came && !c.breaker.open && e.fresh < 2*c.cfg.Slots {
		return 1
	}
	for _, l := range c.lanes {
		if !l.isHopeless() {
			return 0
		}
	}
	if wait := e.after.Sub(c.now); wait > 0 {
		c.wakeWithin(wait)
		return 0
	}
	return 1
}

// isHopeless tells whether a lane's first message has failed or can't go on, so that it shows nothing. Nor is it waited for when it is tried again:
// its handler may take its whole time each time.
func (l *Lane) isHopeless() bool {
	switch m := l.first(); {
	case l.head != nil:
		return l.state == Paused || l.head.stuck || l.head.long || l.head.state == Running && !l.head.hold.failedAt.IsZero()
	default:
		return m == nil || l.state == Gated && m.trouble != nil || !m.hold.failedAt.IsZero()
	}
}
