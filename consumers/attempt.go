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
	fate      fate
	class     deadletter.Class // of a dead letter
	code      string
	err       error
	eventType string
	eventID   string
	attempts  int // handlers started
}

type fate int

const (
	handled fate = iota
	dead
	released // not our turn any more: the consumer stops, or the lease is lost
)

// attempt decodes a message and runs its handler, with quick retries. It runs on a goroutine of its own; ctx ends when the
// lease is lost or when draining takes too long.
func (r *run) attempt(ctx context.Context, m *message) verdict {
	v := verdict{eventType: m.eventType()}
	event, err := events.Decode([]byte(m.body))
	if err != nil {
		v.fate, v.class, v.code, v.err = dead, deadletter.Known, codeOf(err), err
		return v
	}
	v.eventType, v.eventID = event.Type(), event.ID
	if event.DeviceID != m.group {
		v.fate, v.class, v.code = dead, deadletter.Known, CodeGroupMismatch
		v.err = fmt.Errorf("consumers: message group is %q, want the event's device %q: only so its events stay in order", m.group, event.DeviceID)
		return v
	}
	budget, cancel := context.WithTimeout(ctx, r.cfg.Budget)
	defer cancel()
	for {
		v.attempts++
		if v.attempts > 1 {
			r.stats.retries.Add(1)
		}
		err := call(budget, r.handler, event)
		if err == nil {
			v.fate = handled
			return v
		}
		if ctx.Err() != nil { // lease lost or stopping: whatever the handler says is not about the event
			v.fate = released
			return v
		}
		v.fate, v.class, v.code, v.err = dead, deadletter.Exhausted, codeOf(err), err
		var known *KnownError
		if errors.As(err, &known) {
			v.class = deadletter.Known
			return v
		}
		delay := r.cfg.RetryDelay << (v.attempts - 1)
		end, _ := budget.Deadline()
		if lease := m.leaseEnd(); lease.Before(end) {
			end = lease
		}
		if v.attempts > r.cfg.Retries || !time.Now().Add(delay).Before(end) {
			if v.attempts == 1 {
				v.class = deadletter.Unknown
			}
			return v
		}
		select {
		case <-time.After(delay):
		case <-ctx.Done():
			v.fate = released
			return v
		}
	}
}

// call runs a handler and turns its panic into an error.
func call(ctx context.Context, handle Handler, event events.Event) (err error) {
	defer func() {
		if value := recover(); value != nil {
			err = &panicError{value: value, stack: debug.Stack()}
		}
	}()
	return handle(ctx, event)
}

// codeOf finds the stable code of a failure.
func codeOf(err error) string {
	var known *KnownError
	var invalid *events.Error
	var panicked *panicError
	switch {
	case errors.As(err, &known):
		return known.Code
	case errors.As(err, &invalid):
		return string(invalid.Code)
	case errors.As(err, &panicked):
		return CodePanic
	case errors.Is(err, context.DeadlineExceeded):
		return CodeTimeout
	}
	return CodeError
}
