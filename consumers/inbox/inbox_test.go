package inbox_test

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/device-fanout/fanout/consumers/database"
	"github.com/device-fanout/fanout/consumers/database/databasetest"
	"github.com/device-fanout/fanout/consumers/inbox"
	"github.com/device-fanout/fanout/events"
	"github.com/device-fanout/fanout/events/device"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

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
		if first, err = inbox.First(ctx, tx, service, eventID); err != nil {
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
		noon := time.Date(2005, 1, 29, 12, 0, 0, 0, time.UTC)
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
				if first, err = inbox.First(ctx, tx, "state", event.ID); err != nil || !first {
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
		_, err := inbox.First(t.Context(), nil, test.service, test.eventID)
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
			_, err := inbox.First(ctx, tx, "history", "a")
			return err
		})
		if err == nil || !strings.HasPrefix(err.Error(), `inbox: record event "a" for service "history": `) {
			t.Errorf("error: got %v, want it to name event and service", err)
		}
	})
}
