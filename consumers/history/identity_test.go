package history_test

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/device-fanout/fanout/consumers"
	"github.com/device-fanout/fanout/consumers/database"
	"github.com/device-fanout/fanout/consumers/database/databasetest"
	"github.com/device-fanout/fanout/consumers/history"
	"github.com/device-fanout/fanout/consumers/internal/identitytest"
	"github.com/device-fanout/fanout/consumers/internal/reused"
	"github.com/device-fanout/fanout/events"
	"github.com/device-fanout/fanout/events/device"
)

// Sources and devices that number their events alike lose none, and repeats of one identity make no second row.
func TestIdentity_SourcesAndDevicesMayNumberAlike(t *testing.T) {
	t.Parallel()
	databasetest.Each(t, func(t *testing.T, target string) {
		service := open(t, databasetest.Relaxed(target))
		round := 0
		rapid.Check(t, func(r *rapid.T) {
			round++
			before := rows(t, service)
			var want []events.Identity
			seen := map[events.Identity]bool{}
			for n, id := range identitytest.Draw(r, round) {
				e := event(id.Subject, n)
				e.ID, e.Source = id.ID, id.Source
				handle(t, service, e)
				if !seen[id] {
					seen[id] = true
					want = append(want, id)
				}
			}
			var got []events.Identity
			for _, row := range rows(t, service)[len(before):] {
				got = append(got, events.Identity{Source: row.Source, Subject: row.DeviceID, ID: row.EventID})
			}
			if fmt.Sprint(got) != fmt.Sprint(want) {
				r.Fatalf("rows: got %v, want %v", got, want)
			}
		})
	})
}

// A repeat is a duplicate whatever it says; that it says something else is told, and may be refused.
func TestIdentity_RepeatThatSaysSomethingElse(t *testing.T) {
	t.Parallel()
	databasetest.Each(t, func(t *testing.T, target string) {
		service := open(t, target)
		raw := func(text string) events.Event {
			e := event("bell", 1)
			e.Data = events.Raw{Type: "acme.bell.v1", JSON: json.RawMessage(text)}
			return e
		}
		first := event("hall", 1)
		later := first
		later.Time, later.Sequence = first.Time.Add(time.Hour), "9"
		other := later
		other.Data = device.TemperatureMeasured{Celsius: 99}
		otherType := first
		otherType.Data = device.HumidityMeasured{Percent: 1}
		handle(t, service, first, raw(`{"rung":1,"by":"x"}`))
		for _, refuse := range []bool{false, true} {
			watch := reused.New(slog.New(slog.DiscardHandler), refuse)
			want := int64(0)
			for _, step := range []struct {
				name    string
				e       events.Event
				differs bool
			}{
				{"the same", first, false},
				{"another time and sequence", later, false},
				{"another payload", other, true},
				{"another type", otherType, true},
				{"the same in other letters", raw(` {"by": "\u0078", "rung": 1.0} `), false},
				{"another payload of an unknown type", raw(`{"rung":2,"by":"x"}`), true},
			} {
				err := service.Handle(watch.In(t.Context()), step.e)
				var known *consumers.KnownError
				switch isKnown := errors.As(err, &known); {
				case step.differs && refuse:
					if !isKnown || known.Code != consumers.CodeIDReused || !strings.Contains(err.Error(), "2005-01-29T12:00:00Z") {
						t.Errorf("%s, refused: got %v, want a known error with code id_reused and the first one's time", step.name, err)
					}
				case err != nil:
					t.Errorf("%s: got %v, want nil", step.name, err)
				}
				if step.differs {
					want++
				}
				if got := watch.Count(); got != want {
					t.Errorf("%s: got %d counted, want %d", step.name, got, want)
				}
			}
		}
		all := rows(t, service)
		if len(all) != 2 || !all[0].Time.Equal(first.Time) || !strings.Contains(string(all[0].Data), "0.1") {
			t.Errorf("rows: got %v, want those of the first deliveries", all)
		}
	})
}

