package state

import (
	"cmp"
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/device-fanout/fanout/consumers"
	"github.com/device-fanout/fanout/consumers/database"
	"github.com/device-fanout/fanout/consumers/inbox"
	"github.com/device-fanout/fanout/consumers/internal/newest"
	"github.com/device-fanout/fanout/consumers/internal/said"
	"github.com/device-fanout/fanout/events"
)

// inboxName is the service's name in table inbox.
const inboxName = "state"

// Config sets how a Service works. The zero value is ready for production.
type Config struct {
	// Logger hears of the start and, at level debug, of events that changed nothing. Nil logs nothing.
	Logger *slog.Logger
	// MaxFuture is how far ahead of this machine's clock the time of an event is believed, and that of a row: see "Guarantees" of the package.
	// Zero means inbox.DefaultMaxFuture; with a negative value every time is.
	MaxFuture time.Duration
}

// Service keeps the last state of devices. Its methods are safe for concurrent use.
type Service struct {
	db        *database.DB
	dialect   dialect
	maxFuture time.Duration
	logger    *slog.Logger
}

// Row is the last event of one type that a device sent.
type Row struct {
	DeviceID, Type, EventID, Sequence string
	Time                              time.Time // in UTC
	Data                              json.RawMessage
}

// Open opens the database that target names, a path or URL as [database.Open] takes it, and creates the tables when they
// are not there. While the database is down it succeeds all the same, and goes on trying in the background; see [database.OpenService]. Close the
// Service when done.
func Open(ctx context.Context, target string, cfg Config) (*Service, error) {
	logger := cmp.Or(cfg.Logger, slog.New(slog.DiscardHandler))
	db, err := database.OpenService(ctx, target, database.Setup{
		Service: "state",
		Steps:   func(kind database.Kind) []string { return dialects[kind].steps },
		Logger:  logger,
	})
	if err != nil {
		return nil, fmt.Errorf("state: %w", err)
	}
	logger.Info("state opened", "database", db.String())
	return &Service{db: db, dialect: dialects[db.Kind()], maxFuture: cfg.MaxFuture, logger: logger}, nil
}

// Check returns nil if the database can be written, and else why not; see [database.DB.Check]. It is meant for consumers.Config.Check.
func (s *Service) Check(ctx context.Context) error {
	if err := s.db.Check(ctx); err != nil {
		return fmt.Errorf("state: %w", err)
	}
	return nil
}

// Close waits for the events that are being handled, and closes the database. It may be called more than once.
func (s *Service) Close() error { return s.db.Close() }

// UnknownTypes tells that the service takes events of types that this program has not registered, as [events.Raw]; see
// consumers.Config.
func (*Service) UnknownTypes() bool { return true }

// Handle makes event the state of its device unless that is newer. It returns nil once that is on disk, and also when
// the event changed nothing because it is older, or one of its identity was handled before: see [consumers.Reused] for one of those with another
// type or payload. It blocks until then; events that are
// handled at the same time are committed together. An error means that nothing was changed, or, if ctx ended or the connection
// was lost during the commit, that it is not known; handling the event again is right in either case. Only a consumers.Known error says that
// no retry can help: PostgreSQL can't store the event's data; see [database.NotStorable]. A consumers.Unavailable error says that the
// database is down; see [database.Verdict].
func (s *Service) Handle(ctx context.Context, event events.Event) error {
	if event.ID == "" || event.DeviceID == "" {
		return fmt.Errorf("state: event %q of device %q, want an event ID and a device ID", event.ID, event.DeviceID)
	}
	changed, err := s.apply(ctx, event)
	if err == nil && changed == 0 {
		s.logger.Debug("event was handled before or is older than the state", "event_id", event.ID, "source", event.Source, "device_id", event.DeviceID)
	}
	if database.NotStorable(err) {
		err = consumers.Known(database.CodeNotStorable, err)
	}
	if err != nil {
		return fmt.Errorf("state: apply event %q of device %q: %w", event.ID, event.DeviceID, err)
	}
	return nil
}

