package lambda

import (
	"cmp"
	"time"

	"github.com/device-fanout/fanout/consumers"
	"github.com/device-fanout/fanout/consumers/deadletter"
	"github.com/device-fanout/fanout/consumers/internal/attempt"
	"github.com/device-fanout/fanout/internal/pauses"
)

// step is what follows an attempt.
type step int

const (
	deleteIt step = iota
	buryIt        // send it to the dead-letter queue, then delete it
	reportIt      // so that it comes again, after its delay
	repeatIt      // now: the handler works, or so the check says
)

// decide says what follows from the verdict on an attempt that began then, and sets how long the message stays hidden if it comes again.
func (c *invocation) decide(d *delivery, v *attempt.Verdict, began time.Time, cutShort bool) step {
	switch v.Kind {
	case attempt.Handled:
		c.handled(d, v.EventType, began)
		return deleteIt
	case attempt.Released:
		return reportIt
	case attempt.Unavailable: // nothing is wrong with the event, however often that comes
		c.down.Store(true)
		c.doubt()
		d.delay = c.pause(d)
	case attempt.RetryAfter:
		d.delay = min(max(v.Delay, time.Second), consumers.MaxRetryAfter)
		d.delay = (d.delay + time.Second - 1).Truncate(time.Second) // rounded up, as the runtime does
	case attempt.Dead:
		switch {
		case v.Known:
			return buryIt
		case cutShort:
			d.delay = c.pause(d)
		default:
			d.delay = c.pause(d)
			if next := c.failed(d, v, began); next != reportIt {
				return next
			}
		}
	}
	if c.isLast(d) && !cutShort { // SQS would move it, and say nothing about why
		v.Class = deadletter.Exhausted
		return buryIt
	}
	return reportIt
}

// failed decides on an event that failed with an unknown error. It is a dead letter on evidence that the handler works, and of a service
// without a check also when it has failed for long enough.
func (c *invocation) failed(d *delivery, v *attempt.Verdict, began time.Time) step {
	now := time.Now()
	shown, fresh, since := c.look(d, v.EventType, began, now)
	if c.check == nil {
		left := since.Add(c.cfg.MaxHold).Sub(now)
		switch {
		case shown:
			return buryIt
		case left <= 0:
			return buryIt
		}
		d.delay = min(d.delay, (left + time.Second - 1).Truncate(time.Second))
		return reportIt
	}
	if shown && fresh {
		return buryIt
	}
	switch passed, err := c.check.ask(c.ctx, now, c.lastMoment()); { // it begins after the failure
	case passed && shown:
		return buryIt
	case passed:
		c.passed(now)
		return repeatIt
	case err != nil:
		c.doubt()
		c.cfg.Logger.Warn("the service's check has failed", "err", err)
	}
	return reportIt
}

// lastMoment is when a check must have answered: half of the margin is for what follows. It is zero if the function's time is not bounded.
func (c *invocation) lastMoment() time.Time {
	if deadline, ok := c.ctx.Deadline(); ok {
		return deadline.Add(-c.cfg.Margin / 2)
	}
	return time.Time{}
}

// look notes that an attempt failed, and tells what is known of the handler: whether it was shown to work before the attempt began, and
// whether it was since then; and since when the event fails.
func (f *Function) look(d *delivery, eventType string, began, now time.Time) (shown, fresh bool, since time.Time) {
	f.mu.Lock()
	defer f.mu.Unlock()
	since, known := f.seen.First(d.ID)
	f.seen.Failed(d.ID, eventType, began, now)
	if !known {
		since = now
		if d.first && !d.FirstAt.IsZero() { // another process may have tried it before; what stood behind another event nobody has
			since = d.FirstAt
		}
	}
	return f.seen.Shows(d.ID), f.seen.Fresh(d.ID), since
}

func (f *Function) handled(d *delivery, eventType string, began time.Time) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.seen.Forget(d.ID)
	f.seen.Handled(eventType, began, time.Now())
}

func (f *Function) forget(d *delivery) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.seen.Forget(d.ID)
}

// passed notes that a check has passed that began then or later.
func (f *Function) passed(began time.Time) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.seen.Passed(began, time.Now())
}

func (f *Function) doubt() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.seen.Doubt()
}

// pause is how long a message stays hidden that can't be handled: twice as long each time, so that the queue's maxReceiveCount, at which
// SQS would move it to the dead-letter queue, is reached late. Of one that stood behind another until now, the deliveries before were for
// the other. Twice nothing is nothing, so where other messages are not hidden at all it begins with the default.
func (f *Function) pause(d *delivery) time.Duration {
	first := cmp.Or(f.cfg.HandBack, DefaultHandBack)
	if !d.first || d.FirstAt.IsZero() {
		return pauses.After(first, 1, 0)
	}
	return pauses.After(first, d.ReceiveCount, max(0, time.Since(d.FirstAt)))
}

// isLast tells whether SQS would move a message at its next receive.
func (f *Function) isLast(d *delivery) bool {
	return f.cfg.MaxReceiveCount > 0 && d.ReceiveCount >= f.cfg.MaxReceiveCount
}
