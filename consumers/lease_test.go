package consumers_test

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"

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
		}, consumers.Config{Budget: 100 * time.Second, DrainTimeout: 5 * time.Minute})
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
		b.send(motion("d1", "e1"), motion("d1", "e2"))
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
			slow := false
			first.Do(func() { slow = true })
			if slow {
				<-ctx.Done()
				j.add(e.ID + " " + context.Cause(ctx).Error())
				return nil // too late: it has no effect on the message, but the event is done
			}
			j.add(e.ID)
			return nil
		}, consumers.Config{Budget: 5 * time.Minute})
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
		}, consumers.Config{Budget: 5 * time.Minute})
		time.Sleep(3 * time.Minute)
		stop()
		j.want(t, "e1 cancelled", "e1", "e2")
		if n := len(b.letters()); n != 0 {
			t.Errorf("%d dead letters, want none: the lease was lost, the event was not at fault", n)
		}
	})
}
