package inbox_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"
	"pgregory.net/rapid"

	"github.com/device-fanout/fanout/consumers"
	"github.com/device-fanout/fanout/consumers/database"
	"github.com/device-fanout/fanout/consumers/database/databasetest"
	"github.com/device-fanout/fanout/consumers/inbox"
	"github.com/device-fanout/fanout/consumers/internal/identitytest"
	"github.com/device-fanout/fanout/consumers/internal/reused"
	"github.com/device-fanout/fanout/events"
	"github.com/device-fanout/fanout/events/device"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var noon = time.Date(2005, 1, 29, 12, 0, 0, 0, time.UTC)

func open(t *testing.T, target string) *database.DB {
	t.Helper()
	db, err := database.Open(t.Context(), target)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
	for range 2 { // the second time changes nothing
		err := db.Write(t.Context(), func(ctx context.Context, tx database.Tx) error {
			return inbox.Create(ctx, tx, inbox.Dialect(db.Kind()))
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return db
}

// first calls First in a transaction that ends with the error after.
func first(t *testing.T, db *database.DB, service, eventID string, after error) bool {
	t.Helper()
	var first bool
	err := db.Write(t.Context(), func(ctx context.Context, tx database.Tx) (err error) {
		if first, err = inbox.First(ctx, tx, service, lamp(eventID, noon)); err != nil {
			return err
		}
		return after
	})
	if !errors.Is(err, after) {
		t.Fatalf("First(%q, %q): %v", service, eventID, err)
	}
	return first
}

func TestFirst_OncePerServiceAndEvent(t *testing.T) {
	t.Parallel()
	databasetest.Each(t, func(t *testing.T, target string) {
		db := open(t, target)
		for i, test := range []struct {
			service, eventID string
			want             bool
		}{
			{"history", "a", true},
			{"history", "a", false},
			{"history", "b", true},
			{"state", "a", true},
			{"state", "a", false},
			{"history", "a", false},
			{"history", "A", true},
		} {
			if got := first(t, db, test.service, test.eventID, nil); got != test.want {
				t.Errorf("call %d, First(%q, %q): got %t, want %t", i, test.service, test.eventID, got, test.want)
			}
		}
	})
}

func TestFirst_ForgetsWhatWasRolledBack(t *testing.T) {
	t.Parallel()
	databasetest.Each(t, func(t *testing.T, target string) {
		db := open(t, target)
		for range 2 {
			if !first(t, db, "history", "a", errors.New("handler failed")) {
				t.Error("First in a transaction that is rolled back: got false, want true")
			}
		}
		if !first(t, db, "history", "a", nil) {
			t.Error("First after the rollbacks: got false, want true")
		}
	})
}

func TestFirst_OneOfManyAtOnce(t *testing.T) {
	t.Parallel()
	databasetest.Each(t, func(t *testing.T, target string) {
		db := open(t, target)
		var (
			group sync.WaitGroup
			count atomic.Int32
		)
		for range 12 {
			group.Go(func() {
				if first(t, db, "history", "a", nil) {
					count.Add(1)
				}
			})
		}
		group.Wait()
		if got, want := count.Load(), int32(1); got != want {
			t.Errorf("firsts: got %d, want %d", got, want)
		}
	})
}

func TestCreate_ManyAtOnce(t *testing.T) {
	t.Parallel()
	databasetest.Each(t, func(t *testing.T, target string) {
		db, err := database.Open(t.Context(), target)
		if err != nil {
			t.Fatal(err)
		}
		defer db.Close()
		var group sync.WaitGroup
		for range 8 {
			group.Go(func() {
				err := db.Write(t.Context(), func(ctx context.Context, tx database.Tx) error {
					return inbox.Create(ctx, tx, inbox.Dialect(db.Kind()))
				})
				if err != nil {
					t.Error(err)
				}
			})
		}
		group.Wait()
	})
}

func TestSchema_PanicsOnOtherDatabases(t *testing.T) {
	t.Parallel()
	defer func() {
		if got := fmt.Sprint(recover()); !strings.Contains(got, `dialect "mysql"`) {
			t.Errorf("panic: got %q, want it to name the dialect", got)
		}
	}()
	inbox.Schema("mysql")
}

// What a handler writes, its event and its mark are committed together or not at all.
func TestAdvance_InTheHandlersTransaction(t *testing.T) {
	t.Parallel()
	databasetest.Each(t, func(t *testing.T, target string) {
		db := open(t, target)
		failure := errors.New("handler failed")
		for i, step := range []struct {
			id     string
			at     time.Time
			after  error
			first  bool
			newest bool
		}{
			{"b", noon, failure, true, true},
			{"a", noon.Add(-time.Hour), nil, true, true}, // the failed one has moved no mark
			{"b", noon, nil, true, true},
			{"0", noon.Add(-2 * time.Hour), nil, true, false}, // redriven: recorded, but stale
			{"0", noon.Add(-2 * time.Hour), nil, false, false},
			{"b", noon, nil, false, false},
		} {
			var first, newest bool
			event := events.Event{ID: step.id, DeviceID: "hall", Time: step.at, Data: device.PowerChanged{On: true}}
			err := db.Write(t.Context(), func(ctx context.Context, tx database.Tx) (err error) {
				if first, err = inbox.First(ctx, tx, "state", event); err != nil || !first {
					return err
				}
				if newest, err = inbox.Advance(ctx, tx, inbox.MarkOf("state", event)); err != nil {
					return err
				}
				return step.after
			})
			if !errors.Is(err, step.after) || first != step.first || newest != step.newest {
				t.Errorf("step %d: got first %t, newest %t, %v, want %t, %t", i, first, newest, err, step.first, step.newest)
			}
		}
	})
}

func TestExpire_DeletesOldRowsInSteps(t *testing.T) {
	t.Parallel()
	databasetest.Each(t, func(t *testing.T, target string) {
		db := open(t, target)
		for i := range 25 {
			first(t, db, "history", strconv.Itoa(i), nil)
		}
		first(t, db, "state", "0", nil)
		expire := func(before time.Time, limit int) (n int64) {
			err := db.Write(t.Context(), func(ctx context.Context, tx database.Tx) (err error) {
				n, err = inbox.Expire(ctx, tx, "history", before, limit)
				return err
			})
			if err != nil {
				t.Fatal(err)
			}
			return n
		}
		if got := expire(time.Now().Add(-time.Hour), 100); got != 0 {
			t.Errorf("rows of the last hour: deleted %d, want none", got)
		}
		for _, want := range []int64{10, 10, 5, 0} {
			if got := expire(time.Now().Add(time.Hour), 10); got != want {
				t.Errorf("old rows, ten at a time: deleted %d, want %d", got, want)
			}
		}
		if first(t, db, "state", "0", nil) {
			t.Error("row of the other service: got it deleted, want it kept")
		}
		if !first(t, db, "history", "0", nil) {
			t.Error("deleted row: got it still known, want it forgotten")
		}
	})
}

func TestExpire_WantsServiceAndLimit(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		service string
		limit   int
		want    string
	}{{"", 1, "service is empty"}, {"history", 0, "limit 0, want at least 1"}} {
		if _, err := inbox.Expire(t.Context(), nil, test.service, time.Now(), test.limit); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("Expire(%q, %d): got %v, want %q", test.service, test.limit, err, test.want)
		}
	}
}

func TestAdvance_WantsWhole(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		mark inbox.Mark
		want string
	}{
		{inbox.Mark{DeviceID: "hall"}, "service is empty"},
		{inbox.Mark{Service: "state"}, `device ID of a mark for service state is empty`},
		{inbox.Mark{Service: "state", DeviceID: "hall", Time: time.Date(10_000, 1, 1, 0, 0, 0, 0, time.UTC)}, "year 10000"},
	} {
		if _, err := inbox.Advance(t.Context(), nil, test.mark); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("Advance(%+v): got %v, want %q", test.mark, err, test.want)
		}
	}
}

