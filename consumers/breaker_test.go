package consumers_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sqs"

	"github.com/device-fanout/fanout/consumers"
	"github.com/device-fanout/fanout/events"
	"github.com/device-fanout/fanout/internal/logtest"
)

// TestOutage_CostsNoDeadLetter: the database is down for ten minutes, and the service has a check that says so.
func TestOutage_CostsNoDeadLetter(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		for i := range 300 {
			b.send(motion(fmt.Sprintf("d%03d", i%100), fmt.Sprintf("e%03d", i)))
		}
		var down atomic.Bool
		var attempts, done atomic.Int64
		check := func(context.Context) error {
			if down.Load() {
				return errBroken
			}
			return nil
		}
		c, stop := b.start(b.api, func(context.Context, events.Event) error {
			if attempts.Add(1); down.Load() {
				return errBroken
			}
			if done.Add(1) == 10 {
				down.Store(true)
			}
			return nil
		}, consumers.Config{WaitTime: time.Second, Check: check})
		time.Sleep(10 * time.Minute)
		if n := b.depth("test-dlq.fifo"); n > 0 {
			t.Errorf("%d dead letters, want none", n)
		}
		if n := attempts.Load(); n > 10_000 {
			t.Errorf("%d attempts in ten minutes, want fewer", n)
		}
		if list, err := c.Blocked(t.Context()); err != nil || len(list) == 0 || list[0].Reason != consumers.BlockedEvidence || !strings.Contains(list[0].WaitsFor, errBroken.Error()) {
			t.Errorf("blocked: got %+v, %v", list, err)
		}
		if h := c.Health(); h.Live != nil || h.Ready == nil || !errors.Is(h.Ready, errBroken) {
			t.Errorf("got %+v, want it alive, and not ready for what the check says", h)
		}
		down.Store(false)
		time.Sleep(2 * time.Minute)
		if n := b.depth("test.fifo"); n != 0 {
			t.Errorf("%d messages are left two minutes after it was mended", n)
		}
		if s := c.Stats(); s.Redelivered != 0 || s.Handled != 300 || c.Health().Ready != nil {
			t.Errorf("got %+v and %+v, want all handled, nothing redelivered, and ready", s, c.Health())
		}
		stop()
	})
}

// TestOutage_EndsAfterMaxHoldWithoutACheck: nothing tells an outage from a bad event then.
func TestOutage_EndsAfterMaxHoldWithoutACheck(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		b.noCheck = true
		b.send(motion("d1", "e1"), motion("d1", "e2"))
		c, stop := b.start(b.api, func(context.Context, events.Event) error { return errBroken }, consumers.Config{WaitTime: time.Second, MaxHold: time.Minute})
		time.Sleep(55 * time.Second)
		if list, err := c.Blocked(t.Context()); err != nil || len(list) != 1 || list[0].Reason != consumers.BlockedEvidence || list[0].Until.Sub(list[0].Since) != time.Minute {
			t.Errorf("blocked: got %+v, %v, want e1 held for a minute", list, err)
		}
		if got := b.dead(); got != "" {
			t.Errorf("dead letters: got %s, want none yet", got)
		}
		time.Sleep(10 * time.Second)
		if got := b.dead(); got != "e1 exhausted" {
			t.Errorf("dead letters: got %s, want e1", got)
		}
		time.Sleep(time.Minute)
		if got := b.dead(); got != "e1 exhausted, e2 exhausted" {
			t.Errorf("dead letters: got %s, want both", got)
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

// TestDoubt_FindsTheEventThatCanBeHandled: all that it holds is bad, the next one is not.
func TestDoubt_FindsTheEventThatCanBeHandled(t *testing.T) {
	t.Parallel()
	for _, unavailable := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			b := newBench(t)
			b.noCheck = true
			for i := range 15 {
				b.send(motion(fmt.Sprintf("bad-%d", i), fmt.Sprintf("b%02d", i)))
			}
			c, stop := b.start(b.api, func(_ context.Context, e events.Event) error {
				switch {
				case !strings.HasPrefix(e.DeviceID, "bad"):
					return nil
				case unavailable:
					return consumers.Unavailable(errBroken)
				}
				return errBroken
			}, consumers.Config{WaitTime: time.Second, MaxHold: time.Hour})
			time.Sleep(time.Minute)
			if s := c.Stats(); s.Held > 15 || s.Open != unavailable {
				t.Errorf("got %+v, want a few held", s)
			}
			b.send(motion("good", "g1"))
			time.Sleep(15 * time.Minute)
			if s := c.Stats(); s.Handled != 1 {
				t.Errorf("got %+v, want the good event handled", s)
			}
			stop()
		})
	}
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
		var out logtest.Log
		release := make(chan struct{})
		c, stop := b.start(b.api, func(_ context.Context, e events.Event) error {
			if e.ID == "e1" {
				waitForTheDatabase(release)
			}
			return nil
		}, consumers.Config{HandlerTimeout: 5 * time.Second, WaitTime: time.Second, Logger: out.Logger()})
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
			DeadLettered: func(d consumers.Delivery, o consumers.Outcome) {
				if o.Verdict == consumers.VerdictExhausted {
					j.add(fmt.Sprintf("%s %s %s %d", d.DeviceID, o.Class, o.Code, o.Attempts))
				}
			},
		}})
		time.Sleep(5 * time.Second)
		stop()
		got := j.all() // those of different devices come in any order
		want := []string{"d1 test handled  1", "d2 test known refused 1", "d3 test held error 4", "d4 test known malformed_json 0", "d3 test held error 5", "d3 exhausted error 5"}
		slices.Sort(got)
		slices.Sort(want)
		if !slices.Equal(got, want) {
			t.Errorf("got %q, want %q", got, want)
		}
	})
}
