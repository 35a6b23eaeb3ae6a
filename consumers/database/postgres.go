package database

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/stdlib"

	"github.com/device-fanout/fanout/consumers/internal/handlertime"
)

const (
	// defaultMaxConns is how many connections a service has open at most. A server takes 100 by default.
	defaultMaxConns = 16
	// connectTimeout bounds connecting when neither the URL nor the context does.
	connectTimeout = 10 * time.Second
	// pingAfter is how long a connection that nobody has used may be taken for one that works, and pingTimeout how long it has to show that
	// it does. A server that has vanished says nothing at all.
	pingAfter   = time.Second
	pingTimeout = 3 * time.Second
	// idleTime is how long a connection that nobody uses stays open.
	idleTime = 5 * time.Minute
)

func openPostgres(ctx context.Context, t target) (*DB, error) {
	fail := func(err error, hint string) (*DB, error) {
		return nil, &OpenError{Target: t.name, Hint: hint, Err: err}
	}
	if t.secret != nil {
		settings, err := t.secret.settings(ctx)
		if err != nil {
			return fail(err, hintSecret)
		}
		t.source = settings
	}
	config, maxConns, err := parsePostgres(t.source)
	if err != nil {
		return fail(err, wantTarget)
	}
	if t.secret != nil {
		t.secret.begin(config)
	}
	if config.ConnectTimeout == 0 {
		config.ConnectTimeout = connectTimeout
	}
	if validate := config.ValidateConnect; validate != nil {
		config.ValidateConnect = func(ctx context.Context, conn *pgconn.PgConn) error {
			if err := validate(ctx, conn); err != nil {
				if _, ok := err.(*pgconn.NotPreferredError); ok { // pgx looks for that type itself
					return err
				}
				return notWanted{err}
			}
			return nil
		}
	}
	pool := openPool(*config, t.secret, pingAfter)
	pool.SetMaxOpenConns(maxConns)
	pool.SetMaxIdleConns(maxConns)
	pool.SetConnMaxIdleTime(idleTime)
	if err := pool.PingContext(ctx); err != nil {
		return fail(errors.Join(err, pool.Close()), hintPostgres(err))
	}
	b := &batches{pool: pool}
	return &DB{kind: Postgres, target: t.name, pool: pool, batches: b, close: closeOnce(t.name, b.close, pool.Close)}, nil
}

// generation is in the custom data of a connection: which generation of connections it belongs to.
const generation = "fanout.generation"

// openPool makes a pool that prepares statements with arguments once per connection and reuses them. A connection whose server says
// that it stops, or that it can only be read, is thrown away, and so is one whose server does not answer to a ping after it was idle for
// pingAfter; and with it those that were opened before that, as soon as they are not in use: after a failover they all lead to the old
// primary, and a new one leads to the new primary. With a secret, its login replaces that of config.
func openPool(config pgx.ConnConfig, from *secret, pingAfter time.Duration) *sql.DB {
	var current atomic.Int64 // generation
	throwAway := func(conn *pgconn.PgConn) {
		if own, ok := conn.CustomData()[generation].(int64); ok {
			current.CompareAndSwap(own, own+1)
		}
	}
	config.OnPgError = func(conn *pgconn.PgConn, answer *pgconn.PgError) (keep bool) {
		if answer.Code == stateReadOnly || strings.HasPrefix(answer.Code, stateStopping) {
			throwAway(conn)
			return false
		}
		return !isFatal(answer)
	}
	isCurrent := func(conn *pgx.Conn) bool {
		return !conn.IsClosed() && conn.PgConn().CustomData()[generation] == current.Load()
	}
	connect := stdlib.GetConnector(
		config,
		stdlib.OptionBeforeConnect(beforeConnect),
		stdlib.OptionAfterConnect(func(_ context.Context, conn *pgx.Conn) error {
			conn.PgConn().CustomData()[generation] = current.Load()
			return nil
		}),
		stdlib.OptionShouldPing(func(ctx context.Context, p stdlib.ShouldPingParams) bool {
			if p.IdleDuration > pingAfter && isCurrent(p.Conn) {
				short, cancel := context.WithTimeout(ctx, pingTimeout)
				defer cancel()
				if err := p.Conn.Ping(short); err != nil && ctx.Err() == nil {
					throwAway(p.Conn.PgConn()) // ResetSession, which is next, sees it
				}
			}
			return false // it has been done
		}),
		stdlib.OptionResetSession(func(_ context.Context, conn *pgx.Conn) error {
			if !isCurrent(conn) {
				return driver.ErrBadConn
			}
			return nil
		}),
	)
	if from != nil {
		connect = connector{connect, from}
	}
	return sql.OpenDB(connect)
}

