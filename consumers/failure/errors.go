package failure

import (
	"fmt"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strings"
	"time"
)

// Codes of failures that the runtime itself finds.
const (
	CodeNoHandler     = "no_handler"     // known: the service hears a type that it has no handler for
	CodeGroupMismatch = "group_mismatch" // known: the message group is not the event's device
	CodeIDReused      = "id_reused"      // known, if the service refuses it: another event had the same identity
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

// PanicError is the panic of a handler, or of the error that it returned.
type PanicError struct {
	Value any    // that panic was called with
	Stack []byte // of its goroutine, as [debug.Stack] has it
	At    string // the function where it happened and its file, such as "main.(*rooms).Handle rooms.go"; empty if that is not known
}

// Recovered makes the error of a panic with that value. The deferred function that has recovered it must call it, or be below its caller.
func Recovered(value any) *PanicError {
	return &PanicError{Value: value, Stack: debug.Stack(), At: panicked()}
}

func (e *PanicError) Error() string {
	return fmt.Sprintf("handler panicked: %v\n%s", e.Value, e.Stack)
}

// Unwrap returns the value if it is an error, or nil.
func (e *PanicError) Unwrap() error {
	err, _ := e.Value.(error)
	return err
}

// maxFrames bounds how deep panicked looks.
const maxFrames = 128

// panicked finds where the panic under way happened: the first frame of a program's own below that of the first panic. One that was
// recovered and began anew is below the second.
func panicked() string {
	var callers [maxFrames]uintptr
	frames := runtime.CallersFrames(callers[:runtime.Callers(2, callers[:])])
	at, below := "", false
	for {
		frame, more := frames.Next()
		switch {
		case frame.Function == "runtime.gopanic":
			at, below = "", true
		case strings.HasPrefix(frame.Function, "runtime.") || strings.HasPrefix(frame.Function, "internal/runtime/"):
		case below && at == "":
			at = frame.Function + " " + filepath.Base(frame.File)
		}
		if !more {
			return at
		}
	}
}
