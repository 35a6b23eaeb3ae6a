package inbox

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"
)

// SQLiteSchema creates the table on SQLite unless it exists.
const SQLiteSchema = `CREATE TABLE IF NOT EXISTS inbox (
	service    TEXT NOT NULL,
	event_id   TEXT NOT NULL,
	handled_at TEXT NOT NULL, -- RFC 3339, UTC
	PRIMARY KEY (service, event_id)
) WITHOUT ROWID`

// PostgresSchema creates the table on PostgreSQL unless it exists.
const PostgresSchema = `CREATE TABLE IF NOT EXISTS inbox (
	service    TEXT NOT NULL,
	event_id   TEXT NOT NULL,
	handled_at TIMESTAMPTZ NOT NULL,
	PRIMARY KEY (service, event_id)
)`

const insert = `INSERT INTO inbox (service, event_id, handled_at) VALUES ($1, $2, $3)
	ON CONFLICT (service, event_id) DO NOTHING`

// Tx is the part of a transaction that First needs. [*sql.Tx] has it. A [*sql.DB] has it too, but is no transaction:
// with that, an event whose handling fails afterwards would count as handled.
type Tx interface {
	ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error)
}

// First records in tx that service handles the event with that ID, and reports whether it is the first time. When tx is
// rolled back it was not recorded. It blocks while another transaction with the same event is open, until ctx ends.
// An empty service or event ID is an error, as all events without an ID would count as one.
func First(ctx context.Context, tx Tx, service, eventID string) (bool, error) {
	if service == "" {
		return false, errors.New("inbox: service is empty, want its name")
	}
	if eventID == "" {
		return false, fmt.Errorf("inbox: event ID of an event for service %q is empty, want the event's ID", service)
	}
	result, err := tx.ExecContext(ctx, insert, service, eventID, time.Now().UTC().Format("2006-01-02T15:04:05.000000Z"))
	if err != nil {
		return false, fmt.Errorf("inbox: record event %q for service %q: %w", eventID, service, err)
	}
	n, err := result.RowsAffected()
	if err != nil {
		return false, fmt.Errorf("inbox: record event %q for service %q: %w", eventID, service, err)
	}
	return n == 1, nil
}