func TestFirst_WantsNames(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ service, eventID, want string }{
		{"", "a", "service is empty"},
		{"history", "", "event ID of an event for service \"history\" is empty"},
	} {
		_, err := inbox.First(t.Context(), nil, test.service, lamp(test.eventID, noon))
		if err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("First(%q, %q): got %v, want %q", test.service, test.eventID, err, test.want)
		}
	}
}

func TestFirst_NamesTheEventWhenTheTableIsMissing(t *testing.T) {
	t.Parallel()
	databasetest.Each(t, func(t *testing.T, target string) {
		db, err := database.Open(t.Context(), target)
		if err != nil {
			t.Fatal(err)
		}
		defer db.Close()
		err = db.Write(t.Context(), func(ctx context.Context, tx database.Tx) error {
			_, err := inbox.First(ctx, tx, "history", lamp("a", noon))
			return err
		})
		if err == nil || !strings.HasPrefix(err.Error(), `inbox: record event "a" for service "history": `) {
			t.Errorf("error: got %v, want it to name event and service", err)
		}
	})
}

func TestFirst_SourcesAndDevicesMayNumberAlike(t *testing.T) {
	t.Parallel()
	databasetest.Each(t, func(t *testing.T, target string) {
		db := open(t, target)
		round := 0
		rapid.Check(t, func(r *rapid.T) {
			round++
			seen := map[events.Identity]bool{}
			var all []events.Event
			for _, id := range identitytest.Draw(r, round) {
				e := lamp(id.ID, noon)
				e.DeviceID, e.Source = id.Subject, id.Source
				all = append(all, e)
			}
			err := db.Write(t.Context(), func(ctx context.Context, tx database.Tx) error {
				for _, e := range all {
					first, err := inbox.First(ctx, tx, "history", e)
					if err != nil {
						return err
					}
					if first == seen[e.Identity()] {
						return fmt.Errorf("First(%v): got %t, want %t", e.Identity(), first, !first)
					}
					seen[e.Identity()] = true
				}
				return nil
			})
			if err != nil {
				r.Fatal(err)
			}
		})
	})
}

