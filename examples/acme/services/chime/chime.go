package chime

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"github.com/device-fanout/fanout/consumers"
	"github.com/device-fanout/fanout/consumers/database"
	"github.com/device-fanout/fanout/consumers/inbox"
	"github.com/device-fanout/fanout/events"

	"example.com/acme/platform/events/acme"
)

// name is the service's name in the topology and in the inbox.
const name = "chime"

// schema creates the service's tables. A released step is never changed; a new one is appended.
const schema = `CREATE TABLE chime_devices (
	device_id  TEXT PRIMARY KEY,
	events     BIGINT NOT NULL, -- how many were handled
	last_event TEXT NOT NULL    -- the ID of the newest
)`

// Service handles events. Its methods are safe for concurrent use.
type Service struct{ db *database.DB }

// Open opens the database that target names, a path or URL as [database.Open] takes it, and creates the tables when they are
// not there. While the database is down it succeeds all the same, and goes on trying in the background. Close the Service when done.
func Open(ctx context.Context, target string) (*Service, error) {
	db, err := database.OpenService(ctx, target, database.Setup{Service: name, Steps: func(kind database.Kind) []string {
		return []string{inbox.Schema(inbox.Dialect(kind)), schema}
	}})
	if err != nil {
		return nil, fmt.Errorf("chime: %w", err)
	}
	return &Service{db: db}, nil
}

// Check returns nil if the database can be written, and else why not. While it fails, no event is given up. If the handler comes to need more
// than the database, ask for that here, too: what Check leaves out is taken for a fault of the event when it is down.
func (s *Service) Check(ctx context.Context) error { return s.db.Check(ctx) }

// Close waits for the events that are being handled, and closes the database. It may be called more than once.
func (s *Service) Close() error { return s.db.Close() }

// Handle handles an event. What it writes and the fact that it was handled are committed together, or not at all. Its error
// is the verdict: nil deletes the message, consumers.Known sends it to the dead-letter queue at once, consumers.RetryAfter
// hands the device back for a while, and any other error is tried again quickly, and goes to the dead-letter queue if the event fails while
// Check passes or others are handled. What says that the database is down is consumers.Unavailable already, see [database.Verdict]: the
// event waits for it.
func (s *Service) Handle(ctx context.Context, event events.Event) error {
	return s.db.Write(ctx, func(ctx context.Context, tx database.Tx) error {
		first, err := inbox.First(ctx, tx, name, event)
		if err != nil || !first {
			return err // not the first time: nothing to do, and no error
		}
		newest, err := inbox.Advance(ctx, tx, inbox.MarkOf(name, event))
		if err != nil {
			return err
		}
		switch data := event.Data.(type) {
		case acme.DoorbellPressed:
			return s.doorbellPressed(ctx, tx, event, data, newest)
		}
		return consumers.Known(consumers.CodeNoHandler, fmt.Errorf("chime: no handler for %s", event.Type()))
	})
}

// doorbellPressed handles acme.doorbell.pressed.v1. The work goes here, with the data's Button, Seconds. newest is false for an event
// that comes late, after a newer one of its device and type: such a one must not overwrite state.
func (s *Service) doorbellPressed(ctx context.Context, tx database.Tx, event events.Event, _ acme.DoorbellPressed, newest bool) error {
	return count(ctx, tx, event, newest)
}

// count counts the event, and notes it as the last one if it is the newest.
func count(ctx context.Context, tx database.Tx, event events.Event, newest bool) error {
	statement := `INSERT INTO chime_devices (device_id, events, last_event) VALUES ($1, 1, $2)
		ON CONFLICT (device_id) DO UPDATE SET events = chime_devices.events + 1`
	if newest {
		statement += `, last_event = excluded.last_event`
	}
	_, err := tx.ExecContext(ctx, statement, event.DeviceID, event.ID)
	return err
}

// Device returns how many events of a device were handled, and the ID of the newest. Of a device that never sent anything
// it returns zero.
func (s *Service) Device(ctx context.Context, deviceID string) (n int64, last string, err error) {
	err = s.db.QueryRowContext(ctx, `SELECT events, last_event FROM chime_devices WHERE device_id = $1`, deviceID).Scan(&n, &last)
	if errors.Is(err, sql.ErrNoRows) {
		return 0, "", nil
	}
	if err != nil {
		return 0, "", fmt.Errorf("chime: read device %q: %w", deviceID, err)
	}
	return n, last, nil
}
