package database

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	sqlite3 "modernc.org/sqlite/lib"

	"github.com/device-fanout/fanout/consumers/database/databasetest"
	"github.com/device-fanout/fanout/consumers/failure"
	"github.com/device-fanout/fanout/consumers/internal/handlertime"
	"github.com/device-fanout/fanout/consumers/internal/postgrestest"
)

func isUnavailable(err error) bool {
	var down *failure.UnavailableError
	return errors.As(err, &down)
}

func TestVerdict(t *testing.T) {
	t.Parallel()
	state := func(code string) error { return &pgconn.PgError{Severity: "ERROR", Code: code, Message: "said so"} }
	fatal := func(code string) error { return &pgconn.PgError{Severity: "FATAL", Code: code, Message: "said so"} }
	reset := &net.OpError{Op: "read", Net: "tcp", Err: syscall.ECONNRESET}
	tests := map[string]struct {
		err  error
		down bool
	}{
		"nothing":                           {nil, false},
		"not an error of a database":        {errors.New("bell is broken"), false},
		"admin shutdown":                    {fatal("57P01"), true},
		"crash shutdown":                    {fatal("57P02"), true},
		"cannot connect now":                {fatal("57P03"), true},
		"database dropped":                  {fatal("57P04"), true},
		"statement cancelled":               {state("57014"), false},
		"connection failure":                {state("08006"), true},
		"PgBouncer":                         {fatal("08P01"), true},
		"protocol violation":                {state("08P01"), false},
		"disk full":                         {state("53100"), true},
		"out of memory":                     {state("53200"), true},
		"too many connections":              {fatal("53300"), true},
		"disk fails":                        {state("58030"), true},
		"read-only":                         {state("25006"), true},
		"serialization failure":             {state("40001"), false},
		"deadlock":                          {state("40P01"), false},
		"constraint":                        {state("23505"), false},
		"not storable":                      {state("22021"), false},
		"too complex":                       {state("54001"), false},
		"no such table":                     {state("42P01"), false},
		"lock not available":                {state("55P03"), false},
		"connection reset":                  {reset, true},
		"end of stream":                     {fmt.Errorf("receive: %w", io.ErrUnexpectedEOF), true},
		"refused":                           {syscall.ECONNREFUSED, true},
		"closed":                            {pgconn.ErrConnClosed, true},
		"time over in a statement":          {fmt.Errorf("timeout: %w", context.DeadlineExceeded), false},
		"cancelled in a statement":          {fmt.Errorf("timeout: %w", context.Canceled), false},
		"cut off, and so is its connection": {errors.Join(context.DeadlineExceeded, reset), false},
		"no rows":                           {sql.ErrNoRows, false},
		"known stays":                       {&failure.KnownError{Code: "x", Err: state("57P01")}, false},
		"retry later stays":                 {&failure.RetryAfterError{Err: reset}, false},
		"wrapped":                           {fmt.Errorf("lights: %w", errors.Join(errors.New("x"), fatal("57P01"))), true},
		"answer over a lost connection":     {errors.Join(state("23505"), reset), false},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got := Verdict(test.err)
			if isUnavailable(got) != test.down {
				t.Errorf("got %v, unavailable %t, want %t", got, !test.down, test.down)
			}
			if !test.down && got != test.err || !errors.Is(got, test.err) {
				t.Errorf("got %#v, want the error itself, or around it", got)
			}
			if again := Verdict(got); again != got {
				t.Errorf("a second time: got %v", again)
			}
		})
	}
}

func TestDownCode(t *testing.T) {
	t.Parallel()
	down := map[int]bool{
		sqlite3.SQLITE_BUSY: true, sqlite3.SQLITE_BUSY_SNAPSHOT: true, sqlite3.SQLITE_LOCKED: true, sqlite3.SQLITE_PROTOCOL: true,
		sqlite3.SQLITE_FULL: true, sqlite3.SQLITE_IOERR: true, sqlite3.SQLITE_IOERR_WRITE: true, sqlite3.SQLITE_IOERR_SHMSIZE: true,
		sqlite3.SQLITE_READONLY: true, sqlite3.SQLITE_READONLY_DBMOVED: true, sqlite3.SQLITE_CANTOPEN: true,
		sqlite3.SQLITE_ERROR: false, sqlite3.SQLITE_CONSTRAINT_UNIQUE: false, sqlite3.SQLITE_TOOBIG: false, sqlite3.SQLITE_MISMATCH: false,
		sqlite3.SQLITE_INTERRUPT: false, sqlite3.SQLITE_CORRUPT: false, sqlite3.SQLITE_NOTADB: false, sqlite3.SQLITE_SCHEMA: false,
	}
	for code, want := range down {
		if got := downCode(code); (got != "") != want {
			t.Errorf("code %d: got %q", code, got)
		}
	}
}

