package deadletter

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/google/uuid"
)

// A rotation moves messages of a device to the end of the queue, to reach those behind them; see sweep.

// beginRotation notes in the journal that the device's messages are about to be moved. It returns false, and ends the run, if it can't.
func (s *sweep) beginRotation(d *device, id string) bool {
	rotation := uuid.NewString()
	if err := s.cfg.Journal.put(journalLine{Device: id, Lap: rotation}); err != nil {
		s.fail(err)
		return false
	}
	d.rotation = rotation
	s.mu.Lock()
	s.rotations++
	s.mu.Unlock()
	return true
}

// endRotation notes that all of the device's messages have been seen. After a rotation of another sweep this one's own work begins.
func (s *sweep) endRotation(d *device, id string) {
	d.complete, d.restoring, d.rotation = !d.restoring, false, ""
	if err := s.cfg.Journal.put(journalLine{Device: id}); err != nil {
		s.fail(err)
	}
	s.mu.Lock()
	s.rotations--
	s.mu.Unlock()
}

// rotate copies messages to the end of the queue, in order, and deletes them together with those that were taken from between them.
// What can't be copied stays, and so does all that is behind it.
func (s *sweep) rotate(ctx context.Context, d *device, taken, messages []*Message) {
	due, ok := s.verify(taken)
	if !ok { // what was taken stays where it is, so the others must too
		s.leave(messages)
		return
	}
	n, err := s.copyToEnd(ctx, d, due, messages)
	if err != nil {
		s.abandonRotation(d, messages[n], err)
		s.leave(messages[n:])
	}
	both, cause := s.remove(ctx, slices.Concat(due, messages[:n]))
	var undeleted, left []*Message
	for _, m := range both {
		if slices.Contains(due, m) {
			undeleted = append(undeleted, m)
		} else {
			left = append(left, m)
		}
	}
	s.deleted(due, undeleted)
	s.gone(messages[:n], left)
	if len(left) > 0 { // there are two copies of them; while these are held nobody sees the others
		s.abandonRotation(d, left[0], cause)
		s.hold(left...)
	}
}

// copyToEnd copies messages of one device to the end of the queue. It returns how many, from the first on, are there in order.
//
// A request carries up to ten copies, each of which may fail by itself, and its answer may be lost. So the copies of a request count only
// once the journal says that all of them were confirmed. Until then the originals stay, and the next request copies all of them again;
// copies that don't count are deleted when they are received. Messages that are due for deletion are kept hidden meanwhile.
func (s *sweep) copyToEnd(ctx context.Context, d *device, due, messages []*Message) (copied int, err error) {
	all := slices.Concat(due, messages)
	for try := 1; copied < len(messages); {
		if err := s.ensureLease(ctx, all, messages[copied]); err != nil {
			return copied, err
		}
		id := uuid.NewString()
		batch := copiesOf(messages[copied:], d.rotation, id)
		if len(batch) == 0 {
			if err := s.copyUnmarked(d, messages[copied]); err != nil {
				return copied, err
			}
			copied++
			continue
		}
		if err := s.cfg.Journal.put(journalLine{Try: id}); err != nil {
			return copied, err
		}
		if err := s.toEnd.sendAtOnce(batch); err != nil {
			if try++; try > tries {
				return copied, err
			}
			time.Sleep(pause.After(try))
			continue
		}
		lines := []journalLine{{Kept: id}}
		for _, m := range messages[copied : copied+len(batch)] {
			lines = append(lines, journalLine{Copied: m.MessageID})
		}
		if err := s.cfg.Journal.put(lines...); err != nil {
			return copied, err
		}
		copied, try = copied+len(batch), 1
	}
	return copied, nil
}

// copiesOf makes copies of as many messages as fit into one request, up to the first one that has no room for a record.
func copiesOf(messages []*Message, rotation, try string) []outgoing {
	var batch []outgoing
	bytes := 0
	for _, m := range messages {
		attributes, marked := m.with(m.rotated(Rotation{Origin: m.origin(), ID: rotation, Try: try}))
		if bytes += messageBytes(m.Body, attributes); !marked || len(batch) > 0 && bytes > maxMessageBytes {
			break
		}
		batch = append(batch, outgoing{group: m.group(), dedup: "aside-" + m.MessageID + "-" + try, body: m.Body, attributes: attributes})
	}
	return batch
}

// copyUnmarked copies a message that has no room for a record.
func (s *sweep) copyUnmarked(d *device, m *Message) error {
	id, err := s.toEnd.send(outgoing{
		group: m.group(), dedup: "aside-" + m.MessageID, body: m.Body, attributes: m.attributes, deadline: m.hiddenUntil,
	})
	if err != nil {
		return err
	}
	s.mu.Lock()
	s.unmarked[id] = Rotation{Origin: m.origin(), ID: d.rotation}
	s.mu.Unlock()
	return s.cfg.Journal.put(journalLine{Copied: m.MessageID})
}

// abandonRotation leaves the rest of the device to the next sweep.
func (s *sweep) abandonRotation(d *device, m *Message, err error) {
	s.mu.Lock()
	if !d.broken {
		d.broken = true
		s.rotations--
		s.sum.Broken++
	}
	s.mu.Unlock()
	s.report(Outcome{Message: m, Err: fmt.Errorf("deadletter: messages of device %s could not be moved to the end of %s to reach those behind them; "+
		"run the same command again with the same journal to put them in order: %w", m.DeviceID, s.from.Name(), err)})
}