// apply writes event and returns how many rows it has changed: none if it was handled before or is older than the state.
func (s *Service) apply(ctx context.Context, event events.Event) (changed int64, err error) {
	data, err := events.EncodeData(event.Data)
	if err != nil {
		return 0, err
	}
	at, err := s.db.Kind().TimeArguments(event.Time)
	if err != nil {
		return 0, err
	}
	latest := newest.Limit(time.Now(), s.maxFuture)
	limit, err := database.FormatTime(latest)
	if err != nil {
		return 0, err
	}
	args := append([]any{event.DeviceID, event.Type(), event.ID, event.Sequence, string(data), limit, newest.SequenceLimit(latest)}, at...)
	if s.dialect.once {
		key, says := inbox.Key{Service: inboxName, Event: event.Identity()}.Text(), said.Says(event)
		if changed, err = changes(s.db.ExecContext(ctx, s.dialect.put, append(args, key, says)...)); err != nil || changed > 0 {
			return changed, err
		}
		return 0, database.Verdict(said.Compare(ctx, s.db, inboxName, key, event, says)) // as inbox.First does
	}
	err = s.db.Write(ctx, func(ctx context.Context, tx database.Tx) error {
		first, err := inbox.First(ctx, tx, inboxName, event)
		if err != nil || !first {
			return err
		}
		changed, err = changes(tx.ExecContext(ctx, s.dialect.put, args...))
		return err
	})
	return changed, err
}

// changes returns how many rows a statement has changed.
func changes(result sql.Result, err error) (int64, error) {
	if err != nil {
		return 0, err
	}
	return result.RowsAffected()
}

// expireBatch is how many rows of the inbox one transaction deletes.
const expireBatch = 1000

// Expire deletes the events from the inbox that were handled before that time, in small steps, and returns how many. See
// [inbox.DefaultRetention] for how long they are of use. Call it once in a while; it may run beside Handle.
func (s *Service) Expire(ctx context.Context, before time.Time) (int64, error) {
	for total := int64(0); ; {
		var n int64
		err := s.db.Write(ctx, func(ctx context.Context, tx database.Tx) (err error) {
			n, err = inbox.Expire(ctx, tx, inboxName, before, expireBatch)
			return err
		})
		if err != nil {
			return total, fmt.Errorf("state: %w", err)
		}
		if total += n; n < expireBatch {
			return total, nil
		}
	}
}

// Forget deletes the state of a device, or, with types, only that of those types of event, and returns how many rows there were. The next
// event of the device makes its state anew, whatever its time. It is a way to mend a device whose row is wrong. Which events were handled is
// not forgotten: one that comes again changes nothing. It may run beside Handle.
func (s *Service) Forget(ctx context.Context, deviceID string, types ...string) (int64, error) {
	if deviceID == "" {
		return 0, errors.New("state: device ID is empty, want the device's ID")
	}
	statement, args := `DELETE FROM device_state WHERE device_id = $1`, []any{deviceID}
	if len(types) > 0 {
		marks := make([]string, len(types))
		for i, name := range types {
			args = append(args, name)
			marks[i] = fmt.Sprintf("$%d", len(args))
		}
		statement += ` AND type IN (` + strings.Join(marks, ", ") + `)`
	}
	n, err := changes(s.db.ExecContext(ctx, statement, args...))
	if err != nil {
		return 0, fmt.Errorf("state: forget device %q: %w", deviceID, err)
	}
	return n, nil
}

// Device returns the state of a device, one row for each type of event that it has sent, in the order of the types.
// A device that never sent anything has none.
func (s *Service) Device(ctx context.Context, deviceID string) ([]Row, error) {
	rows, err := s.db.QueryContext(ctx,
		`SELECT `+s.dialect.columns+` FROM device_state WHERE device_id = $1 ORDER BY type`, deviceID)
	if err != nil {
		return nil, fmt.Errorf("state: read device %q: %w", deviceID, err)
	}
	defer rows.Close()
	var all []Row
	for rows.Next() {
		var (
			row   Row
			at    string
			nanos int
		)
		err := rows.Scan(&row.DeviceID, &row.Type, &row.EventID, &row.Sequence, (*[]byte)(&row.Data), &at, &nanos)
		if err == nil {
			row.Time, err = database.ParseTime(at)
		}
		if err != nil {
			return nil, fmt.Errorf("state: read device %q: %w", deviceID, err)
		}
		row.Time = row.Time.Add(time.Duration(nanos))
		all = append(all, row)
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("state: read device %q: %w", deviceID, err)
	}
	return all, nil
}
