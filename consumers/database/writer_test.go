package database

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// openGroups opens a SQLite database with a table t(n) for tests of the writer.
func openGroups(t *testing.T) *DB {
	t.Helper()
	db, err := Open(t.Context(), filepath.Join(t.TempDir(), "test.db"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
	if err := db.Migrate(t.Context(), "test", `CREATE TABLE t (n INTEGER PRIMARY KEY)`); err != nil {
		t.Fatal(err)
	}
	return db
}

// gather makes one group of writes: it holds the turn with a write of its own until each of the others waits, in order.
// It returns what each of the others returned.
func gather(t *testing.T, db *DB, writes ...func(context.Context, Tx) error) []error {
	t.Helper()
	release := make(chan struct{})
	holder := make(chan error)
	go func() {
		holder <- db.Write(context.Background(), func(context.Context, Tx) error {
			<-release
			return nil
		})
	}()
	synctest.Wait()
	results := make([]chan error, len(writes))
	for i, fn := range writes {
		results[i] = make(chan error, 1)
		go func() {
			result := errPanicked
			defer func() {
				_ = recover()
				results[i] <- result
			}()
			result = db.Write(context.Background(), fn)
		}()
		synctest.Wait()
	}
	close(release)
	<-holder
	errs := make([]error, len(writes))
	for i, result := range results {
		errs[i] = <-result
	}
	return errs
}

func put(n int) func(context.Context, Tx) error {
	return func(ctx context.Context, tx Tx) error {
		_, err := tx.ExecContext(ctx, `INSERT INTO t (n) VALUES ($1)`, n)
		return err
	}
}

// numbers returns what stands in t.
func numbers(t *testing.T, db *DB) string {
	t.Helper()
	var all sql.NullString
	err := db.QueryRowContext(t.Context(), `SELECT group_concat(n, ' ') FROM (SELECT n FROM t ORDER BY n)`).Scan(&all)
	if err != nil {
		t.Fatal(err)
	}
	return all.String
}

func TestWriter_CommitsAGroupOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		db := openGroups(t)
		seen := func() string { return numbers(t, db) }
		var during []string
		look := func(n int) func(context.Context, Tx) error {
			return func(ctx context.Context, tx Tx) error {
				during = append(during, seen())
				return put(n)(ctx, tx)
			}
		}
		for i, err := range gather(t, db, look(1), look(2), look(3)) {
			if err != nil {
				t.Errorf("write %d: %v", i, err)
			}
		}
		// Nothing is visible while the group runs: it is committed as a whole, at its end.
		if got, want := strings.Join(during, "|"), "||"; got != want {
			t.Errorf("seen while the group ran: got %q, want %q", got, want)
		}
		if got, want := seen(), "1 2 3"; got != want {
			t.Errorf("rows: got %q, want %q", got, want)
		}
	})
}

func TestWriter_GroupHasItsBound(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		db := openGroups(t)
		db.writer.maxGroup = 2
		var during []string
		look := func(n int) func(context.Context, Tx) error {
			return func(ctx context.Context, tx Tx) error {
				during = append(during, numbers(t, db))
				return put(n)(ctx, tx)
			}
		}
		if err := errors.Join(gather(t, db, look(1), look(2), look(3))...); err != nil {
			t.Error(err)
		}
		// The first of them shares a commit with the write before it, and the others share the next.
		if got, want := strings.Join(during, "|"), "|1|1"; got != want {
			t.Errorf("seen while the groups ran: got %q, want %q", got, want)
		}
	})
}

func TestWriter_FailuresDoNotHurtTheGroup(t *testing.T) {
	t.Parallel()
	refused := errors.New("refused")
	tests := map[string]struct {
		write func(context.Context, Tx) error
		want  error // nil: any
	}{
		"error after a change": {func(ctx context.Context, tx Tx) error {
			return errors.Join(put(50)(ctx, tx), refused)
		}, refused},
		"statement fails": {put(1), nil},
		"no such table": {func(ctx context.Context, tx Tx) error {
			return errors.Join(put(50)(ctx, tx), ignoreResult(tx.ExecContext(ctx, `INSERT INTO nowhere VALUES ($1)`, 1)))
		}, nil},
		"bad query": {func(ctx context.Context, tx Tx) error {
			return errors.Join(put(50)(ctx, tx), tx.QueryRowContext(ctx, `SELECT FROM WHERE`).Scan(new(int)))
		}, nil},
		"panic": {func(ctx context.Context, tx Tx) error {
			_ = put(50)(ctx, tx)
			panic("boom")
		}, errPanicked},
		"goroutine ends": {func(ctx context.Context, tx Tx) error {
			_ = put(50)(ctx, tx)
			runtime.Goexit()
			return nil
		}, errPanicked},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				db := openGroups(t)
				errs := gather(t, db, put(1), test.write, put(2))
				if errs[0] != nil || errs[2] != nil {
					t.Errorf("neighbours: got %v and %v, want no errors", errs[0], errs[2])
				}
				if errs[1] == nil || test.want != nil && !errors.Is(errs[1], test.want) {
					t.Errorf("error: got %v, want %v", errs[1], test.want)
				}
				if got, want := numbers(t, db), "1 2"; got != want {
					t.Errorf("rows: got %q, want %q", got, want)
				}
			})
		})
	}
}