// firstOf calls First for service history in a transaction that is committed.
func firstOf(t *testing.T, db *database.DB, ctx context.Context, e events.Event) (first bool) {
	t.Helper()
	err := db.Write(ctx, func(ctx context.Context, tx database.Tx) (err error) {
		first, err = inbox.First(ctx, tx, "history", e)
		return err
	})
	if err != nil {
		t.Fatalf("First(%v): %v", e.Identity(), err)
	}
	return first
}

// A repeat is a duplicate whatever it says; that it says something else is told, and may be refused.
func TestFirst_RepeatThatSaysSomethingElse(t *testing.T) {
	t.Parallel()
	databasetest.Each(t, func(t *testing.T, target string) {
		db := open(t, target)
		watch := reused.New(slog.New(slog.DiscardHandler), false)
		ctx := watch.In(t.Context())
		e := lamp("a", noon)
		later, off := e, e
		later.Time, off.Data = noon.Add(time.Hour), device.PowerChanged{}
		for i, step := range []struct {
			e     events.Event
			first bool
			count int64
		}{{e, true, 0}, {e, false, 0}, {later, false, 0}, {off, false, 1}, {e, false, 1}, {off, false, 2}} {
			if got := firstOf(t, db, ctx, step.e); got != step.first || watch.Count() != step.count {
				t.Errorf("step %d: got %t and %d counted, want %t and %d", i, got, watch.Count(), step.first, step.count)
			}
		}
		refusing := reused.New(slog.New(slog.DiscardHandler), true).In(t.Context())
		err := db.Write(refusing, func(ctx context.Context, tx database.Tx) error {
			_, err := inbox.First(ctx, tx, "history", off)
			return err
		})
		var known *consumers.KnownError
		if !errors.As(err, &known) || known.Code != consumers.CodeIDReused || !strings.Contains(err.Error(), "that at 2005-01-29T12:00:00Z") {
			t.Errorf("refused: got %v, want a known error with code id_reused and the time of the first one", err)
		}
	})
}

// What Once has recorded says nothing to compare with: a repeat is a plain one.
func TestFirst_RepeatOfWhatOnceHasHandled(t *testing.T) {
	t.Parallel()
	databasetest.Each(t, func(t *testing.T, target string) {
		db := open(t, target)
		watch := reused.New(slog.New(slog.DiscardHandler), true)
		e := lamp("a", noon)
		if err := inbox.NewSQL(db).Finish(t.Context(), inbox.Key{Service: "history", Event: e.Identity()}); err != nil {
			t.Fatal(err)
		}
		if firstOf(t, db, watch.In(t.Context()), e) || watch.Count() != 0 {
			t.Errorf("handled again, or %d counted as another event", watch.Count())
		}
	})
}

// The table of the version that knew an event by its ID alone, with a row that is done, one of a process that died, and one in progress.
const oldRows = `
	CREATE TABLE inbox (
		service    TEXT NOT NULL,
		event_id   TEXT NOT NULL,
		state      TEXT NOT NULL CHECK (state IN ('in_progress', 'done')),
		owner      TEXT NOT NULL,
		until      TIMESTAMPTZ NOT NULL,
		updated_at TIMESTAMPTZ NOT NULL,
		PRIMARY KEY (service, event_id)
	);
	INSERT INTO inbox VALUES
		('history', 'a', 'done', '', '2026-01-01T00:00:00.000000Z', '2026-01-01T00:00:00.000000Z'),
		('history', 'b', 'in_progress', 'dead', '2026-01-01T00:00:00.000000Z', '2026-01-01T00:00:00.000000Z'),
		('history', 'c', 'in_progress', 'older one', '9999-01-01T00:00:00.000000Z', '2026-01-01T00:00:00.000000Z')`

