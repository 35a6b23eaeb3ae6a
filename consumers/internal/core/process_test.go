package core

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/device-fanout/fanout/consumers/failure"
	"github.com/device-fanout/fanout/consumers/internal/attempt"
	"github.com/device-fanout/fanout/consumers/parking"
	awsx "github.com/device-fanout/fanout/internal/aws"
)

// worker is one process of the simulation: a core and its shell.
type worker struct {
	w        *world
	n        int
	core     *Core
	over     bool // it was killed, or has ended
	draining bool
	began    time.Duration // of the drain
	wakesAt  time.Duration
	turning  bool
	again    bool // something has happened in a turn
	beating  bool
	changing int
	passed   bool // a check has
	runs     map[*Message]*running
	active   []int         // by device: handlers
	lastEnd  time.Duration // when the last handler ended
	released map[*Message]bool
	parked   map[*Message]parking.Device // what the store said last
}

// delivery is what the shell keeps of a message.
type delivery struct {
	e      *entry
	handle int
}

func entryOf(m *Message) *entry { return m.Ref.(delivery).e }

// running is an attempt under way.
type running struct {
	m        *Message
	began    time.Duration
	failedAt time.Time
	attempts int
	once     bool
	over     bool
	until    time.Duration // its time is over
}

func (w *world) live(n int, l life) *worker {
	s := w.story
	p := &worker{w: w, n: n, runs: map[*Message]*running{}, active: make([]int, 64), released: map[*Message]bool{}, parked: map[*Message]parking.Device{}}
	p.core = New(Config{
		Slots: l.slots, Pollers: 2, WaitTime: 5 * time.Second, HandlerTimeout: simTimeout, DeleteLinger: 10 * time.Millisecond, MaxHold: s.maxHold,
		Check: s.check, Policy: s.policy, Visibility: s.visibility, MaxReceives: s.max, Strict: true,
		NewID: func() string { w.ids++; return strconv.Itoa(w.ids) },
		Rand:  func(below time.Duration) time.Duration { return below / 3 },
	})
	w.tellf("process %d starts", n)
	w.workers = append(w.workers, p)
	w.after(l.lasts, func() {
		switch {
		case p.over:
		case l.killed:
			p.die()
		default:
			p.drain()
		}
	})
	p.turn()
	return p
}

func (p *worker) die() {
	p.w.tellf("process %d is killed", p.n)
	p.w.killed = true
	p.end()
}

func (p *worker) end() {
	p.over = true
}

func (p *worker) drain() {
	w := p.w
	w.tellf("process %d drains", p.n)
	p.draining, p.began = true, w.now
	p.step(Drain{})
	calm := w.story.trouble == trouble{} && w.story.storeDown[1] == 0 && w.story.dlqDown[1] == 0
	w.after(simTimeout+15*time.Second, func() {
		if !p.over && calm && len(p.runs) == 0 && w.now-p.lastEnd > 10*time.Second {
			w.failf("process %d has nothing to do and does not end its drain", p.n)
		}
	})
	w.after(simDrain, func() {
		if !p.over {
			p.step(Abort{})
		}
	})
	w.after(simDrain+5*time.Second, func() {
		if p.over {
			return
		}
		excused := false
		for m := range p.runs {
			excused = excused || entryOf(m).event >= 0 && w.story.events[entryOf(m).event].does == hangs
		}
		if calm && !excused && w.now-p.lastEnd > time.Second { // after the end of a handler that hung
			w.failf("process %d does not end its drain", p.n)
		}
		w.tellf("process %d ends its drain with %d messages", p.n, p.core.Counts().Held)
		w.killed = true
		p.end()
	})
}

// step tells the core something, and does what it wants then.
func (p *worker) step(in Input) {
	if p.over {
		return
	}
	p.core.Step(p.w.time(), in)
	p.turn()
}