// connection waits for a connection, no longer than turnTimeout.
func connection(ctx context.Context, pool *sql.DB) (*sql.Conn, error) {
	if err := ctx.Err(); err != nil { // nothing was waited for
		return nil, fmt.Errorf("database: connect: %w", err)
	}
	defer handlertime.Pause(ctx)()
	patient, cancel := context.WithTimeout(ctx, turnTimeout)
	defer cancel()
	conn, err := pool.Conn(patient)
	var connect *pgconn.ConnectError
	switch {
	case err == nil:
		return conn, nil
	case !errors.As(err, &connect) && errors.Is(err, patient.Err()): // in line for one of those that are open
		return nil, waitEnded(ctx, "connection")
	}
	return nil, fmt.Errorf("database: connect: %w", Verdict(err))
}

// writePostgres is [DB.Write].
func writePostgres(ctx context.Context, pool *sql.DB, fn func(Tx) error) error {
	for run := 1; ; run++ {
		begun, err := writeOnce(ctx, pool, fn)
		staleConnection := run == 1 && !begun && lostConnection(err)
		if ctx.Err() != nil || !staleConnection && !runAgain(err, run) {
			return err
		}
	}
}

// writeOnce runs a transaction. It tells whether that has begun.
func writeOnce(ctx context.Context, pool *sql.DB, fn func(Tx) error) (begun bool, err error) {
	conn, err := connection(ctx, pool)
	if err != nil {
		return false, err
	}
	defer conn.Close() //nolint:errcheck // it only goes back to the pool, which looks at its state
	tx, err := conn.BeginTx(ctx, nil)
	if err != nil {
		return false, fmt.Errorf("database: begin: %w", Verdict(err))
	}
	defer tx.Rollback() //nolint:errcheck // after a commit there is nothing to roll back, else fn's error tells more
	if err := fn(tx); err != nil {
		reason := downReason(err)
		if reason == "" && lostConnection(err) && ctx.Err() == nil && isClosed(conn) { // it may be about another connection of fn's
			reason = "connection lost"
		}
		return true, marked(err, reason)
	}
	if err := tx.Commit(); err != nil {
		return true, fmt.Errorf("database: commit: %w", Verdict(err))
	}
	return true, nil
}

// isClosed tells whether a connection is gone.
func isClosed(conn *sql.Conn) bool {
	closed := true // also when it can't be asked any more
	_ = conn.Raw(func(raw any) error {
		closed = raw.(*stdlib.Conn).Conn().IsClosed()
		return nil
	})
	return closed
}

// parsePostgres parses a URL or settings for PostgreSQL. It takes pool_max_conns out of them: to the server it would be an unknown setting.
// The error does not tell what was in them.
func parsePostgres(source string) (config *pgx.ConnConfig, maxConns int, err error) {
	kind := "settings"
	if strings.Contains(source, "://") {
		kind = "a URL"
	}
	if config, err = pgx.ParseConfig(source); err != nil {
		return nil, 0, fmt.Errorf("not %s that PostgreSQL understands, mind that a password may need escapes%s", kind, parseReason(err))
	}
	maxConns = defaultMaxConns
	if value, ok := config.RuntimeParams["pool_max_conns"]; ok {
		if maxConns, err = strconv.Atoi(value); err != nil || maxConns < 1 {
			return nil, 0, errors.New("pool_max_conns is not a number from 1")
		}
		delete(config.RuntimeParams, "pool_max_conns")
	}
	return config, maxConns, nil
}

// parseReason returns the innermost cause of an error of pgx.ParseConfig, provided it repeats nothing of what was parsed, not even a
// word: pgx quotes that, or puts it behind a colon.
func parseReason(err error) string {
	for inner := err; inner != nil; inner = errors.Unwrap(inner) {
		err = inner
	}
	if text := err.Error(); !strings.ContainsAny(text, ":\"'`") {
		return ": " + text
	}
	return ""
}

const hintSecret = "see whether it exists, this program may read it, and it is JSON with username and password; host, port and dbname may come from PGHOST, PGPORT, PGDATABASE"

// hintPostgres says what to do about an error of the first connection.
func hintPostgres(err error) string {
	var (
		server *pgconn.PgError
		dns    *net.DNSError
		dial   *net.OpError
	)
	switch {
	case errors.As(err, &server):
		switch server.Code {
		case "28P01", "28000":
			return "see whether user and password are right and pg_hba.conf lets the user in"
		case "3D000":
			return "create the database or name another one"
		case "53300":
			return "the server has no connection left, lower pool_max_conns or raise max_connections"
		case "57P03":
			return "the server is starting or stopping, try again"
		}
		return "the server refused, see its log"
	case errors.As(err, &dns):
		return "see whether the name of the host is right"
	case errors.As(err, &dial), errors.Is(err, os.ErrDeadlineExceeded), errors.Is(err, context.DeadlineExceeded):
		return "see whether the server runs and host and port are right"
	default:
		return "see whether the server runs and the URL is right"
	}
}