func withOldRows(t *testing.T, target string) *database.DB {
	t.Helper()
	db, err := database.Open(t.Context(), target)
	if err != nil {
		t.Fatal(err)
	}
	err = db.Write(t.Context(), func(ctx context.Context, tx database.Tx) error {
		_, err := tx.ExecContext(ctx, oldRows)
		return err
	})
	if err := errors.Join(err, db.Close()); err != nil {
		t.Fatal(err)
	}
	return open(t, target)
}

// other is e from another device.
func other(e events.Event) events.Event {
	e.DeviceID = "attic"
	return e
}

// A row of an older version counts for the first event with its ID, and for that one alone.
func TestFirst_OldRows(t *testing.T) {
	t.Parallel()
	databasetest.Each(t, func(t *testing.T, target string) {
		db := withOldRows(t, target)
		failure := errors.New("handler failed")
		if first(t, db, "history", "a", failure) || first(t, db, "history", "a", nil) {
			t.Error("event that an older version has handled: got it for the first time")
		}
		for i, step := range []struct {
			e    events.Event
			want bool
		}{
			{lamp("a", noon), false},
			{other(lamp("a", noon)), true},
			{other(lamp("a", noon)), false},
			{lamp("b", noon), true}, // nobody has handled it
			{lamp("b", noon), false},
			{lamp("c", noon), true}, // as ever: First minds no claims
		} {
			if got := firstOf(t, db, t.Context(), step.e); got != step.want {
				t.Errorf("step %d, First(%v): got %t, want %t", i, step.e.Identity(), got, step.want)
			}
		}
	})
}

// However many events with one ID come at once, an old row is taken for one of them.
func TestFirst_OldRowForOneOfManyAtOnce(t *testing.T) {
	t.Parallel()
	databasetest.Each(t, func(t *testing.T, target string) {
		db := withOldRows(t, target)
		var group sync.WaitGroup
		var firsts atomic.Int32
		for n := range 8 {
			group.Go(func() {
				e := lamp("a", noon)
				e.DeviceID = fmt.Sprint("device-", n)
				for range 2 {
					if firstOf(t, db, context.WithoutCancel(t.Context()), e) {
						firsts.Add(1)
					}
				}
			})
		}
		group.Wait()
		if got, want := firsts.Load(), int32(7); got != want {
			t.Errorf("firsts of 8 devices: got %d, want %d", got, want)
		}
	})
}

func TestExpire_OldRowsToo(t *testing.T) {
	t.Parallel()
	databasetest.Each(t, func(t *testing.T, target string) {
		db := withOldRows(t, target)
		first(t, db, "history", "d", nil)
		for _, want := range []int64{2, 2, 0} {
			err := db.Write(t.Context(), func(ctx context.Context, tx database.Tx) error {
				got, err := inbox.Expire(ctx, tx, "history", time.Now().Add(time.Hour), 2)
				if err == nil && got != want {
					t.Errorf("deleted: got %d, want %d", got, want)
				}
				return err
			})
			if err != nil {
				t.Fatal(err)
			}
		}
	})
}

func TestSQL_OldRows(t *testing.T) {
	t.Parallel()
	databasetest.Each(t, func(t *testing.T, target string) {
		claims := inbox.NewSQL(withOldRows(t, target))
		for i, step := range []struct {
			e    events.Event
			want inbox.State
		}{
			{lamp("a", noon), inbox.Done},
			{lamp("a", noon), inbox.Done},
			{other(lamp("a", noon)), inbox.Claimed}, // the row was taken for the first one
			{lamp("b", noon), inbox.Claimed},        // whose process died
			{lamp("c", noon), inbox.InProgress},     // by a process of the older version
			{lamp("c", noon), inbox.InProgress},
		} {
			got, err := claims.Claim(t.Context(), inbox.Key{Service: "history", Event: step.e.Identity()}, "me", time.Minute)
			if err != nil || got != step.want {
				t.Errorf("step %d, Claim %v: got %q, %v, want %q", i, step.e.Identity(), got, err, step.want)
			}
		}
	})
}