func (p *worker) turn() {
	if p.over {
		return
	}
	if p.turning {
		p.again = true
		return
	}
	p.turning = true
	w := p.w
	work := p.core.Turn(w.time())
	for _, c := range work.Receive {
		p.receive(c)
	}
	for _, c := range work.Run {
		p.run(c)
	}
	for _, c := range work.Cancel {
		p.cancel(c)
	}
	for _, messages := range work.Delete {
		p.delete(messages)
	}
	for _, c := range work.Change {
		p.change(c)
	}
	for _, c := range work.Send {
		p.send(c)
	}
	for _, c := range work.Ask {
		p.ask(c)
	}
	if work.Check {
		p.check()
	}
	if w.trace {
		for _, n := range work.Notes {
			p.tell(n)
		}
	}
	p.core.Advance()
	p.turning = false
	if p.again {
		p.again = false
		p.turn()
		return
	}
	p.checkQuiet("twice at once")
	if wake := p.core.Wake(); !wake.IsZero() {
		at := wake.Sub(simBase)
		if p.wakesAt <= w.now || at < p.wakesAt {
			p.wakesAt = max(at, w.now)
			w.after(at-w.now, func() {
				if p.wakesAt == w.now || p.wakesAt == 0 {
					p.wakesAt = 0
				}
				p.turn()
			})
		}
	}
	if !p.beating && len(p.core.held) > 0 {
		p.beating = true
		w.after(w.story.visibility/12, func() {
			p.beating = false
			if p.wakesAt != w.now {
				p.checkQuiet("before a heartbeat")
			}
			p.step(Heartbeat{})
		})
	}
	if p.draining && !p.over && p.core.Idle() {
		w.tellf("process %d has drained", p.n)
		p.end()
	}
}

// checkQuiet checks that the core wants nothing more than it did in its last turn: what it wants by now it must have said when it wants to be woken.
func (p *worker) checkQuiet(when string) {
	if p.over {
		return
	}
	work := p.core.Turn(p.w.time())
	if n := len(work.Receive) + len(work.Run) + len(work.Cancel) + len(work.Delete) + len(work.Change) + len(work.Send) + len(work.Ask) + len(work.Notes); n > 0 || work.Check {
		p.w.failf("process %d was not woken for %+v, %s", p.n, *work, when)
	}
}

func (p *worker) tell(n Note) {
	what := [...]string{
		"ILLEGAL", "lost its lease", "extension failed", "release failed", "delete failed", "receive failed", "store failed", "send failed",
		"dead-lettered", "blocks", "held", "check failed", "check passed", "breaker opens", "breaker closes", "stuck", "released meanwhile", "out of order",
	}[n.Kind]
	id := ""
	if n.Message != nil {
		id = fmt.Sprintf(" e%d", entryOf(n.Message).event)
	}
	p.w.tellf("  process %d:%s %s %s", p.n, id, what, n.Text)
}

// fate is what becomes of a request.
type fate uint8

const (
	carriedOut fate = iota
	throttledFate
	lostFate   // carried out, and the reply is lost
	unsentFate // neither
	partlyFate // the first entry is not carried out
)

// request makes a request: at is called when it arrives, and then replied.
func (p *worker) request(at func(fate) (reply func())) {
	w := p.w
	t := w.story.trouble
	what := carriedOut
	switch {
	case w.chance(t.throttled):
		what = throttledFate
	case w.chance(t.lost):
		what = lostFate
	case w.chance(t.unsent):
		what = unsentFate
	case w.chance(t.partly):
		what = partlyFate
	}
	there := time.Duration(1+w.random.IntN(20)) * time.Millisecond
	back := time.Duration(1+w.random.IntN(20)) * time.Millisecond
	if w.chance(t.hang) {
		back = 10 * time.Second
		if what == carriedOut {
			what = lostFate
		}
	}
	w.after(there, func() {
		if p.over && w.random.IntN(2) == 0 {
			return
		}
		if reply := at(what); reply != nil {
			w.after(back, reply)
		}
	})
}

func (p *worker) receive(c Receive) {
	if p.w.story.check && !p.passed {
		p.w.failf("process %d receives, though its check has not passed", p.n)
	}
	p.request(func(what fate) func() {
		switch what {
		case throttledFate, unsentFate:
			return func() { p.step(ReceiveFailed{Receive: c, Lost: what == unsentFate, Err: errSim}) }
		case lostFate:
			p.w.lost = true
			poll := &poll{worker: p, c: c}
			got := p.w.queue.take(poll, p.w.story.visibility)
			if len(got) > 0 {
				if p.w.queue.replies == nil {
					p.w.queue.replies = map[string][]*entry{}
				}
				p.w.queue.replies[c.Attempt] = got
			}
			return func() { p.step(ReceiveFailed{Receive: c, Lost: true, Err: errSim}) }
		}
		p.w.queue.receive(&poll{worker: p, c: c, until: p.w.now + c.Wait})
		return nil
	})
}

