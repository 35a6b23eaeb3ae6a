package consumers_test

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/device-fanout/fanout/consumers"
	"github.com/device-fanout/fanout/consumers/parking"
	"github.com/device-fanout/fanout/events"
)

// parkingIn makes processes park devices in a store.
func parkingIn(l parking.Store) func(*killable, *consumers.Config) {
	return func(process *killable, cfg *consumers.Config) {
		cfg.GroupPolicy, cfg.Parking = consumers.Park, killableStore{l, process}
	}
}

// killableStore is a process's way to the store.
type killableStore struct {
	parking.Store
	process *killable
}

func (l killableStore) Find(ctx context.Context, service string, devices ...string) ([]parking.Device, error) {
	if err := l.process.before(ctx, "Find"); err != nil {
		return nil, err
	}
	return l.Store.Find(ctx, service, devices...)
}

func (l killableStore) Swap(ctx context.Context, old, next parking.Device) (bool, error) {
	if err := l.process.before(ctx, "Swap"); err != nil {
		return false, err
	}
	return l.Store.Swap(ctx, old, next)
}

// TestLast_PoisonParksItsDevice: SQS itself moves an event that kills every process. Its device is parked all the same, also when
// that happens in a release, and another release brings all back in order.
func TestLast_PoisonParksItsDevice(t *testing.T) {
	t.Parallel()
	for _, most := range []int{5, 10} {
		synctest.Test(t, func(t *testing.T) {
			b := newBench(t)
			b.maxReceives(most)
			store := newStore()
			want := []string{"poison"}
			b.send(motion("d1", "poison"))
			for i := range 12 {
				want = append(want, fmt.Sprintf("e%02d", i))
				b.send(motion("d1", want[i+1]))
			}
			var j journal
			mended := false
			handle := func(ctx context.Context, process *killable, e events.Event) error {
				if e.ID == "poison" && !mended {
					process.die()
					<-ctx.Done()
					return ctx.Err()
				}
				j.add(e.ID)
				return nil
			}
			parked := func(when string) {
				t.Helper()
				j.want(t)
				if d := b.parked(store, "d1"); d.State != parking.Parked || d.Cause.EventID != "poison" || d.Cause.Class != "moved" || d.Cause.Code != "receive_count" {
					t.Errorf("%s: got %+v, want the device parked for the poison", when, d)
				}
				if n := b.depth("test-dlq.fifo"); n != len(want) {
					t.Errorf("%s: %d dead letters, want %d", when, n, len(want))
				}
			}
			deaths := b.processes(handle, parkingIn(store))
			if deaths != most {
				t.Errorf("maxReceiveCount %d: the poison was tried %d times", most, deaths)
			}
			parked("after the processes died")
			if got := b.dead(); !strings.HasPrefix(got, "poison moved, e00 parked, ") {
				t.Errorf("dead letters: got %s", got)
			}
			b.releaseDevice(store, "d1") // in vain
			b.processes(handle, parkingIn(store))
			parked("after a release of the poison")
			mended = true
			b.send(motion("d1", "late"))
			b.releaseDevice(store, "d1")
			b.processes(handle, parkingIn(store))
			j.want(t, append(want, "late")...)
			if d := b.parked(store, "d1"); d.State != "" {
				t.Errorf("got %+v, want it free", d)
			}
			if n := b.depth("test-dlq.fifo"); n != 0 {
				t.Errorf("%d dead letters are left", n)
			}
		})
	}
}

// TestLast_AmongSeveralProcesses, while events come without a break: no later event of the device is handled by any of them, and the
// others go on.
func TestLast_AmongSeveralProcesses(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		b.maxReceives(5)
		store := newStore()
		var j, others journal
		var deaths atomic.Int32
		var mended atomic.Bool
		handle := func(ctx context.Context, process *killable, e events.Event) error {
			switch {
			case e.ID == "poison" && !mended.Load():
				time.Sleep(3 * time.Second)
				process.die()
				deaths.Add(1)
				<-ctx.Done()
				return ctx.Err()
			case e.DeviceID == "d1":
				j.add(e.ID)
			default:
				others.add(e.ID)
			}
			return nil
		}
		var want, wantOthers []string
		var all sync.WaitGroup
		all.Go(func() {
			want = append(want, "poison")
			b.send(motion("d1", "poison"))
			for i := range 200 {
				e, x := fmt.Sprintf("e%03d", i), fmt.Sprintf("x%03d", i)
				want, wantOthers = append(want, e), append(wantOthers, x)
				b.send(motion("d1", e), motion("d2", x))
				time.Sleep(2 * time.Second)
			}
		})
		for range 3 {
			all.Go(func() {
				time.Sleep(time.Second)
				b.processes(handle, parkingIn(store))
			})
		}
		all.Wait()
		b.processes(handle, parkingIn(store))
		j.want(t)
		others.wantAgain(t, wantOthers...) // what was handled beside the poison's end and not yet deleted
		if d := b.parked(store, "d1"); d.State != parking.Parked || d.Cause.EventID != "poison" || d.Followers != 200 || deaths.Load() != 5 {
			t.Errorf("got %+v after %d deaths, want it parked after 5", d, deaths.Load())
		}
		if n := b.depth("test-dlq.fifo"); n != len(want) {
			t.Errorf("%d dead letters, want %d", n, len(want))
		}
		mended.Store(true)
		b.releaseDevice(store, "d1")
		b.processes(handle, parkingIn(store))
		j.want(t, want...)
		if d, n := b.parked(store, "d1"), b.depth("test-dlq.fifo"); d.State != "" || n != 0 {
			t.Errorf("after the release: got %+v and %d dead letters", d, n)
		}
	})
}

