package before_test

import (
	"context"
	"database/sql"
	"errors"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/device-fanout/fanout/consumers/database"
	"github.com/device-fanout/fanout/consumers/database/databasetest"
	"github.com/device-fanout/fanout/consumers/history"
	"github.com/device-fanout/fanout/consumers/inbox"
	"github.com/device-fanout/fanout/consumers/state"
	"github.com/device-fanout/fanout/events"
)

// eachDatabase runs test on the SQLite file of a service that was closed, on that of one that was killed, if there is one, and on
// PostgreSQL.
func eachDatabase(t *testing.T, service string, test func(t *testing.T, target string)) {
	for _, end := range []string{"closed", "killed"} {
		if end == "killed" && service != "history" && service != "state" {
			continue
		}
		t.Run("sqlite/"+end, func(t *testing.T) {
			t.Parallel()
			test(t, "sqlite:"+filepath.Join(unpack(t, "databases.zip", end), service+".db"))
		})
	}
	t.Run("postgres", func(t *testing.T) {
		t.Parallel()
		target := databasetest.Postgres(t)
		db, err := sql.Open("pgx", target)
		if err != nil {
			t.Fatal(err)
		}
		defer db.Close()
		if _, err := db.ExecContext(t.Context(), string(read(t, "postgres.sql"))); err != nil {
			t.Fatal(err)
		}
		test(t, target)
	})
}

// openDatabase opens a database as a service of a team's own does.
func openDatabase(t *testing.T, target string) *database.DB {
	t.Helper()
	db, err := database.Open(t.Context(), target)
	if err != nil {
		t.Fatal(err)
	}
	return db
}

// handle gives events to a service.
func handle(t *testing.T, service interface {
	Handle(ctx context.Context, event events.Event) error
}, list ...events.Event,
) {
	t.Helper()
	for _, e := range list {
		if err := service.Handle(t.Context(), e); err != nil {
			t.Fatalf("event %s: %v", e.ID, err)
		}
	}
}

// later is a new event of the same device and type.
func later(e events.Event, id string, by time.Duration) events.Event {
	e.ID, e.Time, e.Sequence = id, e.Time.Add(by), "01107000000000000099"
	return e
}

func TestHistory_KeepsOldRowsAndAddsNewOnes(t *testing.T) {
	t.Parallel()
	eachDatabase(t, "history", func(t *testing.T, target string) {
		service, err := history.Open(t.Context(), target, history.Config{})
		if err != nil {
			t.Fatal(err)
		}
		defer service.Close()
		old := kept(t)
		handle(t, service, old...) // delivered again
		fresh := later(old[0], "0199a5f0-0000-7000-8000-000000000001", time.Hour)
		handle(t, service, fresh, fresh)

		rows, err := service.After(t.Context(), 0, 100)
		if err != nil || len(rows) != len(old)+1 {
			t.Fatalf("got %d rows, %v, want %d and a new one", len(rows), err, len(old))
		}
		for i, want := range append(slices.Clone(old), fresh) {
			row := rows[i]
			data, err := events.EncodeData(want.Data)
			if err != nil {
				t.Fatal(err)
			}
			if row.EventID != want.ID || row.Source != want.Source || row.DeviceID != want.DeviceID || row.Type != want.Type() ||
				row.Sequence != want.Sequence || !row.Time.Equal(want.Time) || !sameJSON(t, row.Data, data) || row.RecordedAt.IsZero() {
				t.Errorf("row %d: got %+v, want event %+v", i, row, want)
			}
			if i > 0 && row.Position <= rows[i-1].Position {
				t.Errorf("row %d: position %d follows %d", i, row.Position, rows[i-1].Position)
			}
		}
		if row, err := service.FindIdentity(t.Context(), old[5].Identity()); err != nil || row.Position != rows[5].Position {
			t.Errorf("find: got %+v, %v", row, err)
		}
		n := 0
		for e, err := range service.Since(t.Context(), old[0].Identity()) {
			if err != nil || e.ID != rows[n].EventID {
				t.Fatalf("since: got %+v, %v at %d", e, err, n)
			}
			n++
		}
		if n != len(rows) {
			t.Errorf("since the first event: got %d, want %d", n, len(rows))
		}
	})
}

