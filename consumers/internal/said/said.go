// Package said compares a repeat of an event with what table inbox has of the first one. Whoever records an event in that table, be it
// inbox.First or a statement of its own, writes [Says] into column owner, and calls [Compare] where the event is recorded already.
package said

import (
	"context"
	"database/sql"
	"errors"
	"strings"
	"time"

	"github.com/device-fanout/fanout/consumers/internal/reused"
	"github.com/device-fanout/fanout/events"
)

// Says is a digest of what event says, and its time. It is empty if the event can't be encoded: then it can't be compared, which is no
// reason not to record it.
func Says(event events.Event) string {
	digest, err := event.Digest()
	if err != nil {
		return ""
	}
	return digest + " " + event.Time.UTC().Format(timeText)
}

// timeText is how the time is written. Any text of RFC 3339 can be read.
const timeText = "2006-01-02T15:04:05.000000000Z"

// Compare tells whether event, for which Says returned says, says something else than the one that is recorded for service with that key, the
// text of column event_id. The result is nil, or, if type or payload differ, that of consumers.Reused.
func Compare(ctx context.Context, db interface {
	QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
}, service, key string, event events.Event, says string,
) error {
	var was string
	switch err := db.QueryRowContext(ctx, `SELECT owner FROM inbox WHERE service = $1 AND event_id = $2`, service, key).Scan(&was); {
	case errors.Is(err, sql.ErrNoRows): // it has just expired
		return nil
	case err != nil:
		return err
	}
	digest, _, _ := strings.Cut(says, " ")
	before, at, _ := strings.Cut(was, " ")
	if before == "" || digest == "" || before == digest {
		return nil
	}
	earlier, _ := time.Parse(time.RFC3339Nano, at) // zero if it is not known
	return reused.Tell(ctx, event, earlier)
}
