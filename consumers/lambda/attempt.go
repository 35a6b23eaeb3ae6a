package lambda

import (
	"context"
	"time"

	"github.com/device-fanout/fanout/consumers"
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
	for {
		began, end := time.Now(), c.end(c.ctx)
		if !began.Before(end) {
			if v.Attempts > 0 {
				c.comesAgain(d, &v)
			}
			return false // no time left to start it; that is no attempt
		}
		var next step
		v, next = c.attempt(d, v.Attempts, began, end)
		switch next {
		case deleteIt:
			return true
		case buryIt:
			if done = c.sendDeadLetter(c.ctx, d, &v); done {
				c.forget(d)
				c.tellDeadLettered(d, &v)
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

// attempt makes one attempt on a goroutine of its own, since a handler may end it, and tells what follows. attempts are those of before.
func (c *invocation) attempt(d *delivery, attempts int, began, end time.Time) (v attempt.Verdict, next step) {
	next = reportIt
	v.Earlier = d.ReceiveCount > 1 || attempts > 0                                 // the deliveries before were attempts too
	t := attempt.Timing{Timeout: end.Sub(began), Judge: func(v *attempt.Verdict) { // before the hook hears of it
		v.Attempts += attempts
		// Those before it in its lane may have used up the function's time; then it had less than its own.
		cutShort := !d.first && !time.Now().Before(end) && c.timeIsUp(c.ctx)
		next = c.decide(d, v, began, cutShort)
	}}
	if deadline, ok := c.ctx.Deadline(); ok {
		t.Limit = deadline.Add(-c.cfg.Margin)
	}
	if c.cfg.Hooks.Handle != nil {
		t.Hook = func(ctx context.Context, event events.Event) (context.Context, func()) {
			ctx, finish := c.cfg.Hooks.Handle(ctx, c.told(d, event))
			if finish == nil {
				return ctx, nil
			}
			return ctx, func() {
				o := outcomeOf(&v)
				if v.Kind == attempt.Dead && next != buryIt {
					o.Verdict = consumers.VerdictHeld
				}
				finish(o)
			}
		}
	}
	onItsOwn(func() { c.service.Run(c.ctx, &d.Message, t, &v) })
	return v, next
}

// onItsOwn runs f, which may end its goroutine, on another one, and waits for it.
func onItsOwn(f func()) {
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		f()
	}()
	<-ended
}

// told is a delivery as hooks get it.
func (f *Function) told(d *delivery, event events.Event) consumers.Delivery {
	return consumers.Delivery{
		Service: f.queue.Service, Event: event, MessageID: d.ID, DeviceID: d.Device, Type: d.Type(), ReceiveCount: d.ReceiveCount,
		SentAt: d.SentAt, ReceivedAt: d.receivedAt, Attributes: d.Attributes,
	}
}

func outcomeOf(v *attempt.Verdict) consumers.Outcome {
	return consumers.Outcome{
		Verdict: consumers.Verdict(v.Name()), Class: v.Class, Code: v.Code, Error: v.Text, Attempts: v.Attempts, Err: v.Err,
	}
}

// tellDeadLettered tells the hook that the dead-letter queue has confirmed an event. Whatever it does, that stands.
func (f *Function) tellDeadLettered(d *delivery, v *attempt.Verdict) {
	if f.cfg.Hooks.DeadLettered == nil {
		return
	}
	onItsOwn(func() {
		defer func() {
			if value := recover(); value != nil {
				f.service.Faults.Panicked(value)
			}
		}()
		event, _ := f.service.Decode(d.Body) // empty if it can't be
		f.cfg.Hooks.DeadLettered(f.told(d, event), outcomeOf(v))
	})
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
