package consumers_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/sqs"

	"github.com/device-fanout/fanout/consumers"
	"github.com/device-fanout/fanout/consumers/deadletter"
	"github.com/device-fanout/fanout/consumers/parking"
	"github.com/device-fanout/fanout/events"
)

// store is a parking store that can be made to fail.
type store struct {
	*parking.Memory
	broken atomic.Bool
}

func newStore() *store { return &store{Memory: parking.NewMemory()} }

var errStore = errors.New("database is down")

func (l *store) Find(ctx context.Context, service string, devices ...string) ([]parking.Device, error) {
	if l.broken.Load() {
		return nil, errStore
	}
	return l.Memory.Find(ctx, service, devices...)
}

func (l *store) Swap(ctx context.Context, old, next parking.Device) (bool, error) {
	if l.broken.Load() {
		return false, errStore
	}
	return l.Memory.Swap(ctx, old, next)
}

func (b *bench) parked(l parking.Store, device string) parking.Device {
	b.t.Helper()
	found, err := l.Find(b.t.Context(), "test", device)
	if err != nil {
		b.t.Fatal(err)
	}
	if len(found) == 0 {
		return parking.Device{}
	}
	return found[0]
}

func (b *bench) releaseDevice(l parking.Store, device string) {
	b.t.Helper()
	queues := parking.Queues{Service: "test", URL: b.queue.URL, DLQURL: b.queue.DLQURL}
	if _, err := parking.Release(b.t.Context(), l, b.api, queues, device); err != nil {
		b.t.Error(err)
	}
}

// dead lists what the dead-letter queue has, event and class, without changing it.
func (b *bench) dead() string {
	b.t.Helper()
	var list []string
	for _, l := range b.deadLetters() {
		list = append(list, l.EventID+" "+string(l.Record.Class))
	}
	return strings.Join(list, ", ")
}

func TestPark_FollowersGoWhereTheFailedOneWent(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		b.send(motion("d1", "e1"), motion("d1", "e2"))
		var j journal
		store := newStore()
		var mended atomic.Bool
		handle := func(_ context.Context, e events.Event) error {
			j.add(e.ID)
			if e.ID == "e1" && !mended.Load() {
				return consumers.Known("refused", errBroken)
			}
			return nil
		}
		cfg := consumers.Config{GroupPolicy: consumers.Park, Parking: store, WaitTime: time.Second}
		c, stop := b.start(b.api, handle, cfg)
		time.Sleep(time.Second)
		b.send(motion("d1", "e3"), motion("d2", "x1"))
		time.Sleep(5 * time.Second)
		stop()
		if s := c.Stats(); s.DeadLettered != 3 || s.Parked != 2 || s.Handled != 1 {
			t.Errorf("got %+v, want one that failed and two that followed", s)
		}
		// Another process, after a restart, knows it too.
		_, stop = b.start(b.api, handle, cfg)
		b.send(motion("d1", "e4"))
		time.Sleep(5 * time.Second)
		j.want(t, "e1", "x1")
		if got, want := b.dead(), "e1 known, e2 parked, e3 parked, e4 parked"; got != want {
			t.Errorf("dead letters: got %s, want %s", got, want)
		}
		if d := b.parked(store, "d1"); d.State != parking.Parked || d.Followers != 3 || d.Cause.EventID != "e1" || d.Cause.Code != "refused" {
			t.Errorf("got %+v", d)
		}
		mended.Store(true)
		b.releaseDevice(store, "d1")
		time.Sleep(5 * time.Second)
		b.send(motion("d1", "e5"))
		time.Sleep(5 * time.Second)
		stop()
		j.want(t, "e1", "x1", "e1", "e2", "e3", "e4", "e5")
		if d := b.parked(store, "d1"); d.State != "" {
			t.Errorf("got %+v, want it free", d)
		}
		if n := b.depth("test.fifo") + b.depth("test-dlq.fifo"); n != 0 {
			t.Errorf("%d messages are left", n)
		}
	})
}

