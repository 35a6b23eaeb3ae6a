package lambda

import (
	"context"

	"github.com/device-fanout/fanout/consumers/deadletter"
	"github.com/device-fanout/fanout/consumers/internal/attempt"
)

// sendDeadLetter copies a message to the dead-letter queue, and returns whether that was confirmed. If it was not, the
// message comes again and so does the attempt; the deduplication ID, which is the message's own ID as when SQS moves a
// message, keeps the copy from being there twice.
func (f *Function) sendDeadLetter(ctx context.Context, d *delivery, v *attempt.Verdict) bool {
	in, recorded := d.DeadLetter(f.queue.DLQURL, f.queue.Service, d.queue, v)
	if !recorded {
		f.cfg.Logger.Warn("no room for the dead-letter record: the message has ten attributes already", "message_id", d.ID)
	}
	_, err := f.api.SendMessage(ctx, in)
	if err != nil && deadletter.WithoutRecord(in, err) {
		f.cfg.Logger.Error("the dead-letter queue refuses a message with its record; sending it without", "message_id", d.ID, "err", err)
		_, err = f.api.SendMessage(ctx, in)
	}
	facts := []any{
		"event_id", v.EventID, "event_type", v.EventType, "group_id", d.Group, "message_id", d.ID,
		"class", v.Class, "code", v.Code, "attempts", v.Attempts, "receive_count", d.ReceiveCount,
	}
	if err != nil {
		f.cfg.Logger.Error("sending to the dead-letter queue failed; the event comes again", append(facts, "err", err)...)
		return false
	}
	f.cfg.Logger.Error("event dead-lettered", append(facts, "err", v.Text)...)
	return true
}
