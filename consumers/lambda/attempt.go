package lambda

import (
	"context"
	"time"

	"github.com/device-fanout/fanout/consumers"
	"github.com/device-fanout/fanout/consumers/deadletter"
	"github.com/device-fanout/fanout/consumers/internal/attempt"
	"github.com/device-fanout/fanout/events"
)

// handleOne brings a message to its verdict and carries that out. It returns whether the message may be deleted: it was handled, or
// its dead letter is confirmed.
func (c *invocation) handleOne(d *delivery) (done bool) {
	if c.down.Load() && !c.isLast(d) {
		d.delay = c.pause(d)
		return false // that is no attempt
	}
	var v attempt.Verdict
	v.Earlier = d.ReceiveCount > 1 // the deliveries before were attempts too
	for {
		began := time.Now()
		end := c.end(c.ctx)
		if !began.Before(end) {
			if v.Attempts > 0 {
				c.comesAgain(d, &v)
			}
			return false // no time left to start it; that is no attempt
		}
		attempts := v.Attempts
		v = c.attempt(c.ctx, d, v.Earlier || attempts > 0, time.Until(end))
		v.Attempts += attempts
		// Those before it in its lane may have used up the function's time; then it had less than its own.
		cutShort := !d.first && !time.Now().Before(end) && c.timeIsUp(c.ctx)
		switch c.decide(d, &v, began, cutShort) {
		case deleteIt:
			return true
		case buryIt:
			if done = c.sendDeadLetter(c.ctx, d, &v); done {
				c.forget(d)
			}
			return done
		case reportIt:
			if v.Kind != attempt.Released {
				c.comesAgain(d, &v)
			}
			return false
		case repeatIt:
		}
	}
}

// attempt makes one attempt on a goroutine of its own, since a handler may end it.
func (f *Function) attempt(ctx context.Context, d *delivery, earlier bool, timeout time.Duration) (v attempt.Verdict) {
	v.Earlier = earlier
	t := attempt.Timing{Timeout: timeout, Judge: func(v *attempt.Verdict) {
		if f.isLast(d) && (v.Kind == attempt.RetryAfter || v.Kind == attempt.Unavailable) {
			v.Class = deadletter.Exhausted
		}
	}}
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

// comesAgain reports an event that failed and is not to be dead-lettered yet.
func (f *Function) comesAgain(d *delivery, v *attempt.Verdict) {
	f.cfg.Logger.Warn("event failed; it comes again", "event_id", v.EventID, "event_type", v.EventType, "device_id", d.Device,
		"code", v.Code, "attempts", v.Attempts, "receive_count", d.ReceiveCount, "retry_in", d.delay, "err", v.Text)
}