// TestPark_LiveEventsComeAfterTheReleasedOnes, though they stand in the queue before them, and come without a break.
func TestPark_LiveEventsComeAfterTheReleasedOnes(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		var j journal
		store := newStore()
		var mended atomic.Bool
		cfg := consumers.Config{GroupPolicy: consumers.Park, Parking: store, WaitTime: time.Second}
		handle := func(_ context.Context, e events.Event) error {
			if !mended.Load() {
				return consumers.Known("refused", errBroken)
			}
			time.Sleep(200 * time.Millisecond)
			j.add(e.ID)
			return nil
		}
		_, stopFirst := b.start(b.api, handle, cfg)
		_, stopSecond := b.start(b.api, handle, cfg)
		var want []string
		for i := range 100 {
			id := fmt.Sprintf("e%02d", i)
			want = append(want, id)
			b.send(motion("d1", id))
			time.Sleep(100 * time.Millisecond)
			if i == 60 {
				mended.Store(true)
				go b.releaseDevice(store, "d1")
			}
		}
		time.Sleep(2 * time.Minute)
		stopFirst()
		stopSecond()
		j.want(t, want...)
		if n := b.depth("test.fifo") + b.depth("test-dlq.fifo"); n != 0 {
			t.Errorf("%d messages are left", n)
		}
	})
}

// slowReceiver is a release's way to its queues, which takes its time before the first dead letter.
type slowReceiver struct{ *sqs.Client }

func (r slowReceiver) ReceiveMessage(ctx context.Context, in *sqs.ReceiveMessageInput, o ...func(*sqs.Options)) (*sqs.ReceiveMessageOutput, error) {
	time.Sleep(3 * time.Second)
	return r.Client.ReceiveMessage(ctx, in, o...)
}

// TestPark_ADeadLetterBesideTheReleaseComesBackOnce: the release begins while an event is on its way to the dead-letter queue. Its copy is
// there already, so that the event must not run from the queue as well.
func TestPark_ADeadLetterBesideTheReleaseComesBackOnce(t *testing.T) {
	t.Parallel()
	for _, beside := range []int32{1, 2} { // the event that failed, or the first one that follows it
		synctest.Test(t, func(t *testing.T) {
			b := newBench(t)
			b.send(motion("d1", "e1"), motion("d1", "e2"), motion("d1", "e3"))
			var j journal
			store := newStore()
			var mended atomic.Bool
			var sends atomic.Int32
			api := &meddler{QueueAPI: b.api, afterSend: func() error {
				if sends.Add(1) != beside {
					return nil
				}
				mended.Store(true)
				go func() {
					queues := parking.Queues{Service: "test", URL: b.queue.URL, DLQURL: b.queue.DLQURL}
					if _, err := parking.Release(t.Context(), store, slowReceiver{b.api}, queues, "d1"); err != nil {
						t.Error(err)
					}
				}()
				for b.parked(store, "d1").State != parking.Releasing {
					time.Sleep(time.Millisecond)
				}
				return nil
			}}
			_, stop := b.start(api, func(_ context.Context, e events.Event) error {
				if e.ID == "e1" && !mended.Load() {
					return consumers.Known("refused", errBroken)
				}
				j.add(e.ID)
				return nil
			}, consumers.Config{GroupPolicy: consumers.Park, Parking: store, WaitTime: time.Second})
			time.Sleep(time.Minute)
			stop()
			j.want(t, "e1", "e2", "e3")
			if n := b.depth("test.fifo") + b.depth("test-dlq.fifo"); n != 0 {
				t.Errorf("dead letter %d: %d messages are left", beside, n)
			}
			if d := b.parked(store, "d1"); d.State != "" {
				t.Errorf("dead letter %d: got %+v, want it free", beside, d)
			}
		})
	}
}