// received sends the reply of a receive.
func (p *worker) received(q *poll, got []*entry) {
	w := p.w
	in := Received{Asked: q.c.Max}
	handles := make([]int, len(got))
	for i, e := range got {
		handles[i] = e.handle
		if w.trace {
			w.tellf("process %d receives e%d, for the %d. time", p.n, e.event, e.receives)
		}
	}
	w.after(time.Duration(1+w.random.IntN(20))*time.Millisecond, func() {
		if p.over {
			return
		}
		in.Lease = w.time().Add(w.story.visibility)
		if w.story.policy == failure.Park && len(got) > 0 {
			if w.within(w.story.storeDown) {
				in.Err = errSim
			} else {
				in.Parked = map[string]bool{}
				for id := range w.store.devices {
					in.Parked[id] = true
				}
			}
		}
		for i, e := range got {
			id := uint64(e.id)
			if w.story.moto {
				id = id * 0x9e3779b97f4a7c15 >> 20
			}
			in.Messages = append(in.Messages, &Message{
				ID: fmt.Sprint("m", e.id), Group: fmt.Sprint("d", e.group), Device: fmt.Sprint("d", e.device()), Type: [2]string{"a", "b"}[e.event&1],
				Sequence: fmt.Sprintf("%020d", id), ReceiveCount: e.receives, ReceivedAt: w.time(), Ref: delivery{e, handles[i]},
				Released: e.release != "", Mark: e.event < 0,
			})
		}
		p.step(in)
	})
}

// run runs a handler.
func (p *worker) run(c Run) {
	w, m, e := p.w, c.Message, entryOf(c.Message)
	if p.active[e.group] > 0 {
		w.failf("process %d has two handlers of d%d at once", p.n, e.group)
	}
	p.active[e.group]++
	for _, other := range w.sent { // in order
		if other == e.event || e.event < 0 {
			break
		}
		if w.story.events[other].device != e.device() {
			continue
		}
		dead := len(w.queue.copies[other]) > 0
		if !w.handled[other] && (!dead || w.story.policy == failure.Park && !w.movedOnly(other)) {
			w.failf("e%d runs before e%d was handled", e.event, other)
		}
	}
	for _, h := range p.core.held {
		if o := entryOf(h); h.lane == m.lane && o.id < e.id && o.hides(h.Ref.(delivery).handle, w.now) && o.event >= 0 && !((h.state == Done || h.state == Deleting) && (w.handled[o.event] || h.ReceiveCount > 1 && len(w.queue.copies[o.event]) > 0)) {
			w.failf("e%d runs while the process has e%d before it, which is %v", e.event, o.event, h.state)
		}
	}
	r := &running{m: m, began: w.now, once: c.Once, until: w.now + simTimeout}
	p.runs[m] = r
	p.try(r)
}

// movedOnly tells whether an event is in the dead-letter queue because SQS moved it, which parks its device only where a consumer knew that.
func (w *world) movedOnly(event int) bool {
	for _, c := range w.queue.copies[event] {
		if !c.moved {
			return false
		}
	}
	return true
}

// down tells whether the dependency is down.
func (w *world) down() outageKind {
	if s := w.story; w.now >= s.from && (w.now < s.to || w.now >= s.to+s.gap && w.now < s.ends()) {
		return s.outage
	}
	return noOutage
}

