package consumers_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sqs"

	"github.com/device-fanout/fanout/consumers"
	"github.com/device-fanout/fanout/events"
)

// TestBreaker_ARunOfFailuresDoesNotEmptyTheQueueIntoTheDLQ: the database is down for ten minutes.
func TestBreaker_ARunOfFailuresDoesNotEmptyTheQueueIntoTheDLQ(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		for i := range 300 {
			b.send(motion(fmt.Sprintf("d%03d", i%100), fmt.Sprintf("e%03d", i)))
		}
		var down atomic.Bool
		down.Store(true)
		var attempts, done atomic.Int64
		c, stop := b.start(b.api, func(context.Context, events.Event) error {
			attempts.Add(1)
			if down.Load() {
				return errBroken
			}
			done.Add(1)
			return nil
		}, consumers.Config{WaitTime: time.Second})
		time.Sleep(10 * time.Minute)
		s := c.Stats()
		if n := b.depth("test-dlq.fifo"); n >= consumers.DefaultBreakAfter || !s.Open || s.Breaks != 1 {
			t.Errorf("%d dead letters and %+v, want fewer than %d and an open breaker", n, s, consumers.DefaultBreakAfter)
		}
		if n := attempts.Load(); n > 32*4+4*20 {
			t.Errorf("%d attempts in ten minutes, want a few", n)
		}
		if list, err := c.Blocked(t.Context()); err != nil || len(list) == 0 || list[0].Reason != consumers.BlockedBreaker {
			t.Errorf("blocked: got %+v, %v", list, err)
		}
		down.Store(false)
		time.Sleep(2 * time.Minute)
		if n := b.depth("test.fifo"); n != 0 {
			t.Errorf("%d messages are left two minutes after it was mended", n)
		}
		if s := c.Stats(); s.Redelivered != 0 || s.Open {
			t.Errorf("got %+v, want nothing redelivered and the breaker closed", s)
		}
		stop()
	})
}

// TestBreaker_OpensAtOnceWhenTold and asks for nothing but one event now and then; SIGTERM hands back what it holds.
func TestBreaker_OpensAtOnceWhenTold(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		for i := range 200 {
			b.send(motion(fmt.Sprintf("d%03d", i), fmt.Sprintf("e%03d", i)))
		}
		c, stop := b.start(b.api, func(context.Context, events.Event) error {
			return consumers.Unavailable(errBroken)
		}, consumers.Config{Slots: 4, WaitTime: time.Second})
		time.Sleep(5 * time.Minute)
		if s := c.Stats(); s.Receives > 20 || s.Held > 20 {
			t.Errorf("got %+v, want few receives while the breaker is open", s)
		}
		stop()
		if v, d := b.visible("test.fifo"), b.depth("test-dlq.fifo"); v != 200 || d != 0 {
			t.Errorf("%d messages are visible and %d dead-lettered, want 200 and none", v, d)
		}
	})
}

// TestBreaker_OneBadTypeDoesNotOpenIt: other events succeed in between. Nor does one bad device.
func TestBreaker_OneBadTypeDoesNotOpenIt(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		for i := range 60 {
			b.send(motion("bad", fmt.Sprintf("b%02d", i)))
		}
		for i := range 60 {
			b.send(motion(fmt.Sprintf("bad-%d", i), fmt.Sprintf("c%02d", i)), motion(fmt.Sprintf("good-%d", i), fmt.Sprintf("g%02d", i)))
		}
		c, stop := b.start(b.api, func(_ context.Context, e events.Event) error {
			if strings.HasPrefix(e.DeviceID, "bad") {
				return errBroken
			}
			return nil
		}, consumers.Config{Slots: 4, WaitTime: time.Second})
		time.Sleep(5 * time.Minute)
		stop()
		if s := c.Stats(); s.Breaks != 0 || s.DeadLettered != 120 || s.Handled != 60 {
			t.Errorf("got %+v, want 120 dead-lettered and 60 handled", s)
		}
	})
}

// TestBreaker_FindsTheEventThatCanBeHandled: all that it holds is bad, the next one is not.
func TestBreaker_FindsTheEventThatCanBeHandled(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		for i := range 30 {
			b.send(motion(fmt.Sprintf("bad-%d", i), fmt.Sprintf("b%02d", i)))
		}
		c, stop := b.start(b.api, func(_ context.Context, e events.Event) error {
			if strings.HasPrefix(e.DeviceID, "bad") {
				return errBroken
			}
			return nil
		}, consumers.Config{WaitTime: time.Second, BreakAfter: 5})
		time.Sleep(time.Minute)
		if !c.Stats().Open {
			t.Fatal("the breaker is not open")
		}
		b.send(motion("good", "g1"))
		time.Sleep(5 * time.Minute)
		if s := c.Stats(); s.Handled != 1 {
			t.Errorf("got %+v, want the good event handled", s)
		}
		stop()
	})
}

