package failure

import (
	"fmt"
	"time"
)

// Codes of failures that the runtime itself finds.
const (
	CodeNoHandler     = "no_handler"     // known: the service hears a type that it has no handler for
	CodeGroupMismatch = "group_mismatch" // known: the message group is not the event's device
	CodePanic         = "panic"          // the handler panicked
	CodeTimeout       = "timeout"        // the handler's time was over
	CodeError         = "error"          // any other error
)

// KnownError is an error that no retry can mend.
type KnownError struct {
	Code string // short and stable; failures are grouped by it
	Err  error  // may be nil
}

func (e *KnownError) Error() string {
	if e.Err == nil {
		return e.Code
	}
	return e.Err.Error()
}

// Unwrap returns the cause, or nil.
func (e *KnownError) Unwrap() error { return e.Err }

// RetryAfterError asks for the event to be tried again after a while.
type RetryAfterError struct {
	Delay time.Duration
	Err   error // may be nil
}

func (e *RetryAfterError) Error() string {
	if e.Err == nil {
		return fmt.Sprintf("try again after %v", e.Delay)
	}
	return e.Err.Error()
}

// Unwrap returns the cause, or nil.
func (e *RetryAfterError) Unwrap() error { return e.Err }

// UnavailableError says that what a handler depends on is down, so that nothing is wrong with the event.
type UnavailableError struct{ Err error } // may be nil

func (e *UnavailableError) Error() string {
	if e.Err == nil {
		return "a dependency is down"
	}
	return e.Err.Error()
}

// Unwrap returns the cause, or nil.
func (e *UnavailableError) Unwrap() error { return e.Err }