// try is one try of an attempt.
func (p *worker) try(r *running) {
	w, e := p.w, entryOf(r.m)
	if e.event < 0 {
		p.ended(r, &attempt.Verdict{Failure: attempt.Failure{Kind: attempt.Handled}})
		return
	}
	does := w.story.events[e.event]
	if w.mended && (does.does == known || does.does == poison || does.does == unreadable) {
		does.does = succeeds
	}
	if does.does == unreadable {
		v := deadVerdict
		v.Known, v.Class = true, failure.Known
		p.ended(r, &v)
		return
	}
	r.attempts++
	e.started = r.m.ReceiveCount
	w.tries[e.event]++
	w.tellf("process %d runs e%d", p.n, e.event)
	takes, kind := simWork, w.down()
	switch {
	case does.does == slow, does.does == hangs:
		takes = max(does.takes, simWork)
	}
	switch kind {
	case refuses, unavailable:
		takes = 5 * time.Millisecond
	case hanging:
		takes = max(takes, w.story.to-w.now)
		if w.now >= w.story.to {
			takes = max(takes, w.story.ends()-w.now)
		}
	}
	if does.does != hangs {
		takes = min(takes, r.until-w.now)
	}
	w.after(takes, func() {
		if p.over || r.over {
			return
		}
		v := attempt.Verdict{}
		fails := func(f attempt.Failure, class failure.Class) { v.Failure, v.Class = f, class }
		unknown := attempt.Failure{Kind: attempt.Dead, Code: "error", Text: "scripted"}
		switch {
		case kind == unavailable || kind != refuses && w.down() == unavailable:
			fails(attempt.Failure{Kind: attempt.Unavailable, Code: "error"}, "")
		case kind == refuses, w.down() != noOutage, w.now >= r.until && does.does != hangs:
			fails(unknown, failure.Exhausted)
		case does.does == known:
			fails(attempt.Failure{Kind: attempt.Dead, Known: true, Code: "refused"}, failure.Known)
		case does.does == poison, does.does == flaky && w.tries[e.event] <= does.times:
			fails(unknown, failure.Exhausted)
		case does.does == later && w.tries[e.event] <= does.times:
			fails(attempt.Failure{Kind: attempt.RetryAfter, Delay: does.takes, Code: "error"}, "")
		case does.does == kills && w.kills[e.event] < does.times:
			w.kills[e.event]++
			p.die()
			w.after(2*time.Second, func() {
				w.live(p.n, life{lasts: map[bool]time.Duration{false: time.Minute, true: 24 * time.Hour}[w.peace], slots: 4})
			})
			return
		default:
			v.Kind = attempt.Handled
			w.handled[e.event] = true
			w.tellf("process %d has handled e%d", p.n, e.event)
			p.ended(r, &v)
			return
		}
		w.tellf("process %d: e%d failed", p.n, e.event)
		if v.Kind == attempt.Dead && !v.Known {
			if r.failedAt.IsZero() {
				r.failedAt = w.time()
			}
			pause := 100 * time.Millisecond << (r.attempts - 1)
			if !r.once && r.attempts <= 3 && w.now+pause < r.until {
				so := v
				so.Attempts = r.attempts
				p.step(TryFailed{r.m, &so})
				w.after(pause, func() {
					if !p.over && !r.over {
						p.try(r)
					}
				})
				return
			}
		}
		p.ended(r, &v)
	})
}

func (p *worker) ended(r *running, v *attempt.Verdict) {
	r.over = true
	delete(p.runs, r.m)
	p.active[entryOf(r.m).group]--
	v.Attempts = r.attempts
	p.lastEnd = p.w.now
	p.step(AttemptEnded{Message: r.m, Verdict: v, Began: simBase.Add(r.began), FailedAt: r.failedAt})
}

func (p *worker) cancel(c Cancel) {
	r := p.runs[c.Message]
	if r == nil {
		p.w.failf("process %d cancels e%d, which does not run", p.n, entryOf(c.Message).event)
		return
	}
	p.w.tellf("process %d cancels e%d", p.n, entryOf(c.Message).event)
	if e := entryOf(c.Message).event; e < 0 || p.w.story.events[e].does == hangs {
		return
	}
	p.w.after(time.Millisecond, func() {
		if !p.over && !r.over {
			p.ended(r, &attempt.Verdict{Failure: attempt.Failure{Kind: attempt.Released}})
		}
	})
}

func (p *worker) delete(messages []*Message) {
	w := p.w
	p.request(func(what fate) func() {
		answers := make(awsx.Answers, len(messages))
		for i, m := range messages {
			d := m.Ref.(delivery)
			switch {
			case what == throttledFate || what == unsentFate || what == partlyFate && i == 0:
				answers[i] = failedAnswer
			case d.e.gone && d.e.handle == d.handle:
			case !d.e.hides(d.handle, w.now):
				answers[i] = overAnswer
			default:
				if _, dead := w.queue.seen[m.ID]; d.e.event >= 0 && !w.handled[d.e.event] && !dead {
					w.failf("process %d deletes e%d without a verdict", p.n, d.e.event)
				}
				d.e.gone = true
				w.tellf("process %d deletes e%d", p.n, d.e.event)
			}
			if what == lostFate {
				answers[i] = failedAnswer
			}
		}
		w.queue.wake()
		return func() { p.step(Deleted{messages, answers}) }
	})
}

