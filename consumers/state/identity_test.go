package state_test

import (
	"errors"
	"log/slog"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/device-fanout/fanout/consumers"
	"github.com/device-fanout/fanout/consumers/database"
	"github.com/device-fanout/fanout/consumers/database/databasetest"
	"github.com/device-fanout/fanout/consumers/internal/identitytest"
	"github.com/device-fanout/fanout/consumers/internal/reused"
	"github.com/device-fanout/fanout/consumers/state"
	"github.com/device-fanout/fanout/events"
	"github.com/device-fanout/fanout/events/device"
)

// Sources and devices that number their events alike lose none: each device's state is its last event.
func TestIdentity_SourcesAndDevicesMayNumberAlike(t *testing.T) {
	t.Parallel()
	databasetest.Each(t, func(t *testing.T, target string) {
		service := open(t, databasetest.Relaxed(target))
		round := 0
		rapid.Check(t, func(r *rapid.T) {
			round++
			want, seen := map[string]time.Time{}, map[events.Identity]bool{}
			for n, id := range identitytest.Draw(r, round) {
				e := lamp(id.ID, noon.Add(time.Duration(n)), "", n%2 == 0)
				e.DeviceID, e.Source = id.Subject, id.Source
				handle(t, service, e)
				if !seen[id] {
					seen[id], want[id.Subject] = true, e.Time
				}
			}
			for deviceID, at := range want {
				rows, err := service.Device(t.Context(), deviceID)
				if err != nil || len(rows) != 1 || !rows[0].Time.Equal(at) {
					r.Fatalf("device %s: got %v, %v, want the event of %v", deviceID, rows, err, at)
				}
			}
		})
	})
}

// A repeat is a duplicate whatever it says; that it says something else is told, and may be refused.
func TestIdentity_RepeatThatSaysSomethingElse(t *testing.T) {
	t.Parallel()
	databasetest.Each(t, func(t *testing.T, target string) {
		service := open(t, target)
		watch := reused.New(slog.New(slog.DiscardHandler), false)
		ctx := watch.In(t.Context())
		later := lamp("a", noon.Add(time.Hour), "2", true)
		for i, step := range []struct {
			e     events.Event
			count int64
		}{
			{lamp("a", noon, "1", true), 0},
			{lamp("a", noon, "1", true), 0},
			{later, 0}, // another time, the same payload
			{lamp("a", noon.Add(time.Hour), "2", false), 1},
			{lamp("b", noon.Add(-time.Hour), "0", false), 1}, // stale, but no repeat
			{lamp("b", noon.Add(-time.Hour), "0", true), 2},
		} {
			if err := service.Handle(ctx, step.e); err != nil || watch.Count() != step.count {
				t.Errorf("step %d: got %v and %d counted, want %d", i, err, watch.Count(), step.count)
			}
		}
		rows, err := service.Device(t.Context(), "hall")
		if err != nil || len(rows) != 1 || !rows[0].Time.Equal(noon) || !strings.Contains(string(rows[0].Data), "true") {
			t.Errorf("state: got %v, %v, want that of the first event", rows, err)
		}
		refusing := reused.New(slog.New(slog.DiscardHandler), true).In(t.Context())
		var known *consumers.KnownError
		if err := service.Handle(refusing, lamp("a", noon, "1", false)); !errors.As(err, &known) || known.Code != consumers.CodeIDReused {
			t.Errorf("refused: got %v, want a known error with code id_reused", err)
		}
	})
}

