package deadletter

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"
)

// What a sweep does with a hand: the first letters of one device, which one receive gave it.

// judgement is what becomes of a letter.
type judgement int

const (
	stays   judgement = iota
	goes              // it is taken
	went              // it was taken by a sweep that was killed: it is only to be deleted
	surplus           // it is there twice: it is deleted and does not count
)

// hand deals with the first letters of one device, in order. more says that there may be others behind them.
func (s *sweep) hand(ctx context.Context, d *device, letters []*Message, more bool) {
	var taken, extra, stay []*Message
	d.seen = letters[0]
	s.recall(letters)
	for i, l := range letters {
		if d.lap != "" && !d.broken && !s.void(l) && (l.Record.Aside.Lap == d.lap || slices.Contains(d.bare, l.MessageID)) {
			s.setAside(ctx, d, nil, stay)
			more = more || len(stay) > 0 // they stand behind this hand now
			if stay = nil; !d.broken {
				s.endLap(d, l.group())
			}
		}
		verdict := stays
		err := s.keep(ctx, letters, l)
		if err == nil {
			verdict = s.judge(ctx, d, l)
		}
		if err == nil && verdict == goes {
			if err = s.waitTurn(ctx, letters, l); err == nil {
				err = s.take(l)
			}
			if errors.Is(err, errNoTime) { // it counts when it comes again
				s.mu.Lock()
				delete(s.known, l.copyKey())
				s.taken, s.sum.Seen, s.sum.Matched = s.taken-1, s.sum.Seen-1, s.sum.Matched-1
				s.mu.Unlock()
			}
		}
		switch {
		case errors.Is(err, errNoTime): // others can have it in a moment; it and those behind it come again
			s.settle(ctx, taken)
			_ = s.release(ctx, append(stay, letters[i:]...))
			return
		case err != nil:
			d.stuck = true
			s.count(func(sum *Summary) { sum.Failed++ })
			s.report(Outcome{Letter: l, Err: err})
			stay = append(stay, l)
		case verdict == surplus:
			extra = append(extra, l)
		case verdict == stays:
			stay = append(stay, l)
		default:
			if taken = append(taken, l); verdict == went {
				s.count(func(sum *Summary) { sum.Cleared++ })
			}
			if !s.act.deletes() {
				stay = append(stay, l)
			}
		}
	}
	s.discard(ctx, extra)
	crowded := more && len(stay) >= crowd && !s.stopping(ctx)
	if len(stay) > 0 && !d.whole && !d.broken && (d.lap != "" || crowded && s.beginLap(d, stay[0].group())) {
		s.setAside(ctx, d, taken, stay)
		return
	}
	s.settle(ctx, taken)
	switch {
	case len(stay) == 0:
	case d.whole || d.broken || crowded:
		s.stay(stay)
	case more && !s.stopping(ctx):
		_ = s.release(ctx, stay) // they come again, with those behind them
	default:
		s.stay(stay)
	}
}

// recall gives copies that have no room for a record the place in the books of the letters that they are copies of.
func (s *sweep) recall(letters []*Message) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, l := range letters {
		if first := s.bareOf[l.MessageID]; first != "" {
			l.Record.Aside.Letter = first
		}
	}
}

// keep makes sure that there is time to deal with one letter of a hand. If need be it hides the whole hand for longer: those that
// were taken are still to be deleted.
func (s *sweep) keep(ctx context.Context, hand []*Message, l *Message) error {
	if time.Until(l.hiddenUntil) >= moveTimeout+beat/2 {
		return nil
	}
	if time.Now().Before(l.hiddenUntil) {
		_, _ = s.change(context.WithoutCancel(ctx), hand, visibility)
	}
	if time.Until(l.hiddenUntil) < moveTimeout {
		return errNoTime
	}
	return nil
}

// judge decides on one letter. It counts each once, however often it comes.
func (s *sweep) judge(ctx context.Context, d *device, l *Message) judgement {
	s.mu.Lock()
	defer s.mu.Unlock()
	key := l.copyKey()
	switch id, ok := s.settled[key]; {
	case s.cfg.Journal.is(journalSent, l.MessageID):
		return went
	case s.void(l), s.cfg.Journal.is(journalCopied, l.MessageID), ok && id != l.MessageID:
		// Of two copies of a letter, which a killed sweep can leave behind, the other stands further back, is held, or has gone to
		// where it should.
		return surplus
	}
	first := !s.known[key]
	s.known[key] = true
	n := func(count *int) {
		if first {
			*count++
		}
	}
	n(&s.sum.Seen)
	switch {
	case d.whole && !first, !s.cfg.Filter.Matches(l, s.start), s.cfg.Select != nil && !s.cfg.Select(l):
		return stays
	case s.cameBack(l):
		// Without this, a redrive beside a consumer that still fails would go round in circles.
		n(&s.sum.Returned)
		return stays
	case d.restoring || d.broken || s.stoppingLocked(ctx):
		delete(s.known, key) // it counts when it is decided on
		if first {
			s.sum.Seen--
		}
		return stays
	case d.stuck:
		n(&s.sum.Matched)
		n(&s.sum.Held)
		return stays
	case !s.act.deletes() && !first:
		return stays
	}
	n(&s.sum.Matched)
	s.taken++
	return goes
}

