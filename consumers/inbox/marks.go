package inbox

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/device-fanout/fanout/consumers/internal/newest"
	"github.com/device-fanout/fanout/events"
)

// Mark says how far a service has come with a device: to the event of that time and sequence.
type Mark struct {
	Service, DeviceID string
	// Stream is what of the device the events are about, if not all of it is one state: mostly the event's type, so that
	// a newer temperature does not make a door's event look old.
	Stream   string
	Time     time.Time // of the event, at the device
	Sequence string
	// MaxFuture is how far ahead of the service's clock a time is believed. Zero means DefaultMaxFuture; with a negative value every time is.
	MaxFuture time.Duration
}

// DefaultMaxFuture is how far ahead of its clock a service believes the times of events: 24 hours.
const DefaultMaxFuture = events.DefaultMaxFuture

// NotBefore reports whether the event of m is newer than that of old, or the same, by the service's clock.
//
// The greater time is newer, and of one time the greater sequence. But where one of the two times lies further ahead of the clock than
// MaxFuture of m, the sequence alone decides, the order of acceptance: one event from 2099 does not stop those after it, and an old one that is redriven
// stays an old one. A sequence comes from the clock of the producer's host: one that lies as far ahead stops none that
// does not. If one of the two has no sequence then, the one whose time is believed is newer.
func (m Mark) NotBefore(old Mark) bool {
	return newest.Place{Time: m.Time, Sequence: m.Sequence}.NotBefore(newest.Place{Time: old.Time, Sequence: old.Sequence}, m.limit())
}

// limit is the latest time that is believed now.
func (m Mark) limit() time.Time { return newest.Limit(time.Now(), m.MaxFuture) }

// MarkOf returns the mark of event, whose stream is its type.
func MarkOf(service string, event events.Event) Mark {
	return Mark{Service: service, DeviceID: event.DeviceID, Stream: event.Type(), Time: event.Time, Sequence: event.Sequence}
}

// Marks remembers the newest mark of every stream. It is what [Newest] needs; implement it where there is no SQL database.
// Package inboxtest has tests for implementations.
type Marks interface {
	// Advance makes m the mark of its stream, unless that is newer, see [Mark.NotBefore], and reports whether it did.
	// An equal one counts as done, so that an event that is tried again is not stale. It must compare and write in one
	// step that no other Advance can come between. Sequences compare byte by byte, an empty one is the smallest.
	Advance(ctx context.Context, m Mark) (bool, error)
}

var advance = `INSERT INTO inbox_marks (service, device_id, stream, time, sequence) VALUES ($1, $2, $3, $4, $5)
	ON CONFLICT (service, device_id, stream) DO UPDATE SET time = excluded.time, sequence = excluded.sequence
	WHERE ` + newest.SQL("inbox_marks", "$6", "$7", "time")

// Advance is the staleness guard in the handler's own transaction: it makes m the mark of its stream, unless that is
// newer already, and reports whether it did. False means that the event is stale: record it if you like, but do not let
// it overwrite newer state. When tx is rolled back the mark was not moved.
//
// Newer is what has the greater (time, sequence), as far as the time can be believed, see [Mark.NotBefore]; an event with both alike is not
// stale. It blocks while another
// transaction with the same stream is open, until ctx ends. An empty service or device ID is an error, and so is a time
// outside of the years 1 to 9999.
func Advance(ctx context.Context, tx Tx, m Mark) (bool, error) {
	if err := m.check(); err != nil {
		return false, err
	}
	limit := m.limit()
	n, err := exec(ctx, tx, advance, m.Service, m.DeviceID, m.Stream, timeText(m.Time), m.Sequence, timeText(limit), newest.SequenceLimit(limit))
	if err != nil {
		return false, fmt.Errorf("inbox: move the mark of device %q for service %q: %w", m.DeviceID, m.Service, err)
	}
	return n == 1, nil
}

// Forget deletes the marks of a device, for all its streams, and returns how many there were: whatever comes next is then newer. It is a way
// to mend a device whose mark is wrong. Which events were handled is not forgotten: [First] goes on knowing them.
func Forget(ctx context.Context, tx Tx, service, deviceID string) (int64, error) {
	if err := (Mark{Service: service, DeviceID: deviceID}).check(); err != nil {
		return 0, err
	}
	n, err := exec(ctx, tx, `DELETE FROM inbox_marks WHERE service = $1 AND device_id = $2`, service, deviceID)
	if err != nil {
		return 0, fmt.Errorf("inbox: forget the marks of device %q for service %q: %w", deviceID, service, err)
	}
	return n, nil
}

func (m Mark) check() error {
	switch year := m.Time.UTC().Year(); {
	case m.Service == "":
		return errNoService
	case m.DeviceID == "":
		return errors.New("inbox: device ID of a mark for service " + m.Service + " is empty, want the device's ID")
	case year < 1 || year > 9999:
		return fmt.Errorf("inbox: mark of device %q has a time in the year %d, want a year from 1 to 9999", m.DeviceID, year)
	}
	return nil
}

// Newest wraps a handler so that it is called only for events that are not older than what the service has seen of their
// device and type. A stale event is skipped and counts as handled.
//
// The mark moves before the handler runs. So a handler that fails is called again, by the same event, and one whose
// process dies may have its mark ahead of its effect until the event comes again, which it does: its message is not
// deleted before. With [Once] around it, a stale event is remembered as handled.
func Newest(marks Marks, service string, handle Handler) Handler {
	return func(ctx context.Context, event events.Event) error {
		m := MarkOf(service, event)
		if err := m.check(); err != nil {
			return err
		}
		newest, err := marks.Advance(ctx, m)
		if err != nil {
			return fmt.Errorf("inbox: move the mark of device %q for service %q: %w", m.DeviceID, service, err)
		}
		if !newest {
			return nil
		}
		return handle(ctx, event)
	}
}