// oldTables are those of the version that knew an event by its ID alone, with an event that was handled, and with a device that a wrong
// clock has stopped.
var oldTables = map[database.Kind]string{
	database.SQLite: `CREATE TABLE inbox (
			service    TEXT NOT NULL,
			event_id   TEXT NOT NULL,
			state      TEXT NOT NULL CHECK (state IN ('in_progress', 'done')),
			owner      TEXT NOT NULL,
			until      TEXT NOT NULL,
			updated_at TEXT NOT NULL,
			PRIMARY KEY (service, event_id)
		) WITHOUT ROWID;
		CREATE TABLE device_state (
			device_id TEXT NOT NULL,
			type      TEXT NOT NULL,
			event_id  TEXT NOT NULL,
			time      TEXT NOT NULL,
			sequence  TEXT NOT NULL,
			data      TEXT NOT NULL,
			PRIMARY KEY (device_id, type)
		) WITHOUT ROWID;
		INSERT INTO inbox VALUES ('state', '1', 'done', '', '2026-01-01T00:00:00.000000Z', '2026-01-01T00:00:00.000000Z');
		INSERT INTO device_state VALUES ('hall', 'device.power.changed.v1', '1', '2099-01-01T00:00:00.000000000Z', '0001', '{"on":true}')`,
	database.Postgres: `CREATE TABLE inbox (
			service    TEXT NOT NULL,
			event_id   TEXT NOT NULL,
			state      TEXT NOT NULL CHECK (state IN ('in_progress', 'done')),
			owner      TEXT NOT NULL,
			until      TIMESTAMPTZ NOT NULL,
			updated_at TIMESTAMPTZ NOT NULL,
			PRIMARY KEY (service, event_id)
		);
		CREATE TABLE device_state (
			device_id  TEXT NOT NULL,
			type       TEXT NOT NULL,
			event_id   TEXT NOT NULL,
			time       TIMESTAMPTZ NOT NULL,
			time_nanos SMALLINT NOT NULL,
			sequence   TEXT COLLATE "C" NOT NULL,
			data       JSONB NOT NULL,
			PRIMARY KEY (device_id, type)
		);
		INSERT INTO inbox VALUES ('state', '1', 'done', '', now(), now());
		INSERT INTO device_state VALUES ('hall', 'device.power.changed.v1', '1', '2099-01-01T00:00:00Z', 0, '0001', '{"on":true}')`,
}

// Tables of older versions are taken over by any number of processes at once. What they know as handled counts for one event with that ID;
// and a device that a wrong clock has stopped goes on.
func TestIdentity_OldTables(t *testing.T) {
	t.Parallel()
	databasetest.Each(t, func(t *testing.T, target string) {
		db, err := database.Open(t.Context(), target)
		if err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(db.Migrate(t.Context(), "state", oldTables[db.Kind()]), db.Close()); err != nil {
			t.Fatal(err)
		}
		services := databasetest.OpenAtOnce(t, func() (*state.Service, error) { return state.Open(t.Context(), target, state.Config{}) })
		again := lamp("1", noon, "0001", false) // by its time it would count, had it not been handled
		attic := lamp("1", noon, "0001", true)
		attic.DeviceID = "attic"
		for _, service := range services {
			handle(t, service, again, attic)
		}
		for deviceID, want := range map[string]string{"hall": "2099-01-01", "attic": "2005-01-29"} {
			rows, err := services[0].Device(t.Context(), deviceID)
			if err != nil || len(rows) != 1 || rows[0].Time.Format(time.DateOnly) != want {
				t.Errorf("state of %s: got %v, %v, want that of %s", deviceID, rows, err, want)
			}
		}
		handle(t, services[1], lamp("2", time.Now(), "0002", false))
		if got, want := last(t, services[2]), "2"; got != want {
			t.Errorf("after a truthful event: got the state of event %s, want %s", got, want)
		}
	})
}