// What SQLite really answers.
func TestVerdict_SQLite(t *testing.T) {
	t.Parallel()
	exec := func(statements ...string) func(context.Context, Tx) error {
		return func(ctx context.Context, tx Tx) error {
			for _, s := range statements {
				if _, err := tx.ExecContext(ctx, s); err != nil {
					return err
				}
			}
			return nil
		}
	}
	for name, test := range map[string]struct {
		write func(context.Context, Tx) error
		down  bool
	}{
		"disk full":   {fillDisk, true},
		"read-only":   {exec(`PRAGMA query_only = 1`, `INSERT INTO t VALUES (1)`), true},
		"unique":      {exec(`INSERT INTO t VALUES (1)`, `INSERT INTO t VALUES (1)`), false},
		"mismatch":    {exec(`INSERT INTO t VALUES ('one')`), false},
		"no table":    {exec(`INSERT INTO nowhere VALUES (1)`), false},
		"own network": {func(context.Context, Tx) error { return &net.OpError{Op: "dial", Err: syscall.ECONNREFUSED} }, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if err := openGroups(t).Write(t.Context(), test.write); err == nil || isUnavailable(err) != test.down {
				t.Errorf("got %v, unavailable %t, want %t", err, !test.down, test.down)
			}
		})
	}
}

// Who holds the turn for long does not use up the time of those who wait.
func TestWriter_WaitingDoesNotUseUpTheHandlersTime(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		db := openGroups(t)
		results := make(chan error, 9)
		for n := range 9 {
			go func() {
				ctx, cancel := handlertime.WithTimeout(t.Context(), 3*time.Second, time.Time{})
				defer cancel()
				err := db.Write(ctx, func(ctx context.Context, tx Tx) error {
					time.Sleep(2 * time.Second)
					return put(n)(ctx, tx)
				})
				if err == nil {
					err = ctx.Err()
				}
				results <- err
			}()
		}
		for range 9 {
			if err := <-results; err != nil {
				t.Errorf("got %v, want that each had its time", err)
			}
		}
	})
}

// The wait for a turn is bounded, whatever those before do: by the bound of its own, and by the caller's deadline.
func TestWriter_NoTurnInTime(t *testing.T) {
	t.Parallel()
	for name, timeout := range map[string]time.Duration{"bound": 0, "deadline": 10 * time.Second} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				db := openGroups(t)
				release := make(chan struct{})
				holder := make(chan error)
				go func() {
					holder <- db.Write(context.Background(), func(context.Context, Tx) error {
						<-release
						return nil
					})
				}()
				synctest.Wait()
				ctx, want := t.Context(), turnTimeout
				if timeout > 0 {
					limited, cancel := context.WithTimeout(ctx, timeout)
					defer cancel()
					ctx, want = limited, timeout
				}
				began := time.Now()
				err := db.Write(ctx, put(1))
				if !isUnavailable(err) || time.Since(began) != want {
					t.Errorf("got %v after %v, want unavailable after %v", err, time.Since(began), want)
				}
				close(release)
				if err := <-holder; err != nil {
					t.Errorf("holder: %v", err)
				}
				if got := numbers(t, db); got != "" {
					t.Errorf("rows: got %q, want none: who left must not write", got)
				}
			})
		})
	}
}

// Who has a turn that could not begin in time leaves nothing behind, and nobody stuck.
func TestWriter_LeavesWhileItsTransactionBegins(t *testing.T) {
	t.Parallel()
	db := openGroups(t)
	locker, err := sql.Open("sqlite", "file:"+url.PathEscape(db.target))
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
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if err := db.Write(ctx, put(1)); !isUnavailable(err) {
		t.Errorf("locked: got %v, want unavailable", err)
	}
	if _, err := other.ExecContext(t.Context(), `ROLLBACK`); err != nil {
		t.Fatal(err)
	}
	if err := db.Write(t.Context(), put(2)); err != nil {
		t.Error(err)
	}
	if got := numbers(t, db); got != "2" {
		t.Errorf("rows: got %q, want 2", got)
	}
}

