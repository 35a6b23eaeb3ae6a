package lambda

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"

	"github.com/device-fanout/fanout/consumers"
	"github.com/device-fanout/fanout/consumers/deadletter"
	"github.com/device-fanout/fanout/events"
)

// failure is what is kept of the error of an event. The error itself is not touched again: it is the handler's, and its
// methods may panic.
type failure struct {
	class              deadletter.Class
	code, text         string
	known, later       bool          // a Known error, a RetryAfter error
	delay              time.Duration // of a RetryAfter error
	attempts           int           // handlers started
	eventID, eventType string
}

// handleOne decodes a message and runs its handler, with quick retries. It returns whether the message may be deleted: it
// was handled, or its dead letter is confirmed. first says that nothing of the batch ran before it in its lane.
func (f *Function) handleOne(ctx context.Context, d *delivery, first bool) (done bool) {
	working, cancel := f.budget(ctx)
	defer cancel()
	if working.Err() != nil {
		return false // no time left to start it; that is no attempt
	}
	failed := failure{class: deadletter.Known, eventType: aws.ToString(d.MessageAttributes["type"].StringValue)}
	decode := events.Decode
	if f.cfg.UnknownTypes {
		decode = events.DecodeAny
	}
	event, err := decode([]byte(d.Body))
	if err != nil {
		failed.code, failed.text = codeOf(err), err.Error()
		return f.sendDeadLetter(ctx, d, failed)
	}
	failed.eventID, failed.eventType = event.ID, event.Type()
	if event.DeviceID != d.group() {
		failed.code = consumers.CodeGroupMismatch
		failed.text = fmt.Sprintf("lambda: message group is %q, want the event's device %q: only so its events stay in order", d.group(), event.DeviceID)
		return f.sendDeadLetter(ctx, d, failed)
	}
	if f.try(working, event, &failed) {
		return true
	}
	if failed.later {
		d.delay = min(max(failed.delay, time.Second), consumers.MaxRetryAfter)
		d.delay = (d.delay + time.Second - 1).Truncate(time.Second) // rounded up, as the runtime does
	}
	switch {
	case failed.known:
		failed.class = deadletter.Known
	case d.receiveCount() < f.cfg.Deliveries, working.Err() != nil && !first && f.cutShort(ctx):
		// In the second case those before it have used up the function's time; it had less than its own.
		f.cfg.Logger.Warn("event failed; it comes again", "event_id", event.ID, "event_type", event.Type(), "device_id", event.DeviceID,
			"attempts", failed.attempts, "receive_count", d.receiveCount(), "err", failed.text)
		return false
	case failed.attempts > 1 || d.receiveCount() > 1:
		failed.class = deadletter.Exhausted
	default:
		failed.class = deadletter.Unknown
	}
	return f.sendDeadLetter(ctx, d, failed)
}

// budget bounds the handling of one event by its handler timeout, and by the function's time without the margin.
func (f *Function) budget(ctx context.Context) (context.Context, context.CancelFunc) {
	end := time.Now().Add(f.cfg.HandlerTimeout)
	if deadline, ok := ctx.Deadline(); ok && deadline.Add(-f.cfg.Margin).Before(end) {
		end = deadline.Add(-f.cfg.Margin)
	}
	return context.WithDeadline(ctx, end)
}

// cutShort tells whether the function's time is over.
func (f *Function) cutShort(ctx context.Context) bool {
	deadline, ok := ctx.Deadline()
	return ok && !time.Now().Before(deadline.Add(-f.cfg.Margin))
}

// try runs the handler until it succeeds, its error says that no quick retry can help, or retries or time are used up. It
// returns whether it succeeded; if not, failed has the last error.
func (f *Function) try(ctx context.Context, event events.Event, failed *failure) bool {
	for {
		failed.attempts++
		if f.call(ctx, event, failed) {
			return true
		}
		if failed.known || failed.later || failed.attempts > f.cfg.Retries {
			return false
		}
		delay := f.cfg.RetryDelay << (failed.attempts - 1)
		if end, ok := ctx.Deadline(); ok && !time.Now().Add(delay).Before(end) {
			return false
		}
		select {
		case <-time.After(delay):
		case <-ctx.Done():
			return false
		}
	}
}

// call runs the handler once. A panic, also one of the error's methods, is a failure like others.
func (f *Function) call(ctx context.Context, event events.Event, failed *failure) (ok bool) {
	failed.known, failed.later = false, false
	defer func() {
		if value := recover(); value != nil {
			ok, failed.code, failed.text = false, consumers.CodePanic, fmt.Sprintf("handler panicked: %v\n%s", value, debug.Stack())
		}
	}()
	err := f.handler(ctx, event)
	if err == nil {
		return true
	}
	failed.code, failed.text = codeOf(err), err.Error()
	var (
		known *consumers.KnownError
		later *consumers.RetryAfterError
	)
	switch {
	case errors.As(err, &known):
		failed.known = true
	case errors.As(err, &later):
		failed.later, failed.delay = true, later.Delay
	}
	return false
}

// codeOf finds the stable code of a failure, as the runtime of package consumers has it.
func codeOf(err error) string {
	var (
		known   *consumers.KnownError
		invalid *events.Error
	)
	switch {
	case errors.As(err, &known):
		return known.Code
	case errors.As(err, &invalid):
		return string(invalid.Code)
	case errors.Is(err, context.DeadlineExceeded):
		return consumers.CodeTimeout
	}
	return consumers.CodeError
}