// A mark that an older version has set to a time that can't be believed, and one that somebody takes back.
func TestForget_MendsADevice(t *testing.T) {
	t.Parallel()
	databasetest.Each(t, func(t *testing.T, target string) {
		db := open(t, target)
		advance := func(m inbox.Mark) (newest bool) {
			err := db.Write(t.Context(), func(ctx context.Context, tx database.Tx) (err error) {
				newest, err = inbox.Advance(ctx, tx, m)
				return err
			})
			if err != nil {
				t.Fatal(err)
			}
			return newest
		}
		soon := inbox.Mark{Service: "state", DeviceID: "hall", Stream: "power", Time: time.Now().Add(20 * time.Hour), Sequence: "1"}
		other, now := soon, soon
		other.DeviceID, now.Time, now.Sequence = "attic", time.Now(), "2"
		if !advance(soon) || !advance(other) || advance(now) {
			t.Error("a time that is believed: got it passed over, want it to count")
		}
		err := db.Write(t.Context(), func(ctx context.Context, tx database.Tx) error {
			if n, err := inbox.Forget(ctx, tx, "state", "hall"); n != 1 || err != nil {
				t.Errorf("Forget: got %d, %v, want 1", n, err)
			}
			_, err := inbox.Forget(ctx, tx, "state", "")
			return err
		})
		if err == nil || !strings.Contains(err.Error(), "device ID") { // rolled back
			t.Errorf("Forget of no device: got %v, want an error", err)
		}
		if advance(now) {
			t.Error("after a rollback: got it forgotten")
		}
		err = db.Write(t.Context(), func(ctx context.Context, tx database.Tx) error {
			_, err := inbox.Forget(ctx, tx, "state", "hall")
			return err
		})
		other.Time, other.Sequence = now.Time, "2"
		if err != nil || !advance(now) || advance(other) {
			t.Errorf("after Forget, %v: want the device mended, and no other", err)
		}
	})
}

// cutOff lets so many statements through, and fails all others, as if the process or its connection had died.
type cutOff struct {
	inbox.DB
	left int
}

var errCutOff = errors.New("cut off")

func (c *cutOff) next(ctx context.Context) context.Context {
	if c.left--; c.left >= 0 {
		return ctx
	}
	dead, cancel := context.WithCancelCause(ctx)
	cancel(errCutOff)
	return dead
}

func (c *cutOff) ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error) {
	return c.DB.ExecContext(c.next(ctx), query, args...)
}

func (c *cutOff) QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row {
	return c.DB.QueryRowContext(c.next(ctx), query, args...)
}

// Wherever a claim breaks off, what an older version has handled is not handled again, and its row counts for one event.
func TestSQL_OldRowsAndAClaimThatBreaksOff(t *testing.T) {
	t.Parallel()
	databasetest.Each(t, func(t *testing.T, target string) {
		db := withOldRows(t, target)
		key := inbox.Key{Service: "history", Event: lamp("a", noon).Identity()}
		broken := true
		for statements := 0; broken; statements++ {
			state, err := inbox.NewSQL(&cutOff{db, statements}).Claim(t.Context(), key, "dead", -time.Second) // a lease that is over
			if broken = err != nil; !broken && state != inbox.Done {
				t.Errorf("cut off after %d statements: got %q", statements, state)
			}
		}
		claims := inbox.NewSQL(db)
		for i, want := range []inbox.State{inbox.Done, inbox.Claimed} {
			e := []events.Event{lamp("a", noon), other(lamp("a", noon))}[i]
			if got, err := claims.Claim(t.Context(), inbox.Key{Service: "history", Event: e.Identity()}, "me", time.Minute); err != nil || got != want {
				t.Errorf("Claim %v: got %q, %v, want %q", e.Identity(), got, err, want)
			}
		}
	})
}

// However many claims come at once, an old row is taken for one identity, and no claim of that is ever had.
func TestSQL_OldRowForOneOfManyAtOnce(t *testing.T) {
	t.Parallel()
	databasetest.Each(t, func(t *testing.T, target string) {
		claims := inbox.NewSQL(withOldRows(t, target))
		var group sync.WaitGroup
		var mu sync.Mutex
		states := map[string][]inbox.State{}
		for n := range 12 {
			group.Go(func() {
				e := lamp("a", noon)
				e.DeviceID = fmt.Sprint("device-", n%3)
				state, err := claims.Claim(t.Context(), inbox.Key{Service: "history", Event: e.Identity()}, fmt.Sprint("owner-", n), time.Minute)
				if err != nil {
					t.Error(err)
				}
				mu.Lock()
				defer mu.Unlock()
				states[e.DeviceID] = append(states[e.DeviceID], state)
			})
		}
		group.Wait()
		done := 0
		for device, got := range states {
			switch slices.Sort(got); {
			case got[0] == inbox.Claimed && !slices.Contains(got[1:], inbox.Claimed) && !slices.Contains(got, inbox.Done):
			case slices.Contains(got, inbox.Done) && !slices.Contains(got, inbox.Claimed):
				done++
			default:
				t.Errorf("%s: got %v, want one claim or none", device, got)
			}
		}
		if done != 1 {
			t.Errorf("got %v, want one device done", states)
		}
	})
}
