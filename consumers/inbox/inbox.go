package inbox

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/device-fanout/fanout/consumers/internal/said"
	"github.com/device-fanout/fanout/events"
)

// Tx is the part of a transaction that this package needs. [*sql.Tx] has it. A [*sql.DB] has it too, but is no
// transaction: with that, an event whose handling fails afterwards would count as handled.
type Tx interface {
	ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error)
	QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
}

const (
	// first takes over what [Once] has in progress: the two are not meant for one event, but it must not get lost by it.
	first = `INSERT INTO inbox (service, event_id, state, owner, until, updated_at) VALUES ($1, $2, 'done', $3, $4, $4)
	ON CONFLICT (service, event_id) DO UPDATE SET state = 'done', owner = excluded.owner, until = excluded.until, updated_at = excluded.updated_at
	WHERE inbox.state <> 'done'`
	// firstOld returns nothing if the event was done, and else whether there is a row that an older version has written for its ID.
	firstOld = first + ` RETURNING EXISTS (SELECT 1 FROM inbox AS earlier WHERE earlier.service = $1 AND earlier.event_id = $5)`
	// adopt gives the row of an older version to the event that asks first; no other one gets it.
	adopt = `DELETE FROM inbox WHERE service = $1 AND event_id = $2 AND state = 'done'`
)

// First records in tx that service handles event, and reports whether it is the first time for its identity. When tx is
// rolled back it was not recorded. It blocks while another transaction with the same event is open, until ctx ends.
// An empty service, event ID or device ID is an error, as all events without one would count as one.
//
// A repeat is no first time whatever it says. Where its type or payload differ from those of the first one the result is that of
// consumers.Reused: the error is nil, or says that the service refuses such events. ctx must be the handler's, or made from it.
//
// A row that an older version has written knows only the event's ID. It counts for the first event with that ID that comes, whatever its
// source and device, and for no other: mostly that is the one that it was written for.
func First(ctx context.Context, tx Tx, service string, event events.Event) (bool, error) {
	key := Key{service, event.Identity()}
	if err := key.check(); err != nil {
		return false, err
	}
	says := said.Says(event)
	var old bool
	err := tx.QueryRowContext(ctx, firstOld, service, key.Text(), says, stamp(time.Now()), event.ID).Scan(&old)
	isFirst := err == nil
	switch {
	case errors.Is(err, sql.ErrNoRows):
		err = said.Compare(ctx, tx, service, key.Text(), event, says)
	case err == nil && old:
		var n int64
		n, err = exec(ctx, tx, adopt, service, event.ID)
		isFirst = n == 0
	}
	if err != nil {
		return false, fmt.Errorf("inbox: record event %q for service %q: %w", event.ID, service, err)
	}
	return isFirst, nil
}

// expire deletes by the primary key, which both databases take.
const expire = `DELETE FROM inbox WHERE (service, event_id) IN
	(SELECT service, event_id FROM inbox WHERE service = $1 AND updated_at < $2 LIMIT $3)`

// DefaultRetention is how long rows are worth keeping: no copy of an event comes later, unless it waited in its queue for
// four days, then in the dead-letter queue for its fourteen, and was redriven at the end and waited once more.
const DefaultRetention = 30 * 24 * time.Hour

// Expire deletes up to limit rows of service that were last changed before that time, and returns how many. Call it again
// until it returns less than limit, each time in a transaction of its own, so that no transaction is long. A deleted
// event that comes again is handled again; see [DefaultRetention].
func Expire(ctx context.Context, tx Tx, service string, before time.Time, limit int) (int64, error) {
	switch {
	case service == "":
		return 0, errNoService
	case limit < 1:
		return 0, fmt.Errorf("inbox: expire rows of service %q: limit %d, want at least 1", service, limit)
	}
	n, err := exec(ctx, tx, expire, service, stamp(before), limit)
	if err != nil {
		return 0, fmt.Errorf("inbox: expire rows of service %q: %w", service, err)
	}
	return n, nil
}

var errNoService = errors.New("inbox: service is empty, want its name")

// exec runs a statement and returns how many rows it changed.
func exec(ctx context.Context, tx Tx, query string, args ...any) (int64, error) {
	result, err := tx.ExecContext(ctx, query, args...)
	if err != nil {
		return 0, err
	}
	return result.RowsAffected()
}

// stamp is a time of this package's own, as text that sorts as times do and that PostgreSQL takes for a TIMESTAMPTZ.
func stamp(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.000000Z") }

// timeText is the time of an event, as text that sorts as times do.
func timeText(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.000000000Z") }
