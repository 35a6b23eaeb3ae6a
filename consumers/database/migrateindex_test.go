package database_test

import (
	"context"
	"database/sql"
	"errors"
	"path/filepath"
	"sync"
	"testing"

	"github.com/device-fanout/fanout/consumers/database"
	"github.com/device-fanout/fanout/consumers/database/databasetest"
)

// indexed is a step that builds an index beside running services, and then does something else.
const indexed = `CREATE UNIQUE INDEX CONCURRENTLY IF NOT EXISTS lights_lit ON lights (lit, name); CREATE INDEX CONCURRENTLY IF NOT EXISTS lights_name ON lights (name);
	CREATE TABLE rooms (name TEXT)`

// plain opens a connection pool beside package database.
func plain(t *testing.T, target string) *sql.DB {
	t.Helper()
	db, err := sql.Open("pgx", target)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	return db
}

func run(t *testing.T, db interface {
	ExecContext(context.Context, string, ...any) (sql.Result, error)
}, statement string,
) {
	t.Helper()
	if _, err := db.ExecContext(t.Context(), statement); err != nil {
		t.Fatalf("%s: %v", statement, err)
	}
}

// A transaction that writes is open for long, so that the index can't be finished. Meanwhile everybody else writes.
func TestDB_MigrateBuildsIndexesBesideWriters(t *testing.T) {
	t.Parallel()
	target := databasetest.Postgres(t)
	db, service := open(t, target), plain(t, target)
	var group sync.WaitGroup
	defer group.Wait() // once the rest is undone
	tx, err := service.BeginTx(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer tx.Rollback() //nolint:errcheck // it is over by then
	run(t, tx, `INSERT INTO lights VALUES ('slow', 1)`)

	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	for range 3 { // several at once
		group.Go(func() {
			if err := db.Migrate(ctx, "lights", lights, indexed); err != nil && ctx.Err() == nil {
				t.Error(err)
			}
		})
	}
	for waiting := 0; waiting == 0; { // for the transaction
		err := service.QueryRowContext(t.Context(), `SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND $1 = ANY(pg_blocking_pids(pid))`, pidOf(t, tx)).Scan(&waiting)
		if err != nil {
			t.Fatal(err)
		}
	}
	conn, err := service.Conn(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	run(t, conn, `SET lock_timeout = '5s'`)
	run(t, conn, `INSERT INTO lights VALUES ('quick', 0)`) // is not locked out
	if err := tx.Commit(); err != nil {
		t.Fatal(err)
	}
	group.Wait()
	wantIndexes(t, db)
}

// pidOf is the server process of a transaction.
func pidOf(t *testing.T, tx *sql.Tx) (pid int) {
	t.Helper()
	if err := tx.QueryRowContext(t.Context(), `SELECT pg_backend_pid()`).Scan(&pid); err != nil {
		t.Fatal(err)
	}
	return pid
}

func wantIndexes(t *testing.T, db *database.DB) {
	t.Helper()
	var whole, rooms int
	err := errors.Join(
		db.QueryRowContext(t.Context(), `SELECT count(*) FROM pg_index
			WHERE indexrelid IN (to_regclass('lights_lit'), to_regclass('lights_name')) AND indisvalid AND indrelid = to_regclass('lights')`).Scan(&whole),
		db.QueryRowContext(t.Context(), `SELECT count(*) FROM rooms`).Scan(&rooms),
	)
	if err != nil || whole != 2 {
		t.Errorf("got %d whole indexes, %v, want 2, and table rooms", whole, err)
	}
}

// What a killed process has left is built anew.
func TestDB_MigrateBuildsAHalfBuiltIndexAnew(t *testing.T) {
	t.Parallel()
	target := databasetest.Postgres(t)
	db := open(t, target)
	run(t, db, `INSERT INTO lights VALUES ('hall', 0)`)
	if _, err := plain(t, target).ExecContext(t.Context(), `CREATE UNIQUE INDEX CONCURRENTLY lights_lit ON lights ((1 / lit))`); err == nil {
		t.Fatal("want a division by zero")
	}
	if err := db.Migrate(t.Context(), "lights", lights, indexed); err != nil {
		t.Fatal(err)
	}
	wantIndexes(t, db)
}

// With no table there yet, all of it is one transaction.
func TestDB_MigrateMakesNewTablesWithTheirIndexes(t *testing.T) {
	t.Parallel()
	db, err := database.Open(t.Context(), databasetest.Postgres(t))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if err := db.Migrate(t.Context(), "lights", lights, indexed, `CREATE TABLE (`); err == nil {
		t.Fatal("got no error, want that of the last step")
	}
	if err := db.QueryRowContext(t.Context(), `SELECT count(*) FROM lights`).Scan(new(int)); err == nil {
		t.Error("a failed step has left a table")
	}
	if err := db.Migrate(t.Context(), "lights", lights, indexed); err != nil {
		t.Fatal(err)
	}
	wantIndexes(t, db)
}

func TestMigrationRun_SaysWhatWasDone(t *testing.T) {
	t.Parallel()
	databasetest.Each(t, func(t *testing.T, target string) {
		first, second := setup(newLines()), setup(newLines())
		second.Steps = func(kind database.Kind) []string {
			return append(first.Steps(kind), `ALTER TABLE rows ADD COLUMN room TEXT`)
		}
		for _, step := range []struct {
			what     string
			setup    database.Setup
			check    bool
			from, to int
		}{
			{"checked before there was anything", first, true, 0, 1},
			{"checked once more", first, true, 0, 1},
			{"done", first, false, 0, 1},
			{"checked by the next", second, true, 1, 2},
			{"done by the next", second, false, 1, 2},
			{"done again", second, false, 2, 2},
			{"checked again", second, true, 2, 2},
			{"by the older one", first, false, 2, 2},
		} {
			run := database.MigrationRun{Check: step.check}
			db, err := database.OpenService(run.Context(t.Context()), target, step.setup)
			if err == nil {
				err = db.Close()
			}
			if errors.Is(err, database.ErrCheckOnly) != step.check || !step.check && err != nil {
				t.Errorf("%s: got %v", step.what, err)
			}
			if done := run.Done(); len(done) != 1 || done[0].Service != "lights" || done[0].From != step.from || done[0].To != step.to {
				t.Errorf("%s: got %+v, want from %d to %d", step.what, done, step.from, step.to)
			}
		}
	})
	file, look := filepath.Join(t.TempDir(), "no.db"), database.MigrationRun{Check: true}
	if _, err := database.OpenService(look.Context(t.Context()), file, setup(newLines())); !errors.Is(err, database.ErrCheckOnly) || database.Existing(file) == nil {
		t.Errorf("got %v, want that no file was made", err)
	}
	// To wait for a database is for a service.
	run := database.MigrationRun{}
	if db, err := database.OpenService(run.Context(t.Context()), "postgres://x@127.0.0.1:1/x?sslmode=disable", setup(newLines())); err == nil {
		db.Close()
		t.Error("a database that is down: got no error, want one")
	}
}
