package history

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/device-fanout/fanout/consumers"
	"github.com/device-fanout/fanout/consumers/database"
	"github.com/device-fanout/fanout/events"
)

// Config sets how a Service works. The zero value is ready for production.
type Config struct {
	// Logger hears of the start and, at level debug, of second deliveries. Nil logs nothing.
	Logger *slog.Logger
}

// Service records events. Its methods are safe for concurrent use.
type Service struct {
	db      *database.DB
	dialect dialect
	logger  *slog.Logger
}

// Open opens the database that target names, a path or URL as [database.Open] takes it, and creates the table when it is
// not there. While the database is down it succeeds all the same, and goes on trying in the background; see [database.OpenService]. Close the
// Service when done.
func Open(ctx context.Context, target string, cfg Config) (*Service, error) {
	logger := cmp.Or(cfg.Logger, slog.New(slog.DiscardHandler))
	db, err := database.OpenService(ctx, target, database.Setup{
		Service: "history",
		Steps:   func(kind database.Kind) []string { return dialects[kind].steps },
		Logger:  logger,
	})
	if err != nil {
		return nil, fmt.Errorf("history: %w", err)
	}
	logger.Info("history opened", "database", db.String())
	return &Service{db: db, dialect: dialects[db.Kind()], logger: logger}, nil
}

// Check returns nil if the database can be written, and else why not; see [database.DB.Check]. It is meant for consumers.Config.Check.
func (s *Service) Check(ctx context.Context) error {
	if err := s.db.Check(ctx); err != nil {
		return fmt.Errorf("history: %w", err)
	}
	return nil
}

// Close waits for the events that are being recorded, and closes the database. It may be called more than once.
func (s *Service) Close() error { return s.db.Close() }

// UnknownTypes tells that the service takes events of types that this program has not registered, as [events.Raw]; see
// consumers.Config.
func (*Service) UnknownTypes() bool { return true }

// Handle records event. It returns nil once the row is on disk, and also when one of its identity was there before, whatever that says: see
// [consumers.Reused] for one with another type or payload. It blocks until then;
// events that are handled at the same time are committed together. An error means that nothing was recorded,
// or, if ctx ended or the connection was lost during the commit, that it is not known; handling the event again is right in either case. Only a
// consumers.Known error says that no retry can help: PostgreSQL can't store the event's data; see [database.NotStorable]. A
// consumers.Unavailable error says that the database is down; see [database.Verdict].
func (s *Service) Handle(ctx context.Context, event events.Event) error {
	if event.ID == "" || event.DeviceID == "" {
		return fmt.Errorf("history: event %q of device %q, want an event ID and a device ID", event.ID, event.DeviceID)
	}
	err := s.record(ctx, event)
	if database.NotStorable(err) {
		err = consumers.Known(database.CodeNotStorable, err)
	}
	if err != nil {
		return fmt.Errorf("history: record event %q of device %q: %w", event.ID, event.DeviceID, err)
	}
	return nil
}

func (s *Service) record(ctx context.Context, event events.Event) error {
	data, err := events.EncodeData(event.Data)
	if err != nil {
		return err
	}
	at, err := s.db.Kind().TimeArguments(event.Time)
	if err != nil {
		return err
	}
	for widened := false; ; widened = true {
		now := recordedText(time.Now())
		args := append([]any{event.ID, event.Source, event.DeviceID, event.Type(), event.Sequence, string(data), now}, at...)
		result, err := s.db.ExecContext(ctx, s.dialect.insert, args...)
		if err != nil {
			return err
		}
		if added, err := result.RowsAffected(); err != nil || added > 0 {
			return err
		}
		earlier, err := s.FindIdentity(ctx, event.Identity())
		if err == nil {
			return s.repeated(ctx, event, data, earlier)
		}
		if widened || !errors.Is(err, ErrNotFound) {
			return err
		}
		if err := s.widen(ctx); err != nil { // another event has its ID: the old constraint is there yet
			return err
		}
	}
}

// repeated compares an event with the row of its identity, and returns what is to become of it.
func (s *Service) repeated(ctx context.Context, event events.Event, data []byte, earlier Row) error {
	s.logger.Debug("event was recorded before", "event_id", event.ID, "source", event.Source, "device_id", event.DeviceID)
	was, err := earlier.digest()
	if err != nil {
		return err
	}
	if is, err := events.DigestOf(event.Type(), data); err != nil || is == was {
		return err
	}
	return consumers.Reused(ctx, event, earlier.Time)
}

// widen takes back, on PostgreSQL, that no two events may have the same ID. Programs of before then can't write any more.
func (s *Service) widen(ctx context.Context) error {
	if s.dialect.widen == "" {
		return nil
	}
	s.logger.Info("two events have the same ID: the constraint of older versions is dropped, with which they can't write beside this one any more")
	err := s.db.Write(ctx, func(ctx context.Context, tx database.Tx) error {
		_, err := tx.ExecContext(ctx, s.dialect.widen)
		return err
	})
	var down *consumers.UnavailableError
	if err == nil || errors.As(err, &down) || ctx.Err() != nil {
		return err
	}
	return consumers.RetryAfter(widenPause, fmt.Errorf("drop the constraint of older versions, with which no two events can have the same ID: %w", err))
}

// widenPause is how long an event waits for whoever reads the table for long, or owns it.
const widenPause = 30 * time.Second

// recordedText is a time as it stands in column recorded_at.
func recordedText(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.000000Z") }
