package deadletter

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/google/uuid"
)

// How a sweep sets a device's letters aside, to reach those behind them.

// beginLap notes that the device's letters will be set aside.
func (s *sweep) beginLap(d *device, id string) bool {
	lap := uuid.NewString()
	if err := s.cfg.Journal.put(journalLine{Device: id, Lap: lap}); err != nil {
		s.fail(err)
		return false
	}
	d.lap = lap
	s.mu.Lock()
	s.laps++
	s.mu.Unlock()
	return true
}

// endLap notes that all of the device's letters have passed. After another sweep's lap its own work begins.
func (s *sweep) endLap(d *device, id string) {
	d.whole, d.restoring, d.lap, d.bare = !d.restoring, false, "", nil
	if err := s.cfg.Journal.put(journalLine{Device: id}); err != nil {
		s.fail(err)
	}
	s.mu.Lock()
	s.laps--
	s.mu.Unlock()
}

// setAside copies letters to the end of the queue, in order, and deletes them, in one request with those that were taken from between
// them. What can't be copied stays, and what is behind it too.
func (s *sweep) setAside(ctx context.Context, d *device, taken, letters []*Message) {
	due, ok := s.sure(taken)
	if !ok { // those that were taken stand where they were, and so must the others
		s.stay(letters)
		return
	}
	n, err := s.copyToEnd(ctx, d, due, letters)
	if err != nil {
		s.breakLap(d, letters[n], err)
		s.stay(letters[n:])
	}
	both, cause := s.remove(ctx, slices.Concat(due, letters[:n]))
	var undead, left []*Message
	for _, l := range both {
		if slices.Contains(due, l) {
			undead = append(undead, l)
		} else {
			left = append(left, l)
		}
	}
	s.deleted(due, undead)
	s.gone(letters[:n], left)
	if len(left) > 0 { // they are there twice; while they are held nobody sees their copies
		s.breakLap(d, left[0], cause)
		s.hold(left...)
	}
}

// copyToEnd copies letters of one device to the end of the queue and returns how many, from the first on, stand there in order.
//
// One request carries up to ten, each of which may fail by itself, and the answer may be lost. So the copies of a request count only
// once the journal says that all of them were confirmed. Until then the letters stay, and all are copied again by the next request;
// the copies of the first are deleted when they come. The letters that are due for deletion are kept hidden meanwhile.
func (s *sweep) copyToEnd(ctx context.Context, d *device, due, letters []*Message) (copied int, err error) {
	hand := slices.Concat(due, letters)
	for try := 1; copied < len(letters); {
		if err := s.keep(ctx, hand, letters[copied]); err != nil {
			return copied, err
		}
		id := uuid.NewString()
		batch := asideBatch(letters[copied:], d.lap, id)
		if len(batch) == 0 {
			if err := s.copyBare(d, letters[copied]); err != nil {
				return copied, err
			}
			copied++
			continue
		}
		if err := s.cfg.Journal.put(journalLine{Try: id}); err != nil {
			return copied, err
		}
		if err := s.aside.sendAtOnce(batch); err != nil {
			if try++; try > tries {
				return copied, err
			}
			time.Sleep(pause.After(try))
			continue
		}
		lines := []journalLine{{Kept: id}}
		for _, l := range letters[copied : copied+len(batch)] {
			lines = append(lines, journalLine{Copied: l.MessageID})
		}
		if err := s.cfg.Journal.put(lines...); err != nil {
			return copied, err
		}
		copied, try = copied+len(batch), 1
	}
	return copied, nil
}

// asideBatch is the copies of as many letters as fit into one request, from the first on, up to one that has no room for a record.
func asideBatch(letters []*Message, lap, try string) []outgoing {
	var batch []outgoing
	bytes := 0
	for _, l := range letters {
		attributes, marked := l.with(l.lapped(Aside{Letter: l.origin(), Lap: lap, Try: try}))
		if bytes += messageBytes(l.Body, attributes); !marked || len(batch) > 0 && bytes > maxMessageBytes {
			break
		}
		batch = append(batch, outgoing{group: l.group(), dedup: "aside-" + l.MessageID + "-" + try, body: l.Body, attributes: attributes})
	}
	return batch
}

// copyBare copies a letter that has no room for a record.
func (s *sweep) copyBare(d *device, l *Message) error {
	id, err := s.aside.send(outgoing{
		group: l.group(), dedup: "aside-" + l.MessageID, body: l.Body, attributes: l.attributes, deadline: l.hiddenUntil,
	})
	if err != nil {
		return err
	}
	d.bare = append(d.bare, id)
	s.mu.Lock()
	s.bareOf[id] = l.origin()
	s.mu.Unlock()
	return s.cfg.Journal.put(journalLine{Copied: l.MessageID})
}

// breakLap gives the device up for this sweep.
func (s *sweep) breakLap(d *device, l *Message, err error) {
	s.mu.Lock()
	if !d.broken {
		d.broken = true
		s.laps--
		s.sum.Broken++
	}
	s.mu.Unlock()
	s.report(Outcome{Letter: l, Err: fmt.Errorf("deadletter: letters of device %s could not be set aside to reach those behind them; "+
		"run it again with the same journal to put them in order: %w", l.DeviceID, err)})
}
