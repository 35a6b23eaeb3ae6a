package database

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"

	"github.com/device-fanout/fanout/consumers/failure"
)

// Verdict marks an error of a database that says that the database is down, so that nothing is wrong with the event: it is then a
// [*failure.UnavailableError], which is what consumers.Unavailable makes, around err. Any other error, and nil, is returned as it is, and
// so is one that is a verdict already: consumers.Known, RetryAfter or Unavailable.
//
// The methods of [DB] do that themselves. Verdict is for what they can't see, the errors of [sql.Row] and [sql.Rows], and for handlers with a
// database of their own on the same drivers.
//
//	what has happened                                       PostgreSQL            SQLite
//	no connection: refused, reset, no answer, unknown host  any error of connecting
//	connection lost                                         EOF, reset, 08xxx
//	server stopping, starting or crashed                    57P01 to 57P05
//	out of disk, memory or connections                      53xxx, 58030          SQLITE_FULL, SQLITE_IOERR
//	can only be read                                        25006                 SQLITE_READONLY
//	locked by another process                                                     SQLITE_BUSY, SQLITE_LOCKED, SQLITE_PROTOCOL
//	the file can't be opened any more                                             SQLITE_CANTOPEN
//	the file was deleted, renamed or replaced                                     found after each commit
//	no connection of the pool, or no turn to write, in time yes                   yes
//
// 08P01 counts only when it ends the connection, as the answers of PgBouncer do: the server also says it of an argument that can't be
// read. What says something about the data or the statement stays as it is, constraints and values that can't be stored among it.
// So does a statement that was cut off by the end of its context: that it took too long does not tell why. And so does an error of the
// classes 40001 (serialization failure) and 40P01 (deadlock), after the attempts of [DB.Write] and [DB.ExecContext].
func Verdict(err error) error {
	reason := downReason(err)
	if reason == "" && lostConnection(err) {
		reason = "connection lost"
	}
	return marked(err, reason)
}

// marked makes err one that says that the database is down, for that reason. Without a reason, or as a verdict already, it stays.
func marked(err error, reason string) error {
	if err == nil || reason == "" {
		return err
	}
	var (
		known       *failure.KnownError
		after       *failure.RetryAfterError
		unavailable *failure.UnavailableError
	)
	if errors.As(err, &known) || errors.As(err, &after) || errors.As(err, &unavailable) {
		return err
	}
	return &failure.UnavailableError{Err: fmt.Errorf("%s: %w", reason, err)}
}

// downReason says in words why an answer of a database, or the attempt to connect to it, means that it is down. It is empty for any
// other error.
func downReason(err error) string {
	if err == nil {
		return ""
	}
	var (
		answer  *pgconn.PgError
		connect *pgconn.ConnectError
		file    *sqlite.Error
	)
	switch {
	case errors.As(err, &connect):
		if errors.Is(err, context.Canceled) {
			return "" // who asked has gone
		}
		if errors.As(err, &answer) && downState(answer) != "" {
			return downState(answer)
		}
		return "no connection"
	case errors.As(err, &answer):
		return downState(answer)
	case errors.As(err, &file):
		return downCode(file.Code())
	}
	return ""
}

// downState is downReason for an answer of a PostgreSQL server.
func downState(answer *pgconn.PgError) string {
	state := answer.Code
	switch {
	case state == stateReadOnly:
		return "database can only be read"
	case strings.HasPrefix(state, stateStopping):
		return "server is stopping or starting"
	case state == "53100":
		return "disk of the server is full"
	case strings.HasPrefix(state, "53"):
		return "server is out of resources"
	case state == "58030":
		return "disk of the server fails"
	case state == "08P01" && !isFatal(answer):
		return ""
	case strings.HasPrefix(state, "08"):
		return "connection lost"
	}
	return ""
}

const (
	stateReadOnly      = "25006" // read_only_sql_transaction
	stateStopping      = "57P0"  // and a digit: admin_shutdown, crash_shutdown, cannot_connect_now, database_dropped, idle_session_timeout
	stateSerialization = "40001" // serialization_failure
	stateDeadlock      = "40P01" // deadlock_detected
)

func isFatal(answer *pgconn.PgError) bool {
	for _, severity := range []string{answer.Severity, answer.SeverityUnlocalized} {
		if strings.EqualFold(severity, "FATAL") || strings.EqualFold(severity, "PANIC") {
			return true
		}
	}
	return false
}

// downCode is downReason for a result code of SQLite.
func downCode(code int) string {
	switch code & 0xff { // the primary code
	case sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_PROTOCOL:
		return "database is locked"
	case sqlite3.SQLITE_FULL:
		return "disk is full"
	case sqlite3.SQLITE_IOERR: // what SQLite says of a full disk when it is a companion file that can't grow
		return "disk is full or fails"
	case sqlite3.SQLITE_READONLY:
		return "database can only be read"
	case sqlite3.SQLITE_CANTOPEN:
		return downFile
	}
	return ""
}

const downFile = "file can't be opened"

// lostConnection tells whether err says that a connection broke, which is not the database's own answer. It is true of other connections
// than those to a database as well.
func lostConnection(err error) bool {
	if err == nil || errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return false
	}
	var answer *pgconn.PgError
	if errors.As(err, &answer) { // it was there to answer
		return false
	}
	var network *net.OpError
	if errors.As(err, &network) {
		return true
	}
	for _, lost := range []error{
		io.EOF, io.ErrUnexpectedEOF, driver.ErrBadConn, net.ErrClosed, pgconn.ErrConnClosed,
		syscall.ECONNRESET, syscall.ECONNREFUSED, syscall.EPIPE,
	} {
		if errors.Is(err, lost) {
			return true
		}
	}
	return false
}

// maxRuns is how often a transaction is run at most.
const maxRuns = 4

// runAgain tells whether a transaction that failed so in that run, counted from 1, is to be run once more at once. It was rolled back as
// a whole.
func runAgain(err error, run int) bool {
	var answer *pgconn.PgError
	if !errors.As(err, &answer) {
		return false
	}
	switch answer.Code {
	case stateSerialization, stateDeadlock:
		return run < maxRuns
	case stateReadOnly: // the next connection may lead to the new primary
		return run < 2
	}
	return false
}

// turnTimeout is how long a write waits at most for its turn, and for a connection. It is long, since others' transactions are mostly
// what it waits for, and that does not use up the handler's time.
const turnTimeout = 30 * time.Second

// waitEnded is the error of a wait for what that was ended by ctx, or by turnTimeout.
func waitEnded(ctx context.Context, what string) error {
	switch err := ctx.Err(); {
	case err == nil:
		return &failure.UnavailableError{Err: fmt.Errorf("database: no %s within %v", what, turnTimeout)}
	case errors.Is(err, context.DeadlineExceeded):
		return &failure.UnavailableError{Err: fmt.Errorf("database: no %s in time: %w", what, err)}
	default:
		return fmt.Errorf("database: wait for %s: %w", what, err)
	}
}
