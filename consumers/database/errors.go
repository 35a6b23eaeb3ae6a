package database

import (
	"errors"
	"strings"

	"github.com/device-fanout/fanout/internal/redact"
)

var (
	// ErrClosed is what the methods of a closed [DB] return.
	ErrClosed = errors.New("database: closed")
	// ErrNested is returned when the function passed to [DB.Write] calls Write with the context that it was given.
	// On SQLite the two would wait for each other without end.
	ErrNested = errors.New("database: write inside a write, want one write that does both")
)

// CodeNotStorable is the code of the known error that a handler makes of an error for which [NotStorable] is true.
const CodeNotStorable = "data_not_storable"

// NotStorable tells whether err says that a value cannot be held by its column, such as a NUL or JSON that is nested too deep by one of
// type JSONB. The same statement fails so whenever it is run again. It knows the answers of PostgreSQL, classes 22 and 54 of SQLSTATE.
func NotStorable(err error) bool {
	var answer interface{ SQLState() string }
	if !errors.As(err, &answer) {
		return false
	}
	state := answer.SQLState()
	return strings.HasPrefix(state, "22") || strings.HasPrefix(state, "54")
}

// OpenError says that a database cannot be opened. [Open] returns no other errors.
type OpenError struct {
	// Target is the path of the file, or the URL without its password; of what can't be parsed it says that it is not shown.
	Target string
	// Hint says what to do about it.
	Hint string
	// Err is the cause.
	Err error
}

// Error names the database, the cause and what to do.
func (e *OpenError) Error() string {
	return "database: open " + e.Target + ": " + redact.Text(e.Err.Error()) + ": " + e.Hint
}

// Unwrap returns the cause.
func (e *OpenError) Unwrap() error { return e.Err }
