package consumers

import (
	"context"
	"errors"
	"time"

	"github.com/device-fanout/fanout/consumers/deadletter"
	"github.com/device-fanout/fanout/consumers/internal/attempt"
	"github.com/device-fanout/fanout/consumers/parking"
)

// isLast tells whether a message is delivered for the last time before SQS moves it to the dead-letter queue, where that must park its
// device.
func (r *run) isLast(m *message) bool {
	return r.cfg.GroupPolicy == Park && r.facts.maxReceives > 0 && m.ReceiveCount >= r.facts.maxReceives && !m.IsMark()
}

// attemptLast is attempt for the last delivery. If the handler kills the process, SQS moves the message, and nothing
// would park the device: so the device is parked before, and that is taken back when the handler has succeeded. The message is deleted
// after that. A process that dies in between leaves one dead letter too many, whose event was handled, but nothing that overtakes.
func (r *run) attemptLast(ctx context.Context, m *message, v *verdict) {
	cause := parking.Cause{
		MessageID: m.ID, EventType: m.Type(), Class: string(deadletter.Moved), Code: deadletter.CodeReceiveCount,
		Error: "its last delivery has no verdict: the process that handled it has ended, or has lost it",
	}
	if event, err := r.service.Decode(m.Body); err == nil {
		cause.EventID, cause.EventType = event.ID, event.Type()
	}
	if err := r.insist(ctx, m, func(ctx context.Context) error { return r.park(ctx, m, cause) }); err != nil {
		return // released
	}
	r.attempt(ctx, m, v)
	if v.Kind != attempt.Handled {
		return
	}
	err := r.insist(ctx, m, func(ctx context.Context) error {
		return parking.Withdraw(ctx, r.cfg.Parking, r.queue.Service, m.Device, m.ID)
	})
	if err != nil && !errors.Is(err, ErrLeaseLost) { // the device stays parked, so that the message must be in the dead-letter queue
		v.Kind = attempt.Released
	}
}

// insist makes a change in the parking store, for as long as it takes. The error is ctx's cause.
func (r *run) insist(ctx context.Context, m *message, change func(context.Context) error) error {
	for failures := 0; ; {
		one, cancel := context.WithTimeout(context.WithoutCancel(ctx), askTimeout)
		err := change(one)
		cancel()
		if err == nil {
			return nil
		}
		failures++
		select {
		case <-time.After(r.storeFailed(m, failures, err)):
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// storeFailed logs that the parking store can't be used, and returns the pause before the next try.
func (r *run) storeFailed(m *message, failures int, err error) time.Duration {
	again := backoff(failures, 100*time.Millisecond, 5*time.Second)
	r.cfg.Logger.Error("parking store unavailable, device held", "group_id", m.Group, "failures", failures, "retry_in", again, "err", err)
	return again
}
