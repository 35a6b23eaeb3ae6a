package consumers_test

import (
	"context"
	"errors"
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
	"github.com/aws/smithy-go"

	"github.com/device-fanout/fanout/consumers"
	"github.com/device-fanout/fanout/events"
)

func TestLease_IsKeptAllTheWhile(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		b.send(motion("d1", "e1"), motion("d1", "e2"), motion("d1", "e3"))
		var j journal
		c, stop := b.start(b.api, func(_ context.Context, e events.Event) error {
			j.add(e.ID)
			time.Sleep(70 * time.Second) // longer than the visibility timeout of 30 s; e3 waits for 140 s
			return nil
		}, consumers.Config{HandlerTimeout: 30 * time.Second, DrainTimeout: 5 * time.Minute})
		time.Sleep(4 * time.Minute)
		stop()
		j.want(t, "e1", "e2", "e3")
		if s := c.Stats(); s.Redelivered != 0 || s.LeasesLost != 0 || s.Extensions == 0 {
			t.Errorf("got %+v, want extensions and no redelivery", s)
		}
	})
}

func TestLease_LostOneCancelsItsHandlerAndHandsBackItsFollowers(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		b.send(motion("d1", "e0"), motion("d1", "e1"), motion("d1", "e2"))
		api := &meddler{QueueAPI: b.api}
		api.change = func(_ context.Context, in *sqs.ChangeMessageVisibilityBatchInput) (*sqs.ChangeMessageVisibilityBatchOutput, error) {
			if in.Entries[0].VisibilityTimeout > 0 {
				return nil, errors.New("no route to host") // every heartbeat fails
			}
			return nil, nil
		}
		var j journal
		var first sync.Once
		_, stop := b.start(api, func(ctx context.Context, e events.Event) error {
			if e.ID == "e0" { // so that the lease of e1 ends before its handler timeout
				time.Sleep(10 * time.Second)
				return nil
			}
			slow := false
			first.Do(func() { slow = true })
			if slow {
				<-ctx.Done()
				j.add(e.ID + " " + context.Cause(ctx).Error())
				return nil // too late: it has no effect on the message, but the event is done
			}
			j.add(e.ID)
			return nil
		}, consumers.Config{HandlerTimeout: 30 * time.Second})
		time.Sleep(3 * time.Minute)
		stop()
		// e1 had been handled when it came again, so that it was only deleted; e2 never ran before that.
		j.want(t, "e1 consumers: lease lost", "e2")
		if n := b.depth("test.fifo"); n != 0 {
			t.Errorf("%d messages are left", n)
		}
	})
}

func TestLease_LostOneIsRunAgainBeforeItsFollowers(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		b.send(motion("d1", "e1"), motion("d1", "e2"))
		api := &meddler{QueueAPI: b.api}
		var first string // e1's receipt handle of its first delivery
		api.receiveReply = func(out *sqs.ReceiveMessageOutput) (*sqs.ReceiveMessageOutput, error) {
			if first == "" && len(out.Messages) > 0 {
				first = aws.ToString(out.Messages[0].ReceiptHandle)
			}
			return out, nil
		}
		api.change = func(_ context.Context, in *sqs.ChangeMessageVisibilityBatchInput) (*sqs.ChangeMessageVisibilityBatchOutput, error) {
			in.Entries = slices.DeleteFunc(in.Entries, func(e types.ChangeMessageVisibilityBatchRequestEntry) bool {
				return e.VisibilityTimeout > 0 && aws.ToString(e.ReceiptHandle) == first
			})
			if len(in.Entries) == 0 {
				return nil, errors.New("no route to host")
			}
			return nil, nil
		}
		var j journal
		_, stop := b.start(api, func(ctx context.Context, e events.Event) error {
			if e.ID == "e1" && len(j.all()) == 0 {
				<-ctx.Done()
				j.add("e1 cancelled")
				return ctx.Err()
			}
			j.add(e.ID)
			return nil
		}, consumers.Config{HandlerTimeout: 30 * time.Second})
		time.Sleep(3 * time.Minute)
		stop()
		j.want(t, "e1 cancelled", "e1", "e2")
		if n := len(b.deadLetters()); n != 0 {
			t.Errorf("%d dead letters, want none: the lease was lost, the event was not at fault", n)
		}
	})
}

