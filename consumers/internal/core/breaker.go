package core

import (
	"time"

	"github.com/device-fanout/fanout/consumers/internal/attempt"
)

// breaker stops everything while a dependency is down: a handler has said so. What is held stays held, so that no receive is counted for it. After a
// pause one event is tried, if the service's check passes; if it succeeds, all go on. It is a [policy].
type breaker struct {
	c      *Core
	open   bool
	since  time.Time
	pauses int
	until  time.Time // when the next attempt may start
	chosen *Lane     // that may try it
	probe  *Message  // that is tried
	gated  []*Lane   // that wait, those that have not been tried first
	tried  []*Lane
}

func (b *breaker) before(l *Lane, m *Message) decision {
	if !b.open || b.chosen == l {
		return run
	}
	b.gate(l, m.trouble != nil)
	return divert
}

// gate lets a lane wait.
func (b *breaker) gate(l *Lane, tried bool) {
	b.c.turnLane(l, Gated)
	if tried {
		b.tried = append(b.tried, l)
	} else {
		b.gated = append(b.gated, l)
	}
}

// opens opens the breaker, unless it is open.
func (b *breaker) opens(v *attempt.Verdict) {
	if b.open {
		return
	}
	c := b.c
	b.open, b.since, b.pauses = true, c.now, 0
	b.pause()
	c.counts.Breaks++
	c.doubt()
	c.note(Note{Kind: NoteBreakerOpens, Verdict: v})
	for _, l := range c.slots.clear() {
		c.turnLane(l, Free)
		c.proceed(l)
	}
}

func (b *breaker) pause() {
	b.pauses++
	b.until = b.c.now.Add(restPause(b.pauses, maxRest))
}

// turn lets the next lane try it, once the pause is over.
func (b *breaker) turn() {
	if !b.open || b.probe != nil {
		return
	}
	if b.mayTry() {
		return
	}
	c := b.c
	if wait := b.until.Sub(c.now); wait > 0 {
		c.wakeWithin(wait)
		return
	}
	if b.wantsCheck() {
		return
	}
	for _, list := range []*[]*Lane{&b.gated, &b.tried} {
		for len(*list) > 0 {
			if l := shift(list); l.state == Gated {
				b.chosen = l
				c.turnLane(l, Free)
				c.proceed(l)
				if b.mayTry() {
					return
				}
			}
		}
	}
}

// mayTry tells whether the chosen lane is still about to try it. One that has lost its message is not, nor one that waits for what may take long,
// such as the end of a release, whose events may wait for the breaker in their turn.
func (b *breaker) mayTry() bool {
	if l := b.chosen; l != nil {
		switch l.state {
		case Ready, Isolating, Withheld:
			return true
		case Busy:
			if !l.head.long {
				return true
			}
		}
	}
	b.chosen = nil
	return false
}

// wantsCheck tells whether the service's check must pass before the next attempt.
func (b *breaker) wantsCheck() bool {
	c := b.c
	return b.open && c.cfg.Check && b.probe == nil && b.chosen == nil && !c.now.Before(b.until) && c.evidence.passed.Before(b.until)
}

// started takes note of the attempt that decides.
func (b *breaker) started(m *Message) {
	if b.open {
		b.probe, b.chosen = m, nil
	}
}

// probeFailed takes note that the service's check failed before an attempt.
func (b *breaker) probeFailed() {
	if b.open && b.probe == nil && !b.c.now.Before(b.until) {
		b.pause()
	}
}

// probed ends the attempt. Success is any verdict for which the handler needed nothing that is down.
func (b *breaker) probed(m *Message, success bool) {
	if !b.open || b.probe != m {
		return
	}
	b.probe = nil
	if !success {
		b.pause()
		return
	}
	b.c.note(Note{Kind: NoteBreakerCloses, In: b.c.now.Sub(b.since)})
	b.close()
}

// close lets all lanes go on.
func (b *breaker) close() {
	lanes := append(b.tried, b.gated...)
	*b = breaker{c: b.c}
	for _, l := range lanes {
		if l.state == Gated {
			b.c.turnLane(l, Free)
			b.c.proceed(l)
		}
	}
}

// clear closes it without letting anything go on: what waits is handed back.
func (b *breaker) clear() { *b = breaker{c: b.c} }
