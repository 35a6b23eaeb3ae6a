package state_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/device-fanout/fanout/consumers"
	"github.com/device-fanout/fanout/consumers/database"
	"github.com/device-fanout/fanout/consumers/database/databasetest"
	"github.com/device-fanout/fanout/consumers/state"
	"github.com/device-fanout/fanout/events"
	"github.com/device-fanout/fanout/events/device"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func open(tb testing.TB, target string) *state.Service {
	tb.Helper()
	service, err := state.Open(tb.Context(), target, state.Config{})
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := service.Close(); err != nil {
			tb.Errorf("Close: %v", err)
		}
	})
	return service
}

var noon = time.Date(2005, 1, 29, 12, 0, 0, 0, time.UTC)

// lamp makes an event of the lamp in the hall.
func lamp(id string, at time.Time, sequence string, on bool) events.Event {
	return events.Event{
		ID: id, Source: "/gateways/home-1", DeviceID: "hall", Time: at, Sequence: sequence,
		Data: device.PowerChanged{On: on},
	}
}

func handle(tb testing.TB, service *state.Service, all ...events.Event) {
	tb.Helper()
	for _, e := range all {
		if err := service.Handle(tb.Context(), e); err != nil {
			tb.Fatal(err)
		}
	}
}

// last returns the IDs of the events that the state of the hall comes from.
func last(tb testing.TB, service *state.Service) string {
	tb.Helper()
	rows, err := service.Device(tb.Context(), "hall")
	if err != nil {
		tb.Fatal(err)
	}
	ids := make([]string, len(rows))
	for i, row := range rows {
		ids[i] = row.EventID
	}
	return strings.Join(ids, " ")
}

// JSON may hold a NUL, JSONB may not. No retry mends that, so on PostgreSQL it must be a known error: anything else would be
// tried again and again, and would count as if the database were in trouble.
func TestService_EventThatPostgresCannotHold(t *testing.T) {
	t.Parallel()
	databasetest.Each(t, func(t *testing.T, target string) {
		service := open(t, target)
		err := service.Handle(t.Context(), events.New("d1", device.ReadingMeasured{Quantity: "a\x00b", Value: 1}))
		var known *consumers.KnownError
		switch isKnown := errors.As(err, &known); {
		case strings.HasPrefix(target, "sqlite:"):
			if err != nil {
				t.Errorf("SQLite: got %v, want it recorded", err)
			}
		case !isKnown || known.Code != "data_not_storable":
			t.Errorf("PostgreSQL: got %v, want a known error with code data_not_storable", err)
		}
		handle(t, service, events.New("d1", device.ReadingMeasured{Quantity: "co2", Value: 1}))
	})
}

func TestService_TheGreaterTimeAndSequenceStays(t *testing.T) {
	t.Parallel()
	databasetest.Each(t, func(t *testing.T, target string) {
		tests := []struct {
			name          string
			first, second events.Event
			want          string
		}{
			{"later time", lamp("a", noon, "1", true), lamp("b", noon.Add(time.Second), "2", false), "b"},
			{"earlier time, redriven", lamp("a", noon, "2", true), lamp("b", noon.Add(-time.Hour), "1", false), "a"},
			{"earlier time, greater sequence", lamp("a", noon, "1", true), lamp("b", noon.Add(-1), "2", false), "a"},
			{"later time, smaller sequence", lamp("a", noon, "2", true), lamp("b", noon.Add(1), "1", false), "b"},
			{"one second, greater sequence", lamp("a", noon, "0001", true), lamp("b", noon, "0002", false), "b"},
			{"one second, smaller sequence", lamp("a", noon, "0002", true), lamp("b", noon, "0001", false), "a"},
			{"one nanosecond later", lamp("a", noon.Add(499), "2", true), lamp("b", noon.Add(500), "1", false), "b"},
			{"one nanosecond earlier", lamp("a", noon.Add(500), "1", true), lamp("b", noon.Add(499), "2", false), "a"},
			{"just below and above a second", lamp("a", noon.Add(-1), "2", true), lamp("b", noon, "1", false), "b"},
			{"same time in another zone", lamp("a", noon.In(time.FixedZone("", 3600)), "2", true), lamp("b", noon, "1", true), "a"},
			{"bytes and not letters", lamp("a", noon, "a", true), lamp("b", noon, "B", false), "a"},
			{"without sequences, handled last", lamp("a", noon, "", true), lamp("b", noon, "", false), "b"},
			{"without sequence after one with", lamp("a", noon, "1", true), lamp("b", noon, "", false), "a"},
			{"first year", lamp("a", time.Time{}, "", true), lamp("b", time.Time{}.Add(1), "", false), "b"},
		}
		service := open(t, target)
		for i, test := range tests {
			for _, e := range []*events.Event{&test.first, &test.second} {
				e.DeviceID = fmt.Sprintf("device-%d", i)
				e.ID = e.DeviceID + e.ID
			}
			handle(t, service, test.first, test.second, test.first, test.second)
			rows, err := service.Device(t.Context(), test.first.DeviceID)
			if err != nil || len(rows) != 1 {
				t.Fatalf("%s: got %d rows, %v, want 1", test.name, len(rows), err)
			}
			if got, want := rows[0].EventID, rows[0].DeviceID+test.want; got != want {
				t.Errorf("%s: got event %q, want %q", test.name, got, want)
			}
		}
	})
}