// cameBack tells whether this sweep has sent the letter itself. Its count of redrives tells it from another letter of the same
// device with the same body.
func (s *sweep) cameBack(l *Message) bool {
	redrives, ok := s.sent[l.identity()]
	return ok && l.Record.Redrives >= redrives
}

// waitTurn waits until the rate allows one more letter, and keeps the letters hidden meanwhile.
func (s *sweep) waitTurn(ctx context.Context, hand []*Message, l *Message) error {
	for turn := time.Now().Add(s.pace.Reserve().Delay()); time.Now().Before(turn) && ctx.Err() == nil; {
		select {
		case <-time.After(min(time.Until(turn), beat/2)):
		case <-ctx.Done():
		}
		if err := s.keep(ctx, hand, l); err != nil {
			return err
		}
	}
	return nil
}

// void tells whether a letter is the copy of a request that does not count: the letter that it is a copy of is there.
func (s *sweep) void(l *Message) bool {
	return l.Record.Aside.Try != "" && s.cfg.Journal.tried(l.Record.Aside.Try)
}

// take does what is to be done to one letter.
func (s *sweep) take(l *Message) error {
	if err := s.act.take(l, l.hiddenUntil); err != nil {
		return err
	}
	if s.act.deletes() {
		redrives := l.Record.Redrives
		if l.counts() {
			redrives++
		}
		s.mu.Lock()
		s.sent[l.identity()] = redrives
		s.mu.Unlock()
	}
	return nil
}

// settle makes sure of the letters that were taken, and deletes them.
func (s *sweep) settle(ctx context.Context, taken []*Message) {
	due, _ := s.sure(taken)
	left, _ := s.remove(ctx, due)
	s.deleted(due, left)
}

// sure makes sure of the letters that were taken, and gives those that are to be deleted now. Where it cannot, ok is false, and they are
// held where they are.
func (s *sweep) sure(taken []*Message) (due []*Message, ok bool) {
	if len(taken) == 0 {
		return nil, true
	}
	if err := s.act.settle(taken); err != nil {
		for _, l := range taken {
			s.count(func(sum *Summary) { sum.Failed++ })
			s.report(Outcome{Letter: l, Err: err})
		}
		s.hold(taken...)
		s.fail(err)
		return nil, false
	}
	if !s.act.deletes() {
		s.moved(taken, nil)
		return nil, true
	}
	return taken, true
}

// deleted notes the letters that are done with, and keeps those that are left for another try.
func (s *sweep) deleted(due, left []*Message) {
	s.moved(due, left)
	if len(left) > 0 {
		s.mu.Lock()
		s.undead = append(s.undead, left...)
		s.mu.Unlock()
		s.hold(left...)
	}
}

// moved notes the letters that are done with, all but those that are left.
func (s *sweep) moved(letters, left []*Message) {
	s.gone(letters, left)
	for _, l := range letters {
		if slices.Contains(left, l) {
			continue
		}
		s.mu.Lock()
		if s.act.deletes() {
			s.settled[l.copyKey()] = l.MessageID
		}
		s.sum.Moved++
		s.mu.Unlock()
		s.report(Outcome{Letter: l})
	}
}

// discard deletes letters that are there twice. One that is left hides those behind it.
func (s *sweep) discard(ctx context.Context, extra []*Message) {
	left, cause := s.remove(ctx, extra)
	s.gone(extra, left)
	s.count(func(sum *Summary) { sum.Cleared += len(extra) - len(left) })
	for _, l := range left {
		s.count(func(sum *Summary) { sum.Failed++ })
		s.report(Outcome{Letter: l, Err: fmt.Errorf("deadletter: a second copy of event %s of device %s, which a killed run had left, was not deleted "+
			"from %s, so what is behind it was not seen; run it again: %w", l.name(), l.DeviceID, s.from.Name(), cause)})
	}
	s.hold(left...)
}

// lastDeletes tries once more what could not be deleted.
func (s *sweep) lastDeletes(ctx context.Context) {
	if len(s.undead) == 0 {
		return
	}
	// What came again and could be deleted then is done with.
	s.undead = slices.DeleteFunc(s.undead, func(l *Message) bool { return s.settled[l.copyKey()] == l.MessageID })
	left, cause := s.remove(ctx, s.undead)
	for _, l := range left {
		s.sum.Failed++
		s.report(Outcome{Letter: l, Err: fmt.Errorf("deadletter: event %s of device %s has gone to where it should, but was not deleted from %s; "+
			"run it again within five minutes, or with the same journal: %w", l.name(), l.DeviceID, s.from.Name(), cause)})
	}
	s.moved(s.undead, left)
}

// stay holds letters that are left where they are.
func (s *sweep) stay(letters []*Message) {
	s.mu.Lock()
	for _, l := range letters {
		s.settled[l.copyKey()] = l.MessageID
	}
	s.mu.Unlock()
	for _, l := range letters {
		l.Body, l.attributes = "", nil // the queue has them
	}
	s.hold(letters...)
}

// gone notes in the journal that the letters were deleted, all but those that are left.
func (s *sweep) gone(letters, left []*Message) {
	var lines []journalLine
	for _, l := range letters {
		if !slices.Contains(left, l) {
			lines = append(lines, journalLine{Gone: l.MessageID})
		}
	}
	if err := s.cfg.Journal.put(lines...); err != nil {
		s.fail(err)
	}
}
