package consumers_test

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/sqs"

	"github.com/device-fanout/fanout/consumers"
	"github.com/device-fanout/fanout/consumers/parking"
	"github.com/device-fanout/fanout/events"
)

// What must not stop the devices that are well, and what must not overtake when a consumer ends.

// TestStall_ManyReleasesAtOnce: the live events of devices that are being released wait for the dead letters that come first. They must not
// keep the consumer from receiving those.
func TestStall_ManyReleasesAtOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		store := newStore()
		var j journal
		const devices, live = 60, 10
		cfg := consumers.Config{GroupPolicy: consumers.Park, Parking: store, WaitTime: time.Second}
		var mended atomic.Bool
		handle := func(_ context.Context, e events.Event) error {
			if !mended.Load() {
				return consumers.Known("refused", errBroken)
			}
			j.add(e.DeviceID + " " + e.ID)
			return nil
		}
		_, stop := b.start(b.api, handle, cfg)
		for d := range devices {
			b.send(motion(fmt.Sprint("d", d), "e0"))
		}
		time.Sleep(30 * time.Second)
		stop() // for a deploy, with the mend
		if n := b.depth("test-dlq.fifo"); n != devices {
			t.Fatalf("%d dead letters, want one of each device", n)
		}
		mended.Store(true)
		for d := range devices { // what arrives meanwhile
			for i := 1; i <= live; i++ {
				b.send(motion(fmt.Sprint("d", d), fmt.Sprint("e", i)))
			}
		}
		for d := range devices {
			b.releaseDevice(store, fmt.Sprint("d", d))
		}
		_, stop = b.start(b.api, handle, cfg)
		time.Sleep(30 * time.Minute)
		stop()
		got := map[string]string{}
		for _, entry := range j.all() {
			var device, id string
			if _, err := fmt.Sscan(entry, &device, &id); err != nil {
				t.Fatal(err)
			}
			got[device] += id + " "
		}
		for d := range devices {
			if got, want := got[fmt.Sprint("d", d)], "e0 e1 e2 e3 e4 e5 e6 e7 e8 e9 e10 "; got != want {
				t.Errorf("d%d: handled %q, want %q", d, got, want)
			}
		}
	})
}

// TestStall_InterruptedReleases stop nobody else, and go on when they are run again.
func TestStall_InterruptedReleases(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		store := newStore()
		var j journal
		const devices, live = 40, 10
		for d := range devices {
			id := fmt.Sprint("d", d)
			if err := parking.Park(t.Context(), store, "test", id, parking.Cause{MessageID: "m"}); err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithCancel(t.Context())
			cancel() // right after it has begun
			if _, err := parking.Release(ctx, store, b.api, parking.Queues{Service: "test", URL: b.queue.URL, DLQURL: b.queue.DLQURL}, id); err == nil {
				t.Fatal("the release was not interrupted")
			}
			for i := range live {
				b.send(motion(id, fmt.Sprint(id, "-e", i)))
			}
		}
		_, stop := b.start(b.api, func(_ context.Context, e events.Event) error { j.add(e.ID); return nil },
			consumers.Config{GroupPolicy: consumers.Park, Parking: store, WaitTime: time.Second})
		time.Sleep(30 * time.Second)
		b.send(motion("healthy", "h1"))
		time.Sleep(time.Minute)
		j.want(t, "h1")
		for d := range devices {
			b.releaseDevice(store, fmt.Sprint("d", d))
		}
		time.Sleep(30 * time.Minute)
		stop()
		if n := len(j.all()); n != devices*live+1 {
			t.Errorf("%d events are handled, want %d", n, devices*live+1)
		}
	})
}

