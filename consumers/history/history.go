package history

import (
	"cmp"
	"context"
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

// Handle records event. It returns nil once the row is on disk, and also when it was there before. It blocks until then;
// events that are handled at the same time are committed together. An error means that nothing was recorded,
// or, if ctx ended or the connection was lost during the commit, that it is not known; handling the event again is right in either case. Only a
// consumers.Known error says that no retry can help: PostgreSQL can't store the event's data; see [database.NotStorable]. A
// consumers.Unavailable error says that the database is down; see [database.Verdict].
func (s *Service) Handle(ctx context.Context, event events.Event) error {
	if event.ID == "" || event.DeviceID == "" {
		return fmt.Errorf("history: event %q of device %q, want an event ID and a device ID", event.ID, event.DeviceID)
	}
	var added int64
	err := func() error {
		data, err := events.EncodeData(event.Data)
		if err != nil {
			return err
		}
		at, err := s.db.Kind().TimeArguments(event.Time)
		if err != nil {
			return err
		}
		now := recordedText(time.Now())
		args := append([]any{event.ID, event.Source, event.DeviceID, event.Type(), event.Sequence, string(data), now}, at...)
		result, err := s.db.ExecContext(ctx, s.dialect.insert, args...)
		if err != nil {
			return err
		}
		added, err = result.RowsAffected()
		return err
	}()
	if database.NotStorable(err) {
		err = consumers.Known(database.CodeNotStorable, err)
	}
	if err != nil {
		return fmt.Errorf("history: record event %q of device %q: %w", event.ID, event.DeviceID, err)
	}
	if added == 0 {
		s.logger.Debug("event was recorded before", "event_id", event.ID, "device_id", event.DeviceID)
	}
	return nil
}

// recordedText is a time as it stands in column recorded_at.
func recordedText(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.000000Z") }
