package deadletter

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"
)

// A batch here is what one receive gave of one device: the first of its messages, in order.

// verdict is what is to be done with a message.
type verdict int

const (
	verdictLeave     verdict = iota
	verdictForeign           // leave it, and report why
	verdictTake              // send it or write it to the archive
	verdictSent              // a killed run has sent it: only delete it
	verdictDuplicate         // another copy of it is in the queue or was sent: delete it without counting it
)

// handleDevice handles a batch of one device. more says that the queue may hold others of the device behind it.
func (s *sweep) handleDevice(ctx context.Context, d *device, messages []*Message, more bool) {
	var taken, extra, stay []*Message
	d.seen = messages[0]
	s.recallRotations(messages)
	for i, m := range messages {
		if d.rotation != "" && !d.broken && !s.unconfirmed(m) && m.Record.Rotation.ID == d.rotation {
			s.rotate(ctx, d, nil, stay)
			more = more || len(stay) > 0 // they are behind this batch now
			if stay = nil; !d.broken {
				s.endRotation(d, m.group())
			}
		}
		verdict := verdictLeave
		err := s.ensureLease(ctx, messages, m)
		if err == nil {
			verdict = s.decide(ctx, d, m)
		}
		if err == nil && verdict == verdictTake {
			if err = s.waitTurn(ctx, messages, m); err == nil {
				err = s.take(m)
			}
			if errors.Is(err, errNoTime) { // it counts when it is received again
				s.mu.Lock()
				delete(s.known, m.copyKey())
				s.taken, s.sum.Seen, s.sum.Matched = s.taken-1, s.sum.Seen-1, s.sum.Matched-1
				s.mu.Unlock()
			}
		}
		switch {
		case errors.Is(err, errNoTime): // it and those behind it become visible in a moment, and are received again
			s.settle(ctx, taken)
			_ = s.release(ctx, append(stay, messages[i:]...))
			return
		case err != nil:
			d.stuck = true
			s.failed(m, err)
			stay = append(stay, m)
		case verdict == verdictForeign:
			s.failed(m, s.act.refuse(m))
			stay = append(stay, m)
		case verdict == verdictDuplicate:
			extra = append(extra, m)
		case verdict == verdictLeave:
			stay = append(stay, m)
		default:
			if taken = append(taken, m); verdict == verdictSent {
				s.count(func(sum *Summary) { sum.Cleared++ })
			}
			if !s.act.deletes() {
				stay = append(stay, m)
			}
		}
	}
	s.discard(ctx, extra)
	rotating := more && len(stay) >= minRotated && !s.stopping(ctx)
	if len(stay) > 0 && !d.complete && !d.broken && (d.rotation != "" || rotating && s.beginRotation(d, stay[0].group())) {
		s.rotate(ctx, d, taken, stay)
		return
	}
	s.settle(ctx, taken)
	if len(stay) == 0 {
		return // none of its messages is held any more, so that another lane may be at the device's next ones by now
	}
	if more && !d.complete && !d.broken && !rotating && !s.stopping(ctx) {
		_ = s.release(ctx, stay) // they are received again, with those behind them
	} else {
		s.leave(stay)
	}
}

// recallRotations adds to copies without room for a record what their records would say.
func (s *sweep) recallRotations(messages []*Message) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, m := range messages {
		if rotation, ok := s.unmarked[m.MessageID]; ok {
			m.Record.Rotation = rotation
		}
	}
}

// ensureLease makes sure that m stays hidden long enough to be handled. If need be it hides the whole batch for longer, since those
// before m are still to be deleted.
func (s *sweep) ensureLease(ctx context.Context, batch []*Message, m *Message) error {
	if time.Until(m.hiddenUntil) >= moveTimeout+beat/2 {
		return nil
	}
	if time.Now().Before(m.hiddenUntil) {
		_, _ = s.change(context.WithoutCancel(ctx), batch, visibility)
	}
	if time.Until(m.hiddenUntil) < moveTimeout {
		return errNoTime
	}
	return nil
}

// decide gives the verdict on one message. It counts each message once, however often it is received.
func (s *sweep) decide(ctx context.Context, d *device, m *Message) verdict {
	s.mu.Lock()
	defer s.mu.Unlock()
	key := m.copyKey()
	switch id, ok := s.settled[key]; {
	case s.cfg.Journal.is(journalSent, m.MessageID):
		return verdictSent
	case s.unconfirmed(m), s.cfg.Journal.is(journalCopied, m.MessageID), ok && id != m.MessageID:
		// A killed run can leave two copies of a message. The other one is further back in the queue, is held, or was sent.
		return verdictDuplicate
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
	case d.complete && !first, !s.cfg.Filter.Matches(m, s.start), s.cfg.Select != nil && !s.cfg.Select(m):
		return verdictLeave
	case s.act.refuse(m) != nil: // it has no place in the order of its device
		n(&s.sum.Matched)
		n(&s.sum.Foreign)
		if first {
			return verdictForeign
		}
		return verdictLeave
	case s.cameBack(m):
		// Without this, a redrive beside a consumer that still fails would go round in circles.
		n(&s.sum.Returned)
		return verdictLeave
	case d.restoring || d.broken || s.stoppingLocked(ctx):
		delete(s.known, key) // it counts when there is a verdict on it
		if first {
			s.sum.Seen--
		}
		return verdictLeave
	case d.stuck:
		n(&s.sum.Matched)
		n(&s.sum.Held)
		return verdictLeave
	case !s.act.deletes() && !first:
		return verdictLeave
	}
	n(&s.sum.Matched)
	s.taken++
	return verdictTake
}

