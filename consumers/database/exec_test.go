package database_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/device-fanout/fanout/consumers/database"
	"github.com/device-fanout/fanout/consumers/database/databasetest"
)

const insertName = `INSERT INTO rows (name) VALUES ($1)`

// many runs exec for n names at once and returns the error of each.
func many(db *database.DB, names []string) []error {
	failures := make([]error, len(names))
	var group sync.WaitGroup
	for i, name := range names {
		group.Go(func() { _, failures[i] = db.ExecContext(context.Background(), insertName, name) })
	}
	group.Wait()
	return failures
}

func TestExecContext_EachGetsItsOwnAnswer(t *testing.T) {
	t.Parallel()
	databasetest.Each(t, func(t *testing.T, target string) {
		db := openWithTable(t, target)
		names := make([]string, 600)
		for i := range names {
			names[i] = fmt.Sprintf("name-%03d", i/3*3) // each name three times, and a name must be unique
		}
		kept := make(map[string]int)
		for i, err := range many(db, names) {
			switch {
			case err == nil:
				kept[names[i]]++
			case !strings.Contains(strings.ToLower(err.Error()), "unique"):
				t.Errorf("%s: got %v, want the violation of unique", names[i], err)
			}
		}
		for name, n := range kept {
			if n != 1 {
				t.Errorf("%s: kept %d times by their answers, want 1", name, n)
			}
		}
		if got, want := count(t, db), 200; got != want || len(kept) != want {
			t.Errorf("rows: got %d, and %d kept by their answers, want %d", got, len(kept), want)
		}
	})
}

// An argument that no database takes is refused before it is sent; what goes with it must not suffer.
func TestExecContext_BadArgumentIsItsOwn(t *testing.T) {
	t.Parallel()
	databasetest.Each(t, func(t *testing.T, target string) {
		db := openWithTable(t, target)
		var (
			group sync.WaitGroup
			bad   atomic.Int32
		)
		for i := range 64 {
			group.Go(func() {
				if i%8 == 0 {
					if _, err := db.ExecContext(t.Context(), insertName, struct{ X chan int }{}); err != nil {
						bad.Add(1)
					}
					return
				}
				if _, err := db.ExecContext(t.Context(), insertName, fmt.Sprint("name-", i)); err != nil {
					t.Errorf("statement %d: %v", i, err)
				}
			})
		}
		group.Wait()
		if got, want := bad.Load(), int32(8); got != want {
			t.Errorf("bad arguments refused: got %d, want %d", got, want)
		}
		if got, want := count(t, db), 56; got != want {
			t.Errorf("rows: got %d, want %d", got, want)
		}
	})
}

func TestExecContext_TellsHowManyRowsChanged(t *testing.T) {
	t.Parallel()
	databasetest.Each(t, func(t *testing.T, target string) {
		db := openWithTable(t, target)
		for _, step := range []struct {
			query string
			args  []any
			want  int64
		}{
			{insertName, []any{"a"}, 1},
			{insertName + ` ON CONFLICT DO NOTHING`, []any{"a"}, 0},
			{insertName, []any{"b"}, 1},
			{`DELETE FROM rows`, nil, 2},
		} {
			result, err := db.ExecContext(t.Context(), step.query, step.args...)
			if err != nil {
				t.Fatalf("%s: %v", step.query, err)
			}
			if got, err := result.RowsAffected(); err != nil || got != step.want {
				t.Errorf("%s: got %d rows, %v, want %d", step.query, got, err, step.want)
			}
		}
	})
}