func TestGuard_ATimeThatCannotBeBelievedStopsNoDevice(t *testing.T) {
	t.Parallel()
	far := time.Date(2099, 1, 1, 0, 0, 0, 0, time.UTC)
	for name, steps := range map[string][]struct {
		e    events.Event
		want string // of which event the state is then
	}{
		"a wrong clock for one event": {
			{lamp("1", noon, "01", true), "1"},
			{lamp("2", far, "02", false), "2"}, // accepted later: it is what the device said last
			{lamp("3", noon.Add(time.Second), "03", true), "3"},
			{lamp("2", far, "02", false), "3"},
		},
		"an old event is redriven behind it": {
			{lamp("1", noon, "02", true), "1"},
			{lamp("2", far, "03", true), "2"},
			{lamp("old", noon.Add(-time.Hour), "01", false), "2"},
			{lamp("3", noon.Add(time.Second), "04", true), "3"},
		},
		"the wrong event is redriven": {
			{lamp("1", noon, "02", true), "1"},
			{lamp("old", far, "01", false), "1"},
			{lamp("3", noon.Add(time.Second), "03", true), "3"},
		},
		"without sequences": {
			{lamp("1", far, "", true), "1"},
			{lamp("2", noon, "", false), "2"},
			{lamp("3", far, "", true), "2"},
			{lamp("4", noon.Add(time.Second), "", true), "4"},
		},
		"the clock of the gateway's host was wrong too, and it has started anew": {
			{lamp("1", noon, "01106996400000000000", true), "1"},
			{lamp("2", far, "04070908800000000000", false), "2"},
			{lamp("3", far.Add(time.Second), "04070908801000000000", true), "3"},
			{lamp("2", far, "04070908800000000000", false), "3"},
			{lamp("4", noon.Add(time.Second), "01106996401000000000", false), "4"},
			{lamp("5", far.Add(time.Minute), "04070908860000000000", true), "5"}, // from its spool
			{lamp("6", noon.Add(time.Minute), "01106996460000000000", true), "6"},
		},
		"a clock that stays wrong": {
			{lamp("1", far, "01", true), "1"},
			{lamp("2", far.Add(-time.Hour), "02", false), "2"},
			{lamp("3", far.AddDate(1, 0, 0), "03", false), "3"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			databasetest.Each(t, func(t *testing.T, target string) {
				service := open(t, target)
				for _, step := range steps {
					handle(t, service, step.e)
					if got := last(t, service); got != step.want {
						t.Fatalf("after event %s: got the state of event %s, want %s", step.e.ID, got, step.want)
					}
				}
			})
		})
	}
}

// A service whose own clock is far behind believes no time: then the order of acceptance decides.
func TestGuard_TheServicesOwnClockIsBehind(t *testing.T) {
	t.Parallel()
	databasetest.Each(t, func(t *testing.T, target string) {
		service, err := state.Open(t.Context(), target, state.Config{MaxFuture: time.Nanosecond})
		if err != nil {
			t.Fatal(err)
		}
		defer service.Close()
		now := time.Now().AddDate(20, 0, 0) // as a clock that is 20 years behind sees it
		handle(t, service, lamp("1", now, "01", true), lamp("2", now.Add(time.Second), "02", true), lamp("3", now.Add(time.Millisecond), "03", true))
		if got, want := last(t, service), "3"; got != want {
			t.Errorf("state: got that of event %s, want %s", got, want)
		}
	})
}

func TestForget_MendsADevice(t *testing.T) {
	t.Parallel()
	databasetest.Each(t, func(t *testing.T, target string) {
		service := open(t, target)
		soon := time.Now().Add(20 * time.Hour) // is believed
		motion := lamp("m", soon, "01", true)
		motion.Data = device.MotionChanged{Detected: true}
		attic := lamp("attic", soon, "01", true)
		attic.DeviceID = "attic"
		handle(t, service, lamp("1", soon, "01", true), motion, attic, lamp("2", time.Now(), "02", true))
		if got, want := last(t, service), "m 1"; got != want {
			t.Fatalf("before: got %q, want %q", got, want)
		}
		if n, err := service.Forget(t.Context(), "hall", "device.power.changed.v1", "acme.bell.v1"); n != 1 || err != nil {
			t.Errorf("Forget of a type: got %d, %v, want 1", n, err)
		}
		handle(t, service, lamp("1", soon, "01", true), lamp("3", time.Now(), "03", true)) // the first was handled
		if got, want := last(t, service), "m 3"; got != want {
			t.Errorf("after Forget of a type: got %q, want %q", got, want)
		}
		if n, err := service.Forget(t.Context(), "hall"); n != 2 || err != nil {
			t.Errorf("Forget: got %d, %v, want 2", n, err)
		}
		if n, err := service.Forget(t.Context(), "hall"); n != 0 || err != nil {
			t.Errorf("Forget again: got %d, %v, want 0", n, err)
		}
		if _, err := service.Forget(t.Context(), ""); err == nil {
			t.Error("Forget of no device: got no error")
		}
		if rows, err := service.Device(t.Context(), "attic"); err != nil || len(rows) != 1 {
			t.Errorf("the other device: got %v, %v, want its row", rows, err)
		}
	})
}
