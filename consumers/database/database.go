package database

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"sync"
	"sync/atomic"

	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"
)

// DB is an open database. Its methods are safe for concurrent use.
type DB struct {
	kind    Kind
	target  string   // path or URL without its password
	pool    *sql.DB  // PostgreSQL: everything; SQLite: reads only
	writer  *writer  // SQLite only
	batches *batches // PostgreSQL only
	closed  atomic.Bool
	close   func() error
	opening *opening // of OpenService, when the database was not there; what is above is set later then, see there
}

// Tx is the transaction that [DB.Write] runs a function in. It must not be used after that function has returned, nor
// by several goroutines at once, and what it returns must be closed or scanned before. [*sql.Tx] has the same methods.
//
// On SQLite a statement that runs is not interrupted by its context: SQLite answers an interrupt by rolling back the
// whole transaction, and that would take the other writes of the group along.
type Tx interface {
	ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error)
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
	QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
}

// Open opens the database that target names. For SQLite that is "sqlite:PATH", or a path that looks like one: it has a folder, or ends in
// .db, .sqlite or .sqlite3, and a relative one has none of : @ = { " ' ; and , in it. For PostgreSQL it is a URL that starts with postgres:// or
// postgresql://, settings as libpq takes them ("host=db user=lights password=…"), or the JSON of a secret of RDS (engine, host, port, username,
// password, dbname), or names that secret, as "secretsmanager:ARN", see [RegisterSecrets]. Anything else is refused, and not repeated in the error, since it
// may hold a password.
//
// A SQLite file is created when it does not exist, for its owner alone; its folder must exist. One process may hold the file open more than once,
// and so may several processes, but they share one write lock: give each service a file of its own.
//
// "sqlite:PATH?synchronous=normal" does not wait for the disk: commits survive the end of the process, also by kill -9, but
// a power cut may undo the last of them. That is for databases that are worth no more than the queue before them, such
// as that of the local engine, which a power cut takes as well.
//
// For PostgreSQL URL and settings take what pgx takes (sslmode, connect_timeout, search_path and so on), and pool_max_conns, the
// most connections that are open at once (default 16). Passwords may come from PGPASSWORD or a password file as usual.
// Open connects once, to see whether it can; without connect_timeout and without a deadline of ctx it gives up after 10
// seconds.
//
// The error is an [*OpenError]. Close the DB when done.
func Open(ctx context.Context, target string) (*DB, error) {
	t, err := parseTarget(target)
	if err != nil {
		return nil, err
	}
	return open(ctx, t)
}

// Existing returns an [*OpenError] if target can't be parsed, or names a file of SQLite that is not there, which [Open] would create. It is for
// tools that look at what a service has written. Whether a database of PostgreSQL is there, only Open finds out.
func Existing(target string) error {
	t, err := parseTarget(target)
	if err != nil || t.kind != SQLite {
		return err
	}
	if _, err := os.Stat(t.source); err != nil {
		return &OpenError{Target: t.name, Hint: "name the database that the service has made", Err: withoutPath(err)}
	}
	return nil
}

func open(ctx context.Context, t target) (*DB, error) {
	if t.kind == Postgres {
		return openPostgres(ctx, t)
	}
	return openSQLite(ctx, t.source, t.relaxed)
}

// Kind tells which kind of database it is, for statements that must differ.
func (db *DB) Kind() Kind { return db.kind }

// String returns the path of the file, or the URL without its password.
func (db *DB) String() string { return db.target }

// Write runs fn in a transaction and commits. When Write returns nil the changes are on disk (see [Open] for the one
// exception); when fn fails, Write returns its error and nothing of fn is kept; when fn panics, the panic goes on
// after the rollback. An error that says that the database is down is marked as such, see [Verdict].
//
// After a serialization failure or a deadlock, and when the connection was lost before fn began, the transaction is run again at once, up to
// three times more: so fn may be called again, after what it did in tx was rolled back.
//
// Write blocks until its turn has come and the commit is done. It waits for its turn, or a connection, for 30 seconds at most, and the time
// that a consumer gives its handler stands meanwhile, and during the commit. On SQLite the end of ctx takes a write that has not
// begun out of the queue; one that has begun is finished. Transactions are short: on SQLite everybody else's writes wait
// for fn, so fn should do nothing but talk to tx. The isolation is the database's default: serializable on SQLite, read
// committed on PostgreSQL. Calling Write inside fn is an error, [ErrNested].
func (db *DB) Write(ctx context.Context, fn func(ctx context.Context, tx Tx) error) error {
	if ctx.Value(writingKey{db}) != nil {
		return ErrNested
	}
	if err := db.ready(ctx); err != nil {
		return err
	}
	inner := context.WithValue(ctx, writingKey{db}, true)
	if db.writer != nil {
		return db.writer.write(ctx, func(tx Tx) error { return fn(inner, tx) })
	}
	return writePostgres(ctx, db.pool, func(tx Tx) error { return fn(inner, tx) })
}

// writingKey marks the context of a function that runs inside Write.
type writingKey struct{ db *DB }

// QueryContext runs a query that only reads, outside of any write. It sees everything that was committed before. Close
// the rows. On SQLite it does not wait for writers nor hold them up, and a statement that writes is refused.
func (db *DB) QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error) {
	if err := db.ready(ctx); err != nil {
		return nil, err
	}
	rows, err := db.pool.QueryContext(ctx, query, args...)
	var file *sqlite.Error
	if errors.As(err, &file) && file.Code()&0xff == sqlite3.SQLITE_READONLY { // it is the statement that writes
		return nil, err
	}
	return rows, Verdict(err)
}

// QueryRowContext is like [DB.QueryContext] for at most one row. Scan the row: that frees its connection.
func (db *DB) QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row {
	if err := db.ready(ctx); err != nil && db.opening != nil {
		return db.opening.row(err)
	}
	return db.pool.QueryRowContext(ctx, query, args...)
}

// Close waits for the writes that have begun, refuses those that wait with [ErrClosed], and closes the database.
// It may be called more than once.
func (db *DB) Close() error {
	db.closed.Store(true)
	if db.opening != nil {
		err := db.opening.close()
		if db.close == nil { // it never came
			return err
		}
	}
	return db.close()
}

// closeOnce makes a close function that closes each of closers, once.
func closeOnce(target string, closers ...func() error) func() error {
	return sync.OnceValue(func() error {
		var first error
		for _, c := range closers {
			if err := c(); err != nil && first == nil {
				first = fmt.Errorf("database: close %s: %w", target, err)
			}
		}
		return first
	})
}
