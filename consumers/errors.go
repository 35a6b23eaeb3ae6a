package consumers

import (
	"context"
	"errors"
	"time"

	"github.com/device-fanout/fanout/consumers/failure"
	"github.com/device-fanout/fanout/consumers/internal/core"
	"github.com/device-fanout/fanout/consumers/internal/reused"
	"github.com/device-fanout/fanout/events"
)

// ErrLeaseLost is the cause of a handler's context ending when another consumer may hold the message by now: extending its
// visibility timeout failed for good. What the handler returns then has no effect.
var ErrLeaseLost = errors.New("consumers: lease lost")

// ErrStopping is the cause of a handler's context ending when the consumer stops and the drain timeout is over.
// The event is then released, and counts as not attempted.
var ErrStopping = errors.New("consumers: stopping")

// ErrRunning is what [Consumer.Run] returns while another Run of the same Consumer goes on.
var ErrRunning = errors.New("consumers: it is running already")

// What the errors of [Known], [RetryAfter] and [Unavailable] are; find them with [errors.As].
type (
	KnownError       = failure.KnownError
	RetryAfterError  = failure.RetryAfterError
	UnavailableError = failure.UnavailableError
)

// PanicError is what [Outcome] has of a handler that panicked.
type PanicError = failure.PanicError

// Known marks err as one that no retry can mend: the event goes to the dead-letter queue at once, with class known and this
// code. The code is short and stable, such as "no_such_device"; failures are grouped by it. err may be nil.
func Known(code string, err error) error { return &KnownError{Code: code, Err: err} }

// RetryAfter hands the event and its device's later events back to the queue: they come again, in order and perhaps to another
// process, after d, in whole seconds from one to [MaxRetryAfter]. That counts as one receive, for the later events too. An event that
// has been received as often as the queue allows is not handed back any more, but goes to the dead-letter queue as exhausted.
func RetryAfter(d time.Duration, err error) error { return &RetryAfterError{Delay: d, Err: err} }

// MaxRetryAfter is the longest delay of [RetryAfter]. SQS hides a message for twelve hours at most, the time it was held included.
const MaxRetryAfter = core.MaxRetryAfter

// Unavailable says that a dependency of the handler is down, so that no event can be handled at the moment. It opens the
// consumer's circuit breaker: nothing is started but one event now and then, and the event is kept, until an attempt succeeds.
func Unavailable(err error) error { return &UnavailableError{Err: err} }

// Reused tells the consumer that event has the identity of an earlier one that the service has handled, but another type or payload. The
// handler leaves it at that and returns what Reused does: nil, as it is a duplicate all the same, or, with [Config].RefuseReused, a [Known]
// error with [CodeIDReused]. Such events are counted in [Stats], and logged with both times, first ten of them and then one a second at most.
//
// The guards of package inbox and the ready services call it; a handler with a guard of its own may. ctx is the handler's, or was made from
// it; with any other one nothing happens and the result is nil. earlier is the time of the earlier event, or zero if that is not known.
func Reused(ctx context.Context, event events.Event, earlier time.Time) error {
	return reused.Tell(ctx, event, earlier)
}

// Codes of failures that the runtime itself finds. A decoding failure has the code of its [events.Error] instead.
const (
	CodeNoHandler     = failure.CodeNoHandler     // known: the service hears a type that it has no handler for
	CodeGroupMismatch = failure.CodeGroupMismatch // known: the message group is not the event's device
	CodeIDReused      = failure.CodeIDReused      // known, if Config.RefuseReused is set: another event had the same identity
	CodePanic         = failure.CodePanic         // the handler panicked
	CodeTimeout       = failure.CodeTimeout       // the handler's time was over
	CodeError         = failure.CodeError         // any other error
)