func (p *worker) change(c Change) {
	w := p.w
	if p.changing++; p.changing > 1 {
		w.failf("process %d changes visibility timeouts twice at once", p.n)
	}
	if c.Release {
		p.checkOrder(c)
	}
	for _, m := range c.Messages {
		if !c.Release && p.released[m] {
			w.failf("process %d hides e%d, which it has released", p.n, entryOf(m).event)
		}
	}
	sent := w.time()
	p.request(func(what fate) func() {
		answers := make(awsx.Answers, len(c.Messages))
		for i, m := range c.Messages {
			d := m.Ref.(delivery)
			switch {
			case what == throttledFate || what == unsentFate || what == partlyFate && i == 0:
				answers[i] = failedAnswer
			case !d.e.hides(d.handle, w.now):
				answers[i] = overAnswer
			default:
				d.e.visibleAt = w.now + c.For[i]
				if c.Release {
					w.tellf("process %d releases e%d for %v", p.n, d.e.event, c.For[i])
				}
			}
			if what == lostFate {
				answers[i] = failedAnswer
			}
		}
		w.queue.wake()
		return func() {
			p.changing--
			p.step(Changed{Change: c, Answers: answers, Sent: sent})
		}
	})
}

// checkOrder checks that the last of a group goes back first.
func (p *worker) checkOrder(c Change) {
	for i, m := range c.Messages {
		e := entryOf(m)
		if p.released[m] || !e.hides(m.Ref.(delivery).handle, p.w.now) { // it may be visible by now, or has come again
			continue
		}
		behind := func(h *Message, what string) {
			if o := entryOf(h); o.group == e.group && o.id > e.id && !p.released[h] && o.hides(h.Ref.(delivery).handle, p.w.now) {
				p.w.failf("process %d releases e%d while it %s e%d, which is behind it", p.n, e.event, what, o.event)
			}
		}
		for _, h := range c.Messages[i+1:] {
			behind(h, "has not yet released")
		}
		for _, h := range p.core.changes.releases {
			behind(h, "has not yet released")
		}
		for _, h := range p.core.held {
			if h.state != Done && h.state != Deleting {
				behind(h, "holds")
			}
		}
		p.released[m] = true
	}
}

func (p *worker) send(c Send) {
	w, e := p.w, entryOf(c.Message)
	if c.Verdict != nil {
		if w.tries[e.event] == 0 && w.story.events[e.event].does != unreadable {
			w.failf("process %d dead-letters e%d untried", p.n, e.event)
		}
		if !c.Verdict.Known && w.innocent(e.event, c.Message) {
			w.failf("process %d dead-letters e%d, with which nothing is wrong", p.n, e.event)
		}
	}
	p.request(func(what fate) func() {
		var err error
		switch {
		case what == throttledFate, what == unsentFate, w.within(w.story.dlqDown):
			err = errSim
		default:
			w.queue.bury(e.event, copied{id: c.Message.ID, follow: c.Verdict == nil})
			w.tellf("process %d dead-letters e%d", p.n, e.event)
			if what == lostFate {
				err = errSim
			}
		}
		return func() { p.step(Sent{c.Message, err}) }
	})
}

func (p *worker) ask(a Ask) {
	w, m, e := p.w, a.Message, entryOf(a.Message)
	p.request(func(what fate) func() {
		answer := Answered{Ask: a}
		if what == throttledFate || what == unsentFate || w.within(w.story.storeDown) {
			answer.Err = errSim
			return func() { p.step(answer) }
		}
		ctx, cause := context.Background(), parking.Cause{MessageID: m.ID}
		switch a.Question {
		case Find:
			p.parked[m] = w.store.devices[m.Device]
			answer.Standing = StandingOf(p.parked[m], m)
		case Record, Announce:
			if m.Released {
				answer.Err = parking.FailAgain(ctx, &w.store, "", m.Device, cause)
			} else {
				answer.Err = parking.Park(ctx, &w.store, "", m.Device, cause)
			}
		case EndMark:
			answer.Err = parking.End(ctx, &w.store, "", m.Device, e.release)
		case Withdraw:
			answer.Err = parking.Withdraw(ctx, &w.store, "", m.Device, m.ID)
		case Confirm:
			ok, err := parking.Confirm(ctx, &w.store, "", m.Device, m.ID, m.Released && p.parked[m].State == parking.Releasing)
			if answer.Err = err; err == nil && !ok {
				answer.Standing = TooLate
			}
		}
		w.tellf("process %d asks %d about e%d: %d", p.n, a.Question, e.event, answer.Standing)
		if what == lostFate {
			answer.Err = errSim
		}
		return func() { p.step(answer) }
	})
}

func (p *worker) check() {
	w := p.w
	began := w.time()
	takes := 5 * time.Millisecond
	if w.down() == hanging {
		takes = 5 * time.Second
	}
	down := w.down() != noOutage
	w.after(takes, func() {
		var err error
		if down || w.down() != noOutage {
			err = errSimCheck
		}
		w.tellf("process %d: the check says %v", p.n, err)
		p.passed = p.passed || err == nil
		p.step(Checked{began, err})
	})
}