func TestPostgres_WaitingForAConnectionDoesNotUseUpTheHandlersTime(t *testing.T) {
	t.Parallel()
	db, err := Open(t.Context(), databasetest.Postgres(t)+"&pool_max_conns=1")
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	held, release := make(chan struct{}), make(chan struct{})
	holder := make(chan error)
	go func() {
		holder <- db.Write(context.Background(), func(context.Context, Tx) error {
			close(held)
			<-release
			return nil
		})
	}()
	<-held
	for name, write := range map[string]func(context.Context) error{
		"Write":       func(ctx context.Context) error { return db.Write(ctx, func(context.Context, Tx) error { return nil }) },
		"ExecContext": func(ctx context.Context) error { _, err := db.ExecContext(ctx, `SELECT 1`); return err },
	} {
		// The handler's time is over before a connection is free, unless it stands; the caller's own deadline does not stand.
		patient, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
		defer cancel()
		ctx, cancelHandling := handlertime.WithTimeout(patient, 10*time.Millisecond, time.Time{})
		defer cancelHandling()
		if err := write(ctx); !isUnavailable(err) || patient.Err() == nil {
			t.Errorf("%s: got %v, want unavailable at the end of the outer deadline", name, err)
		}
		cancelled, cancelNow := context.WithCancel(t.Context())
		time.AfterFunc(10*time.Millisecond, cancelNow)
		if err := write(cancelled); isUnavailable(err) || !errors.Is(err, context.Canceled) {
			t.Errorf("%s: cancelled: got %v, want %v", name, err, context.Canceled)
		}
	}
	close(release)
	if err := <-holder; err != nil {
		t.Error(err)
	}
}