func TestState_IsNotOverwrittenByOlderEvents(t *testing.T) {
	t.Parallel()
	eachDatabase(t, "state", func(t *testing.T, target string) {
		service, err := state.Open(t.Context(), target, state.Config{})
		if err != nil {
			t.Fatal(err)
		}
		defer service.Close()
		want := func(after string, list ...events.Event) {
			t.Helper()
			got := map[string]state.Row{}
			for _, device := range []string{"attic/sensor-1", "hall-lamp", "porch-door"} {
				rows, err := service.Device(t.Context(), device)
				if err != nil {
					t.Fatal(err)
				}
				for _, row := range rows {
					got[row.EventID] = row
				}
			}
			if len(got) != len(list) {
				t.Errorf("%s: got %d rows, want %d", after, len(got), len(list))
			}
			for _, e := range list {
				row := got[e.ID]
				data, err := events.EncodeData(e.Data)
				if err != nil {
					t.Fatal(err)
				}
				if row.DeviceID != e.DeviceID || row.Type != e.Type() || !row.Time.Equal(e.Time) || row.Sequence != e.Sequence || !sameJSON(t, row.Data, data) {
					t.Errorf("%s: got %+v, want event %+v", after, row, e)
				}
			}
		}
		old := kept(t)
		power, rest := old[1], []events.Event{old[2], old[3], old[5], old[6]}
		want("at first", append(rest, power)...)

		handle(t, service, later(power, old[0].ID, time.Hour)) // the ID of an event that was handled: that one again
		want("after a second delivery", append(rest, power)...)
		handle(t, service, later(power, "late", -1))
		want("after an older event", append(rest, power)...)
		newer := later(power, "newer", 1)
		handle(t, service, newer)
		want("after a newer event", append(rest, newer)...)

		// The rows of the inbox have a time by which they go.
		if n, err := service.Expire(t.Context(), time.Now().Add(100*365*24*time.Hour)); err != nil || n != int64(len(old)+2) {
			t.Errorf("expire: got %d, %v, want those of %d events", n, err, len(old)+2)
		}
	})
}

func TestInbox_OfAServiceOfItsOwnRefusesARepeat(t *testing.T) {
	t.Parallel()
	eachDatabase(t, "orders", func(t *testing.T, target string) {
		db := openDatabase(t, target)
		defer db.Close()
		// As "fanout new service" has written it.
		err := db.Migrate(t.Context(), "orders", inbox.Schema(inbox.Dialect(db.Kind())), `CREATE TABLE orders_devices (never run again)`)
		if err != nil {
			t.Fatal(err)
		}
		step := func(e events.Event) (first, newest bool) {
			t.Helper()
			err := db.Write(t.Context(), func(ctx context.Context, tx database.Tx) (err error) {
				if first, err = inbox.First(ctx, tx, "orders", e); err != nil {
					return err
				}
				newest, err = inbox.Advance(ctx, tx, inbox.MarkOf("orders", e))
				return err
			})
			if err != nil {
				t.Fatal(err)
			}
			return first, newest
		}
		old := kept(t)
		for i, e := range old {
			if first, newest := step(e); first || newest != (i != 0 && i != 4) { // two of the lamp are older than its newest
				t.Errorf("event %d again: first %t, newest %t", i, first, newest)
			}
		}
		for _, c := range []struct {
			by            time.Duration
			first, newest bool
		}{{-1, true, false}, {1, true, true}} {
			if first, newest := step(later(old[1], "new"+c.by.String(), c.by)); first != c.first || newest != c.newest {
				t.Errorf("a new event, by %v: first %t, newest %t", c.by, first, newest)
			}
		}
		for device, want := range map[string]int{"hall-lamp": 4, "attic/sensor-1": 2, "porch-door": 1} {
			var n int
			if err := db.QueryRowContext(t.Context(), `SELECT events FROM orders_devices WHERE device_id = $1`, device).Scan(&n); err != nil || n != want {
				t.Errorf("device %s: got %d events, %v, want %d", device, n, err, want)
			}
		}
	})
}

// Claims are of handlers whose effects are elsewhere: one event was handled, one is being handled, and of one the process died.
func TestInbox_ClaimsGoOn(t *testing.T) {
	t.Parallel()
	eachDatabase(t, "orders", func(t *testing.T, target string) {
		db := openDatabase(t, target)
		defer db.Close()
		claims := inbox.NewSQL(db)
		for id, want := range map[string]error{"done": nil, "under-way": inbox.ErrInProgress, "died": nil, "new": nil} {
			calls := 0
			once := inbox.Once(claims, "orders-mail", time.Minute, func(context.Context, events.Event) error { calls++; return nil })
			for range 2 {
				if err := once(t.Context(), later(kept(t)[0], id, 0)); !errors.Is(err, want) {
					t.Errorf("event %s: got %v, want %v", id, err, want)
				}
			}
			if want := map[string]int{"died": 1, "new": 1}[id]; calls != want {
				t.Errorf("event %s was handled %d times, want %d", id, calls, want)
			}
		}
	})
}
