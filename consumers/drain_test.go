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

func TestDrain_HandsBackWhatItHasNotStarted(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		for i := range 5 {
			b.send(motion("d1", fmt.Sprintf("e%d", i)))
		}
		var j journal
		c, stop := b.start(b.api, func(_ context.Context, e events.Event) error {
			time.Sleep(10 * time.Second)
			j.add(e.ID)
			return nil
		}, consumers.Config{Budget: time.Minute, WaitTime: time.Second})
		time.Sleep(5 * time.Second)
		stop()
		j.want(t, "e0")
		if s := c.Stats(); s.Released != 4 {
			t.Errorf("released %d, want 4", s.Released)
		}
		// Another consumer gets them at once, in order, and long before a visibility timeout.
		_, stop = b.start(b.api, func(_ context.Context, e events.Event) error { j.add(e.ID); return nil }, consumers.Config{WaitTime: time.Second})
		time.Sleep(time.Second)
		stop()
		j.want(t, "e0", "e1", "e2", "e3", "e4")
	})
}

func TestDrain_CancelsWhatTakesTooLongAndCountsNoAttempt(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		b.send(motion("d1", "e1"), motion("d2", "e2"))
		var j journal
		_, stop := b.start(b.api, func(ctx context.Context, e events.Event) error {
			<-ctx.Done()
			j.add(context.Cause(ctx).Error())
			if e.ID == "e2" {
				return consumers.Known("refused", ctx.Err()) // whatever it says now is not about the event
			}
			return ctx.Err()
		}, consumers.Config{Budget: time.Hour, WaitTime: time.Second, DrainTimeout: 5 * time.Second})
		time.Sleep(time.Second)
		stop()
		j.want(t, consumers.ErrStopping.Error(), consumers.ErrStopping.Error())
		if n := len(b.letters()); n != 0 {
			t.Errorf("%d dead letters, want none: stopping is not the event's fault", n)
		}
		if n := b.depth("test.fifo"); n != 2 {
			t.Errorf("%d messages are left, want the two that were cut off", n)
		}
	})
}
