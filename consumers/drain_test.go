package consumers_test

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"

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
		api := &meddler{QueueAPI: b.api}
		handles := map[string]int{} // by receipt handle: the place in the queue
		api.receiveReply = func(out *sqs.ReceiveMessageOutput) (*sqs.ReceiveMessageOutput, error) {
			for _, m := range out.Messages {
				handles[aws.ToString(m.ReceiptHandle)] = len(handles)
			}
			return out, nil
		}
		var order []int
		api.change = func(_ context.Context, in *sqs.ChangeMessageVisibilityBatchInput) (*sqs.ChangeMessageVisibilityBatchOutput, error) {
			for _, e := range in.Entries {
				if e.VisibilityTimeout == 0 {
					order = append(order, handles[aws.ToString(e.ReceiptHandle)])
				}
			}
			return nil, nil
		}
		c, stop := b.start(api, func(_ context.Context, e events.Event) error {
			time.Sleep(10 * time.Second)
			j.add(e.ID)
			return nil
		}, consumers.Config{HandlerTimeout: 30 * time.Second, WaitTime: time.Second})
		time.Sleep(5 * time.Second)
		stop()
		j.want(t, "e0")
		if !slices.Equal(order, []int{4, 3, 2, 1}) {
			t.Errorf("released %v, want the tail first", order)
		}
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
		}, consumers.Config{HandlerTimeout: 30 * time.Second, WaitTime: time.Second, DrainTimeout: 5 * time.Second})
		time.Sleep(time.Second)
		stop()
		j.want(t, consumers.ErrStopping.Error(), consumers.ErrStopping.Error())
		if n := len(b.deadLetters()); n != 0 {
			t.Errorf("%d dead letters, want none: stopping is not the event's fault", n)
		}
		if n := b.depth("test.fifo"); n != 2 {
			t.Errorf("%d messages are left, want the two that were cut off", n)
		}
	})
}

// TestDrain_HandsBackWhatALostReplyHeld: the last receive got a message, and its reply was lost.
func TestDrain_HandsBackWhatALostReplyHeld(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		api := &meddler{QueueAPI: b.api}
		var lost atomic.Bool
		api.receiveReply = func(out *sqs.ReceiveMessageOutput) (*sqs.ReceiveMessageOutput, error) {
			if len(out.Messages) > 0 && !lost.Swap(true) {
				return nil, errReset
			}
			return out, nil
		}
		c, err := consumers.New(api, b.queue, func(context.Context, events.Event) error { return nil }, consumers.Config{})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- c.Run(ctx) }()
		synctest.Wait()
		cancel()
		synctest.Wait()
		b.send(motion("d1", "e1"))
		if err := <-done; err != nil {
			t.Error(err)
		}
		if !lost.Load() {
			t.Fatal("no reply was lost")
		}
		if n := b.visible("test.fifo"); n != 1 {
			t.Errorf("%d messages are visible after the drain, want 1: its device stands still until the visibility timeout", n)
		}
	})
}

// TestDrain_TriesAReleaseAgain: throttled, failed in part and not answered.
func TestDrain_TriesAReleaseAgain(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		for i := range 8 {
			b.send(motion("d1", fmt.Sprintf("e%d", i)))
		}
		api := &meddler{QueueAPI: b.api}
		var releases atomic.Int64
		api.change = func(_ context.Context, in *sqs.ChangeMessageVisibilityBatchInput) (*sqs.ChangeMessageVisibilityBatchOutput, error) {
			if in.Entries[0].VisibilityTimeout > 0 {
				return nil, nil
			}
			switch releases.Add(1) {
			case 1:
				return nil, errReset
			case 2: // the tail is not released
				in.Entries = in.Entries[2:]
			}
			return nil, nil
		}
		_, stop := b.start(api, func(context.Context, events.Event) error { time.Sleep(5 * time.Second); return nil },
			consumers.Config{WaitTime: time.Second})
		time.Sleep(2 * time.Second)
		stop()
		if n := b.visible("test.fifo"); n != 7 {
			t.Errorf("%d messages are visible after the drain, want 7", n)
		}
	})
}

// TestRelease_IsNotTriedForEver: a queue that refuses all releases does not keep the consumer from stopping; the leases end by themselves.
func TestRelease_IsNotTriedForEver(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		b.send(motion("d1", "e1"), motion("d1", "e2"))
		api := &meddler{QueueAPI: b.api}
		api.change = func(_ context.Context, in *sqs.ChangeMessageVisibilityBatchInput) (*sqs.ChangeMessageVisibilityBatchOutput, error) {
			if in.Entries[0].VisibilityTimeout > 0 {
				return nil, nil
			}
			return nil, errReset
		}
		_, stop := b.start(api, func(context.Context, events.Event) error { time.Sleep(2 * time.Second); return nil },
			consumers.Config{WaitTime: time.Second, DrainTimeout: 5 * time.Minute})
		time.Sleep(time.Second)
		start := time.Now()
		stop()
		if took := time.Since(start); took > 36*time.Second {
			t.Errorf("the drain took %v, want at most the visibility timeout of 30s and one more pause", took)
		}
	})
}

