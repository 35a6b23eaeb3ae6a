package inbox_test

import (
	"context"
	"errors"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"go.uber.org/goleak"

	"github.com/device-fanout/fanout/consumers/database"
	"github.com/device-fanout/fanout/consumers/database/databasetest"
	"github.com/device-fanout/fanout/consumers/inbox"
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
	schema := inbox.SQLiteSchema
	if db.Kind() == database.Postgres {
		schema = inbox.PostgresSchema
	}
	for range 2 { // the second time changes nothing
		err := db.Write(t.Context(), func(ctx context.Context, tx database.Tx) error {
			_, err := tx.ExecContext(ctx, schema)
			return err
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