// TestLease_ExtendingWhatIsBeingDeletedIsNoLoss: the heartbeat and a delete cross each other.
func TestLease_ExtendingWhatIsBeingDeletedIsNoLoss(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		b.send(motion("d1", "e1"))
		api := &meddler{QueueAPI: b.api}
		api.deleteReply = func(out *sqs.DeleteMessageBatchOutput) (*sqs.DeleteMessageBatchOutput, error) {
			time.Sleep(5 * time.Second) // it is carried out at once and answered late
			return out, nil
		}
		c, stop := b.start(api, func(context.Context, events.Event) error { time.Sleep(9 * time.Second); return nil }, consumers.Config{})
		time.Sleep(30 * time.Second)
		stop()
		if s := c.Stats(); s.LeasesLost != 0 || s.Extensions == 0 {
			t.Errorf("got %+v, want an extension and no lease lost", s)
		}
	})
}

// TestLease_SurvivesRequestsThatHang: two heartbeats in a row get no answer at all.
func TestLease_SurvivesRequestsThatHang(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		b.send(motion("d1", "e1"))
		api := &meddler{QueueAPI: b.api}
		var calls atomic.Int64
		api.change = func(ctx context.Context, _ *sqs.ChangeMessageVisibilityBatchInput) (*sqs.ChangeMessageVisibilityBatchOutput, error) {
			if calls.Add(1) <= 2 {
				<-ctx.Done()
				return nil, ctx.Err()
			}
			return nil, nil
		}
		var j journal
		c, stop := b.start(api, func(context.Context, events.Event) error { j.add("run"); time.Sleep(time.Minute); return nil },
			consumers.Config{HandlerTimeout: 30 * time.Second, DrainTimeout: 2 * time.Minute})
		time.Sleep(2 * time.Minute)
		stop()
		j.want(t, "run")
		if s := c.Stats(); s.LeasesLost != 0 || s.Redelivered != 0 {
			t.Errorf("got %+v, want no lease lost", s)
		}
	})
}

// TestLease_IsAsLongAsTheConsumerThinks: the queue's setting changes under a running consumer.
func TestLease_IsAsLongAsTheConsumerThinks(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		var j journal
		c, stop := b.start(b.api, func(_ context.Context, e events.Event) error {
			j.add(e.ID)
			time.Sleep(8 * time.Second)
			return nil
		}, consumers.Config{WaitTime: time.Second})
		time.Sleep(time.Second)
		_, err := b.api.SetQueueAttributes(t.Context(), &sqs.SetQueueAttributesInput{
			QueueUrl: &b.queue.URL, Attributes: map[string]string{"VisibilityTimeout": "5"},
		})
		if err != nil {
			t.Fatal(err)
		}
		b.send(motion("d1", "e1"))
		time.Sleep(20 * time.Second)
		stop()
		j.want(t, "e1")
		if s := c.Stats(); s.Redelivered != 0 {
			t.Errorf("got %+v, want no second delivery", s)
		}
	})
}