// A newer program may have written the row, with a field that this one does not know: the event that comes again has not another payload for that.
func TestIdentity_RepeatOfWhatANewerProgramHasWritten(t *testing.T) {
	t.Parallel()
	databasetest.Each(t, func(t *testing.T, target string) {
		service := open(t, target)
		db, err := database.Open(t.Context(), target)
		if err != nil {
			t.Fatal(err)
		}
		defer db.Close()
		e := event("hall", 1)
		e.Data = device.TemperatureMeasured{Celsius: 20}
		handle(t, service, e)
		execute(t, db, `UPDATE event_history SET data = '{"celsius":20,"new":1}'`)
		watch := reused.New(slog.New(slog.DiscardHandler), true)
		if err := service.Handle(watch.In(t.Context()), e); err != nil || watch.Count() != 0 {
			t.Errorf("got %v and %d counted, want a plain repeat", err, watch.Count())
		}
		e.Data = device.TemperatureMeasured{Celsius: 99}
		if err := service.Handle(watch.In(t.Context()), e); err == nil {
			t.Error("another payload: got nil, want it refused")
		}
	})
}

// oldTables are those of the version that knew an event by its ID alone, and oldInsert is how it wrote a row.
var (
	oldTables = map[database.Kind]string{
		database.SQLite: `CREATE TABLE event_history (
				position    INTEGER PRIMARY KEY AUTOINCREMENT, -- also after a DELETE no position comes twice
				event_id    TEXT NOT NULL UNIQUE,
				source      TEXT NOT NULL,
				device_id   TEXT NOT NULL,
				type        TEXT NOT NULL,
				time        TEXT NOT NULL, -- RFC 3339, UTC, nine digits: sorts as text
				sequence    TEXT NOT NULL,
				data        TEXT NOT NULL, -- JSON
				recorded_at TEXT NOT NULL
			);
			CREATE INDEX event_history_device_time ON event_history (device_id, time)`,
		database.Postgres: `CREATE TABLE event_history (
				position    BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
				event_id    TEXT NOT NULL UNIQUE,
				source      TEXT NOT NULL,
				device_id   TEXT NOT NULL,
				type        TEXT NOT NULL,
				time        TIMESTAMPTZ NOT NULL,
				time_nanos  SMALLINT NOT NULL, -- what time cannot hold, 0 to 999
				sequence    TEXT COLLATE "C" NOT NULL,
				data        JSONB NOT NULL,
				recorded_at TIMESTAMPTZ NOT NULL
			);
			CREATE INDEX event_history_device_time ON event_history (device_id, time)`,
	}
	oldInsert = map[database.Kind]string{
		database.SQLite: `INSERT INTO event_history (event_id, source, device_id, type, time, sequence, data, recorded_at)
			VALUES ($1, '/gateways/home-1', $2, 'device.temperature.measured.v1', '2005-01-29T12:00:00.000000000Z', '1', '{"celsius":20}', '2005-01-29T12:00:00.000000Z')
			ON CONFLICT (event_id) DO NOTHING`,
		database.Postgres: `INSERT INTO event_history (event_id, source, device_id, type, time, time_nanos, sequence, data, recorded_at)
			VALUES ($1, '/gateways/home-1', $2, 'device.temperature.measured.v1', '2005-01-29T12:00:00Z', 0, '1', '{"celsius":20}', '2005-01-29T12:00:00Z')
			ON CONFLICT (event_id) DO NOTHING`,
	}
)

func oldDatabase(t *testing.T, target string) *database.DB {
	t.Helper()
	db, err := database.Open(t.Context(), target)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	if err := db.Migrate(t.Context(), "history", oldTables[db.Kind()]); err != nil {
		t.Fatal(err)
	}
	return db
}

func execute(t *testing.T, db *database.DB, statement string, args ...any) {
	t.Helper()
	if _, err := db.ExecContext(t.Context(), statement, args...); err != nil {
		t.Fatalf("%s: %v", statement, err)
	}
}

