package consumers_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/device-fanout/fanout/consumers"
	"github.com/device-fanout/fanout/events"
	"github.com/device-fanout/fanout/infra/local/faults"
)

// TestReceive_WrongChecksums: the SDK would refuse the whole answer for one, with its messages in flight, and each time it comes again.
func TestReceive_WrongChecksums(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		b.engine.Faults().Add(faults.Rule{Kind: faults.WrongChecksum})
		b.send(motion("d1", "e1"), motion("d1", "e2"), motion("d1", "e3"))
		var j journal
		c, stop := b.start(b.api, func(_ context.Context, e events.Event) error { j.add(e.ID); return nil }, consumers.Config{WaitTime: time.Second})
		time.Sleep(2 * time.Second)
		stop()
		j.want(t, "e1", "e2", "e3")
		if s := c.Stats(); s.Redelivered != 0 || s.Handled != 3 {
			t.Errorf("got %+v, want all handled at their first delivery", s)
		}
		if n := b.engine.Faults().Injected()[faults.WrongChecksum]; n == 0 {
			t.Error("no receive had wrong checksums: the test shows nothing")
		}
	})
}