// Thousands of events share one second. Whatever order they come in, the last one accepted stays.
func TestService_AnyOrderEndsInTheSameState(t *testing.T) {
	t.Parallel()
	databasetest.Each(t, func(t *testing.T, target string) {
		service := open(t, target)
		var all []events.Event
		for n := range 60 {
			all = append(all, lamp(fmt.Sprintf("e%02d", n), noon.Add(time.Duration(n/20)), fmt.Sprintf("%04d", n), n%2 == 0))
		}
		random := rand.New(rand.NewPCG(1, 2))
		random.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
		var group sync.WaitGroup
		for part := range 4 { // and from several consumers at once
			group.Go(func() {
				for n := part; n < len(all); n += 4 {
					if err := service.Handle(t.Context(), all[n]); err != nil {
						t.Error(err)
					}
				}
			})
		}
		group.Wait()
		if got, want := last(t, service), "e59"; got != want {
			t.Errorf("event: got %q, want %q", got, want)
		}
	})
}

func TestService_DuplicateChangesNothing(t *testing.T) {
	t.Parallel()
	databasetest.Each(t, func(t *testing.T, target string) {
		service := open(t, target)
		handle(t, service, lamp("a", noon, "1", true))
		again := lamp("a", noon.Add(time.Hour), "9", false) // same ID: it is the same event, whatever else it says
		handle(t, service, again)
		rows, err := service.Device(t.Context(), "hall")
		if err != nil || len(rows) != 1 {
			t.Fatalf("rows: got %d, %v, want 1", len(rows), err)
		}
		if got, want := string(rows[0].Data), "true"; !strings.Contains(got, want) || !rows[0].Time.Equal(noon) {
			t.Errorf("state: got %s at %v, want the first delivery's", got, rows[0].Time)
		}
	})
}

// In most languages a comes before B. Sequences are compared byte by byte whatever the language of the server is.
func TestService_SequenceHasNoLanguageOnPostgres(t *testing.T) {
	t.Parallel()
	target := databasetest.Postgres(t)
	open(t, target)
	db, err := database.Open(t.Context(), target)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	var got string
	err = db.QueryRowContext(t.Context(), `SELECT collation_name FROM information_schema.columns
		WHERE table_schema = current_schema AND table_name = 'device_state' AND column_name = 'sequence'`).Scan(&got)
	if want := "C"; err != nil || got != want {
		t.Errorf("collation: got %q, %v, want %q", got, err, want)
	}
}

func TestService_FailedEventIsNotInTheInbox(t *testing.T) {
	t.Parallel()
	service := open(t, databasetest.SQLite(t))
	bad := lamp("a", noon, "1", true)
	bad.Time = time.Date(10_000, 1, 1, 0, 0, 0, 0, time.UTC)
	if err := service.Handle(t.Context(), bad); err == nil {
		t.Fatal("got no error, want one")
	}
	handle(t, service, lamp("a", noon, "1", true))
	if got, want := last(t, service), "a"; got != want {
		t.Errorf("event: got %q, want %q", got, want)
	}
}

func TestService_KeepsOneRowPerDeviceAndType(t *testing.T) {
	t.Parallel()
	databasetest.Each(t, func(t *testing.T, target string) {
		service := open(t, target)
		warm := lamp("b", noon, "2", true)
		warm.Data = device.TemperatureMeasured{Celsius: 21.4}
		elsewhere := lamp("c", noon, "3", true)
		elsewhere.DeviceID = "attic"
		later := lamp("d", noon.Add(123_456_789), "4", false)
		handle(t, service, lamp("a", noon, "1", true), warm, elsewhere, later)

		rows, err := service.Device(t.Context(), "hall")
		if err != nil || len(rows) != 2 {
			t.Fatalf("rows: got %v, %v, want two", rows, err)
		}
		got := fmt.Sprintf("%s %s %s", rows[0].Type, rows[0].EventID, rows[0].Sequence)
		if want := "device.power.changed.v1 d 4"; got != want || !rows[0].Time.Equal(later.Time) {
			t.Errorf("first row: got %q at %v, want %q at %v", got, rows[0].Time, want, later.Time)
		}
		if got, want := rows[1].Type+" "+rows[1].EventID, "device.temperature.measured.v1 b"; got != want {
			t.Errorf("second row: got %q, want %q", got, want)
		}
		if !strings.Contains(string(rows[1].Data), "21.4") {
			t.Errorf("data: got %s, want 21.4 in it", rows[1].Data)
		}
		if none, err := service.Device(t.Context(), "cellar"); err != nil || len(none) != 0 {
			t.Errorf("unknown device: got %v, %v, want nothing", none, err)
		}
	})
}

