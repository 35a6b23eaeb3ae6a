package history

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"strconv"
	"time"

	"github.com/device-fanout/fanout/consumers/database"
	"github.com/device-fanout/fanout/events"
)

// ErrNotFound is what [Service.Find] returns for an event that was not recorded.
var ErrNotFound = errors.New("history: no such event")

// Row is one recorded event.
type Row struct {
	Position                                  int64
	EventID, Source, DeviceID, Type, Sequence string
	Time                                      time.Time // in UTC
	Data                                      json.RawMessage
	RecordedAt                                time.Time // in UTC, to the microsecond
}

// Event returns the event as it was handled, with one exception. The payload of a type that this program has not registered is an
// [events.Raw] without its Schema, for which the table has no column; so the event is encoded without the attribute dataschema, which is
// optional, where the one from the queue may have it. The error is an [*events.Error]: the row was written by a program with other bounds.
func (r Row) Event() (events.Event, error) {
	if _, ok := events.Lookup(r.Type); !ok {
		return r.event(events.Raw{Type: r.Type, JSON: r.Data}), nil
	}
	data, err := events.DecodeData(r.Type, r.Data)
	if err != nil {
		return events.Event{}, fmt.Errorf("history: row %d, event %q of device %q: %w", r.Position, r.EventID, r.DeviceID, err)
	}
	return r.event(data), nil
}

// digest is [events.Event.Digest] of what this program reads in the row: one that knows more fields, or not the type, may have written it.
func (r Row) digest() (string, error) {
	if event, err := r.Event(); err == nil {
		return event.Digest()
	}
	return events.DigestOf(r.Type, r.Data)
}

func (r Row) event(data events.Data) events.Event {
	return events.Event{ID: r.EventID, Source: r.Source, DeviceID: r.DeviceID, Time: r.Time, Sequence: r.Sequence, Data: data}
}

// After returns up to limit rows whose position is greater than position, in the order of their positions. Begin with 0
// and go on with the position of the last row. With fewer than limit rows the end has been reached, as of now; the
// package comment says what that means on PostgreSQL. A limit below 1 is an error.
func (s *Service) After(ctx context.Context, position int64, limit int) ([]Row, error) {
	if limit < 1 {
		return nil, fmt.Errorf("history: limit %d, want at least 1", limit)
	}
	rows, err := s.db.QueryContext(ctx,
		`SELECT `+s.dialect.columns+` FROM event_history WHERE position > $1 ORDER BY position LIMIT $2`, position, limit)
	if err != nil {
		return nil, fmt.Errorf("history: read after position %d: %w", position, err)
	}
	defer rows.Close()
	var all []Row
	for rows.Next() {
		row, err := scan(rows)
		if err != nil {
			return nil, fmt.Errorf("history: read after position %d: %w", position, err)
		}
		all = append(all, row)
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("history: read after position %d: %w", position, err)
	}
	return all, nil
}

// Find returns the row of the event with that ID, or an error that wraps [ErrNotFound]. If several have it, it is the one with the
// smallest position; see FindIdentity.
func (s *Service) Find(ctx context.Context, eventID string) (Row, error) {
	return s.find(ctx, strconv.Quote(eventID), `event_id = $1`+byPosition, eventID)
}

// FindIdentity returns the row of the event with that identity, or an error that wraps [ErrNotFound].
func (s *Service) FindIdentity(ctx context.Context, id events.Identity) (Row, error) {
	return s.find(ctx, id.String(), `event_id = $1 AND device_id = $2 AND source = $3`, id.ID, id.Subject, id.Source)
}

// byPosition is for a search that several rows may answer.
const byPosition = ` ORDER BY position LIMIT 1`

// find returns the row for which where holds, or an error that says what was looked for.
func (s *Service) find(ctx context.Context, what, where string, args ...any) (Row, error) {
	row, err := scan(s.db.QueryRowContext(ctx, `SELECT `+s.dialect.columns+` FROM event_history WHERE `+where, args...))
	switch {
	case errors.Is(err, sql.ErrNoRows):
		return Row{}, fmt.Errorf("%w: %s", ErrNotFound, what)
	case err != nil:
		return Row{}, fmt.Errorf("history: find event %s: %w", what, database.Verdict(err))
	}
	return row, nil
}

// Since returns the events after that one in the order of their positions, up to the last one, for a reader that was away. An empty source or
// subject stands for any; if several have that ID it is the one with the smallest position, so that nothing is missed. It begins a little
// earlier, with those recorded in the ten seconds before it, but no more than 10,000: devices are handled side by side, so an event of
// another device with a smaller position may have happened later. An event that was not recorded is an [ErrNotFound]; the first error is
// the last element.
//
// It reads pages, so that a slow reader holds no query open.
func (s *Service) Since(ctx context.Context, after events.Identity) iter.Seq2[events.Event, error] {
	return func(yield func(events.Event, error) bool) {
		position, err := s.before(ctx, after)
		for err == nil {
			var rows []Row
			if rows, err = s.After(ctx, position, sincePage); err != nil || len(rows) == 0 {
				break
			}
			for _, row := range rows {
				position = row.Position
				var event events.Event
				if event, err = row.Event(); err != nil {
					break
				}
				if !yield(event, nil) {
					return
				}
			}
		}
		if err != nil {
			yield(events.Event{}, err)
		}
	}
}

const (
	sincePage    = 500              // rows of one query of Since
	sinceOverlap = 10 * time.Second // how much earlier Since begins
	sinceMost    = 10_000           // and how many events earlier at most
)

// before returns the position after which Since begins.
func (s *Service) before(ctx context.Context, after events.Identity) (int64, error) {
	where, args := `event_id = $1`, []any{after.ID}
	if after.Subject != "" {
		args = append(args, after.Subject)
		where += ` AND device_id = $` + strconv.Itoa(len(args))
	}
	if after.Source != "" {
		args = append(args, after.Source)
		where += ` AND source = $` + strconv.Itoa(len(args))
	}
	row, err := s.find(ctx, strconv.Quote(after.ID), where+byPosition, args...)
	if err != nil {
		return 0, err
	}
	var first int64
	err = s.db.QueryRowContext(ctx, `SELECT min(position) FROM (SELECT position, recorded_at FROM event_history
		WHERE position <= $1 ORDER BY position DESC LIMIT $2) AS near WHERE recorded_at >= $3`,
		row.Position, sinceMost, recordedText(row.RecordedAt.Add(-sinceOverlap))).Scan(&first)
	if err != nil {
		return 0, fmt.Errorf("history: look back from event %q: %w", after.ID, err)
	}
	return first - 1, nil
}

// scan reads the columns of a dialect.
func scan(from interface{ Scan(dest ...any) error }) (Row, error) {
	var (
		row          Row
		at, recorded string
		nanos        int
	)
	err := from.Scan(&row.Position, &row.EventID, &row.Source, &row.DeviceID, &row.Type, &row.Sequence,
		(*[]byte)(&row.Data), &recorded, &at, &nanos)
	if err != nil {
		return Row{}, err
	}
	if row.Time, err = database.ParseTime(at); err != nil {
		return Row{}, err
	}
	if row.RecordedAt, err = database.ParseTime(recorded); err != nil {
		return Row{}, err
	}
	row.Time = row.Time.Add(time.Duration(nanos))
	return row, nil
}
