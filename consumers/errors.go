package consumers

import (
	"errors"
	"fmt"
	"time"
)

// ErrLeaseLost is the cause of a handler's context ending when another consumer may hold the message by now: extending its
// visibility timeout failed for good. What the handler returns then has no effect.
var ErrLeaseLost = errors.New("consumers: lease lost")

// ErrStopping is the cause of a handler's context ending when the consumer stops and the drain timeout is over.
// The event is then released, and counts as not attempted.
var ErrStopping = errors.New("consumers: stopping")

// KnownError is an error that no retry can mend. See [Known].
type KnownError struct {
	Code string
	Err  error
}

func (e *KnownError) Error() string {
	if e.Err == nil {
		return e.Code
	}
	return e.Err.Error()
}

func (e *KnownError) Unwrap() error { return e.Err }

// Known marks err as one that no retry can mend: the event goes to the dead-letter queue at once, with class known and this
// code. The code is short and stable, such as "no_such_device"; failures are grouped by it.
func Known(code string, err error) error { return &KnownError{Code: code, Err: err} }

// RetryAfterError hands a device back for a while. See [RetryAfter].
type RetryAfterError struct {
	Delay time.Duration
	Err   error
}

func (e *RetryAfterError) Error() string {
	if e.Err == nil {
		return fmt.Sprintf("try again after %v", e.Delay)
	}
	return e.Err.Error()
}

func (e *RetryAfterError) Unwrap() error { return e.Err }

// RetryAfter hands the event and its device's later events back to the queue: they come again, in order and perhaps to another
// process, after d, in whole seconds from one to [MaxRetryAfter]. That counts as one receive, for the later events too. An event that
// has been received as often as the queue allows is not handed back any more, but goes to the dead-letter queue as exhausted.
func RetryAfter(d time.Duration, err error) error { return &RetryAfterError{Delay: d, Err: err} }

// MaxRetryAfter is the longest delay of [RetryAfter]. SQS hides a message for twelve hours at most, the time it was held included.
const MaxRetryAfter = 11 * time.Hour

// UnavailableError says that what a handler depends on is down. See [Unavailable].
type UnavailableError struct{ Err error }

func (e *UnavailableError) Error() string {
	if e.Err == nil {
		return "a dependency is down"
	}
	return e.Err.Error()
}

func (e *UnavailableError) Unwrap() error { return e.Err }

// Unavailable says that a dependency of the handler is down, so that no event can be handled at the moment. It opens the
// consumer's circuit breaker: nothing is received or started, and the event is kept and tried again, until an attempt succeeds.
func Unavailable(err error) error { return &UnavailableError{Err: err} }

// Codes of failures that the runtime itself finds. A decoding failure has the code of its [events.Error] instead.
const (
	CodeNoHandler     = "no_handler"     // known: the service hears a type that it has no handler for
	CodeGroupMismatch = "group_mismatch" // known: the message group is not the event's device
	CodePanic         = "panic"          // the handler panicked
	CodeTimeout       = "timeout"        // the handler's time was over
	CodeError         = "error"          // any other error
)