func TestService_KeepsStateWhenOpenedAgain(t *testing.T) {
	t.Parallel()
	databasetest.Each(t, func(t *testing.T, target string) {
		service := open(t, target)
		handle(t, service, lamp("a", noon, "1", true))
		if err := service.Close(); err != nil {
			t.Fatal(err)
		}
		service = open(t, target)
		handle(t, service, lamp("b", noon.Add(-time.Second), "0", false))
		if got, want := last(t, service), "a"; got != want {
			t.Errorf("event: got %q, want %q", got, want)
		}
	})
}

func TestService_RefusesWhatIsNoEvent(t *testing.T) {
	t.Parallel()
	service := open(t, databasetest.SQLite(t))
	for name, spoil := range map[string]func(*events.Event){
		"no event ID":  func(e *events.Event) { e.ID = "" },
		"no device ID": func(e *events.Event) { e.DeviceID = "" },
		"no data":      func(e *events.Event) { e.Data = nil },
		"bad data":     func(e *events.Event) { e.Data = device.HumidityMeasured{Percent: 140} },
	} {
		e := lamp("a", noon, "1", true)
		spoil(&e)
		if err := service.Handle(t.Context(), e); err == nil || !strings.HasPrefix(err.Error(), "state: ") {
			t.Errorf("%s: got %v, want an error of this package", name, err)
		}
	}
	if got := last(t, service); got != "" {
		t.Errorf("events: got %q, want none", got)
	}
}

func TestService_EndedContextChangesNothing(t *testing.T) {
	t.Parallel()
	databasetest.Each(t, func(t *testing.T, target string) {
		service := open(t, target)
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if err := service.Handle(ctx, lamp("a", noon, "1", true)); !errors.Is(err, context.Canceled) {
			t.Errorf("error: got %v, want %v", err, context.Canceled)
		}
		if got := last(t, service); got != "" {
			t.Errorf("event: got %q, want none", got)
		}
	})
}

func TestService_ExpireForgetsEventsAndKeepsState(t *testing.T) {
	t.Parallel()
	databasetest.Each(t, func(t *testing.T, target string) {
		service := open(t, target)
		handle(t, service, lamp("a", noon, "1", true), lamp("b", noon, "2", false))
		for _, step := range []struct {
			before time.Time
			want   int64
		}{{time.Now().Add(-time.Hour), 0}, {time.Now().Add(time.Hour), 2}, {time.Now().Add(time.Hour), 0}} {
			if got, err := service.Expire(t.Context(), step.before); err != nil || got != step.want {
				t.Errorf("Expire before %v: got %d, %v, want %d", step.before, got, err, step.want)
			}
		}
		handle(t, service, lamp("a", noon, "1", true)) // not known any more, but older than the state
		if got, want := last(t, service), "b"; got != want {
			t.Errorf("event: got %q, want %q", got, want)
		}
	})
}

func TestOpen_SaysWhatIsWrong(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "no", "state.db")
	_, err := state.Open(t.Context(), path, state.Config{})
	if err == nil || !strings.HasPrefix(err.Error(), "state: database: open "+path) {
		t.Errorf("error: got %v, want it to name %s", err, path)
	}
}

func BenchmarkHandle(b *testing.B) {
	for _, kind := range []string{"sqlite", "postgres"} {
		for _, writers := range []int{1, 8, 32} {
			b.Run(fmt.Sprintf("%s/handlers=%d", kind, writers), func(b *testing.B) {
				target := databasetest.SQLite
				if kind == "postgres" {
					target = databasetest.Postgres
				}
				service := open(b, target(b))
				jobs := make(chan int)
				var group sync.WaitGroup
				for i := range writers {
					group.Go(func() {
						for n := range jobs {
							e := lamp(fmt.Sprintf("%02d-%08d", i, n), noon, fmt.Sprintf("%020d", n), n%2 == 0)
							e.DeviceID = fmt.Sprintf("device-%02d-%03d", i, n%1000)
							if err := service.Handle(b.Context(), e); err != nil {
								b.Error(err)
							}
						}
					})
				}
				b.ReportAllocs()
				start, n := time.Now(), 0
				for b.Loop() {
					jobs <- n
					n++
				}
				close(jobs)
				group.Wait()
				b.ReportMetric(float64(n)/time.Since(start).Seconds(), "events/s")
			})
		}
	}
}
