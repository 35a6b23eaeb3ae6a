package database

import "errors"

var (
	// ErrClosed is what the methods of a closed [DB] return.
	ErrClosed = errors.New("database: closed")
	// ErrNested is returned when the function passed to [DB.Write] calls Write with the context that it was given.
	// On SQLite the two would wait for each other for ever.
	ErrNested = errors.New("database: write inside a write, want one write that does both")
)

// OpenError says that a database cannot be opened. [Open] returns no other errors.
type OpenError struct {
	// Target is the path of the file, or the URL without its password.
	Target string
	// Hint says what to do about it.
	Hint string
	// Err is the cause.
	Err error
}

// Error names the database, the cause and what to do.
func (e *OpenError) Error() string {
	return "database: open " + e.Target + ": " + e.Err.Error() + ": " + e.Hint
}

// Unwrap returns the cause.
func (e *OpenError) Unwrap() error { return e.Err }