// TestLease_ComesBackWhileItIsHeld: the service takes back everything, unnoticed, and delivers it again to the same consumer.
func TestLease_ComesBackWhileItIsHeld(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		for i := range 6 {
			b.send(motion("d1", fmt.Sprintf("e%d", i)))
		}
		var j journal
		var running atomic.Int64
		c, stop := b.start(b.api, func(ctx context.Context, e events.Event) error {
			if running.Add(1) > 1 {
				t.Error("two handlers of one device at once")
			}
			defer running.Add(-1)
			select {
			case <-time.After(2 * time.Second):
				j.add(e.ID)
				return nil
			case <-ctx.Done():
				j.add("cancelled " + e.ID)
				time.Sleep(time.Second) // it takes a while to end
				return ctx.Err()
			}
		}, consumers.Config{WaitTime: time.Second})
		time.Sleep(3 * time.Second) // e0 is done, e1 runs
		if _, err := b.engine.ExpireVisibility("test.fifo", "d1"); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		stop()
		j.want(t, "e0", "cancelled e1", "e1", "e2", "e3", "e4", "e5")
		if s := c.Stats(); s.LeasesLost == 0 || s.Redelivered == 0 {
			t.Errorf("got %+v", s)
		}
		if n := b.depth("test.fifo"); n != 0 {
			t.Errorf("%d messages are left", n)
		}
	})
}

// TestLease_EndsWhileTheDeadLetterIsBeingSent: the copy gets there late; the message must neither run again nor be copied again.
func TestLease_EndsWhileTheDeadLetterIsBeingSent(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		b.send(motion("d1", "bad"), motion("d1", "good"))
		api := &meddler{QueueAPI: b.api}
		var once sync.Once
		api.send = func(*sqs.SendMessageInput) error {
			once.Do(func() {
				time.Sleep(2 * time.Second)
				if _, err := b.engine.ExpireVisibility("test.fifo", ""); err != nil {
					t.Error(err)
				}
				time.Sleep(2 * time.Second)
			})
			return nil
		}
		var j journal
		_, stop := b.start(api, func(_ context.Context, e events.Event) error {
			j.add(e.ID)
			if e.ID == "bad" {
				return consumers.Known("bad", errBroken)
			}
			return nil
		}, consumers.Config{WaitTime: time.Second})
		time.Sleep(time.Minute)
		stop()
		j.want(t, "bad", "good")
		if n := len(b.deadLetters()); n != 1 {
			t.Errorf("%d dead letters, want 1", n)
		}
		if n := b.depth("test.fifo"); n != 0 {
			t.Errorf("%d messages are left", n)
		}
	})
}

// TestLease_RefusedExtensionCancelsAtOnce and not when the lease would have ended: another consumer has the message.
func TestLease_RefusedExtensionCancelsAtOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		b.send(motion("d1", "e1"))
		start := time.Now()
		var first, second journal
		_, stop := b.start(b.api, func(ctx context.Context, _ events.Event) error {
			<-ctx.Done()
			if took := time.Since(start); took > 15*time.Second {
				t.Errorf("the handler was cancelled after %v, want at the next heartbeat", took)
			}
			first.add(context.Cause(ctx).Error())
			return ctx.Err()
		}, consumers.Config{HandlerTimeout: 30 * time.Second, Slots: 1, WaitTime: time.Second})
		time.Sleep(time.Second)
		_, stopSecond := b.start(b.api, func(_ context.Context, e events.Event) error {
			time.Sleep(30 * time.Second)
			second.add(e.ID)
			return nil
		}, consumers.Config{HandlerTimeout: 30 * time.Second, WaitTime: time.Second, DrainTimeout: time.Minute})
		if _, err := b.engine.ExpireVisibility("test.fifo", ""); err != nil {
			t.Fatal(err)
		}
		time.Sleep(20 * time.Second)
		stop()
		stopSecond()
		first.want(t, consumers.ErrLeaseLost.Error())
		second.want(t, "e1")
	})
}

