// Package pushdb keeps the feed of package push in PostgreSQL, so that several processes serve all clients. It is a package of its own so that push
// does not import the driver.
package pushdb

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"sync/atomic"

	"github.com/device-fanout/fanout/consumers"
	"github.com/device-fanout/fanout/consumers/database"
	"github.com/device-fanout/fanout/consumers/push"
	"github.com/device-fanout/fanout/events"
)

// DefaultKeep is how many events a feed keeps.
const DefaultKeep = 100_000

// Config sets how a Feed works. The zero value is ready for production.
type Config struct {
	// Keep is how many events are kept at least: old ones are deleted each time that a process has added a hundredth as many. A process that has fallen
	// farther behind has its clients connect again. Keep more than push.Config.Recent. Zero means DefaultKeep (100,000).
	Keep int
	// Logger hears that the database is waited for. Nil logs nothing.
	Logger *slog.Logger
}

// Feed is a [push.Feed] in table push_events.
type Feed struct {
	db     *database.DB
	keep   int
	logger *slog.Logger
	added  atomic.Uint64
}

// steps make the tables. A released one is never changed.
var steps = []string{
	`CREATE TABLE push_events (
		position  BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY, -- in the order of commits, see add
		event_id  TEXT NOT NULL,
		device_id TEXT NOT NULL,
		source    TEXT NOT NULL,
		event     TEXT NOT NULL, -- CloudEvents JSON, as it goes to clients
		UNIQUE (event_id, device_id, source)
	)`,
}

const (
	channel = "push_events"

	// add takes a position under a lock that lasts until the commit. So positions become visible in their order, and who reads on from one misses
	// none. The notification has no payload: those of one transaction are one.
	add = `WITH turn AS MATERIALIZED (SELECT pg_advisory_xact_lock(7463215908)), added AS (
			INSERT INTO push_events (event_id, device_id, source, event) SELECT $1, $2, $3, $4 FROM turn
			ON CONFLICT (event_id, device_id, source) DO NOTHING RETURNING position
		)
		SELECT pg_notify('` + channel + `', '') FROM added`
	trim  = `DELETE FROM push_events WHERE position < (SELECT position FROM push_events ORDER BY position DESC LIMIT 1 OFFSET $1)` // each repeat takes a position
	begin = `SELECT coalesce((SELECT position FROM push_events ORDER BY position DESC LIMIT 1 OFFSET $1), 0)`
	read  = `SELECT position, event FROM push_events WHERE position >= $1 ORDER BY position LIMIT $2`
	same  = `SELECT event FROM push_events WHERE event_id = $1 AND device_id = $2 AND source = $3`
	find  = `SELECT coalesce(min(position), 0) FROM push_events
		WHERE event_id = $1 AND ($2::text = '' OR device_id = $2) AND ($3::text = '' OR source = $3)`
)

// Open opens the feed in the database that target names, which is one of PostgreSQL, and creates its table when it is not there. While the database is
// down it succeeds all the same, see [database.OpenService]. Close the Feed when done.
func Open(ctx context.Context, target string, cfg Config) (*Feed, error) {
	kind, err := database.KindOf(target)
	if err == nil && kind != database.Postgres {
		err = errors.New("want a database of PostgreSQL: that is where the processes that share a feed meet")
	}
	var db *database.DB
	if err == nil {
		db, err = database.OpenService(ctx, target, database.Setup{Service: "push", Steps: func(database.Kind) []string { return steps }, Logger: cfg.Logger})
	}
	if err != nil {
		return nil, fmt.Errorf("push: feed: %w", err)
	}
	return &Feed{db: db, keep: cmp.Or(cfg.Keep, DefaultKeep), logger: cmp.Or(cfg.Logger, slog.New(slog.DiscardHandler))}, nil
}

// Close closes the database. It may be called more than once.
func (f *Feed) Close() error { return f.db.Close() }

// Check implements [push.Feed].
func (f *Feed) Check(ctx context.Context) error { return f.db.Check(ctx) }