func TestPause_StopsTheIntakeOnly(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		var j journal
		c, stop := b.start(b.api, func(_ context.Context, e events.Event) error {
			time.Sleep(5 * time.Second)
			j.add(e.ID)
			return nil
		}, consumers.Config{WaitTime: time.Second})
		b.send(motion("d1", "e1"))
		time.Sleep(time.Second)
		c.Pause()
		time.Sleep(2 * time.Second)
		b.send(motion("d2", "e2"))
		time.Sleep(time.Minute)
		j.want(t, "e1")
		if s := c.Stats(); !s.Paused || s.Held != 0 {
			t.Errorf("got %+v, want it paused and holding nothing", s)
		}
		c.Resume()
		time.Sleep(6 * time.Second)
		j.want(t, "e1", "e2")
		c.Pause()
		stop()
	})
}

// TestReceive_NewAttemptIDAfterAThrottle: the one before is not valid any more.
func TestReceive_NewAttemptIDAfterAThrottle(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		b.send(motion("d1", "e1"))
		api := &meddler{QueueAPI: b.api}
		var ids []string
		api.receive = func(_ context.Context, in *sqs.ReceiveMessageInput) error {
			ids = append(ids, aws.ToString(in.ReceiveRequestAttemptId))
			switch len(ids) {
			case 1:
				return errThrottled
			case 2:
				return errReset
			case 3: // not sent, so that the reply of the second is still to be had
				return &net.OpError{Op: "dial", Err: errors.New("connection refused")}
			}
			return nil
		}
		var j journal
		_, stop := b.start(api, func(_ context.Context, e events.Event) error { j.add(e.ID); return nil }, consumers.Config{WaitTime: time.Second})
		time.Sleep(5 * time.Second)
		stop()
		j.want(t, "e1")
		if len(ids) < 4 || ids[0] == ids[1] || ids[1] != ids[2] || ids[2] != ids[3] {
			t.Errorf("attempt IDs: got %q, want a new one after the throttle and the same until an answer came", ids)
		}
	})
}

// TestBlocked_ShowsAStuckHandlerWithItsStack in the view and in the log.
func TestBlocked_ShowsAStuckHandlerWithItsStack(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		b.send(motion("d1", "e1"), motion("d1", "e2"), motion("d2", "x1"))
		var out lockedBuffer
		release := make(chan struct{})
		c, stop := b.start(b.api, func(_ context.Context, e events.Event) error {
			if e.ID == "e1" {
				waitForTheDatabase(release)
			}
			return nil
		}, consumers.Config{HandlerTimeout: 5 * time.Second, WaitTime: time.Second, Logger: out.logger()})
		time.Sleep(time.Minute)
		list, err := c.Blocked(t.Context())
		if err != nil || len(list) != 1 {
			t.Fatalf("got %+v, %v, want one device", list, err)
		}
		l := list[0]
		if l.DeviceID != "d1" || l.Reason != consumers.BlockedStuck || l.Behind != 1 || !strings.Contains(l.Stack, "waitForTheDatabase") {
			t.Errorf("got %+v, want d1 with one event behind it and the handler's stack", l)
		}
		if !strings.Contains(out.String(), "waitForTheDatabase") {
			t.Errorf("the log has no stack:\n%s", out.String())
		}
		close(release)
		stop()
		if list, err := c.Blocked(t.Context()); err != nil || len(list) != 0 {
			t.Errorf("after the end: got %+v, %v", list, err)
		}
	})
}

//go:noinline
func waitForTheDatabase(release chan struct{}) { <-release }

// TestHooks_HearOfEveryVerdict and give the handler its context.
func TestHooks_HearOfEveryVerdict(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		b.send(motion("d1", "good"), motion("d2", "bad"), motion("d3", "worse"))
		b.sendBody("d4", "garbage", "device.motion.changed.v1", "{")
		type key struct{}
		var j journal
		_, stop := b.start(b.api, func(ctx context.Context, e events.Event) error {
			if ctx.Value(key{}) != e.ID {
				t.Errorf("%s: the handler's context is not the hook's", e.ID)
			}
			switch e.ID {
			case "bad":
				return consumers.Known("refused", errBroken)
			case "worse":
				return errors.New("worse")
			}
			return nil
		}, consumers.Config{WaitTime: time.Second, Slots: 1, Hooks: consumers.Hooks{
			Handle: func(ctx context.Context, d consumers.Delivery) (context.Context, func(consumers.Outcome)) {
				return context.WithValue(ctx, key{}, d.Event.ID), func(o consumers.Outcome) {
					j.add(fmt.Sprintf("%s %s %s %s %d", d.DeviceID, d.Attribute("source"), o.Verdict, o.Code, o.Attempts))
				}
			},
		}})
		time.Sleep(5 * time.Second)
		stop()
		j.want(t, "d1 test handled  1", "d2 test known refused 1", "d3 test exhausted error 4", "d4 test known malformed_json 0")
	})
}