// TestLease_ComesBackBeforeItsFollowers: the lease of the first event ends unnoticed, those of its followers do not; the first comes
// back while they wait, and must run before them.
func TestLease_ComesBackBeforeItsFollowers(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		b.send(motion("d1", "e0"), motion("d1", "e1"), motion("d1", "e2"), motion("d1", "e3"))
		api := &meddler{QueueAPI: b.api}
		var first string // e1's receipt handle of its first delivery
		api.receiveReply = func(out *sqs.ReceiveMessageOutput) (*sqs.ReceiveMessageOutput, error) {
			if first == "" && len(out.Messages) > 0 {
				first = aws.ToString(out.Messages[1].ReceiptHandle)
			}
			return out, nil
		}
		var kept []types.ChangeMessageVisibilityBatchResultEntry
		api.change = func(_ context.Context, in *sqs.ChangeMessageVisibilityBatchInput) (*sqs.ChangeMessageVisibilityBatchOutput, error) {
			kept = nil
			in.Entries = slices.DeleteFunc(in.Entries, func(e types.ChangeMessageVisibilityBatchRequestEntry) bool {
				if aws.ToString(e.ReceiptHandle) != first {
					return false
				}
				kept = append(kept, types.ChangeMessageVisibilityBatchResultEntry{Id: e.Id}) // it says so, and does not do it
				return true
			})
			if len(in.Entries) == 0 {
				return &sqs.ChangeMessageVisibilityBatchOutput{Successful: kept}, nil
			}
			return nil, nil
		}
		api.changeReply = func(out *sqs.ChangeMessageVisibilityBatchOutput) (*sqs.ChangeMessageVisibilityBatchOutput, error) {
			out.Successful = append(out.Successful, kept...)
			return out, nil
		}
		var j journal
		c, stop := b.start(api, func(ctx context.Context, e events.Event) error {
			if e.ID == "e0" { // so that the lease of e1 ends before its handler timeout
				time.Sleep(10 * time.Second)
				return nil
			}
			if e.ID == "e1" && len(j.all()) == 0 {
				<-ctx.Done()
				j.add("e1 cancelled")
				return ctx.Err()
			}
			j.add(e.ID)
			return nil
		}, consumers.Config{HandlerTimeout: 30 * time.Second, WaitTime: time.Second})
		time.Sleep(2 * time.Minute)
		stop()
		j.want(t, "e1 cancelled", "e1", "e2", "e3")
		if s := c.Stats(); s.Redelivered != 1 {
			t.Errorf("got %+v, want only the first delivered again", s)
		}
	})
}

// TestLease_LostByAWaitingEvent: its followers are still held, and must not run before it.
func TestLease_LostByAWaitingEvent(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		b.send(motion("d1", "e1"), motion("d1", "e2"), motion("d1", "e3"))
		api := &meddler{QueueAPI: b.api}
		var second string // e2's receipt handle of its first delivery
		api.receiveReply = func(out *sqs.ReceiveMessageOutput) (*sqs.ReceiveMessageOutput, error) {
			if second == "" && len(out.Messages) > 1 {
				second = aws.ToString(out.Messages[1].ReceiptHandle)
			}
			return out, nil
		}
		api.change = func(_ context.Context, in *sqs.ChangeMessageVisibilityBatchInput) (*sqs.ChangeMessageVisibilityBatchOutput, error) {
			in.Entries = slices.DeleteFunc(in.Entries, func(e types.ChangeMessageVisibilityBatchRequestEntry) bool {
				return e.VisibilityTimeout > 0 && aws.ToString(e.ReceiptHandle) == second
			})
			if len(in.Entries) == 0 {
				return nil, errReset
			}
			return nil, nil
		}
		var j journal
		_, stop := b.start(api, func(_ context.Context, e events.Event) error {
			if e.ID == "e1" {
				time.Sleep(45 * time.Second)
			}
			j.add(e.ID)
			return nil
		}, consumers.Config{HandlerTimeout: 30 * time.Second, WaitTime: time.Second})
		time.Sleep(2 * time.Minute)
		stop()
		j.want(t, "e1", "e2", "e3")
	})
}

