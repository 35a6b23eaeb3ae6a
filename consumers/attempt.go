package consumers

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"time"

	"github.com/device-fanout/fanout/consumers/deadletter"
	"github.com/device-fanout/fanout/events"
)

// verdict is what is to become of a message after its handler.
type verdict struct {
	fate fate
	failure
	class     deadletter.Class // of a dead letter
	eventType string
	eventID   string
	attempts  int // handlers started
}

type fate int

const (
	released fate = iota // not our turn any more: the consumer stops, or the lease is lost
	handled
	dead
)

// failure is what is kept of a handler's error. The error itself is not touched again: it is the handler's, and its methods
// may panic.
type failure struct {
	known bool
	code  string
	text  string
}

// attempt decodes a message and runs its handler, with quick retries. It runs on a goroutine of its own; ctx ends when the
// lease is lost or when draining takes too long. The verdict is complete at any moment at which a handler may end the
// goroutine.
func (r *run) attempt(ctx context.Context, m *message, v *verdict) {
	v.eventType = m.eventType()
	event, err := events.Decode([]byte(m.body))
	if err != nil {
		v.refuse(failure{known: true, code: codeOf(err), text: err.Error()})
		return
	}
	v.eventType, v.eventID = event.Type(), event.ID
	if event.DeviceID != m.group {
		v.refuse(failure{known: true, code: CodeGroupMismatch, text: fmt.Sprintf(
			"consumers: message group is %q, want the event's device %q: only so its events stay in order", m.group, event.DeviceID)})
		return
	}
	budget, cancel := context.WithTimeout(ctx, r.cfg.Budget)
	defer cancel()
	for {
		v.attempts++
		if v.attempts > 1 {
			r.stats.retries.Add(1)
		}
		v.refuse(failure{code: CodePanic, text: "handler ended its goroutine"}) // unless it returns
		f := call(budget, r.handler, event)
		if f == nil {
			v.fate = handled
			return
		}
		if ctx.Err() != nil { // lease lost or stopping: whatever the handler says is not about the event
			v.fate = released
			return
		}
		v.refuse(*f)
		if f.known {
			return
		}
		delay := r.cfg.RetryDelay << (v.attempts - 1)
		end, _ := budget.Deadline()
		if lease := m.leaseEnd(); lease.Before(end) {
			end = lease
		}
		if v.attempts > r.cfg.Retries || !time.Now().Add(delay).Before(end) {
			return
		}
		select {
		case <-time.After(delay):
		case <-ctx.Done():
			v.fate = released
			return
		}
	}
}

// refuse makes it the verdict of a dead letter.
func (v *verdict) refuse(f failure) {
	v.fate, v.failure = dead, f
	switch {
	case f.known:
		v.class = deadletter.Known
	case v.attempts > 1:
		v.class = deadletter.Exhausted
	default:
		v.class = deadletter.Unknown
	}
}

// panicked makes it the verdict of a dead letter whose code, other than its handler, has panicked.
func (v *verdict) panicked(value any) { v.refuse(panicFailure(value)) }

// call runs a handler. It returns nil for success; a panic, also one of the error's methods, is a failure like others.
func call(ctx context.Context, handle Handler, event events.Event) (f *failure) {
	defer func() {
		if value := recover(); value != nil {
			panicked := panicFailure(value)
			f = &panicked
		}
	}()
	err := handle(ctx, event)
	if err == nil {
		return nil
	}
	var known *KnownError
	return &failure{known: errors.As(err, &known), code: codeOf(err), text: err.Error()}
}

func panicFailure(value any) failure {
	return failure{code: CodePanic, text: fmt.Sprintf("handler panicked: %v\n%s", value, debug.Stack())}
}

// codeOf finds the stable code of a failure.
func codeOf(err error) string {
	var known *KnownError
	var invalid *events.Error
	switch {
	case errors.As(err, &known):
		return known.Code
	case errors.As(err, &invalid):
		return string(invalid.Code)
	case errors.Is(err, context.DeadlineExceeded):
		return CodeTimeout
	}
	return CodeError
}