// TestLast_AVerdictIsWhatCounts: the device is parked while the last delivery is handled, and what comes of it replaces that.
func TestLast_AVerdictIsWhatCounts(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		verdict error
		dead    string
	}{{nil, ""}, {consumers.Known("refused", errBroken), "e1 known, e2 parked"}} {
		synctest.Test(t, func(t *testing.T) {
			b := newBench(t)
			b.maxReceives(5)
			store := newStore()
			b.send(motion("d1", "e1"), motion("d1", "e2"))
			var j journal
			tries := 0
			b.processes(func(ctx context.Context, process *killable, e events.Event) error {
				j.add(e.ID)
				if e.ID != "e1" {
					return nil
				}
				d := b.parked(store, "d1")
				if tries++; tries < 5 {
					if d.State != "" {
						t.Errorf("try %d: got %+v, want nothing recorded yet", tries, d)
					}
					process.die()
					<-ctx.Done()
					return ctx.Err()
				}
				if d.State != parking.Parked || d.Cause.EventID != "e1" {
					t.Errorf("the last try: got %+v, want it recorded", d)
				}
				return test.verdict
			}, parkingIn(store))
			d := b.parked(store, "d1")
			if test.verdict == nil {
				j.want(t, "e1", "e1", "e1", "e1", "e1", "e2")
				if d.State != "" {
					t.Errorf("got %+v, want the device free", d)
				}
			} else {
				j.want(t, "e1", "e1", "e1", "e1", "e1")
				if d.Cause.Code != "refused" || d.Followers != 1 {
					t.Errorf("got %+v, want it parked for what the handler said", d)
				}
			}
			if got := b.dead(); got != test.dead {
				t.Errorf("dead letters: got %q, want %q", got, test.dead)
			}
		})
	}
}

// TestLast_WaitsForTheStore: nothing is tried for the last time before that is recorded, nor deleted before it is taken back.
func TestLast_WaitsForTheStore(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		b.maxReceives(1)
		store := newStore()
		var down atomic.Bool
		down.Store(true)
		var j journal
		_, stop := b.start(b.api, func(_ context.Context, e events.Event) error {
			j.add(e.ID)
			store.broken.Store(true)
			return nil
		}, consumers.Config{GroupPolicy: consumers.Park, Parking: swapless{store, &down}, WaitTime: time.Second})
		b.send(motion("d1", "e1"))
		time.Sleep(40 * time.Second)
		j.want(t)
		down.Store(false)
		time.Sleep(40 * time.Second)
		j.want(t, "e1")
		if n := b.depth("test.fifo"); n != 1 {
			t.Errorf("%d messages are left, want the one that is still recorded", n)
		}
		store.broken.Store(false)
		time.Sleep(40 * time.Second)
		stop()
		j.want(t, "e1")
		if n := b.depth("test.fifo") + b.depth("test-dlq.fifo"); n != 0 {
			t.Errorf("%d messages are left", n)
		}
		if d := b.parked(store, "d1"); d.State != "" {
			t.Errorf("got %+v, want the device free", d)
		}
	})
}

// TestLast_StopsBeforeItIsTakenBack: the device stays parked, so that its message must not be deleted.
func TestLast_StopsBeforeItIsTakenBack(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		b.maxReceives(1)
		store := newStore()
		_, stop := b.start(b.api, func(context.Context, events.Event) error {
			store.broken.Store(true)
			return nil
		}, consumers.Config{GroupPolicy: consumers.Park, Parking: store, WaitTime: time.Second})
		b.send(motion("d1", "e1"))
		time.Sleep(5 * time.Second)
		stop()
		store.broken.Store(false)
		if d := b.parked(store, "d1"); d.State != parking.Parked || b.visible("test.fifo") != 1 {
			t.Errorf("got %+v and %d messages, want it parked for the one that SQS will move", d, b.visible("test.fifo"))
		}
	})
}

// swapless is a store that can be read only, while it is down.
type swapless struct {
	parking.Store
	down *atomic.Bool
}

func (l swapless) Swap(ctx context.Context, old, next parking.Device) (bool, error) {
	if l.down.Load() {
		return false, errStore
	}
	return l.Store.Swap(ctx, old, next)
}
