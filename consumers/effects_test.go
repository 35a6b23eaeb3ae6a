package consumers_test

import (
	"context"
	"fmt"
	"path/filepath"
	"sync/atomic"
	"testing"

	"github.com/device-fanout/fanout/consumers/database"
	"github.com/device-fanout/fanout/consumers/inbox"
	"github.com/device-fanout/fanout/events"
)

// effects is what the handlers of a story have done, in the database that its consumers share: a row for every time that one did its
// work. Package inbox, in the same transaction, is all that keeps a second delivery from a second row.
type effects struct {
	db    *database.DB
	again atomic.Int64 // deliveries of events that had taken effect before
}

// openEffects makes an empty database in folder.
func openEffects(t *testing.T, folder string, n int64) *effects {
	t.Helper()
	db, err := database.Open(t.Context(), "sqlite:"+filepath.Join(folder, fmt.Sprintf("%d.db", n))+"?synchronous=normal")
	if err != nil {
		t.Fatal(err)
	}
	err = db.Write(t.Context(), func(ctx context.Context, tx database.Tx) error {
		return inbox.Create(ctx, tx, inbox.SQLite)
	})
	if err == nil {
		err = db.Migrate(t.Context(), "effects", `CREATE TABLE effect (position INTEGER PRIMARY KEY AUTOINCREMENT, device_id TEXT NOT NULL, event_id TEXT NOT NULL)`)
	}
	if err != nil {
		t.Fatal(err)
	}
	return &effects{db: db}
}

// apply does the work of a handler, and then what comes after it in the same transaction, which may fail or panic. When that
// happens, neither work nor claim must be left.
func (e *effects) apply(ctx context.Context, event events.Event, then func() error) error {
	return e.db.Write(ctx, func(ctx context.Context, tx database.Tx) error {
		first, err := inbox.First(ctx, tx, "test", event)
		if err != nil {
			return err
		}
		if !first {
			e.again.Add(1)
			return nil
		}
		if _, err := tx.ExecContext(ctx, `INSERT INTO effect (device_id, event_id) VALUES ($1, $2)`, event.DeviceID, event.ID); err != nil {
			return err
		}
		return then()
	})
}

// byDevice lists the events that took effect, in the order in which they did.
func (e *effects) byDevice(ctx context.Context) (map[string][]string, error) {
	rows, err := e.db.QueryContext(ctx, `SELECT device_id, event_id FROM effect ORDER BY position`)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	list := map[string][]string{}
	for rows.Next() {
		var device, id string
		if err := rows.Scan(&device, &id); err != nil {
			return nil, err
		}
		list[device] = append(list[device], id)
	}
	return list, rows.Err()
}
