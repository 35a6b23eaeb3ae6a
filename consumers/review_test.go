package consumers_test

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/device-fanout/fanout/consumers"
	"github.com/device-fanout/fanout/events"
)

// TestHooks_ThatBlockTakeNoSlot: a hook that hears of a failure and does not return keeps no other event from being handled.
func TestHooks_ThatBlockTakeNoSlot(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		b.send(motion("d1", "bad"))
		var j journal
		release := make(chan struct{})
		_, stop := b.start(b.api, func(_ context.Context, e events.Event) error {
			if e.ID == "bad" {
				return consumers.Known("refused", errBroken)
			}
			j.add(e.ID)
			return nil
		}, consumers.Config{WaitTime: time.Second, Slots: 2, Hooks: consumers.Hooks{
			Handle: func(ctx context.Context, d consumers.Delivery) (context.Context, func(consumers.Outcome)) {
				return ctx, func(o consumers.Outcome) {
					if o.Verdict == consumers.VerdictKnown {
						<-release
					}
				}
			},
		}})
		time.Sleep(5 * time.Second)
		b.send(motion("d2", "good"))
		time.Sleep(5 * time.Second)
		j.want(t, "good")
		close(release)
		stop()
	})
}

// TestHooks_HearThatAnEventGoesBack: an event that fails while the consumer stops is handed back, and its hook hears that.
func TestHooks_HearThatAnEventGoesBack(t *testing.T) {
	t.Parallel()
	for _, policy := range []consumers.GroupPolicy{consumers.Skip, consumers.Block} {
		synctest.Test(t, func(t *testing.T) {
			b := newBench(t)
			b.send(motion("d1", "bad"))
			var j journal
			_, stop := b.start(b.api, func(_ context.Context, e events.Event) error {
				time.Sleep(5 * time.Second)
				return errBroken
			}, consumers.Config{WaitTime: time.Second, Retries: -1, GroupPolicy: policy, Hooks: consumers.Hooks{
				Handle: func(ctx context.Context, d consumers.Delivery) (context.Context, func(consumers.Outcome)) {
					return ctx, func(o consumers.Outcome) { j.add(fmt.Sprintf("%s %q", o.Verdict, o.Class)) }
				},
			}})
			time.Sleep(time.Second)
			stop()
			j.want(t, `released ""`)
			if n := b.depth("test-dlq.fifo"); n != 0 {
				t.Errorf("%d dead letters, want none", n)
			}
		})
	}
}
