package deadletter

import (
	"context"
	"errors"
	"fmt"
)

// Scan calls visit for every message that can be seen, per device in order, until the queue shows no more, visit returns false, or ctx
// ends. Then it makes them visible again, the last one first. It does not see what another reader holds, nor more than the first ten
// messages of a device, nor more than 100,000 messages in all, since SQS lets hardly more be in flight; [ReadDepth] tells how many there
// are. Memory grows with the number of messages.
//
// The error wraps that of ctx when it has ended. If messages could not be made visible again, the error says so; they become visible by
// themselves within a minute.
func Scan(ctx context.Context, api QueueAPI, from Source, visit func(*Message) bool) error {
	r := newReader(api, from)
	stop := r.heartbeat(ctx)
	err := r.scan(ctx, visit)
	stop()
	return errors.Join(err, r.releaseHeld(ctx))
}

func (r *reader) scan(ctx context.Context, visit func(*Message) bool) error {
	for {
		if err := ctx.Err(); err != nil {
			return fmt.Errorf("deadletter: reading %s was interrupted: %w", r.from.URL, err)
		}
		if r.holding() >= maxHeld {
			return nil
		}
		messages, err := r.receive(ctx)
		if err != nil {
			return err
		}
		if len(messages) == 0 {
			return nil
		}
		messages, cut := cutOff(messages)
		_ = r.release(ctx, cut)
		for _, m := range messages {
			if r.heldFor(m) != nil {
				continue
			}
			r.hold(m)
			if visit != nil && !visit(m) {
				visit = nil
			}
		}
		if visit == nil {
			return nil
		}
	}
}

// cutOff splits off the messages of the last device of a full batch, of which there may be more: they are received again, together with
// those behind them. A device that fills a whole batch is not split off.
func cutOff(messages []*Message) (whole, cut []*Message) {
	last := len(messages) - 1
	if len(messages) < batchSize || messages[last].groupID == "" || messages[0].groupID == messages[last].groupID {
		return messages, nil
	}
	i := last
	for messages[i-1].groupID == messages[last].groupID {
		i--
	}
	return messages[:i], messages[i:]
}
