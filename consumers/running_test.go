package consumers_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/sqs"

	"github.com/device-fanout/fanout/consumers"
	"github.com/device-fanout/fanout/events"
)

// slowToDescribe holds up the check at the start until it is let go.
type slowToDescribe struct {
	consumers.QueueAPI
	letGo chan struct{}
}

func (api *slowToDescribe) GetQueueAttributes(ctx context.Context, in *sqs.GetQueueAttributesInput, opts ...func(*sqs.Options)) (*sqs.GetQueueAttributesOutput, error) {
	<-api.letGo
	return api.QueueAPI.GetQueueAttributes(ctx, in, opts...)
}

// A Consumer runs once at a time, from the first check to the end of the drain, and again after that.
func TestRun_SecondRunIsRefused(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		b.send(motion("d1", "e1"))
		api := &slowToDescribe{b.api, make(chan struct{})}
		handled := 0
		c, err := consumers.New(api, b.queue, func(context.Context, events.Event) error {
			time.Sleep(10 * time.Second) // also while it drains
			handled++
			return nil
		}, consumers.Config{WaitTime: time.Second})
		if err != nil {
			t.Fatal(err)
		}
		refused := func(when string) {
			t.Helper()
			if err := c.Run(t.Context()); !errors.Is(err, consumers.ErrRunning) {
				t.Errorf("%s: got %v, want %v", when, err, consumers.ErrRunning)
			}
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- c.Run(ctx) }()
		synctest.Wait()
		refused("in its first check")
		close(api.letGo)
		time.Sleep(5 * time.Second)
		refused("while it runs")
		cancel()
		synctest.Wait()
		refused("while it drains")
		if err := <-done; err != nil {
			t.Errorf("the first: %v", err)
		}
		ended, end := context.WithCancel(t.Context())
		end()
		if err := c.Run(ended); err != nil {
			t.Errorf("after it: %v, want that it may run again", err)
		}
		if handled != 1 || b.depth("test.fifo") != 0 {
			t.Errorf("handled %d times, %d left; want once, and none", handled, b.depth("test.fifo"))
		}
	})
}