// TestStall_ADeadLetterQueueThatIsDown stops the devices that need it, not the others.
func TestStall_ADeadLetterQueueThatIsDown(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		var down atomic.Bool
		down.Store(true)
		api := &meddler{QueueAPI: b.api, send: func(*sqs.SendMessageInput) error {
			if down.Load() {
				return errReset
			}
			return nil
		}}
		const devices, each = 40, 10
		for d := range devices {
			for i := range each {
				b.send(motion(fmt.Sprint("bad", d), fmt.Sprint("bad", d, "-", i)))
			}
		}
		var j journal
		_, stop := b.start(api, func(_ context.Context, e events.Event) error {
			if e.DeviceID == "healthy" {
				j.add(e.ID)
				return nil
			}
			return consumers.Known("refused", errBroken)
		}, consumers.Config{WaitTime: time.Second})
		time.Sleep(time.Minute)
		b.send(motion("healthy", "h1"))
		time.Sleep(time.Minute)
		j.want(t, "h1")
		down.Store(false)
		time.Sleep(10 * time.Minute)
		stop()
		if n := b.depth("test-dlq.fifo"); n != devices*each {
			t.Errorf("%d dead letters, want %d", n, devices*each)
		}
	})
}

// TestStall_TheStoreIsDown for a while: what is received waits, and uses up no receives, for else SQS would move it untried.
func TestStall_TheStoreIsDown(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		b.maxReceives(10)
		store := newStore()
		var j journal
		store.broken.Store(true)
		_, stop := b.start(b.api, func(_ context.Context, e events.Event) error { j.add(e.ID); return nil },
			consumers.Config{GroupPolicy: consumers.Park, Parking: store, WaitTime: time.Second})
		b.send(motion("d1", "e1"), motion("d1", "e2"))
		time.Sleep(time.Hour)
		store.broken.Store(false)
		b.send(motion("d1", "e3"))
		time.Sleep(2 * time.Minute)
		stop()
		j.want(t, "e1", "e2", "e3")
		if n := b.depth("test-dlq.fifo"); n != 0 {
			t.Errorf("%d dead letters", n)
		}
	})
}

// TestStall_ManyReleasedEventsCostNoLease: events that come back later by the hundred do not keep the heartbeat from the others.
func TestStall_ManyReleasedEventsCostNoLease(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("receives 24,000 events; run without -short")
	}
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		const roundTrip = 20 * time.Millisecond
		api := &meddler{QueueAPI: b.api}
		api.change = func(context.Context, *sqs.ChangeMessageVisibilityBatchInput) (*sqs.ChangeMessageVisibilityBatchOutput, error) {
			time.Sleep(roundTrip)
			return nil, nil
		}
		api.receive = func(context.Context, *sqs.ReceiveMessageInput) error { time.Sleep(roundTrip); return nil }
		b.send(motion("slow", "s1"), motion("slow", "s2"))
		for i := range 24_000 {
			b.send(motion(fmt.Sprint("d", i), fmt.Sprint("e", i)))
		}
		var j journal
		c, stop := b.start(api, func(ctx context.Context, e events.Event) error {
			if e.DeviceID != "slow" {
				return consumers.RetryAfter(time.Hour, errBroken)
			}
			select {
			case <-time.After(20 * time.Second):
				j.add(e.ID)
			case <-ctx.Done():
				j.add(fmt.Sprint(e.ID, " cut off: ", context.Cause(ctx)))
			}
			return nil
		}, consumers.Config{WaitTime: time.Second, HandlerTimeout: 30 * time.Second})
		time.Sleep(90 * time.Second)
		s := c.Stats()
		stop()
		j.want(t, "s1", "s2")
		if s.LeasesLost > 0 || s.Redelivered > 0 {
			t.Errorf("%d leases were lost, and %d events came again before their time", s.LeasesLost, s.Redelivered)
		}
	})
}

// lastReceives receives what a queue has as often as leaves one more try of three.
func (b *bench) lastReceives() {
	b.t.Helper()
	b.maxReceives(3)
	for range 2 { // two deliveries before, without an end
		if _, err := b.api.ReceiveMessage(b.t.Context(), &sqs.ReceiveMessageInput{QueueUrl: &b.queue.URL, MaxNumberOfMessages: 10, VisibilityTimeout: 1}); err != nil {
			b.t.Fatal(err)
		}
		time.Sleep(2 * time.Second)
	}
}

