package database_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/jackc/pgx/v5/pgproto3"

	"github.com/device-fanout/fanout/consumers/database"
	"github.com/device-fanout/fanout/consumers/database/databasetest"
	"github.com/device-fanout/fanout/consumers/failure"
	"github.com/device-fanout/fanout/consumers/internal/postgrestest"
)

// lines is a log that tells of each line.
type lines struct {
	mu   sync.Mutex
	text bytes.Buffer
	each chan string // a line that nobody reads is not told
}

func newLines() *lines { return &lines{each: make(chan string, 100)} }

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	select {
	case l.each <- string(p):
	default:
	}
	return l.text.Write(p)
}

// await waits for a line that has part in it.
func (l *lines) await(part string) string {
	for line := range l.each {
		if strings.Contains(line, part) {
			return line
		}
	}
	return ""
}

func setup(log *lines) database.Setup {
	return database.Setup{
		Service: "lights", Steps: func(database.Kind) []string { return []string{`CREATE TABLE rows (name TEXT UNIQUE)`} },
		Logger: slog.New(slog.NewTextHandler(log, nil)),
	}
}

// uses are the ways to use a database.
func uses(db *database.DB) map[string]func(context.Context) error {
	return map[string]func(context.Context) error{
		"Write": func(ctx context.Context) error {
			return db.Write(ctx, func(ctx context.Context, tx database.Tx) error {
				_, err := tx.ExecContext(ctx, `DELETE FROM rows`)
				return err
			})
		},
		"ExecContext": func(ctx context.Context) error { _, err := db.ExecContext(ctx, `DELETE FROM rows`); return err },
		"QueryContext": func(ctx context.Context) error {
			rows, err := db.QueryContext(ctx, `SELECT name FROM rows`)
			if err == nil {
				err = rows.Close()
			}
			return err
		},
		"QueryRowContext": func(ctx context.Context) error {
			return db.QueryRowContext(ctx, `SELECT count(*) FROM rows`).Scan(new(int))
		},
		"Check":   db.Check,
		"Migrate": func(ctx context.Context) error { return db.Migrate(ctx, "more") },
	}
}

func TestOpenService_OpensAndMigrates(t *testing.T) {
	t.Parallel()
	databasetest.Each(t, func(t *testing.T, target string) {
		log := newLines()
		db, err := database.OpenService(t.Context(), target, setup(log))
		if err != nil {
			t.Fatal(err)
		}
		for name, use := range uses(db) {
			if err := use(t.Context()); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
		if err := db.Close(); err != nil {
			t.Error(err)
		}
		if got := log.text.String(); got != "" {
			t.Errorf("log: got %s, want nothing", got)
		}
	})
}

// What is there later is waited for, and every use says that it is not there yet.
func TestOpenService_WaitsForPostgres(t *testing.T) {
	t.Parallel()
	target := databasetest.Postgres(t)
	u, err := url.Parse(target)
	if err != nil {
		t.Fatal(err)
	}
	server := u.Host
	proxy := postgrestest.NewProxy(t, "127.0.0.1:1") // nobody listens there: every connection ends at once
	u.Host = proxy.Address()
	log := newLines()
	db, err := database.OpenService(t.Context(), u.String(), setup(log))
	if err != nil {
		t.Fatal(err)
	}
	log.await("waiting for it")
	if got := db.Kind(); got != database.Postgres {
		t.Errorf("kind: got %s", got)
	}
	for name, use := range uses(db) {
		var down *failure.UnavailableError
		if err := use(t.Context()); !errors.As(err, &down) || !strings.Contains(err.Error(), u.Host) {
			t.Errorf("%s: got %v, want that %s is unavailable", name, err, u.Host)
		}
	}
	proxy.Switch(server)
	log.await("database has come")
	for name, use := range uses(db) {
		if err := use(t.Context()); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := errors.Join(db.Close(), db.Close()); err != nil {
		t.Error(err)
	}
	for name, use := range uses(db) {
		if err := use(t.Context()); err == nil {
			t.Errorf("%s after Close: got no error", name)
		}
	}
}

// answering is a server that refuses every connection with the SQLSTATE of the moment.
func answering(t *testing.T, state *atomic.Value) (target string) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var group sync.WaitGroup
	group.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			backend := pgproto3.NewBackend(conn, conn)
			if _, err := backend.ReceiveStartupMessage(); err == nil {
				backend.Send(&pgproto3.ErrorResponse{Severity: "FATAL", Code: state.Load().(string), Message: "no"})
				_ = backend.Flush()
			}
			conn.Close()
		}
	})
	t.Cleanup(func() {
		listener.Close()
		group.Wait()
	})
	return "postgres://a:secret@" + listener.Addr().String() + "/x?sslmode=disable"
}