// TestDrain_ReleasesWhatAPollBringsLate: a receive that returns after draining began hands its messages back, the tail first.
func TestDrain_ReleasesWhatAPollBringsLate(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		api := &meddler{QueueAPI: b.api}
		var order []string
		ids := map[string]string{}
		var mu sync.Mutex
		api.receiveReply = func(out *sqs.ReceiveMessageOutput) (*sqs.ReceiveMessageOutput, error) {
			mu.Lock()
			defer mu.Unlock()
			for _, m := range out.Messages {
				e, err := events.Decode([]byte(aws.ToString(m.Body)))
				if err != nil {
					t.Error(err)
				}
				ids[aws.ToString(m.ReceiptHandle)] = e.ID
			}
			return out, nil
		}
		api.change = func(_ context.Context, in *sqs.ChangeMessageVisibilityBatchInput) (*sqs.ChangeMessageVisibilityBatchOutput, error) {
			mu.Lock()
			defer mu.Unlock()
			for _, e := range in.Entries {
				order = append(order, ids[aws.ToString(e.ReceiptHandle)])
			}
			return nil, nil
		}
		var j journal
		_, stop := b.start(api, func(_ context.Context, e events.Event) error { j.add(e.ID); return nil }, consumers.Config{})
		time.Sleep(time.Second)
		go func() {
			time.Sleep(5 * time.Second)
			body := func(id string) types.SendMessageBatchRequestEntry {
				e := motion("d1", id)
				e.Source = "test"
				text, err := events.Encode(e)
				if err != nil {
					t.Error(err)
				}
				return types.SendMessageBatchRequestEntry{
					Id: aws.String(id), MessageBody: aws.String(string(text)), MessageGroupId: aws.String("d1"), MessageDeduplicationId: aws.String(id),
				}
			}
			_, err := b.api.SendMessageBatch(context.Background(), &sqs.SendMessageBatchInput{
				QueueUrl: &b.queue.URL, Entries: []types.SendMessageBatchRequestEntry{body("e1"), body("e2"), body("e3")},
			})
			if err != nil {
				t.Error(err)
			}
		}()
		stop()
		j.want(t)
		if !slices.Equal(order, []string{"e3", "e2", "e1"}) {
			t.Errorf("released %v, want the tail first", order)
		}
		if n := b.visible("test.fifo"); n != 3 {
			t.Errorf("%d messages are visible, want 3", n)
		}
	})
}

// TestDrain_AgainstARejectingQueue: everything fails from one moment on; Run still returns in time.
func TestDrain_EndsWhenNothingAnswers(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		for i := range 50 {
			b.send(motion(fmt.Sprintf("d%d", i%9), fmt.Sprintf("e%02d", i)))
		}
		api := &meddler{QueueAPI: b.api}
		var down atomic.Bool
		hang := func(ctx context.Context) error {
			if down.Load() {
				<-ctx.Done()
				return ctx.Err()
			}
			return nil
		}
		api.change = func(ctx context.Context, _ *sqs.ChangeMessageVisibilityBatchInput) (*sqs.ChangeMessageVisibilityBatchOutput, error) {
			return nil, hang(ctx)
		}
		api.receive = func(ctx context.Context, _ *sqs.ReceiveMessageInput) error { return hang(ctx) }
		c, err := consumers.New(api, b.queue, func(context.Context, events.Event) error {
			time.Sleep(time.Second)
			return nil
		}, consumers.Config{WaitTime: time.Second, DrainTimeout: 10 * time.Second})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- c.Run(ctx) }()
		time.Sleep(1500 * time.Millisecond)
		down.Store(true)
		cancel()
		start := time.Now()
		err = <-done
		if took := time.Since(start); took > 16*time.Second {
			t.Errorf("Run took %v to end (%v), want at most the drain timeout and a few seconds", took, err)
		}
	})
}

// TestDrain_DeletesWhatIsDoneAndComesLate: the handler succeeded after its lease was lost; the message comes again while draining.
func TestDrain_DeletesWhatIsDoneAndComesLate(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		b.send(motion("d1", "e1"))
		api := &meddler{QueueAPI: b.api}
		api.change = func(context.Context, *sqs.ChangeMessageVisibilityBatchInput) (*sqs.ChangeMessageVisibilityBatchOutput, error) {
			return nil, errReset
		}
		var receives atomic.Int64
		last := make(chan struct{})
		api.receive = func(context.Context, *sqs.ReceiveMessageInput) error {
			switch receives.Add(1) {
			case 1: // brings e1
			case 2:
				time.Sleep(20 * time.Second)
				return errThrottled
			default: // spans the end of the lease, at 30 s, and that of Run's context
				<-last
			}
			return nil
		}
		c, stop := b.start(api, func(ctx context.Context, _ events.Event) error {
			<-ctx.Done()
			return nil
		}, consumers.Config{HandlerTimeout: 30 * time.Second})
		time.AfterFunc(35*time.Second, func() { close(last) })
		time.Sleep(33 * time.Second)
		stop()
		if s := c.Stats(); s.Handled != 1 || s.Redelivered != 1 || s.LeasesLost != 1 {
			t.Errorf("got %+v, want it handled once and delivered twice", s)
		}
		if n := b.depth("test.fifo"); n != 0 {
			t.Errorf("%d messages are left, want it deleted: it was handled", n)
		}
	})
}

// TestDrain_CostsAnEventThatIsHeldOneReceive in each process, whose last receive is still under way when it begins to drain.
func TestDrain_CostsAnEventThatIsHeldOneReceive(t *testing.T) {
	t.Parallel()
	for _, wait := range []time.Duration{time.Second, 20 * time.Second} {
		for _, broken := range []error{errBroken, consumers.Unavailable(errBroken)} {
			synctest.Test(t, func(t *testing.T) {
				b := newBench(t)
				b.noCheck = true
				b.send(motion("d1", "e1"))
				for i := range 4 {
					c, stop := b.start(b.api, func(context.Context, events.Event) error { return broken }, consumers.Config{WaitTime: wait})
					time.Sleep(25 * time.Second)
					list, err := c.Blocked(t.Context())
					if err != nil || len(list) != 1 || list[0].ReceiveCount != i+1 {
						t.Errorf("wait %v, process %d: got %+v, %v, want e1 received %d times", wait, i, list, err, i+1)
					}
					stop()
				}
			})
		}
	}
}