// TestPark_ALetterDoesNotGetBetweenThoseThatComeBack: its first send fails, and a release begins. Were it sent again at once, it would
// stand before what fails again.
func TestPark_ALetterDoesNotGetBetweenThoseThatComeBack(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		b.send(motion("d1", "e1"), motion("d1", "e2"))
		store := newStore()
		var sends atomic.Int32
		api := &meddler{QueueAPI: b.api, send: func(*sqs.SendMessageInput) error {
			if sends.Add(1) != 2 {
				return nil
			}
			go func() {
				queues := parking.Queues{Service: "test", URL: b.queue.URL, DLQURL: b.queue.DLQURL}
				if _, err := parking.Release(t.Context(), store, slowReceiver{b.api}, queues, "d1"); err != nil {
					t.Error(err)
				}
			}()
			for b.parked(store, "d1").State != parking.Releasing {
				time.Sleep(time.Millisecond)
			}
			return errReset
		}}
		_, stop := b.start(api, func(context.Context, events.Event) error {
			return consumers.Known("refused", errBroken)
		}, consumers.Config{GroupPolicy: consumers.Park, Parking: store, WaitTime: time.Second})
		time.Sleep(2 * time.Second)
		if n := b.depth("test-dlq.fifo"); n != 1 {
			t.Errorf("%d dead letters while the first one comes back, want only that", n)
		}
		time.Sleep(time.Minute)
		stop()
		if got, want := b.dead(), "e1 known, e2 parked"; got != want {
			t.Errorf("dead letters: got %s, want %s", got, want)
		}
	})
}

// TestPark_TheReleaseEndsWhenItsEventsAreDeleted: a process that dies before that leaves them to come again, before the live ones.
func TestPark_TheReleaseEndsWhenItsEventsAreDeleted(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		b.send(motion("d1", "e1"), motion("d1", "e2"))
		store := newStore()
		var j journal
		var mended atomic.Bool
		handle := func(_ context.Context, e events.Event) error {
			if !mended.Load() {
				return consumers.Known("refused", errBroken)
			}
			j.add(e.ID)
			return nil
		}
		cfg := consumers.Config{GroupPolicy: consumers.Park, Parking: store, WaitTime: time.Second}
		_, stop := b.start(b.api, handle, cfg)
		time.Sleep(5 * time.Second)
		stop()
		mended.Store(true)
		b.releaseDevice(store, "d1")
		b.send(motion("d1", "e3"))
		dying := newKillable(b.api)
		dying.dieAt("DeleteMessageBatch")
		c, err := consumers.New(dying, b.queue, handle, consumers.Config{GroupPolicy: consumers.Park, Parking: store, WaitTime: time.Second, DrainTimeout: time.Second, Check: works})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- c.Run(ctx) }()
		time.Sleep(5 * time.Second)
		if d := b.parked(store, "d1"); d.State != parking.Releasing {
			t.Errorf("got %+v, want it to be releasing while nothing is deleted", d)
		}
		cancel()
		<-done
		_, stop = b.start(b.api, handle, cfg)
		time.Sleep(2 * time.Minute)
		stop()
		j.want(t, "e1", "e2", "e1", "e2", "e3")
		if d := b.parked(store, "d1"); d.State != "" {
			t.Errorf("got %+v, want it free", d)
		}
	})
}

