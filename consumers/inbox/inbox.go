package inbox

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"
)

// Tx is the part of a transaction that this package needs. [*sql.Tx] has it. A [*sql.DB] has it too, but is no
// transaction: with that, an event whose handling fails afterwards would count as handled.
type Tx interface {
	ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error)
}

// first takes over what [Once] has in progress: the two are not meant for one event, but it must not get lost by it.
const first = `INSERT INTO inbox (service, event_id, state, owner, until, updated_at) VALUES ($1, $2, 'done', '', $3, $3)
	ON CONFLICT (service, event_id) DO UPDATE SET state = 'done', owner = '', until = excluded.until, updated_at = excluded.updated_at
	WHERE inbox.state <> 'done'`

// First records in tx that service handles the event with that ID, and reports whether it is the first time. When tx is
// rolled back it was not recorded. It blocks while another transaction with the same event is open, until ctx ends.
// An empty service or event ID is an error, as all events without an ID would count as one.
func First(ctx context.Context, tx Tx, service, eventID string) (bool, error) {
	if err := checkKey(service, eventID); err != nil {
		return false, err
	}
	n, err := exec(ctx, tx, first, service, eventID, stamp(time.Now()))
	if err != nil {
		return false, fmt.Errorf("inbox: record event %q for service %q: %w", eventID, service, err)
	}
	return n == 1, nil
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

func checkKey(service, eventID string) error {
	if service == "" {
		return errNoService
	}
	if eventID == "" {
		return fmt.Errorf("inbox: event ID of an event for service %q is empty, want the event's ID", service)
	}
	return nil
}

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