// cameBack tells whether this very run has sent the message, and it has failed again. Its count of redrives tells it from another message of
// the same device with the same body.
func (s *sweep) cameBack(m *Message) bool {
	redrives, ok := s.sent[m.identity()]
	return ok && m.Record.Redrives >= redrives
}

// waitTurn waits until the rate allows one more message, and keeps the batch hidden meanwhile.
func (s *sweep) waitTurn(ctx context.Context, batch []*Message, m *Message) error {
	for turn := time.Now().Add(s.pace.Reserve().Delay()); time.Now().Before(turn) && ctx.Err() == nil; {
		select {
		case <-time.After(min(time.Until(turn), beat/2)):
		case <-ctx.Done():
		}
		if err := s.ensureLease(ctx, batch, m); err != nil {
			return err
		}
	}
	return nil
}

// unconfirmed tells whether a message is a copy that does not count, because not all copies of its request were confirmed: its original is
// still in the queue.
func (s *sweep) unconfirmed(m *Message) bool {
	return m.Record.Rotation.Try != "" && s.cfg.Journal.tried(m.Record.Rotation.Try)
}

// take sends or writes one message.
func (s *sweep) take(m *Message) error {
	if err := s.act.take(m, m.hiddenUntil); err != nil {
		return err
	}
	if s.act.deletes() {
		redrives := m.Record.Redrives
		if m.counts() {
			redrives++
		}
		s.mu.Lock()
		s.sent[m.identity()] = redrives
		s.mu.Unlock()
	}
	return nil
}

// settle verifies the messages that were taken, and deletes them.
func (s *sweep) settle(ctx context.Context, taken []*Message) {
	due, _ := s.verify(taken)
	left, _ := s.remove(ctx, due)
	s.deleted(due, left)
}

// verify makes sure that what was taken is safe, and returns what is to be deleted now. If it is not safe, ok is false, nothing is to be
// deleted, and the run ends.
func (s *sweep) verify(taken []*Message) (due []*Message, ok bool) {
	if len(taken) == 0 {
		return nil, true
	}
	if err := s.act.settle(taken); err != nil {
		for _, m := range taken {
			s.failed(m, err)
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

// deleted notes what was deleted of due, and keeps what is left for another try.
func (s *sweep) deleted(due, left []*Message) {
	s.moved(due, left)
	if len(left) > 0 {
		s.mu.Lock()
		s.undeleted = append(s.undeleted, left...)
		s.mu.Unlock()
		s.hold(left...)
	}
}

// moved counts and reports what is done with: messages without those that are left.
func (s *sweep) moved(messages, left []*Message) {
	s.gone(messages, left)
	for _, m := range messages {
		if slices.Contains(left, m) {
			continue
		}
		s.mu.Lock()
		if s.act.deletes() {
			s.settled[m.copyKey()] = m.MessageID
		}
		s.sum.Moved++
		s.mu.Unlock()
		s.report(Outcome{Message: m})
	}
}

// discard deletes second copies. One that can't be deleted hides what is behind it.
func (s *sweep) discard(ctx context.Context, extra []*Message) {
	left, cause := s.remove(ctx, extra)
	s.gone(extra, left)
	s.count(func(sum *Summary) { sum.Cleared += len(extra) - len(left) })
	for _, m := range left {
		s.failed(m, fmt.Errorf("deadletter: delete a second copy of event %s of device %s, which a killed run has left, from %s: "+
			"the messages behind it were not seen; run the same command again: %w", m.name(), m.DeviceID, s.from.Name(), cause))
	}
	s.hold(left...)
}

// retryDeletes tries once more what could not be deleted.
func (s *sweep) retryDeletes(ctx context.Context) {
	// Some were received again and deleted then.
	s.undeleted = slices.DeleteFunc(s.undeleted, func(m *Message) bool { return s.settled[m.copyKey()] == m.MessageID })
	left, cause := s.remove(ctx, s.undeleted)
	for _, m := range left {
		s.failed(m, fmt.Errorf("deadletter: event %s of device %s was sent or written, but not deleted from %s; "+
			"run the same command again within five minutes, or with the same journal: %w", m.name(), m.DeviceID, s.from.Name(), cause))
	}
	s.moved(s.undeleted, left)
}

// leave holds messages that stay in the queue.
func (s *sweep) leave(messages []*Message) {
	s.mu.Lock()
	for _, m := range messages {
		s.settled[m.copyKey()] = m.MessageID
		m.Body, m.attributes = "", nil // to save memory
	}
	s.mu.Unlock()
	s.hold(messages...)
}

// gone notes in the journal which of the messages were deleted: all but those that are left.
func (s *sweep) gone(messages, left []*Message) {
	var lines []journalLine
	for _, m := range messages {
		if !slices.Contains(left, m) {
			lines = append(lines, journalLine{Gone: m.MessageID})
		}
	}
	if err := s.cfg.Journal.put(lines...); err != nil {
		s.fail(err)
	}
}
