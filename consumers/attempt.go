package consumers

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"runtime/debug"
	"slices"
	"time"

	"github.com/device-fanout/fanout/consumers/deadletter"
	"github.com/device-fanout/fanout/events"
)

// verdict is what is to become of a message after its handler.
type verdict struct {
	fate fate
	failedAttempt
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
	later // the device goes back to the queue for a while
	down  // a dependency of the handler is down
)

// failure is what is kept of a handler's error. The error itself is not touched again: it is the handler's, and its methods
// may panic.
type failedAttempt struct {
	fate  fate // dead, later or down
	known bool
	code  string
	text  string
	delay time.Duration
}

// attempt decodes a message and runs its handler, with quick retries. It runs on a goroutine of its own; ctx ends when the
// lease is lost or when draining takes too long. The verdict is complete at any moment at which a handler may end the
// goroutine.
func (r *run) attempt(ctx context.Context, m *message, v *verdict) {
	v.eventType = m.eventType()
	if m.isMark() { // the end of a release that is no more, or a policy that knows none
		v.fate = handled
		return
	}
	event, err := r.decode(m)
	if r.cfg.Hooks.Handle != nil {
		hooked, finish := r.cfg.Hooks.Handle(ctx, m.delivery(r.queue.Service, event))
		ctx = hooked
		defer func() { finish(v.outcome()) }()
	}
	if err != nil {
		v.refuse(failedAttempt{known: true, code: codeOf(err), text: err.Error()})
		return
	}
	v.eventType, v.eventID = event.Type(), event.ID
	if event.DeviceID != m.device {
		v.refuse(failedAttempt{known: true, code: CodeGroupMismatch, text: fmt.Sprintf(
			"consumers: message group is %q, want the event's device %q: only so its events stay in order", m.group, event.DeviceID)})
		return
	}
	budget, cancel := context.WithTimeout(ctx, r.cfg.HandlerTimeout)
	defer cancel()
	for {
		v.attempts++
		if v.attempts > 1 {
			r.stats.retries.Add(1)
		}
		v.refuse(failedAttempt{code: CodePanic, text: "handler ended its goroutine"}) // unless it returns
		f := r.call(budget, event)
		if f == nil {
			v.fate = handled
			return
		}
		if ctx.Err() != nil { // lease lost or stopping: whatever the handler says is not about the event
			v.fate = released
			return
		}
		v.refuse(*f)
		if v.known || v.fate != dead {
			return
		}
		m.stumble(v)
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

// decode reads the event in a message.
func (r *run) decode(m *message) (events.Event, error) {
	if r.cfg.UnknownTypes {
		return events.DecodeAny([]byte(m.body))
	}
	return events.Decode([]byte(m.body))
}

// refuse makes it the verdict of a dead letter.
func (v *verdict) refuse(f failedAttempt) {
	v.fate, v.failedAttempt = cmp.Or(f.fate, dead), f
	v.failedAttempt.fate = v.fate
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

// call runs the handler. It returns nil for success; a panic, also one of the error's methods, is a failure like others.
func (r *run) call(ctx context.Context, event events.Event) (f *failedAttempt) {
	defer func() {
		if value := recover(); value != nil {
			panicked := panicFailure(value)
			f = &panicked
		}
	}()
	err := r.handler(ctx, event)
	if err == nil {
		return nil
	}
	f = &failedAttempt{fate: dead, code: codeOf(err), text: err.Error()}
	var known *KnownError
	var after *RetryAfterError
	var unavailable *UnavailableError
	switch {
	case errors.As(err, &known):
		f.known = true
	case errors.As(err, &unavailable):
		f.fate = down
	case errors.As(err, &after):
		f.fate, f.delay = later, after.Delay
	default:
		for _, s := range r.sentinels {
			if errors.Is(err, s.err) {
				f.known, f.code = true, s.code
				break
			}
		}
	}
	return f
}

// sentinel is one of Config.Known.
type sentinel struct {
	code string
	err  error
}

func sentinelsOf(known map[string]error) []sentinel {
	var list []sentinel
	for _, code := range slices.Sorted(maps.Keys(known)) {
		list = append(list, sentinel{code, known[code]})
	}
	return list
}

func panicFailure(value any) failedAttempt {
	return failedAttempt{code: CodePanic, text: fmt.Sprintf("handler panicked: %v\n%s", value, debug.Stack())}
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
