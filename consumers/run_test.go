package consumers_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"

	"github.com/device-fanout/fanout/consumers"
	"github.com/device-fanout/fanout/events"
	"github.com/device-fanout/fanout/internal/logtest"
)

func TestRun_HandlesADeviceInOrderAndDeletes(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		for i := range 25 {
			b.send(motion("d1", fmt.Sprintf("a%02d", i)), motion("d2", fmt.Sprintf("b%02d", i)))
		}
		perDevice := map[string]*journal{"d1": {}, "d2": {}}
		_, stop := b.start(b.api, func(_ context.Context, e events.Event) error {
			perDevice[e.DeviceID].add(e.ID)
			time.Sleep(time.Millisecond)
			return nil
		}, consumers.Config{})
		time.Sleep(5 * time.Second)
		stop()
		for device, j := range perDevice {
			if got := j.all(); len(got) != 25 || !slices.IsSorted(got) {
				t.Errorf("device %s: handled %q, want all 25 in order", device, got)
			}
		}
		if n := b.depth("test.fifo"); n != 0 {
			t.Errorf("%d messages are left", n)
		}
	})
}

func TestReceive_LostReplyDoesNotStallTheDevice(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		b.send(motion("d1", "e1"))
		api := &meddler{QueueAPI: b.api}
		lost := false
		api.receiveReply = func(out *sqs.ReceiveMessageOutput) (*sqs.ReceiveMessageOutput, error) {
			if len(out.Messages) > 0 && !lost {
				lost = true
				return nil, errors.New("connection reset by peer")
			}
			return out, nil
		}
		var j journal
		_, stop := b.start(api, func(_ context.Context, e events.Event) error { j.add(e.ID); return nil }, consumers.Config{})
		time.Sleep(5 * time.Second) // far less than the visibility timeout
		j.want(t, "e1")
		stop()
	})
}

func TestRun_RefusesQueuesThatAreNotFit(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	c, err := consumers.New(b.api, consumers.Queue{Service: "test", URL: b.queue.URL, DLQURL: b.queue.URL + "-missing"},
		func(context.Context, events.Event) error { return nil }, consumers.Config{})
	if err != nil {
		t.Fatal(err)
	}
	var missing *types.QueueDoesNotExist
	if err := c.Run(t.Context()); !errors.As(err, &missing) {
		t.Errorf("missing dead-letter queue: got %v", err)
	}
	_, err = b.api.SetQueueAttributes(t.Context(), &sqs.SetQueueAttributesInput{QueueUrl: &b.queue.DLQURL, Attributes: map[string]string{
		"MaximumMessageSize": "4096",
	}})
	if err != nil {
		t.Fatal(err)
	}
	c, err = consumers.New(b.api, b.queue, func(context.Context, events.Event) error { return nil }, consumers.Config{})
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Run(t.Context()); err == nil || !containsText(err, "up to 4096 bytes") {
		t.Errorf("a dead-letter queue that takes smaller messages: got %v", err)
	}
	if _, err := consumers.New(b.api, consumers.Queue{}, nil, consumers.Config{WaitTime: time.Millisecond, GroupPolicy: "jump"}); err == nil {
		t.Error("a faulty configuration: got no error")
	} else {
		for _, want := range []string{"URL is empty", "DLQURL is empty", "Service is empty", "handler is nil", "WaitTime", "jump"} {
			if !containsText(err, want) {
				t.Errorf("got %q, want it to say %q", err, want)
			}
		}
	}
}