// TestLease_BoundsRetries: while it can't be extended, no retry is begun that it would not outlast.
func TestLease_BoundsRetries(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		b.send(motion("d1", "e1"))
		api := &meddler{QueueAPI: b.api}
		api.change = func(context.Context, *sqs.ChangeMessageVisibilityBatchInput) (*sqs.ChangeMessageVisibilityBatchOutput, error) {
			return nil, errReset
		}
		_, stop := b.start(api, func(context.Context, events.Event) error { return errBroken },
			consumers.Config{HandlerTimeout: 30 * time.Second, RetryDelay: 15 * time.Second, WaitTime: time.Second})
		time.Sleep(20 * time.Second) // tries at 0 s and 15 s, and one more on the check's word; the next would be at 45 s
		stop()
		if deadLetters := b.deadLetters(); len(deadLetters) != 1 || deadLetters[0].Record.Attempts != 3 {
			t.Errorf("got %d dead letters, want one after three tries", len(deadLetters))
		}
	})
}

// TestLease_LostByADeadLetterThatCantBeDeleted: it is in the dead-letter queue; its device goes on.
func TestLease_LostByADeadLetterThatCantBeDeleted(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		b.send(motion("d1", "bad"), motion("d1", "good"))
		start := time.Now()
		outage := func() error {
			if took := time.Since(start); took > time.Second && took < time.Minute {
				return errReset
			}
			return nil
		}
		api := &meddler{QueueAPI: b.api}
		api.change = func(context.Context, *sqs.ChangeMessageVisibilityBatchInput) (*sqs.ChangeMessageVisibilityBatchOutput, error) {
			return nil, outage()
		}
		api.delete = func(in *sqs.DeleteMessageBatchInput) {
			if outage() != nil {
				in.QueueUrl = aws.String(b.queue.URL + "-unreachable") // not carried out
			}
		}
		var j journal
		_, stop := b.start(api, func(_ context.Context, e events.Event) error {
			j.add(e.ID)
			if e.ID == "bad" {
				time.Sleep(2 * time.Second)
				return consumers.Known("bad", errBroken)
			}
			return nil
		}, consumers.Config{WaitTime: time.Second})
		time.Sleep(3 * time.Minute)
		stop()
		j.want(t, "bad", "good")
		if n := b.depth("test.fifo"); n != 0 {
			t.Errorf("%d messages are left", n)
		}
		if n := b.depth("test-dlq.fifo"); n != 1 {
			t.Errorf("%d dead letters, want 1", n)
		}
	})
}

// A request refused as a whole says nothing about the leases of its messages.
func TestLease_OutlivesARefusedRequest(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		b.send(motion("d1", "e1"), motion("d2", "e2"))
		api := &meddler{QueueAPI: b.api}
		refused := 0
		api.change = func(_ context.Context, in *sqs.ChangeMessageVisibilityBatchInput) (*sqs.ChangeMessageVisibilityBatchOutput, error) {
			if in.Entries[0].VisibilityTimeout > 0 && refused == 0 {
				refused++
				return nil, &smithy.GenericAPIError{Code: "ValidationException", Message: "a proxy's doing", Fault: smithy.FaultClient}
			}
			return nil, nil
		}
		var j journal
		c, stop := b.start(api, func(ctx context.Context, e events.Event) error {
			select {
			case <-ctx.Done():
				j.add(e.ID + " " + context.Cause(ctx).Error())
			case <-time.After(map[string]time.Duration{"e1": 24 * time.Second, "e2": 26 * time.Second}[e.ID]):
				j.add(e.ID)
			}
			return nil
		}, consumers.Config{HandlerTimeout: 30 * time.Second})
		time.Sleep(3 * time.Minute)
		stop()
		j.want(t, "e1", "e2")
		if s := c.Stats(); refused != 1 || s.LeasesLost != 0 || s.Redelivered != 0 {
			t.Errorf("%d requests refused, %+v, want one and no lost lease", refused, s)
		}
	})
}