// TestPark_ARecordedLetterThatComesAgain during the release, as its consumer died before the delete, is not handled beside its copy.
func TestPark_ARecordedLetterThatComesAgain(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		b.send(motion("d1", "e1"), motion("d1", "e2"))
		store := newStore()
		var j journal
		var mended atomic.Bool
		handle := func(_ context.Context, e events.Event) error {
			if !mended.Load() {
				return consumers.Known("refused", errBroken)
			}
			time.Sleep(200 * time.Millisecond)
			j.add(e.ID)
			return nil
		}
		dying := newKillable(b.api)
		dying.dieAt("DeleteMessageBatch")
		c, err := consumers.New(dying, b.queue, handle, consumers.Config{GroupPolicy: consumers.Park, Parking: store, WaitTime: time.Second, DrainTimeout: time.Second})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- c.Run(ctx) }()
		time.Sleep(2 * time.Second)
		cancel()
		<-done
		mended.Store(true)
		b.releaseDevice(store, "d1")
		time.Sleep(time.Minute)
		_, stop := b.start(b.api, handle, consumers.Config{GroupPolicy: consumers.Park, Parking: store, WaitTime: time.Second})
		time.Sleep(time.Minute)
		stop()
		j.want(t, "e1", "e2")
		if n := b.depth("test.fifo") + b.depth("test-dlq.fifo"); n != 0 {
			t.Errorf("%d messages are left", n)
		}
	})
}

// TestPark_AReleasedEventThatFailsAgain goes back, and what is behind it, before the live ones.
func TestPark_AReleasedEventThatFailsAgain(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		var j journal
		store := newStore()
		var mended atomic.Bool
		cfg := consumers.Config{GroupPolicy: consumers.Park, Parking: store, WaitTime: time.Second}
		_, stop := b.start(b.api, func(_ context.Context, e events.Event) error {
			j.add(e.ID)
			if e.ID == "e1" && len(j.all()) == 1 || e.ID == "e2" && !mended.Load() {
				return consumers.Known("refused", errBroken)
			}
			return nil
		}, cfg)
		for _, id := range []string{"e1", "e2", "e3"} {
			b.send(motion("d1", id))
		}
		time.Sleep(5 * time.Second)
		go b.releaseDevice(store, "d1")
		b.send(motion("d1", "e4"))
		time.Sleep(20 * time.Second)
		j.want(t, "e1", "e1", "e2")
		if got, want := b.dead(), "e2 known, e3 parked, e4 parked"; got != want {
			t.Errorf("dead letters: got %s, want %s", got, want)
		}
		if d := b.parked(store, "d1"); d.State != parking.Parked || d.Cause.EventID != "e2" {
			t.Errorf("got %+v, want it parked for e2", d)
		}
		mended.Store(true)
		b.releaseDevice(store, "d1")
		time.Sleep(20 * time.Second)
		stop()
		j.want(t, "e1", "e1", "e2", "e2", "e3", "e4")
	})
}

// TestPark_GoesOnAfterADeathBetweenItsSteps: the store has the device, and the message that failed comes again.
func TestPark_GoesOnAfterADeathBetweenItsSteps(t *testing.T) {
	t.Parallel()
	for _, sent := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			b := newBench(t)
			b.send(motion("d1", "e1"), motion("d1", "e2"))
			store := newStore()
			var j journal
			handle := func(_ context.Context, e events.Event) error {
				j.add(e.ID)
				return consumers.Known("refused", errBroken)
			}
			dying := newKillable(b.api)
			if sent {
				dying.dieAt("DeleteMessageBatch")
			} else {
				dying.dieAt("SendMessage")
			}
			c, err := consumers.New(dying, b.queue, handle, consumers.Config{GroupPolicy: consumers.Park, Parking: store, WaitTime: time.Second, DrainTimeout: time.Second})
			if err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithCancel(t.Context())
			done := make(chan error)
			go func() { done <- c.Run(ctx) }()
			time.Sleep(2 * time.Second)
			cancel()
			<-done
			_, stop := b.start(b.api, handle, consumers.Config{GroupPolicy: consumers.Park, Parking: store, WaitTime: time.Second})
			time.Sleep(2 * time.Minute)
			stop()
			j.want(t, "e1")
			if got, want := b.dead(), "e1 known, e2 parked"; got != want {
				t.Errorf("sent %v: dead letters: got %s, want %s", sent, got, want)
			}
		})
	}
}

