package consumers_test

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/device-fanout/fanout/consumers"
	"github.com/device-fanout/fanout/consumers/deadletter"
	"github.com/device-fanout/fanout/events"
)

// Dead letters with the same body that nobody can decode are still so many dead letters; but what fails again during a redrive is left.
func TestRedrive_BesideAConsumerThatStillFails(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		for i := range 25 {
			b.sendBody("d1", fmt.Sprint(i), "device.power.changed.v1", "not JSON")
		}
		_, stop := b.start(b.api, func(context.Context, events.Event) error { return nil }, consumers.Config{WaitTime: time.Second})
		defer stop()
		time.Sleep(5 * time.Second)
		from := deadletter.Source{Service: "test", URL: b.queue.DLQURL, Queue: "test.fifo"}
		for round := range 2 {
			sum, err := deadletter.Redrive(t.Context(), b.api, from, deadletter.Config{})
			if err != nil || sum.Moved != 25 {
				t.Errorf("round %d: got %+v, %v, want all 25 moved once", round, sum, err)
			}
			time.Sleep(5 * time.Second)
			if n := b.depth("test-dlq.fifo"); n != 25 {
				t.Errorf("round %d: %d dead letters, want all 25 to be back", round, n)
			}
		}
	})
}