// Tables of older versions get the wider identity, also when several processes start at once: rows and positions stay, no position
// comes twice, and views go on.
func TestIdentity_OldTables(t *testing.T) {
	t.Parallel()
	databasetest.Each(t, func(t *testing.T, target string) {
		db := oldDatabase(t, target)
		for n := range 5 {
			execute(t, db, oldInsert[db.Kind()], fmt.Sprint(n+1), "hall")
		}
		execute(t, db, `DELETE FROM event_history WHERE event_id IN ('2', '5')`)
		execute(t, db, `CREATE VIEW halls AS SELECT event_id FROM event_history WHERE device_id = 'hall'`)
		services := databasetest.OpenAtOnce(t, func() (*history.Service, error) { return history.Open(t.Context(), target, history.Config{}) })
		old := event("hall", 0)
		old.ID, old.Data = "1", device.TemperatureMeasured{Celsius: 20}
		others := []events.Event{old, old, old}
		others[1].DeviceID = "attic"
		others[2].Source = "/gateways/home-2"
		for _, service := range services { // whoever is first
			handle(t, service, others...)
		}
		var got []string
		for _, row := range rows(t, services[0]) {
			got = append(got, fmt.Sprint(row.EventID, " ", row.DeviceID, " ", row.Source[len(row.Source)-1:]))
			if row.EventID == "1" && row.DeviceID == "hall" && row.Position != 1 && strings.HasSuffix(row.Source, "1") {
				t.Errorf("position of an old row: got %d, want 1", row.Position)
			}
			if row.DeviceID == "attic" && row.Position < 6 {
				t.Errorf("position of a new row: got %d, which was given before", row.Position)
			}
		}
		if got, want := strings.Join(got, ", "), "1 hall 1, 3 hall 1, 4 hall 1, 1 attic 1, 1 hall 2"; got != want {
			t.Errorf("rows: got %s, want %s", got, want)
		}
		var n int
		if err := db.QueryRowContext(t.Context(), `SELECT count(*) FROM halls`).Scan(&n); err != nil || n != 4 {
			t.Errorf("view: got %d, %v, want 4", n, err)
		}
	})
}

// Rows of others that refer to the old table are not deleted with it, as ON DELETE CASCADE would: the table stays as it is, and the error says why.
func TestIdentity_OldTableThatOthersReferTo(t *testing.T) {
	t.Parallel()
	for _, action := range []string{"", "ON DELETE CASCADE"} {
		target := databasetest.SQLite(t)
		db := oldDatabase(t, target)
		execute(t, db, oldInsert[database.SQLite], "1", "hall")
		execute(t, db, `CREATE TABLE notes (position INTEGER REFERENCES Event_History (position) `+action+`, note TEXT)`)
		execute(t, db, `INSERT INTO notes VALUES (1, 'a window was open')`)
		service, err := history.Open(t.Context(), target, history.Config{})
		if err == nil {
			_ = service.Close()
		}
		if err == nil || !strings.Contains(err.Error(), "a table refers to event_history") {
			t.Errorf("%q: got %v, want an error that says why", action, err)
		}
		var rows, notes int
		err = db.QueryRowContext(t.Context(), `SELECT (SELECT count(*) FROM event_history), (SELECT count(*) FROM notes)`).Scan(&rows, &notes)
		if err != nil || rows != 1 || notes != 1 {
			t.Errorf("%q: got %d rows and %d notes, %v, want one of each", action, rows, notes, err)
		}
		execute(t, db, `DROP TABLE notes`)
		service, err = history.Open(t.Context(), target, history.Config{})
		if err != nil {
			t.Fatal(err)
		}
		all, err := service.After(t.Context(), 0, 10)
		if got := ids(all); got != "1" || err != nil {
			t.Errorf("%q: got %q, want the row", action, got)
		}
		_ = service.Close()
	}
}

// The sequence of positions goes on where it was also if there is no row left.
func TestIdentity_OldTableWithoutRows(t *testing.T) {
	t.Parallel()
	databasetest.Each(t, func(t *testing.T, target string) {
		db := oldDatabase(t, target)
		for n := range 3 {
			execute(t, db, oldInsert[db.Kind()], fmt.Sprint(n+1), "hall")
		}
		execute(t, db, `DELETE FROM event_history`)
		service := open(t, target)
		handle(t, service, event("hall", 1))
		if all := rows(t, service); len(all) != 1 || all[0].Position != 4 {
			t.Errorf("rows: got %v, want one at position 4", all)
		}
	})
}

