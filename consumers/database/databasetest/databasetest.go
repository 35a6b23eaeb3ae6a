// Package databasetest gives tests empty databases, so that one test says what must hold on SQLite and on PostgreSQL.
//
//	databasetest.Each(t, func(t *testing.T, target string) {
//		db, err := database.Open(t.Context(), target)
//		…
//	})
//
// SQLite needs nothing. For PostgreSQL set FANOUT_TEST_POSTGRES to the URL of a database in which the user may create
// schemas; without it that half is skipped, and says so.
package databasetest

import (
	"context"
	"crypto/rand"
	"database/sql"
	"io"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	_ "github.com/jackc/pgx/v5/stdlib" // driver "pgx"
)

// Variable is the environment variable that holds the URL of a PostgreSQL database for tests.
const Variable = "FANOUT_TEST_POSTGRES"

// Each runs test twice in parallel subtests, "sqlite" and "postgres", each with the target of an empty database of its
// own for database.Open.
func Each(t *testing.T, test func(t *testing.T, target string)) {
	t.Helper()
	t.Run("sqlite", func(t *testing.T) {
		t.Parallel()
		test(t, SQLite(t))
	})
	t.Run("postgres", func(t *testing.T) {
		t.Parallel()
		test(t, Postgres(t))
	})
}

// SQLite returns the target of a new SQLite database. It is removed when the test ends.
func SQLite(tb testing.TB) string {
	tb.Helper()
	return "sqlite:" + filepath.Join(tb.TempDir(), "test.db")
}

// Relaxed returns target as one of which SQLite does not wait for the disk, for a test of many commits and no loss of power.
func Relaxed(target string) string {
	if strings.HasPrefix(target, "sqlite:") {
		return target + "?synchronous=normal"
	}
	return target
}

// OpenAtOnce opens a service on one database four times at the same time, as the processes of a deployment do. They are closed when the test
// ends.
func OpenAtOnce[Service io.Closer](t *testing.T, open func() (Service, error)) []Service {
	t.Helper()
	var group sync.WaitGroup
	all := make([]Service, 4)
	for i := range all {
		group.Go(func() {
			service, err := open()
			if err != nil {
				t.Error(err)
				return
			}
			t.Cleanup(func() { _ = service.Close() })
			all[i] = service
		})
	}
	group.Wait()
	if t.Failed() {
		t.FailNow()
	}
	return all
}

// Postgres returns the URL of a new schema in the PostgreSQL database for tests. It is dropped when the test ends.
// Without such a database it skips the test.
func Postgres(tb testing.TB) string {
	tb.Helper()
	target := os.Getenv(Variable)
	if target == "" {
		tb.Skip("needs PostgreSQL: run with " + Variable + "=postgres://USER:PASSWORD@127.0.0.1:5432/DATABASE, whose user may create schemas")
	}
	u, err := url.Parse(target)
	if err != nil {
		tb.Fatalf("%s is no URL", Variable) // the error would show the password
	}
	schema := "test_" + strings.ToLower(rand.Text())
	run(tb, target, "CREATE SCHEMA "+schema)
	tb.Cleanup(func() { run(tb, target, "DROP SCHEMA "+schema+" CASCADE") })

	query := u.Query()
	query.Set("search_path", schema)
	u.RawQuery = query.Encode()
	return u.String()
}

// run runs one statement on a connection of its own.
func run(tb testing.TB, target, statement string) {
	tb.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second) // the test's context has ended in its cleanup
	defer cancel()
	db, err := sql.Open("pgx", target)
	if err != nil {
		tb.Fatalf("open %s: %v", Variable, err)
	}
	defer db.Close()
	if _, err := db.ExecContext(ctx, statement); err != nil {
		tb.Fatalf("%s on %s: %v", statement, Variable, err)
	}
}
