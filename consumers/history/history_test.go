package history_test

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
	"golang.org/x/sync/errgroup"

	"github.com/device-fanout/fanout/consumers"
	"github.com/device-fanout/fanout/consumers/database"
	"github.com/device-fanout/fanout/consumers/database/databasetest"
	"github.com/device-fanout/fanout/consumers/history"
	"github.com/device-fanout/fanout/events"
	"github.com/device-fanout/fanout/events/device"
)

func TestMain(m *testing.M) {
	handleUntilKilled()
	lockUntilInputEnds()
	flag.Parse()
	chosen := false
	flag.Visit(func(f *flag.Flag) { chosen = chosen || f.Name == "test.parallel" })
	if !chosen { // those with an outage mostly wait: more of them can run than there are cores
		_ = flag.Set("test.parallel", "12")
	}
	goleak.VerifyTestMain(m)
}

func open(tb testing.TB, target string) *history.Service {
	tb.Helper()
	service, err := history.Open(tb.Context(), target, history.Config{})
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

// event makes the nth event of a device. All happen within the same second.
func event(deviceID string, n int) events.Event {
	return events.Event{
		ID:       fmt.Sprintf("%s-%05d", deviceID, n),
		Source:   "/gateways/home-1",
		DeviceID: deviceID,
		Time:     time.Date(2005, 1, 29, 12, 0, 0, 0, time.UTC),
		Sequence: fmt.Sprintf("%020d", n),
		Data:     device.TemperatureMeasured{Celsius: float64(n%300) / 10},
	}
}

func handle(tb testing.TB, service *history.Service, all ...events.Event) {
	tb.Helper()
	for _, e := range all {
		if err := service.Handle(tb.Context(), e); err != nil {
			tb.Fatal(err)
		}
	}
}

// rows reads everything, some rows at a time.
func rows(tb testing.TB, service *history.Service) []history.Row {
	tb.Helper()
	var all []history.Row
	position := int64(0)
	for {
		some, err := service.After(tb.Context(), position, 50)
		if err != nil {
			tb.Fatal(err)
		}
		all = append(all, some...)
		if len(some) < 50 {
			return all
		}
		position = some[len(some)-1].Position
	}
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

func TestService_ReturnsTheEventAsItWas(t *testing.T) {
	t.Parallel()
	databasetest.Each(t, func(t *testing.T, target string) {
		service := open(t, target)
		level := 12.5
		want := events.Event{
			ID:       "0197e1f2-0000-7000-8000-000000000001",
			Source:   "urn:gateway:ü'\"",
			DeviceID: "hall/lamp:7",
			Time:     time.Date(2005, 1, 29, 23, 59, 59, 999_999_999, time.FixedZone("west", -3600)),
			Sequence: "0000000000000042",
			Data:     device.PowerChanged{On: true, LevelPercent: &level},
		}
		before := time.Now().Add(-time.Millisecond)
		handle(t, service, want)

		row, err := service.Find(t.Context(), want.ID)
		if err != nil {
			t.Fatal(err)
		}
		got, err := row.Event()
		if err != nil {
			t.Fatal(err)
		}
		if !got.Time.Equal(want.Time) {
			t.Errorf("time: got %v, want %v", got.Time, want.Time)
		}
		got.Time, want.Time = time.Time{}, time.Time{}
		if got, want := asJSON(t, got), asJSON(t, want); got != want {
			t.Errorf("event: got %s, want %s", got, want)
		}
		if got, want := row.Type, "device.power.changed.v1"; got != want {
			t.Errorf("type: got %q, want %q", got, want)
		}
		if got := row.RecordedAt; got.Before(before) || got.After(time.Now().Add(time.Millisecond)) {
			t.Errorf("recorded at: got %v, want about now", got)
		}
	})
}

func asJSON(t *testing.T, v any) string {
	t.Helper()
	text, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func TestService_KeepsEveryTypeOfEvent(t *testing.T) {
	t.Parallel()
	databasetest.Each(t, func(t *testing.T, target string) {
		service := open(t, target)
		for i, eventType := range events.Types() {
			e := event("device", i)
			e.Data = eventType.Sample
			handle(t, service, e)
			row, err := service.Find(t.Context(), e.ID)
			if err != nil {
				t.Fatal(err)
			}
			got, err := row.Event()
			if err != nil {
				t.Fatal(err)
			}
			if got, want := asJSON(t, got.Data), asJSON(t, e.Data); got != want || row.Type != eventType.Name {
				t.Errorf("data of %s: got %s of %s, want %s", eventType.Name, got, row.Type, want)
			}
		}
	})
}

// The table has no column for the schema of a type that the program does not know. All else comes back.
func TestService_UnknownTypeComesBackWithoutItsSchema(t *testing.T) {
	t.Parallel()
	databasetest.Each(t, func(t *testing.T, target string) {
		service := open(t, target)
		want := event("device", 1)
		raw := events.Raw{Type: "acme.bell.v1", Schema: "https://acme.example/bell.json", JSON: json.RawMessage(`{"rung": true}`)}
		want.Data = raw
		handle(t, service, want)
		row, err := service.Find(t.Context(), want.ID)
		if err != nil {
			t.Fatal(err)
		}
		got, err := row.Event()
		if err != nil {
			t.Fatal(err)
		}
		raw.Schema = ""
		want.Data = raw
		if !reflect.DeepEqual(got, want) {
			t.Errorf("got %+v, want %+v", got, want)
		}
		if body, err := events.Encode(got); err != nil || strings.Contains(string(body), "dataschema") {
			t.Errorf("encoded: got %s, %v, want no dataschema", body, err)
		}
	})
}

func TestService_DuplicateLeavesOneRow(t *testing.T) {
	t.Parallel()
	databasetest.Each(t, func(t *testing.T, target string) {
		service := open(t, target)
		first, again := event("hall", 1), event("hall", 1)
		again.Data = device.TemperatureMeasured{Celsius: 99}
		handle(t, service, first, event("hall", 2), first, again)
		all := rows(t, service)
		if got, want := ids(all), "hall-00001 hall-00002"; got != want {
			t.Errorf("events: got %q, want %q", got, want)
		}
		if got, want := string(all[0].Data), `0.1`; !strings.Contains(got, want) {
			t.Errorf("data: got %s, want that of the first delivery, %s", got, want)
		}
	})
}

func TestService_DuplicatesAtTheSameTimeLeaveOneRow(t *testing.T) {
	t.Parallel()
	databasetest.Each(t, func(t *testing.T, target string) {
		service := open(t, target)
		var group sync.WaitGroup
		for range 12 {
			group.Go(func() {
				if err := service.Handle(t.Context(), event("hall", 1)); err != nil {
					t.Error(err)
				}
			})
		}
		group.Wait()
		if got, want := ids(rows(t, service)), "hall-00001"; got != want {
			t.Errorf("events: got %q, want %q", got, want)
		}
	})
}

func ids(rows []history.Row) string {
	all := make([]string, len(rows))
	for i, row := range rows {
		all[i] = row.EventID
	}
	return strings.Join(all, " ")
}

// Thousands of events share one second; the order per device is that of handling, and nothing else tells it.
func TestService_PositionsFollowTheOrderOfEachDevice(t *testing.T) {
	t.Parallel()
	databasetest.Each(t, func(t *testing.T, target string) {
		service := open(t, target)
		const devices, each = 20, 40
		var group sync.WaitGroup
		for device := range devices {
			group.Go(func() { // as the consumer does: devices side by side, the events of one after another
				for n := range each {
					if err := service.Handle(t.Context(), event(fmt.Sprintf("device-%02d", device), n)); err != nil {
						t.Error(err)
					}
				}
			})
		}
		group.Wait()
		next, position := map[string]int{}, int64(0)
		for _, row := range rows(t, service) {
			if want := event(row.DeviceID, next[row.DeviceID]).ID; row.EventID != want {
				t.Errorf("position %d: got event %q, want %q", row.Position, row.EventID, want)
			}
			next[row.DeviceID]++
			if row.Position <= position {
				t.Errorf("position: got %d after %d, want a greater one", row.Position, position)
			}
			position = row.Position
		}
		for device, n := range next {
			if n != each {
				t.Errorf("rows of %s: got %d, want %d", device, n, each)
			}
		}
		if len(next) != devices {
			t.Errorf("devices: got %d, want %d", len(next), devices)
		}
	})
}

func TestService_KeepsRowsWhenOpenedAgain(t *testing.T) {
	t.Parallel()
	databasetest.Each(t, func(t *testing.T, target string) {
		service := open(t, target)
		handle(t, service, event("hall", 1))
		if err := service.Close(); err != nil {
			t.Fatal(err)
		}
		service = open(t, target)
		handle(t, service, event("hall", 2), event("hall", 1))
		if got, want := ids(rows(t, service)), "hall-00001 hall-00002"; got != want {
			t.Errorf("events: got %q, want %q", got, want)
		}
	})
}

func TestService_After(t *testing.T) {
	t.Parallel()
	databasetest.Each(t, func(t *testing.T, target string) {
		service := open(t, target)
		handle(t, service, event("hall", 1), event("attic", 1), event("hall", 2))
		first, err := service.After(t.Context(), 0, 2)
		if got, want := ids(first), "hall-00001 attic-00001"; err != nil || got != want {
			t.Fatalf("first two: got %q, %v, want %q", got, err, want)
		}
		rest, err := service.After(t.Context(), first[1].Position, 2)
		if got, want := ids(rest), "hall-00002"; err != nil || got != want {
			t.Fatalf("rest: got %q, %v, want %q", got, err, want)
		}
		none, err := service.After(t.Context(), rest[0].Position, 2)
		if err != nil || len(none) != 0 {
			t.Errorf("after the last: got %v, %v, want nothing", none, err)
		}
		if _, err := service.After(t.Context(), 0, 0); err == nil {
			t.Error("limit 0: got no error, want one")
		}
	})
}

func TestService_SinceReturnsWhatWasMissed(t *testing.T) {
	t.Parallel()
	databasetest.Each(t, func(t *testing.T, target string) {
		service := open(t, target)
		var want []string
		for n := range 1234 { // more than two pages
			e := event("hall", n)
			handle(t, service, e)
			want = append(want, e.ID)
		}
		for _, test := range []struct {
			after string
			stop  int // after so many
		}{{after: want[0]}, {after: want[700]}, {after: want[1233]}, {after: want[3], stop: 600}} {
			var got []string
			for e, err := range service.Since(t.Context(), events.Identity{ID: test.after}) {
				if err != nil {
					t.Fatal(err)
				}
				if got = append(got, e.ID); len(got) == test.stop {
					break
				}
			}
			if test.stop > 0 {
				if len(got) != test.stop {
					t.Errorf("since %s, stopped: got %d events, want %d", test.after, len(got), test.stop)
				}
				continue
			}
			// What came shortly before may be there too. From the event on all must be there, in order.
			at := slices.Index(got, test.after)
			if at < 0 || !slices.Equal(got[at:], want[slices.Index(want, test.after):]) {
				t.Errorf("since %s: got %d events, the one itself at %d, want it and all after it in order", test.after, len(got), at)
			}
		}
		for _, err := range service.Since(t.Context(), events.Identity{ID: "nobody"}) {
			if !errors.Is(err, history.ErrNotFound) {
				t.Errorf("since an unknown event: got %v, want %v", err, history.ErrNotFound)
			}
		}
	})
}

// Two devices use the same ID: each reader goes on after its own.
func TestService_SinceKnowsWhoseEvent(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("writes 10,000 events; run without -short")
	}
	databasetest.Each(t, func(t *testing.T, target string) {
		service := open(t, target)
		early, late := event("hall", 1), event("attic", 1)
		early.ID, late.ID = "1", "1"
		late.Source = "/gateways/other"
		handle(t, service, early)
		var writers errgroup.Group
		writers.SetLimit(32)
		for n := range 10_001 { // more than Since begins early
			writers.Go(func() error { return service.Handle(t.Context(), event("porch", n)) })
		}
		if err := writers.Wait(); err != nil {
			t.Fatal(err)
		}
		handle(t, service, late)
		db, err := database.Open(t.Context(), target)
		if err != nil {
			t.Fatal(err)
		}
		defer db.Close()
		// All at once, so that it is their number that bounds how much earlier it begins.
		if _, err := db.ExecContext(t.Context(), `UPDATE event_history SET recorded_at = (SELECT min(recorded_at) FROM event_history)`); err != nil {
			t.Fatal(err)
		}
		for after, want := range map[events.Identity]int{
			{ID: "1"}: 10_003, early.Identity(): 10_003, late.Identity(): 10_000, {ID: "1", Subject: "attic"}: 10_000, {ID: "1", Source: late.Source}: 10_000,
		} {
			got := 0
			for _, err := range service.Since(t.Context(), after) {
				if err != nil {
					t.Fatal(err)
				}
				got++
			}
			if got != want {
				t.Errorf("since %v: got %d events, want %d", after, got, want)
			}
		}
		for _, err := range service.Since(t.Context(), events.Identity{ID: "1", Subject: "nobody"}) {
			if !errors.Is(err, history.ErrNotFound) {
				t.Errorf("since an unknown event: got %v, want %v", err, history.ErrNotFound)
			}
		}
	})
}

func TestService_FindSaysWhenThereIsNone(t *testing.T) {
	t.Parallel()
	databasetest.Each(t, func(t *testing.T, target string) {
		_, err := open(t, target).Find(t.Context(), "nobody")
		if !errors.Is(err, history.ErrNotFound) || !strings.Contains(err.Error(), "nobody") {
			t.Errorf("error: got %v, want %v with the ID", err, history.ErrNotFound)
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
		"year 10000":   func(e *events.Event) { e.Time = time.Date(10_000, 1, 1, 0, 0, 0, 0, time.UTC) },
	} {
		e := event("hall", 1)
		spoil(&e)
		if err := service.Handle(t.Context(), e); err == nil || !strings.HasPrefix(err.Error(), "history: ") {
			t.Errorf("%s: got %v, want an error of this package", name, err)
		}
	}
	if got := ids(rows(t, service)); got != "" {
		t.Errorf("events: got %q, want none", got)
	}
}

func TestService_EndedContextRecordsNothing(t *testing.T) {
	t.Parallel()
	databasetest.Each(t, func(t *testing.T, target string) {
		service := open(t, target)
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if err := service.Handle(ctx, event("hall", 1)); !errors.Is(err, context.Canceled) {
			t.Errorf("error: got %v, want %v", err, context.Canceled)
		}
		if got := ids(rows(t, service)); got != "" {
			t.Errorf("events: got %q, want none", got)
		}
	})
}

func TestOpen_SaysWhatIsWrong(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "no", "history.db")
	_, err := history.Open(t.Context(), path, history.Config{})
	if err == nil || !strings.HasPrefix(err.Error(), "history: database: open "+path) {
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
					device := fmt.Sprintf("device-%02d", i)
					group.Go(func() {
						for n := range jobs {
							if err := service.Handle(b.Context(), event(device, n)); err != nil {
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