// fillDisk inserts rows until SQLite says that the disk is full, which it does soon, as it was told not to grow.
func fillDisk(ctx context.Context, tx Tx) error {
	if _, err := tx.ExecContext(ctx, `PRAGMA max_page_count = 1`); err != nil { // no fewer than there are
		return err
	}
	for n := 100; n < 100_000; n++ {
		if err := put(n)(ctx, tx); err != nil {
			return err
		}
	}
	return nil
}

func ignoreResult(_ sql.Result, err error) error { return err }

// When SQLite gives up the whole transaction, nobody who was in it may be told of success.
func TestWriter_LostTransactionFailsAllThatWereInIt(t *testing.T) {
	t.Parallel()
	tests := map[string]func(context.Context, Tx) error{
		"disk full": fillDisk,
		"disk full and nothing said": func(ctx context.Context, tx Tx) error {
			if fillDisk(ctx, tx) == nil {
				t.Error("disk: got no error, want that it is full")
			}
			return nil
		},
		"rolled back by hand": func(ctx context.Context, tx Tx) error {
			_, err := tx.ExecContext(ctx, `ROLLBACK`)
			return err
		},
	}
	for name, lose := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				db := openGroups(t)
				errs := gather(t, db, put(1), lose, put(3))
				if errs[0] == nil || errs[1] == nil {
					t.Errorf("writes of the lost transaction: got errors %v and %v, want both", errs[0], errs[1])
				}
				if !isUnavailable(errs[0]) {
					t.Errorf("write that had nothing to do with it: got %v, want that the database is unavailable", errs[0])
				}
				if errs[2] != nil {
					t.Errorf("write after it: %v", errs[2])
				}
				if got, want := numbers(t, db), "3"; got != want {
					t.Errorf("rows: got %q, want %q", got, want)
				}
			})
		})
	}
}

func TestWriter_FailedCommitFailsTheGroup(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		db := openGroups(t)
		err := db.Migrate(t.Context(), "late", `CREATE TABLE late (n INTEGER REFERENCES t (n) DEFERRABLE INITIALLY DEFERRED)`)
		if err != nil {
			t.Fatal(err)
		}
		errs := gather(t, db, put(1), func(ctx context.Context, tx Tx) error {
			_, err := tx.ExecContext(ctx, `INSERT INTO late (n) VALUES ($1)`, 99) // found out by the commit only
			return err
		})
		for i, err := range errs {
			if err == nil || !strings.HasPrefix(err.Error(), "database: commit: ") {
				t.Errorf("write %d: got %v, want the error of the commit", i, err)
			}
		}
		if err := db.Write(t.Context(), put(2)); err != nil {
			t.Fatalf("next write: %v", err)
		}
		if got, want := numbers(t, db), "2"; got != want {
			t.Errorf("rows: got %q, want %q", got, want)
		}
	})
}

func TestWriter_EndedContextLeavesTheQueue(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		db := openGroups(t)
		release := make(chan struct{})
		holder, waiter := make(chan error), make(chan error)
		go func() {
			holder <- db.Write(t.Context(), func(ctx context.Context, tx Tx) error {
				<-release
				return put(1)(ctx, tx)
			})
		}()
		synctest.Wait()
		ctx, cancel := context.WithCancel(t.Context())
		go func() { waiter <- db.Write(ctx, put(2)) }()
		synctest.Wait()
		cancel()
		if err := <-waiter; !errors.Is(err, context.Canceled) { // comes while the holder still holds
			t.Errorf("waiter: got %v, want %v", err, context.Canceled)
		}
		close(release)
		if err := <-holder; err != nil {
			t.Errorf("holder: %v", err)
		}
		if got, want := numbers(t, db), "1"; got != want {
			t.Errorf("rows: got %q, want %q", got, want)
		}
	})
}

// A context that ends while its write runs must not interrupt SQLite: that would roll back the whole group.
func TestWriter_ContextEndedInsideDoesNotHurtTheGroup(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		db := openGroups(t)
		errs := gather(t, db, put(1), func(ctx context.Context, tx Tx) error {
			ctx, cancel := context.WithCancel(ctx)
			cancel()
			return put(2)(ctx, tx)
		}, put(3))
		for i, err := range errs {
			if err != nil {
				t.Errorf("write %d: %v", i, err)
			}
		}
		if got, want := numbers(t, db), "1 2 3"; got != want {
			t.Errorf("rows: got %q, want %q", got, want)
		}
	})
}

