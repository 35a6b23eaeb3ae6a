package lambda

import (
	"cmp"
	"context"
	"time"

	"github.com/device-fanout/fanout/consumers"
	"github.com/device-fanout/fanout/consumers/internal/attempt"
	"github.com/device-fanout/fanout/events"
	awsx "github.com/device-fanout/fanout/internal/aws"
)

// handleOne brings a message to its verdict and carries that out. It returns whether the message may be deleted: it was handled, or
// its dead letter is confirmed. first says that nothing of the batch ran before it in its lane.
func (f *Function) handleOne(ctx context.Context, d *delivery, first bool) (done bool) {
	end := f.end(ctx)
	if !time.Now().Before(end) {
		return false // no time left to start it; that is no attempt
	}
	v := f.attempt(ctx, d, time.Until(end))
	switch v.Kind {
	case attempt.Handled:
		return true
	case attempt.Released:
		return false
	case attempt.Unavailable: // nothing is wrong with the event, however often that comes
		d.delay = f.outagePause(d.ReceiveCount)
		f.comesAgain(d, &v)
		return false
	case attempt.RetryAfter:
		d.delay = min(max(v.Delay, time.Second), consumers.MaxRetryAfter)
		d.delay = (d.delay + time.Second - 1).Truncate(time.Second) // rounded up, as the runtime does
	}
	// Those before it in its lane may have used up the function's time; then it had less than its own.
	cutShort := !first && !time.Now().Before(end) && f.timeIsUp(ctx)
	switch {
	case v.Known:
	case d.ReceiveCount < f.cfg.Deliveries || cutShort:
		f.comesAgain(d, &v)
		return false
	}
	return f.sendDeadLetter(ctx, d, &v)
}

// attempt makes one attempt on a goroutine of its own, since a handler may end it.
func (f *Function) attempt(ctx context.Context, d *delivery, timeout time.Duration) (v attempt.Verdict) {
	v.Earlier = d.ReceiveCount > 1 // the deliveries before were attempts too
	t := attempt.Timing{Timeout: timeout}
	if deadline, ok := ctx.Deadline(); ok {
		t.Limit = deadline.Add(-f.cfg.Margin)
	}
	if f.cfg.Hooks.Handle != nil {
		t.Hook = func(ctx context.Context, event events.Event) (context.Context, func()) {
			ctx, finish := f.cfg.Hooks.Handle(ctx, consumers.Delivery{
				Service: f.queue.Service, Event: event, MessageID: d.ID, DeviceID: d.Device, Type: d.Type(), ReceiveCount: d.ReceiveCount,
				SentAt: d.SentAt, ReceivedAt: d.receivedAt, Attributes: d.Attributes,
			})
			if finish == nil {
				return ctx, nil
			}
			return ctx, func() {
				finish(consumers.Outcome{
					Verdict: consumers.Verdict(v.Name()), Class: v.Class, Code: v.Code, Error: v.Text, Attempts: v.Attempts, Err: v.Err,
				})
			}
		}
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		f.service.Run(ctx, &d.Message, t, &v)
	}()
	<-ended
	return v
}

// end is when an attempt that begins now must end: by its handler timeout, and by the function's time without the margin.
func (f *Function) end(ctx context.Context) time.Time {
	end := time.Now().Add(f.cfg.HandlerTimeout)
	if deadline, ok := ctx.Deadline(); ok && deadline.Add(-f.cfg.Margin).Before(end) {
		end = deadline.Add(-f.cfg.Margin)
	}
	return end
}

// timeIsUp tells whether the function's time is over, but for the margin.
func (f *Function) timeIsUp(ctx context.Context) bool {
	deadline, ok := ctx.Deadline()
	return ok && !time.Now().Before(deadline.Add(-f.cfg.Margin))
}

// maxOutagePause bounds how long an event stays hidden while a dependency is down.
const maxOutagePause = 15 * time.Minute

// outagePause is how long an event stays hidden that was received so often, while a dependency is down: twice as long each time, so
// that the queue's maxReceiveCount, at which SQS would move the event to the dead-letter queue, is reached late. Twice nothing is nothing,
// so where other failures are not hidden at all it begins with the default.
func (f *Function) outagePause(receiveCount int) time.Duration {
	first := cmp.Or(f.cfg.HandBack, DefaultHandBack)
	return awsx.Backoff{First: first, Most: max(first, maxOutagePause)}.Doubled(receiveCount)
}

// comesAgain reports an event that failed and is not to be dead-lettered yet.
func (f *Function) comesAgain(d *delivery, v *attempt.Verdict) {
	f.cfg.Logger.Warn("event failed; it comes again", "event_id", v.EventID, "event_type", v.EventType, "device_id", d.Device,
		"code", v.Code, "attempts", v.Attempts, "receive_count", d.ReceiveCount, "retry_in", d.delay, "err", v.Text)
}
