package attempt

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/device-fanout/fanout/consumers/deadletter"
	"github.com/device-fanout/fanout/consumers/failure"
	"github.com/device-fanout/fanout/events"
)

// Kind is what is to become of a message.
type Kind int

// The kinds of verdicts.
const (
	Released    Kind = iota // it is not ours any more, or never was tried: it is delivered again
	Handled                 // it can be deleted
	Dead                    // it goes to the dead-letter queue, unless the adapter tries it again
	RetryAfter              // the handler wants it again after Delay
	Unavailable             // a dependency of the handler is down: it waits
)

// Failure is what is kept of a handler's error, so that nothing else has to touch it: it is the handler's, and its methods may panic.
type Failure struct {
	Kind  Kind // Dead, RetryAfter or Unavailable
	Known bool // no retry can mend it
	Code  string
	Text  string
	Delay time.Duration // of RetryAfter, as the handler gave it
}

// Verdict is what is to become of a message, and why. The zero value is that of one that was not tried. Verdicts can't be compared,
// as not every error can; compare their Failures.
type Verdict struct {
	Failure                 // its Kind is that of the verdict
	Err       error         // that of the handler, for hooks and [deadletter.CauseOf]: its methods may panic
	Class     failure.Class // of a dead letter
	EventType string
	EventID   string // empty if the event could not be decoded
	Attempts  int    // handlers started
	Earlier   bool   // it was tried before this attempt: set by the adapter before [Service.Run]

	_ [0]func()
}

// Refuse makes f the verdict, and err its error.
func (v *Verdict) Refuse(f Failure, err error) {
	f.Kind = cmp.Or(f.Kind, Dead)
	v.Failure, v.Err = f, err
	switch {
	case f.Kind != Dead:
		v.Class = ""
	case f.Known:
		v.Class = failure.Known
	case v.Attempts > 1 || v.Earlier:
		v.Class = failure.Exhausted
	default:
		v.Class = failure.Unknown
	}
}

// cause is what the dead letter is grouped by, beside its code.
func (v *Verdict) cause(device string) string {
	switch {
	case v.Class == failure.Parked: // its text names the event that it follows
		return ""
	case v.Err != nil:
		return deadletter.CauseOf(v.Err, v.EventID, device)
	}
	return deadletter.CauseOfText(v.Text, v.EventID, device)
}

// accept makes success the verdict, or that the message is not ours any more.
func (v *Verdict) accept(kind Kind) {
	v.Failure, v.Err, v.Class = Failure{Kind: kind}, nil, ""
}

// Panicked makes a panic with that value the verdict.
func (v *Verdict) Panicked(value any) { v.Refuse(panicked(value)) }

// Name is what hooks and metrics call the verdict.
func (v *Verdict) Name() string {
	switch v.Kind {
	case Handled:
		return "handled"
	case Dead:
		if v.Known {
			return "known"
		}
		return "exhausted"
	case RetryAfter:
		return "retry_after"
	case Unavailable:
		return "unavailable"
	}
	return "released"
}

// Sentinel is an error of the service's own that no retry can mend, with its code.
type Sentinel struct {
	Code string
	Err  error
}

// Sentinels lists the errors of a setting, in the order of their codes, and what is wrong with them.
func Sentinels(known map[string]error) (list []Sentinel, faults []error) {
	for _, code := range slices.Sorted(maps.Keys(known)) {
		if code == "" || known[code] == nil {
			faults = append(faults, fmt.Errorf("got code %q with error %v, want a code and an error", code, known[code]))
			continue
		}
		list = append(list, Sentinel{code, known[code]})
	}
	return list, faults
}

// FailureOf tells what an error of a handler means; err is not nil. It panics if a method of the error does.
func FailureOf(err error, known []Sentinel) Failure {
	f := Failure{Kind: Dead, Code: codeOf(err), Text: err.Error()}
	var refused *failure.KnownError
	var after *failure.RetryAfterError
	var unavailable *failure.UnavailableError
	switch {
	case errors.As(err, &refused):
		f.Known = true
	case errors.As(err, &unavailable):
		f.Kind = Unavailable
	case errors.As(err, &after):
		f.Kind, f.Delay = RetryAfter, after.Delay
	default:
		for _, s := range known {
			if errors.Is(err, s.Err) {
				f.Known, f.Code = true, s.Code
				break
			}
		}
	}
	return f
}

// codeOf finds the stable code of a failure.
func codeOf(err error) string {
	var known *failure.KnownError
	var invalid *events.Error
	switch {
	case errors.As(err, &known):
		return known.Code
	case errors.As(err, &invalid):
		return string(invalid.Code)
	case errors.Is(err, context.DeadlineExceeded):
		return failure.CodeTimeout
	}
	return failure.CodeError
}

// refused is the failure of a message that no handler can take.
func refused(code string, err error) (Failure, error) {
	return Failure{Known: true, Code: code, Text: err.Error()}, err
}

func panicked(value any) (Failure, error) {
	err := failure.Recovered(value)
	return Failure{Kind: Dead, Code: failure.CodePanic, Text: err.Error()}, err
}