// TestReceive_EveryLostReplyIsAskedForAgain: four receives lose their replies at once; none of their devices may wait for the
// visibility timeout.
func TestReceive_EveryLostReplyIsAskedForAgain(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		api := &meddler{QueueAPI: b.api}
		var full, lose atomic.Int64
		api.receive = func(context.Context, *sqs.ReceiveMessageInput) error {
			if full.Load() >= 3 { // by now there are several receives at once
				time.Sleep(time.Second)
			}
			return nil
		}
		api.receiveReply = func(out *sqs.ReceiveMessageOutput) (*sqs.ReceiveMessageOutput, error) {
			if full.Add(1) > 3 && lose.Add(1) <= 4 && len(out.Messages) > 0 {
				return nil, errReset
			}
			return out, nil
		}
		for i := range 100 {
			b.send(motion(fmt.Sprintf("d%03d", i), fmt.Sprintf("e%03d", i)))
		}
		var j journal
		_, stop := b.start(api, func(_ context.Context, e events.Event) error { j.add(e.ID); return nil }, consumers.Config{Slots: 64})
		time.Sleep(15 * time.Second) // half the visibility timeout
		if n := len(j.all()); n != 100 {
			t.Errorf("handled %d of 100 events; the others wait for their visibility timeout", n)
		}
		stop()
	})
}

// TestRun_ReportsAHandlerThatDoesNotEnd: nothing can be done about it, but somebody must hear of it.
func TestRun_ReportsAHandlerThatDoesNotEnd(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		b.send(motion("d1", "e1"), motion("d2", "e2"))
		var out logtest.Log
		release := make(chan struct{})
		_, stop := b.start(b.api, func(_ context.Context, e events.Event) error {
			if e.ID == "e1" {
				<-release
			}
			return nil
		}, consumers.Config{HandlerTimeout: 5 * time.Second, WaitTime: time.Second, Logger: out.Logger()})
		time.Sleep(2 * time.Minute)
		close(release)
		stop()
		if n := strings.Count(out.String(), "handler does not end"); n != 1 {
			t.Errorf("the log tells %d times of the handler, want once:\n%s", n, out.String())
		}
		if !strings.Contains(out.String(), "group_id=d1") {
			t.Errorf("the log does not name the device:\n%s", out.String())
		}
	})
}

// TestRun_WithOneSlot: one after the other, dead letters and retries included.
func TestRun_WithOneSlot(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		for i := range 30 {
			b.send(motion(fmt.Sprintf("d%d", i%7), fmt.Sprintf("e%02d", i)))
		}
		var running atomic.Int64
		c, stop := b.start(b.api, func(_ context.Context, e events.Event) error {
			if running.Add(1) > 1 {
				t.Error("two handlers at once, though there is one slot")
			}
			defer running.Add(-1)
			time.Sleep(10 * time.Millisecond)
			switch e.ID[2] {
			case '3':
				return consumers.Known("three", errBroken)
			case '4':
				return errBroken
			}
			return nil
		}, consumers.Config{Slots: 1, WaitTime: time.Second})
		time.Sleep(time.Minute)
		stop()
		if s := c.Stats(); s.Handled != 24 || s.DeadLettered != 6 || s.Redelivered != 0 {
			t.Errorf("got %+v, want 24 handled and 6 dead-lettered", s)
		}
	})
}

// TestRun_UsesEverySlot: handlers that take long leave a few slots; those must not lie idle.
func TestRun_UsesEverySlot(t *testing.T) {
	t.Parallel()
	for _, slots := range []int{2, 4, 16, 32} {
		t.Run(fmt.Sprintf("%d slots", slots), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				b := newBench(t)
				b.send(motion("first", "f1"))
				for i := range slots - 1 {
					b.send(motion(fmt.Sprintf("slow-%d", i), fmt.Sprintf("s%d", i)))
				}
				release := make(chan struct{})
				var j journal
				c, stop := b.start(b.api, func(_ context.Context, e events.Event) error {
					if strings.HasPrefix(e.DeviceID, "slow") {
						<-release
						return nil
					}
					j.add(e.ID)
					return nil
				}, consumers.Config{Slots: slots, WaitTime: time.Second})
				time.Sleep(10 * time.Second)
				b.send(motion("quick", "q1"), motion("quick", "q2"))
				time.Sleep(2 * time.Second)
				j.want(t, "f1", "q1", "q2")
				if s := c.Stats(); s.Receives > 40 {
					t.Errorf("%d receives in 12 seconds", s.Receives)
				}
				close(release)
				stop()
			})
		})
	}
}