// TestDrain_NothingRunsBehindWhatIsReleased, also where it was kept to be tried for the last time.
func TestDrain_NothingRunsBehindWhatIsReleased(t *testing.T) {
	t.Parallel()
	for _, policy := range []consumers.GroupPolicy{consumers.Skip, consumers.Park} {
		synctest.Test(t, func(t *testing.T) {
			b := newBench(t)
			var j journal
			b.send(motion("d1", "e1"), motion("d1", "e2"))
			b.lastReceives()
			_, stop := b.start(b.api, func(ctx context.Context, e events.Event) error {
				if e.ID == "e1" {
					<-ctx.Done()
					j.add("e1 cut off")
					return ctx.Err()
				}
				j.add(e.ID)
				return nil
			}, consumers.Config{WaitTime: time.Second, DrainTimeout: 2 * time.Second, GroupPolicy: policy, Parking: newStore(), HandlerTimeout: 20 * time.Second})
			time.Sleep(3 * time.Second)
			stop()
			j.want(t, "e1 cut off")
		})
	}
}

// TestDrain_NothingRunsBehindADeadLetterThatWasNotSent before the end.
func TestDrain_NothingRunsBehindADeadLetterThatWasNotSent(t *testing.T) {
	t.Parallel()
	for _, policy := range []consumers.GroupPolicy{consumers.Skip, consumers.Park} {
		synctest.Test(t, func(t *testing.T) {
			b := newBench(t)
			var j journal
			b.send(motion("d1", "e1"), motion("d1", "e2"))
			b.lastReceives()
			api := &meddler{QueueAPI: b.api, send: func(*sqs.SendMessageInput) error { return errReset }}
			_, stop := b.start(api, func(_ context.Context, e events.Event) error {
				if e.ID == "e1" {
					return consumers.Known("refused", errBroken)
				}
				j.add(e.ID)
				return nil
			}, consumers.Config{WaitTime: time.Second, DrainTimeout: 2 * time.Second, GroupPolicy: policy, Parking: newStore()})
			time.Sleep(3 * time.Second)
			stop()
			j.want(t)
		})
	}
}

// TestDrain_EndsBehindAnEventThatWaitsForTheBreaker.
func TestDrain_EndsBehindAnEventThatWaitsForTheBreaker(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		b.send(motion("d1", "e1"), motion("d1", "e2"))
		b.lastReceives()
		_, stop := b.start(b.api, func(context.Context, events.Event) error {
			time.Sleep(5 * time.Second)
			return consumers.Unavailable(errBroken)
		}, consumers.Config{WaitTime: time.Second, DrainTimeout: 20 * time.Second})
		time.Sleep(3 * time.Second)
		began := time.Now()
		stop() // fails the test when Run returns an error
		if took := time.Since(began); took > 10*time.Second {
			t.Errorf("the drain took %v, want it to end with the handler", took)
		}
	})
}

// TestBreaker_AHandlerThatHangs while the breaker is open holds up its device only.
func TestBreaker_AHandlerThatHangs(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		var j journal
		hang := make(chan struct{})
		began := time.Now()
		_, stop := b.start(b.api, func(_ context.Context, e events.Event) error {
			switch since := time.Since(began); {
			case since < 2500*time.Millisecond:
				return consumers.Unavailable(errBroken)
			case since < 10*time.Second:
				<-hang // a driver that does not mind its context
			}
			j.add(e.ID)
			return nil
		}, consumers.Config{WaitTime: time.Second})
		time.Sleep(2 * time.Second)
		for i := range 20 {
			b.send(motion(fmt.Sprint("d", i), fmt.Sprint("e", i)))
		}
		time.Sleep(time.Hour)
		if n := len(j.all()); n != 19 {
			t.Errorf("%d events of other devices are handled, want 19", n)
		}
		close(hang)
		stop()
	})
}

// TestBreaker_ClosesWhilePaused: what is held is tried, though nothing is received.
func TestBreaker_ClosesWhilePaused(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		var j journal
		var up atomic.Bool
		c, stop := b.start(b.api, func(_ context.Context, e events.Event) error {
			if !up.Load() {
				return consumers.Unavailable(errBroken)
			}
			j.add(e.ID)
			return nil
		}, consumers.Config{WaitTime: time.Second})
		b.send(motion("d1", "e1"))
		time.Sleep(2 * time.Second)
		c.Pause()
		time.Sleep(5 * time.Second)
		up.Store(true)
		time.Sleep(10 * time.Minute)
		j.want(t, "e1")
		stop()
	})
}
