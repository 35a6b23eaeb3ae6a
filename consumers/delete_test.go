package consumers_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"

	"github.com/aws/aws-sdk-go-v2/service/sqs"

	"github.com/device-fanout/fanout/consumers"
	"github.com/device-fanout/fanout/events"
)

func TestDelete_LostReplyDoesNotRunTheHandlerAgain(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		b.send(motion("d1", "e1"))
		api := &meddler{QueueAPI: b.api}
		fails := 0
		api.deleteReply = func(out *sqs.DeleteMessageBatchOutput) (*sqs.DeleteMessageBatchOutput, error) {
			if fails++; fails <= 3 {
				return nil, errors.New("connection reset by peer")
			}
			return out, nil
		}
		var j journal
		_, stop := b.start(api, func(_ context.Context, e events.Event) error { j.add(e.ID); return nil }, consumers.Config{})
		time.Sleep(2 * time.Minute)
		stop()
		j.want(t, "e1")
	})
}

func TestDelete_PartialFailureIsTriedAgainEntryByEntry(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		api := &meddler{QueueAPI: b.api}
		var sizes []int
		api.delete = func(in *sqs.DeleteMessageBatchInput) {
			sizes = append(sizes, len(in.Entries))
			if len(sizes) == 2 { // the entry is not carried out
				in.Entries = in.Entries[:9]
			}
		}
		var j journal
		b.send(motion("d0", "first"))
		c, stop := b.start(api, func(_ context.Context, e events.Event) error { j.add(e.ID); return nil }, consumers.Config{})
		time.Sleep(time.Second)
		c.Pause()                    // so that one receive brings all ten
		time.Sleep(21 * time.Second) // until the last one has ended
		for i := range 10 {
			b.send(motion("d1", fmt.Sprintf("e%d", i)))
		}
		c.Resume()
		time.Sleep(2 * time.Minute)
		stop()
		if len(j.all()) != 11 {
			t.Errorf("handled %q, want each once", j.all())
		}
		if !slices.Equal(sizes, []int{1, 10, 1}) {
			t.Errorf("delete requests of %v entries, want the first, 10 and then the failed one", sizes)
		}
		if n := b.depth("test.fifo"); n != 0 {
			t.Errorf("%d messages are left", n)
		}
	})
}

// TestDelete_ThatDoesNotKeepUpStopsTheIntake: what is held is bounded.
func TestDelete_ThatDoesNotKeepUpStopsTheIntake(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		for i := range 200 {
			b.send(motion(fmt.Sprintf("d%d", i), fmt.Sprintf("e%d", i)))
		}
		api := &meddler{QueueAPI: b.api}
		var down atomic.Bool
		down.Store(true)
		api.delete = func(in *sqs.DeleteMessageBatchInput) {
			if down.Load() {
				in.QueueUrl = aws.String(b.queue.URL + "-unreachable")
			}
		}
		var j journal
		c, stop := b.start(api, func(_ context.Context, e events.Event) error { j.add(e.ID); return nil }, consumers.Config{Slots: 4, WaitTime: time.Second})
		time.Sleep(2 * time.Minute)
		if held := c.Stats().Held; held < 40 || held > 50 {
			t.Errorf("%d messages are held, want about ten for each of 4 slots", held)
		}
		down.Store(false)
		time.Sleep(time.Minute)
		stop()
		if n := len(j.all()); n != 200 {
			t.Errorf("handled %d events, want each of 200 once", n)
		}
		if n := b.depth("test.fifo"); n != 0 {
			t.Errorf("%d messages are left", n)
		}
	})
}
