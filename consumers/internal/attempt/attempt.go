package attempt

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/device-fanout/fanout/consumers/failure"
	"github.com/device-fanout/fanout/consumers/internal/handlertime"
	"github.com/device-fanout/fanout/consumers/sqsapi"
	"github.com/device-fanout/fanout/events"
	awsx "github.com/device-fanout/fanout/internal/aws"
)

// Service is what all attempts of a service have in common. It is not changed by them, and safe for concurrent use.
type Service struct {
	// Handler handles an event; nil means that it did.
	Handler func(ctx context.Context, event events.Event) error
	// UnknownTypes hands it also events of types that this program has not registered; see [events.Raw].
	UnknownTypes bool
	// Known are the service's own errors that no retry can mend.
	Known []Sentinel
	// Retries is how often an event is tried again at once after an unknown error; zero or less means never.
	Retries int
	// RetryDelay is the pause before the first retry; each further one is twice as long.
	RetryDelay time.Duration
	// Faults hears of hooks that don't keep to their contract. Nil tells nobody.
	Faults *HookFaults
}

// CheckQueue lists what is missing of a service's queues, as the named package's error.
func CheckQueue(pkg string, q sqsapi.Queues) error {
	var faults []error
	for _, field := range []struct{ name, value string }{{"Service", q.Service}, {"URL", q.URL}, {"DLQURL", q.DLQURL}} {
		if field.value == "" {
			faults = append(faults, fmt.Errorf("%s: queue: %s is empty", pkg, field.name))
		}
	}
	return errors.Join(faults...)
}

// Timing is what an adapter says about one attempt.
type Timing struct {
	// Timeout is how long handling may take, quick retries included. Then the handler's context ends.
	// Waiting for a turn, such as that to write to a database, does not count; see package handlertime.
	Timeout time.Duration
	// Limit is when the handler's context ends at the latest, its waiting included. Zero means that there is no such time.
	Limit time.Time
	// LeaseEnd is until when the message is ours; no retry begins that could not end before. Nil means for the whole Timeout.
	LeaseEnd func() time.Time
	// Once says that there are no quick retries.
	Once bool
	// Hook is called before the handler with the event, which is empty if it can't be decoded. The handler's context has the values of the
	// one that it returns; finish is called when the verdict is complete. Nothing else that it does or fails to do has an effect. Nil is
	// skipped.
	Hook func(ctx context.Context, event events.Event) (hooked context.Context, finish func())
	// Judge is called when the verdict is complete, before finish, and may change its class: only the adapter knows that a message which
	// is to come again can't. Nil is skipped.
	Judge func(v *Verdict)
	// Failed is called after each attempt that failed with an unknown error, and Retry before the next one begins. Nil is skipped.
	Failed, Retry func()
}

// Decode reads the event in a message.
func (s *Service) Decode(body string) (events.Event, error) {
	if s.UnknownTypes {
		return events.DecodeAny([]byte(body))
	}
	return events.Decode([]byte(body))
}

// Run decodes a message and calls the handler, with quick retries, and writes the verdict into v, which must be new. It blocks for as
// long as the handler does. ctx ends when the message is not ours any more: whatever the handler says then is not about the event.
//
// A handler may end its goroutine, as t.FailNow does, so Run needs one that can be spared. The verdict is complete at any moment
// at which that can happen.
func (s *Service) Run(ctx context.Context, m *Message, t Timing, v *Verdict) {
	var finish func()
	defer func() {
		if t.Judge != nil {
			t.Judge(v)
		}
		s.finish(finish)
	}()
	v.EventType = m.Type()
	if m.IsMark() { // the end of a release that is no more, or a group policy that knows none
		v.Kind = Handled
		return
	}
	event, err := s.Decode(m.Body)
	if t.Hook != nil {
		ctx, finish = s.hook(ctx, t, event)
	}
	if err != nil {
		v.Refuse(refused(codeOf(err), err))
		return
	}
	v.EventType, v.EventID = event.Type(), event.ID
	if event.DeviceID != m.Device {
		v.Refuse(refused(failure.CodeGroupMismatch, fmt.Errorf(
			"consumers: message group is %q, want the event's device %q: only so its events stay in order", m.Group, event.DeviceID)))
		return
	}
	working, cancel := handlertime.WithTimeout(ctx, t.Timeout, t.Limit)
	defer cancel()
	for {
		v.Attempts++
		if v.Attempts > 1 && t.Retry != nil {
			t.Retry()
		}
		v.Refuse(Failure{Code: failure.CodePanic, Text: errEnded.Error()}, errEnded) // unless it returns
		failed, err := s.call(working, event)
		if err == nil {
			v.accept(Handled)
			return
		}
		if ctx.Err() != nil {
			v.accept(Released)
			return
		}
		v.Refuse(failed, err)
		if v.Known || v.Kind != Dead {
			return
		}
		if t.Failed != nil {
			t.Failed()
		}
		if !s.again(ctx, working, t, v) {
			return
		}
	}
}

// again waits for the next attempt, and tells whether there is to be one. If not the verdict stands, unless ctx ends meanwhile.
func (s *Service) again(ctx, working context.Context, t Timing, v *Verdict) bool {
	delay := awsx.Backoff{First: s.RetryDelay}.Doubled(v.Attempts)
	end, _ := working.Deadline()
	if t.LeaseEnd != nil {
		if lease := t.LeaseEnd(); lease.Before(end) {
			end = lease
		}
	}
	if t.Once || v.Attempts > s.Retries || !time.Now().Add(delay).Before(end) {
		return false
	}
	select {
	case <-time.After(delay):
		return true
	case <-ctx.Done():
		v.accept(Released)
		return false
	}
}

var errEnded = errors.New("handler ended its goroutine")

// call calls the handler once. The error is nil for success; a panic, also one of the error's methods, is a failure like others.
func (s *Service) call(ctx context.Context, event events.Event) (f Failure, err error) {
	defer func() {
		if value := recover(); value != nil {
			f, err = panicked(value)
		}
	}()
	if err = s.Handler(ctx, event); err != nil {
		f = FailureOf(err, s.Known)
	}
	return f, err
}
