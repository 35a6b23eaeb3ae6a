package consumers

import (
	"context"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/sqs"

	"github.com/device-fanout/fanout/consumers/deadletter"
)

// sendDeadLetter copies a message to the dead-letter queue, for as long as that takes, and then has it deleted. Its lane waits
// for both: were the message deleted first, it would be lost with the process; did followers start first, they would
// overtake it where it comes again. The heartbeat keeps its lease meanwhile.
func (r *run) sendDeadLetter(m *message, v *verdict) {
	r.sending++
	ctx, cancel := context.WithCancelCause(r.work)
	m.cancel = cancel
	in := r.deadLetter(m, v)
	go func() {
		defer cancel(nil)
		err := r.sendUntilConfirmed(ctx, m, in)
		r.post(func() {
			r.sending--
			l := m.lane
			switch {
			case m.state == gone: // the lease was lost meanwhile; if the copy is there, the message must not run again
				if err == nil {
					r.done.add(m.ID)
				}
				l.current = nil
			case err != nil: // we stop: the message comes again, before those behind it
				l.current = nil
				r.handBackWith(l, m)
			default:
				r.stats.deadLettered.Add(1)
				r.cfg.Logger.Error("event dead-lettered", "event_id", v.EventID, "event_type", v.EventType, "device_id", m.Group,
					"message_id", m.ID, "class", v.Class, "code", v.Code, "attempts", v.Attempts, "receive_count", m.ReceiveCount, "err", v.Text)
				r.finish(m)
				r.deletes.hurry()
				return
			}
			r.proceed(l)
		})
	}()
}

// deadLetter makes the copy for the dead-letter queue.
func (r *run) deadLetter(m *message, v *verdict) *sqs.SendMessageInput {
	in, recorded := m.DeadLetter(r.queue.DLQURL, r.queue.Service, r.facts.arn, v)
	if !recorded {
		r.cfg.Logger.Warn("no room for the dead-letter record: the message has ten attributes already", "message_id", m.ID)
	}
	return in
}

// sendUntilConfirmed tries until the queue has confirmed the message or ctx ends.
func (r *run) sendUntilConfirmed(ctx context.Context, m *message, in *sqs.SendMessageInput) error {
	for failures := 0; ; {
		err := r.sendOnce(m, in)
		if err == nil {
			return nil
		}
		failures++
		r.post(func() { r.waitsLong(m) })
		select {
		case <-time.After(r.sendFailed(m, failures, err)):
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// sendOnce makes one attempt. Its request does not end with a handler's context: one cut off may have been carried out.
func (r *run) sendOnce(m *message, in *sqs.SendMessageInput) error {
	for {
		ctx, cancel := context.WithTimeout(r.requests, requestTimeout)
		_, err := r.api.SendMessage(ctx, in)
		cancel()
		if err == nil || !deadletter.WithoutRecord(in, err) {
			return err
		}
		r.cfg.Logger.Error("the dead-letter queue refuses a message with its record; sending it without", "message_id", m.ID,
			"group_id", m.Group, "err", err)
	}
}

// sendFailed logs that an attempt has failed, and returns the pause before the next one.
func (r *run) sendFailed(m *message, failures int, err error) time.Duration {
	delay := backoff(failures, 100*time.Millisecond, 10*time.Second)
	r.cfg.Logger.Error("sending to the dead-letter queue failed; the device waits", "message_id", m.ID, "group_id", m.Group,
		"failures", failures, "retry_in", delay, "err", err)
	return delay
}