// A statement that takes too long does not tell that the database is down.
func TestPostgres_SlowStatementIsNotAnOutage(t *testing.T) {
	t.Parallel()
	db, err := Open(t.Context(), databasetest.Postgres(t))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	const slow = `SELECT pg_advisory_xact_lock(hashtext(current_schema))` // until another connection lets go
	holder, err := db.pool.Conn(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer holder.Close()
	if _, err := holder.ExecContext(t.Context(), `SELECT pg_advisory_lock(hashtext(current_schema))`); err != nil {
		t.Fatal(err)
	}
	for name, write := range map[string]func(context.Context) error{
		"Write": func(ctx context.Context) error {
			return db.Write(ctx, func(ctx context.Context, tx Tx) error {
				_, err := tx.ExecContext(ctx, slow)
				return err
			})
		},
		"ExecContext":  func(ctx context.Context) error { _, err := db.ExecContext(ctx, slow); return err },
		"QueryContext": func(ctx context.Context) error { _, err := db.QueryContext(ctx, slow); return err },
	} {
		ctx, cancel := handlertime.WithTimeout(t.Context(), 500*time.Millisecond, time.Time{}) // it does not stand once it is sent
		err := write(ctx)
		cancel()
		if err == nil || isUnavailable(err) {
			t.Errorf("%s: got %v, want an error that is no verdict", name, err)
		}
	}
	if _, err := holder.ExecContext(t.Context(), `SELECT pg_advisory_unlock_all()`); err != nil {
		t.Fatal(err)
	}
}

// Two transactions that wait for each other, and two that saw the same state: PostgreSQL ends one of them, which is run again.
func TestPostgres_RunsAgainAfterDeadlockAndSerializationFailure(t *testing.T) {
	t.Parallel()
	target := databasetest.Postgres(t)
	for name, isolation := range map[string]string{"deadlock": "read committed", "serialization failure": "serializable"} {
		t.Run(name, func(t *testing.T) {
			db, err := Open(t.Context(), target)
			if err != nil {
				t.Fatal(err)
			}
			defer db.Close()
			if err := db.Migrate(t.Context(), name, `DROP TABLE IF EXISTS pair; CREATE TABLE pair (id INTEGER PRIMARY KEY, n INTEGER);
				INSERT INTO pair VALUES (1, 0), (2, 0)`); err != nil {
				t.Fatal(err)
			}
			var (
				group sync.WaitGroup
				met   sync.WaitGroup // both have done their first statement
				runs  [2]int
			)
			met.Add(2)
			for i := range 2 {
				group.Go(func() {
					err := db.Write(t.Context(), func(ctx context.Context, tx Tx) error {
						runs[i]++
						if _, err := tx.ExecContext(ctx, `SET TRANSACTION ISOLATION LEVEL `+isolation); err != nil {
							return err
						}
						if isolation == "serializable" {
							var sum int
							if err := tx.QueryRowContext(ctx, `SELECT sum(n) FROM pair`).Scan(&sum); err != nil {
								return err
							}
						} else if _, err := tx.ExecContext(ctx, `UPDATE pair SET n = n + 1 WHERE id = $1`, 1+i); err != nil {
							return err
						}
						if runs[i] == 1 {
							met.Done()
							met.Wait()
						}
						_, err := tx.ExecContext(ctx, `UPDATE pair SET n = n + 1 WHERE id = $1`, 2-i)
						return err
					})
					if err != nil {
						t.Errorf("transaction %d: %v", i, err)
					}
				})
			}
			group.Wait()
			if got := runs[0] + runs[1]; got < 3 {
				t.Errorf("runs: got %d, want one of the two run again", got)
			}
		})
	}
}

func TestPostgres_GivesUpAfterSomeSerializationFailures(t *testing.T) {
	t.Parallel()
	db, err := Open(t.Context(), databasetest.Postgres(t))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	runs := 0
	err = db.Write(t.Context(), func(ctx context.Context, tx Tx) error {
		runs++
		_, err := tx.ExecContext(ctx, `DO $$ BEGIN RAISE EXCEPTION SQLSTATE '40001'; END $$`)
		return err
	})
	var answer *pgconn.PgError
	if !errors.As(err, &answer) || isUnavailable(err) || runs != maxRuns {
		t.Errorf("got %v after %d runs, want the error as it is after %d", err, runs, maxRuns)
	}
	if _, err := db.ExecContext(t.Context(), `DO $$ BEGIN RAISE EXCEPTION SQLSTATE '40P01'; END $$`); !errors.As(err, &answer) || isUnavailable(err) {
		t.Errorf("got %v, want the error as it is", err)
	}
}

// A connection whose server can only be read is thrown away with all that were open beside it.
func TestPostgres_ThrowsConnectionsAwayThatCanOnlyRead(t *testing.T) {
	t.Parallel()
	db, err := Open(t.Context(), databasetest.Postgres(t))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	const open = 4
	pids := func() map[int]bool {
		var conns []*sql.Conn
		all := map[int]bool{}
		for range open {
			conn, err := db.pool.Conn(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			conns = append(conns, conn)
			var pid int
			if err := conn.QueryRowContext(t.Context(), `SELECT pg_backend_pid()`).Scan(&pid); err != nil {
				t.Fatal(err)
			}
			all[pid] = true
		}
		for _, conn := range conns {
			conn.Close()
		}
		return all
	}
	before := pids()
	runs := 0
	err = db.Write(t.Context(), func(ctx context.Context, tx Tx) error {
		if runs++; runs == 1 {
			if _, err := tx.ExecContext(ctx, `SET TRANSACTION READ ONLY`); err != nil {
				return err
			}
		}
		_, err := tx.ExecContext(ctx, `CREATE TABLE t (n INTEGER)`)
		return err
	})
	if err != nil || runs != 2 {
		t.Errorf("got %v after %d runs, want success on another connection", err, runs)
	}
	for pid := range pids() {
		if before[pid] {
			t.Errorf("connection of backend %d is still used", pid)
		}
	}
}

// A server that has vanished closes no connection. The first ping that is not answered is enough for all of them.
func TestPostgres_ThrowsConnectionsAwayThatSayNothing(t *testing.T) {
	t.Parallel()
	target, err := url.Parse(databasetest.Postgres(t))
	if err != nil {
		t.Fatal(err)
	}
	proxy := postgrestest.NewProxy(t, target.Host)
	target.Host = proxy.Address()
	config, err := pgx.ParseConfig(target.String())
	if err != nil {
		t.Fatal(err)
	}
	pool := openPool(*config, nil, 0)
	defer pool.Close()
	const open = 4
	pool.SetMaxOpenConns(open)
	pool.SetMaxIdleConns(open)
	var conns [open]*sql.Conn
	for i := range conns {
		if conns[i], err = pool.Conn(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	for _, conn := range conns {
		conn.Close()
	}
	proxy.Freeze()
	if err := writePostgres(t.Context(), pool, func(tx Tx) error {
		return tx.QueryRowContext(t.Context(), `SELECT 1`).Scan(new(int))
	}); err != nil {
		t.Error(err)
	}
	if got := proxy.Unanswered(); got != 1 {
		t.Errorf("pings: got %d, want 1 for all connections", got)
	}
}
