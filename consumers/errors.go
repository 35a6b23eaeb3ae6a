package consumers

import "errors"

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

// Codes of failures that the runtime itself finds. A decoding failure has the code of its [events.Error] instead.
const (
	CodeNoHandler     = "no_handler"     // known: the service hears a type that it has no handler for
	CodeGroupMismatch = "group_mismatch" // known: the message group is not the event's device
	CodePanic         = "panic"          // the handler panicked
	CodeTimeout       = "timeout"        // the handler's time was over
	CodeError         = "error"          // any other error
)