// While a new version is rolled out, older programs write beside it, as long as no two events have the same ID.
func TestIdentity_OlderProgramBesideANewOne(t *testing.T) {
	t.Parallel()
	target := databasetest.Postgres(t)
	db := oldDatabase(t, target)
	execute(t, db, oldInsert[db.Kind()], "before", "hall")
	service := open(t, target)
	handle(t, service, event("hall", 1))
	for range 2 {
		execute(t, db, oldInsert[db.Kind()], "by the older one", "hall")
		execute(t, db, oldInsert[db.Kind()], event("hall", 1).ID, "hall")
	}
	if got, want := ids(rows(t, service)), "before hall-00001 by the older one"; got != want {
		t.Errorf("events: got %q, want %q", got, want)
	}
}

// Somebody reads the table for long, as a dump does. The old constraint can't be dropped meanwhile: the event that needs that waits, and no other.
func TestIdentity_OldConstraintWaitsForAReader(t *testing.T) {
	t.Parallel()
	target := databasetest.Postgres(t)
	db := oldDatabase(t, target)
	execute(t, db, oldInsert[db.Kind()], "1", "hall")
	service := open(t, target)
	other := event("attic", 1)
	other.ID = "1"
	reader, err := sql.Open("pgx", target)
	if err != nil {
		t.Fatal(err)
	}
	defer reader.Close()
	tx, err := reader.BeginTx(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer tx.Rollback() //nolint:errcheck // it is over by then
	var n int
	if err := tx.QueryRowContext(t.Context(), `SELECT count(*) FROM event_history`).Scan(&n); err != nil {
		t.Fatal(err)
	}
	var after *consumers.RetryAfterError
	if err := service.Handle(t.Context(), other); !errors.As(err, &after) {
		t.Errorf("beside a reader: got %v, want the event to be tried later", err)
	}
	handle(t, service, event("hall", 2))
	if err := tx.Rollback(); err != nil {
		t.Fatal(err)
	}
	handle(t, service, other)
	if got, want := ids(rows(t, service)), "1 hall-00002 1"; got != want {
		t.Errorf("events: got %q, want %q", got, want)
	}
}

// An index that was begun by hand and came to nothing has its name, and keeps no event from coming twice.
func TestIdentity_AnIndexThatCameToNothing(t *testing.T) {
	t.Parallel()
	target := databasetest.Postgres(t)
	db := oldDatabase(t, target)
	execute(t, db, oldInsert[db.Kind()], "1", "hall")
	byHand, err := sql.Open("pgx", target)
	if err != nil {
		t.Fatal(err)
	}
	defer byHand.Close()
	if _, err := byHand.ExecContext(t.Context(), `CREATE UNIQUE INDEX CONCURRENTLY event_history_identity ON event_history ((1 / (length(event_id) - 1)))`); err == nil {
		t.Fatal("want a division by zero")
	}
	service := open(t, target)
	other := event("attic", 1)
	other.ID = "1" // the old constraint goes
	for range 2 {
		handle(t, service, other)
	}
	if got, want := ids(rows(t, service)), "1 1"; got != want {
		t.Errorf("events: got %q, want %q", got, want)
	}
}

// Some other constraint that is in the way of an event is not there to be dropped: the event fails, and is not tried on and on.
func TestIdentity_AConstraintOfSomebodyElse(t *testing.T) {
	t.Parallel()
	target := databasetest.Postgres(t)
	service := open(t, target)
	handle(t, service, event("hall", 1))
	db, err := database.Open(t.Context(), target)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	execute(t, db, `CREATE UNIQUE INDEX one_for_each_device ON event_history (device_id)`)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if err := service.Handle(ctx, event("hall", 2)); !errors.Is(err, history.ErrNotFound) {
		t.Errorf("got %v, want that the event is not there", err)
	}
}
