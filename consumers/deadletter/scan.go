package deadletter

import (
	"context"
	"errors"
	"fmt"
)

// Scan hands every message that can be seen to visit, per device in order, until the queue gives no more, visit returns false,
// or ctx ends. Then it makes them visible again, last first. It can't see what another reader holds, nor, of one device, more
// than its first few letters, ten at most, nor more than 100,000 messages, for SQS lets hardly more be in flight; [ReadDepth] tells
// how many there are. Memory grows with the number of messages.
//
// The error is ctx's when it has ended. A message that could not be made visible again, as the error then says, becomes visible
// by itself within a minute.
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
		letters, err := r.receive(ctx)
		if err != nil {
			return err
		}
		if len(letters) == 0 {
			return nil
		}
		letters, cut := cutOff(letters)
		_ = r.release(ctx, cut)
		for _, l := range letters {
			if r.heldFor(l) != nil {
				continue
			}
			r.hold(l)
			if visit != nil && !visit(l) {
				visit = nil
			}
		}
		if visit == nil {
			return nil
		}
	}
}

// cutOff splits off the letters of the last device of a full batch, which may have been cut off in its midst: they are to come again,
// so that what is behind them is seen too. What fills a batch alone can't be helped.
func cutOff(letters []*Message) (whole, cut []*Message) {
	last := len(letters) - 1
	if len(letters) < batchSize || letters[last].groupID == "" || letters[0].groupID == letters[last].groupID {
		return letters, nil
	}
	i := last
	for letters[i-1].groupID == letters[last].groupID {
		i--
	}
	return letters[:i], letters[i:]
}