func TestExecContext_ContextClosedAndNested(t *testing.T) {
	t.Parallel()
	databasetest.Each(t, func(t *testing.T, target string) {
		db := openWithTable(t, target)
		ended, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := db.ExecContext(ended, insertName, "a"); !errors.Is(err, context.Canceled) {
			t.Errorf("ended context: got %v, want %v", err, context.Canceled)
		}
		err := db.Write(t.Context(), func(ctx context.Context, _ database.Tx) error {
			_, err := db.ExecContext(ctx, insertName, "a")
			return err
		})
		if !errors.Is(err, database.ErrNested) {
			t.Errorf("inside a write: got %v, want %v", err, database.ErrNested)
		}
		if got := count(t, db); got != 0 {
			t.Errorf("rows: got %d, want none", got)
		}
		if err := db.Close(); err != nil {
			t.Fatal(err)
		}
		if _, err := db.ExecContext(t.Context(), insertName, "a"); !errors.Is(err, database.ErrClosed) {
			t.Errorf("closed: got %v, want %v", err, database.ErrClosed)
		}
	})
}

// Whoever waits for a lock that somebody else holds can leave when its context ends.
func TestExecContext_LeavesWhileTheServerWaits(t *testing.T) {
	t.Parallel()
	db := openWithTable(t, databasetest.Postgres(t))
	err := db.Write(t.Context(), func(ctx context.Context, tx database.Tx) error {
		if _, err := tx.ExecContext(ctx, insertName, "a"); err != nil {
			return err
		}
		waiting, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
		defer cancel()
		if _, err := db.ExecContext(waiting, insertName, "a"); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("behind a lock: got %v, want %v", err, context.DeadlineExceeded)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if got, want := count(t, db), 1; got != want {
		t.Errorf("rows: got %d, want %d", got, want)
	}
}

// The end of the connection in the middle of it all is everybody's error, and the next statement finds another one.
func TestExecContext_ConnectionCut(t *testing.T) {
	t.Parallel()
	db := openWithTable(t, databasetest.Postgres(t))
	if _, err := db.ExecContext(t.Context(), `SELECT pg_terminate_backend(pg_backend_pid())`); err == nil {
		t.Error("statement that ends its connection: got nil, want an error")
	}
	if _, err := db.ExecContext(t.Context(), insertName, "a"); err != nil {
		t.Errorf("the next one: %v", err)
	}
	if got, want := count(t, db), 1; got != want {
		t.Errorf("rows: got %d, want %d", got, want)
	}
}

// openWithTable opens an empty database with a table of names, each of which can be there once.
func openWithTable(t *testing.T, target string) *database.DB {
	t.Helper()
	db := open(t, target)
	if err := db.Migrate(t.Context(), "rows", `CREATE TABLE rows (name TEXT PRIMARY KEY)`); err != nil {
		t.Fatal(err)
	}
	return db
}

func count(t *testing.T, db *database.DB) (n int) {
	t.Helper()
	if err := db.QueryRowContext(t.Context(), `SELECT count(*) FROM rows`).Scan(&n); err != nil {
		t.Fatal(err)
	}
	return n
}

// BenchmarkExec measures statements per second on PostgreSQL: those of many goroutines in batches, and each in a
// transaction of its own.
func BenchmarkExec(b *testing.B) {
	for _, way := range []string{"batched", "single"} {
		for _, writers := range []int{1, 8, 32, 128} {
			b.Run(fmt.Sprintf("%s/writers=%d", way, writers), func(b *testing.B) {
				db := open(b, databasetest.Postgres(b))
				if err := db.Migrate(b.Context(), "rows", `CREATE TABLE rows (name TEXT PRIMARY KEY)`); err != nil {
					b.Fatal(err)
				}
				exec := func(name string) error {
					_, err := db.ExecContext(b.Context(), insertName, name)
					return err
				}
				if way == "single" {
					exec = func(name string) error { return db.Write(b.Context(), insertRow(name)) }
				}
				jobs := make(chan int)
				var group sync.WaitGroup
				for range writers {
					group.Go(func() {
						for n := range jobs {
							if err := exec(fmt.Sprint("name-", n)); err != nil {
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
				b.ReportMetric(float64(n)/time.Since(start).Seconds(), "statements/s")
			})
		}
	}
}

func insertRow(name string) func(context.Context, database.Tx) error {
	return func(ctx context.Context, tx database.Tx) error {
		_, err := tx.ExecContext(ctx, insertName, name)
		return err
	}
}