// TestPark_NothingRunsWhileTheStoreDoesNotAnswer: nobody knows whose turn it is.
func TestPark_NothingRunsWhileTheStoreDoesNotAnswer(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		store := newStore()
		var j journal
		_, stop := b.start(b.api, func(_ context.Context, e events.Event) error {
			j.add(e.ID)
			if e.ID == "e1" {
				store.broken.Store(true)
				return consumers.Known("refused", errBroken)
			}
			return nil
		}, consumers.Config{GroupPolicy: consumers.Park, Parking: store, WaitTime: time.Second})
		b.send(motion("d1", "e1"), motion("d1", "e2"))
		time.Sleep(20 * time.Second)
		b.send(motion("d2", "x1"))
		time.Sleep(20 * time.Second)
		j.want(t, "e1")
		if n := b.depth("test-dlq.fifo"); n != 0 {
			t.Errorf("%d dead letters, want none before the store has the device", n)
		}
		store.broken.Store(false)
		time.Sleep(20 * time.Second)
		stop()
		j.want(t, "e1", "x1")
		if got, want := b.dead(), "e1 known, e2 parked"; got != want {
			t.Errorf("dead letters: got %s, want %s", got, want)
		}
	})
}

// TestPark_DevicesWithLongIDs come back too, though no message group has room for their IDs and more.
func TestPark_DevicesWithLongIDs(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		store := newStore()
		var j journal
		var mended atomic.Bool
		_, stop := b.start(b.api, func(_ context.Context, e events.Event) error {
			if !mended.Load() {
				return consumers.Known("refused", errBroken)
			}
			j.add(e.DeviceID[:1] + e.ID)
			return nil
		}, consumers.Config{GroupPolicy: consumers.Park, Parking: store, WaitTime: time.Second})
		a, c := strings.Repeat("a", 128), strings.Repeat("c", 128)
		b.sendBody(a, "e0", "device.motion.changed.v1", "{")
		for i := range 3 {
			b.send(motion(a, fmt.Sprintf("e%d", i+1)), motion(c, fmt.Sprintf("f%d", i+1)))
		}
		time.Sleep(5 * time.Second)
		mended.Store(true)
		b.releaseDevice(store, c)
		time.Sleep(20 * time.Second)
		j.want(t, "cf1", "cf2", "cf3")
		b.releaseDevice(store, a) // its first one can't be decoded
		time.Sleep(20 * time.Second)
		j.want(t, "cf1", "cf2", "cf3")
		deadLetters := b.deadLetters()
		if len(deadLetters) != 4 || deadLetters[0].Record.Code != "malformed_json" || deadLetters[0].DeviceID != a || deadLetters[3].EventID != "e3" {
			t.Errorf("got %+v, want all four back under their device", deadLetters)
		}
		if d := b.parked(store, a); d.State != parking.Parked {
			t.Errorf("got %+v, want it parked again", d)
		}
		if d := b.parked(store, c); d.State != "" {
			t.Errorf("got %+v, want it free", d)
		}
		stop()
	})
}

func TestPark_UndecodableLettersComeBackToo(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		store := newStore()
		var j journal
		_, stop := b.start(b.api, func(_ context.Context, e events.Event) error { j.add(e.ID); return nil },
			consumers.Config{GroupPolicy: consumers.Park, Parking: store, WaitTime: time.Second})
		b.sendBody("d1", "e1", "device.motion.changed.v1", "{")
		b.send(motion("d1", "e2"))
		time.Sleep(5 * time.Second)
		b.releaseDevice(store, "d1")
		time.Sleep(20 * time.Second)
		stop()
		j.want(t)
		deadLetters := b.deadLetters()
		if len(deadLetters) != 2 || deadLetters[0].Record.Code != "malformed_json" || deadLetters[0].DeviceID != "d1" || deadLetters[1].Record.Class != deadletter.Parked {
			t.Errorf("got %+v, want both back under their device", deadLetters)
		}
		if d := b.parked(store, "d1"); d.State != parking.Parked {
			t.Errorf("got %+v, want it parked again", d)
		}
	})
}