// Add implements [push.Feed]. Events that are added at the same time share a round trip and a commit. A consumers.Unavailable error says that the
// database is down, and a consumers.Known one that the event can't be stored. One with another type or payload than the event of its identity that
// is there is told by [consumers.Reused].
func (f *Feed) Add(ctx context.Context, event events.Event, message []byte) error {
	added, err := f.db.ExecContext(ctx, add, event.ID, event.DeviceID, event.Source, string(message))
	if database.NotStorable(err) {
		return consumers.Known(database.CodeNotStorable, err)
	}
	if err != nil {
		return err
	}
	if n, err := added.RowsAffected(); err != nil {
		return err
	} else if n == 0 {
		return f.repeated(ctx, event)
	}
	// The first one too: a process may never come to its second turn.
	if (f.added.Add(1)-1)%uint64(max(1, f.keep/100)) == 0 {
		if _, err := f.db.ExecContext(ctx, trim, f.keep-1); err != nil {
			f.logger.Warn("old events of the feed could not be deleted; trying again later", "err", err)
		}
	}
	return nil
}

// repeated compares an event with the one of its identity that is there, and returns what is to become of it.
func (f *Feed) repeated(ctx context.Context, event events.Event) error {
	var message []byte
	err := f.db.QueryRowContext(ctx, same, event.ID, event.DeviceID, event.Source).Scan(&message)
	if errors.Is(err, sql.ErrNoRows) { // shortened meanwhile
		return nil
	}
	if err != nil {
		return database.Verdict(err)
	}
	earlier, err := events.DecodeAny(message)
	if err != nil { // of a newer program; it is a duplicate all the same
		return nil
	}
	was, err := earlier.Digest()
	if err != nil {
		return err
	}
	if is, err := event.Digest(); err != nil || is == was {
		return err
	}
	return consumers.Reused(ctx, event, earlier.Time)
}

// Begin implements [push.Feed].
func (f *Feed) Begin(ctx context.Context, n int) (position int64, err error) {
	err = f.db.QueryRowContext(ctx, begin, n).Scan(&position)
	return position, database.Verdict(err)
}

// Read implements [push.Feed].
func (f *Feed) Read(ctx context.Context, position int64, limit int) ([]push.Entry, error) {
	rows, err := f.db.QueryContext(ctx, read, position, limit)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var entries []push.Entry
	for rows.Next() {
		var e push.Entry
		if err := rows.Scan(&e.Position, &e.Message); err != nil {
			return nil, database.Verdict(err)
		}
		if e.Event, err = events.DecodeAny(e.Message); err != nil { // a newer program may have put it there
			f.logger.Warn("event of the feed can't be read; clients don't get it", "position", e.Position, "err", err)
		}
		entries = append(entries, e)
	}
	return entries, database.Verdict(rows.Err())
}

// Listen implements [push.Feed].
func (f *Feed) Listen(ctx context.Context, heard func()) error {
	return f.db.Listen(ctx, channel, heard)
}

// ErrNotFound is the error of [Feed.Since] for an event that the feed does not have.
var ErrNotFound = errors.New("push: feed: no such event")

// errShortened is the error of Since for a feed that was shortened beyond the page that is read. What was read of it holds.
var errShortened = consumers.Unavailable(errors.New("push: feed: it was shortened while it was read"))

// page is how many events Since reads at once.
const page = 1000

// Since implements [push.Past].
func (f *Feed) Since(ctx context.Context, after events.Identity) iter.Seq2[events.Event, error] {
	return func(yield func(events.Event, error) bool) {
		var position int64
		err := database.Verdict(f.db.QueryRowContext(ctx, find, after.ID, after.Subject, after.Source).Scan(&position))
		if err == nil && position == 0 {
			err = ErrNotFound
		}
		for more := err == nil; more; {
			var entries []push.Entry
			if entries, err = f.Read(ctx, position, page+1); err != nil {
				break
			}
			if len(entries) == 0 || entries[0].Position != position { // what followed the last one may be gone too
				err = errShortened
				break
			}
			more = len(entries) > page
			for _, e := range entries[1:] {
				position = e.Position
				if e.Event.ID != "" && !yield(e.Event, nil) {
					return
				}
			}
		}
		if err != nil {
			yield(events.Event{}, err)
		}
	}
}