func TestWriter_CloseFinishesTheGroupAndRefusesTheRest(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		db := openGroups(t)
		release := make(chan struct{})
		holder, waiter, closed := make(chan error, 1), make(chan error, 1), make(chan error, 1)
		go func() {
			holder <- db.Write(t.Context(), func(ctx context.Context, tx Tx) error {
				<-release
				return put(1)(ctx, tx)
			})
		}()
		synctest.Wait()
		go func() { waiter <- db.Write(t.Context(), put(2)) }()
		synctest.Wait()
		go func() { closed <- db.Close() }()
		if err := <-waiter; !errors.Is(err, ErrClosed) {
			t.Errorf("waiter: got %v, want %v", err, ErrClosed)
		}
		close(release)
		if err := <-holder; err != nil {
			t.Errorf("holder: %v", err)
		}
		if err := <-closed; err != nil {
			t.Errorf("Close: %v", err)
		}
	})
}

// Slow writes don't hold up the commit of those before them for longer than one of them takes.
func TestWriter_GroupEndsAfterAWhile(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		db := openGroups(t)
		release := make(chan struct{})
		var group sync.WaitGroup
		write := func(fn func(context.Context, Tx) error, then func()) { // and wait until it is in line
			group.Go(func() {
				if err := db.Write(context.Background(), fn); err != nil {
					t.Error(err)
				}
				then()
			})
			synctest.Wait()
		}
		nothing := func() {}
		write(func(context.Context, Tx) error { <-release; return nil }, nothing)
		var quick time.Duration
		began := time.Now()
		write(put(1), func() { quick = time.Since(began) })
		for range 5 {
			write(func(context.Context, Tx) error { time.Sleep(time.Second); return nil }, nothing)
		}
		close(release)
		group.Wait()
		if quick > time.Second {
			t.Errorf("quick write: took %v, want no more than a slow one takes", quick)
		}
	})
}

// When the database is locked, all who wait hear of it together, and not one after the other.
func TestWriter_LockedForAllAtOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		db := openGroups(t)
		locker, err := sql.Open("sqlite", "file:"+db.target)
		if err != nil {
			t.Fatal(err)
		}
		defer locker.Close()
		other, err := locker.Conn(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		defer other.Close()
		if _, err := other.ExecContext(t.Context(), `BEGIN IMMEDIATE`); err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		results := make(chan error)
		for n := range 4 {
			go func() { results <- db.Write(t.Context(), put(n)) }()
		}
		for range 4 {
			if err := <-results; !isUnavailable(err) {
				t.Errorf("got %v, want that the database is unavailable", err)
			}
		}
		if took := time.Since(began); took > 2*busyTimeout {
			t.Errorf("the last one heard of it after %v, want all after %v", took, busyTimeout)
		}
	})
}

func TestWriter_ForgetsStatementsBeyondTheBound(t *testing.T) {
	t.Parallel()
	db := openGroups(t)
	err := db.Write(t.Context(), func(ctx context.Context, tx Tx) error {
		for n := range 3 * maxPrepared {
			query := fmt.Sprintf(`INSERT INTO t (n) VALUES (%d + $1)`, n)
			if _, err := tx.ExecContext(ctx, query, 0); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if got := len(db.writer.prepared); got > maxPrepared {
		t.Errorf("prepared statements: got %d, want at most %d", got, maxPrepared)
	}
}

// A message is deleted from its queue after the commit, so a power cut must not undo a commit, unless that was wished for.
func TestWriter_SyncsEveryCommit(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ prefix, suffix, synchronous string }{
		{"", "", "2"}, {"sqlite:", "", "2"}, {"sqlite:", "?synchronous=normal", "1"}, {"", "?synchronous=normal", "2"},
	} {
		path := filepath.Join(t.TempDir(), "test.db")
		db, err := Open(t.Context(), test.prefix+path+test.suffix)
		if err != nil {
			t.Fatal(err)
		}
		for pragma, want := range map[string]string{
			"synchronous": test.synchronous, "journal_mode": "wal", "foreign_keys": "1",
		} {
			var got string
			if err := db.writer.conn.QueryRowContext(t.Context(), "PRAGMA "+pragma).Scan(&got); err != nil || got != want {
				t.Errorf("%s of %sPATH%s: got %q, %v, want %q", pragma, test.prefix, test.suffix, got, err, want)
			}
		}
		if err := db.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	}
}

// The image has no folder for temporary files.
func TestDB_SortsWithoutAFolderForTemporaryFiles(t *testing.T) {
	for _, name := range []string{"TMPDIR", "TMP", "TEMP", "SQLITE_TMPDIR"} {
		t.Setenv(name, filepath.Join(t.TempDir(), "missing"))
	}
	db := openGroups(t)
	const sorts = `SELECT count(*) FROM (SELECT n FROM
		(WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c WHERE n < 5000) SELECT n, hex(randomblob(500)) AS h FROM c)
		ORDER BY h LIMIT -1 OFFSET 1)`
	var got int
	if err := db.QueryRowContext(t.Context(), sorts).Scan(&got); err != nil || got != 4_999 {
		t.Errorf("read: got %d, %v, want 4999 rows", got, err)
	}
	err := db.Write(t.Context(), func(ctx context.Context, tx Tx) error { return tx.QueryRowContext(ctx, sorts).Scan(&got) })
	if err != nil {
		t.Errorf("write: %v", err)
	}
}