func TestOpenService_WaitsOnlyForWhatComes(t *testing.T) {
	t.Parallel()
	for state, comes := range map[string]bool{
		"57P03": true, "53300": true, "57P01": true, // starting, full, stopping
		"28P01": false, "28000": false, "3D000": false, "42501": false, // wrong password, refused, no such database, no permission
	} {
		t.Run(state, func(t *testing.T) {
			t.Parallel()
			var now atomic.Value
			now.Store(state)
			log := newLines()
			db, err := database.OpenService(t.Context(), answering(t, &now), setup(log))
			if (err == nil) != comes {
				if err == nil {
					db.Close()
				}
				t.Fatalf("got %v, want an error %t", err, !comes)
			}
			if err != nil {
				var open *database.OpenError
				if !errors.As(err, &open) {
					t.Errorf("got %v, want an *OpenError", err)
				}
				return
			}
			now.Store("28P01") // it has come, and only now shows that the password is wrong
			if line := log.await("waiting alone won't mend that"); !strings.Contains(line, "28P01") || strings.Contains(line, "secret") {
				t.Errorf("log: got %s, want why, without the password", line)
			}
			if err := db.Close(); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestOpenService_SaysWhatNoWaitingMends(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	text := filepath.Join(folder, "notes.txt")
	if err := os.WriteFile(text, []byte(strings.Repeat("This is no database. ", 100)), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, target := range map[string]string{
		"not a database": text, "a folder": folder, "folder missing": filepath.Join(folder, "no", "x.db"),
		"no target": "", "bad URL": "postgres://a:secret%zz@db/x", "bad setting": "postgres://a@127.0.0.1/x?sslmode=perhaps",
	} {
		if db, err := database.OpenService(t.Context(), target, setup(newLines())); err == nil {
			db.Close()
			t.Errorf("%s: got no error, want one", name)
		}
	}
	databasetest.Each(t, func(t *testing.T, target string) {
		newer := setup(newLines())
		steps := newer.Steps(database.SQLite)
		newer.Steps = func(database.Kind) []string {
			return append(steps, `CREATE TABLE more (n INTEGER)`, `CREATE TABLE most (n INTEGER)`)
		}
		db, err := database.OpenService(t.Context(), target, newer)
		if err != nil {
			t.Fatal(err)
		}
		if err := db.Close(); err != nil {
			t.Error(err)
		}
		if _, err := database.OpenService(t.Context(), target, setup(newLines())); err == nil || !strings.Contains(err.Error(), "run a program that knows version 2 or later") {
			t.Errorf("tables of a newer program: got %v, want that", err)
		}
	})
}

func TestOpenService_Cancelled(t *testing.T) {
	t.Parallel()
	listener, err := net.Listen("tcp", "127.0.0.1:0") // it says nothing
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		conn, err := listener.Accept()
		if err == nil {
			cancel()
			conn.Close()
		}
	}()
	if db, err := database.OpenService(ctx, "postgres://a@"+listener.Addr().String()+"/x?sslmode=disable", setup(newLines())); err == nil {
		db.Close()
		t.Error("got no error, want that it was cancelled")
	}
}

// Close ends the waiting.
func TestOpenService_ClosedBeforeTheDatabaseCame(t *testing.T) {
	t.Parallel()
	var state atomic.Value
	state.Store("57P03")
	db, err := database.OpenService(t.Context(), answering(t, &state), setup(newLines()))
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(db.Close(), db.Close()); err != nil {
		t.Error(err)
	}
	for name, use := range uses(db) {
		if err := use(t.Context()); err == nil {
			t.Errorf("%s: got no error, want one", name)
		}
	}
}

// Checks of several processes don't meet, and leave nothing behind.
func TestCheck_LeavesNothingBehind(t *testing.T) {
	t.Parallel()
	databasetest.Each(t, func(t *testing.T, target string) {
		db := openWithTable(t, target)
		tables := func() (n int) {
			query := `SELECT count(*) FROM sqlite_schema`
			if db.Kind() == database.Postgres {
				query = `SELECT count(*) FROM pg_class WHERE relnamespace = current_schema::regnamespace`
			}
			if err := db.QueryRowContext(t.Context(), query).Scan(&n); err != nil {
				t.Fatal(err)
			}
			return n
		}
		before := tables()
		var group sync.WaitGroup
		for range 4 {
			group.Go(func() {
				if err := db.Check(t.Context()); err != nil {
					t.Error(err)
				}
			})
		}
		group.Wait()
		if got := tables(); got != before {
			t.Errorf("tables and indexes: got %d, want the %d of before", got, before)
		}
	})
}

func TestCheck_FailsWhatCannotBeWritten(t *testing.T) {
	t.Parallel()
	for name, spoil := range map[string]string{"read-only": `PRAGMA query_only = 1`, "full": `PRAGMA max_page_count = 1`} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			db := openWithTable(t, databasetest.SQLite(t))
			if err := db.Write(t.Context(), func(ctx context.Context, tx database.Tx) error {
				_, err := tx.ExecContext(ctx, spoil)
				return err
			}); err != nil {
				t.Fatal(err)
			}
			var down *failure.UnavailableError
			if err := db.Check(t.Context()); !errors.As(err, &down) {
				t.Errorf("got %v, want that it is unavailable", err)
			}
		})
	}
}

func ExampleVerdict() {
	answer := func(err error) { // of a query
		var down *failure.UnavailableError
		fmt.Println(errors.As(database.Verdict(err), &down))
	}
	answer(fmt.Errorf("read lamp: %w", net.ErrClosed))
	answer(errors.New("no such lamp"))
	// Output:
	// true
	// false
}
