// Package inboxtest tests implementations of the interfaces of package inbox.
//
//	func TestRedis(t *testing.T) {
//		inboxtest.Claims(t, func(t *testing.T) inbox.Claims { return newRedis(t) })
//	}
package inboxtest

import (
	"context"
	"fmt"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/device-fanout/fanout/consumers/inbox"
	"github.com/device-fanout/fanout/events"
)

// long is a lease that does not end in a test; over is one that has ended when it was given.
const (
	long = time.Hour
	over = -time.Second
)

// Claims tests an implementation of [inbox.Claims]. open returns an empty one; it must take a lease below zero, as one that
// is over at once.
func Claims(t *testing.T, open func(t *testing.T) inbox.Claims) {
	hall := events.Identity{Source: "/gateways/home-1", Subject: "hall", ID: "a"}
	key := inbox.Key{Service: "billing", Event: hall}
	t.Run("one owner at a time", func(t *testing.T) {
		c := claims{t, open(t)}
		c.claim(key, "one", long, inbox.Claimed)
		c.claim(key, "two", long, inbox.InProgress)
	})
	t.Run("other services and identities are apart", func(t *testing.T) {
		c := claims{t, open(t)}
		c.claim(key, "one", long, inbox.Claimed)
		c.finish(key)
		for _, spoil := range []func(*inbox.Key){
			func(k *inbox.Key) { k.Service = "letters" },
			func(k *inbox.Key) { k.Event.ID = "b" },
			func(k *inbox.Key) { k.Event.Subject = "attic" },
			func(k *inbox.Key) { k.Event.Source = "/gateways/home-2" },
		} {
			other := key
			spoil(&other)
			c.claim(other, "two", long, inbox.Claimed)
			c.finish(other)
			c.claim(other, "two", long, inbox.Done)
		}
	})
	t.Run("done is done", func(t *testing.T) {
		c := claims{t, open(t)}
		c.claim(key, "one", long, inbox.Claimed)
		c.finish(key)
		c.claim(key, "one", long, inbox.Done)
		c.claim(key, "two", long, inbox.Done)
		c.release(key, "one") // must not make it undone
		c.claim(key, "two", long, inbox.Done)
		c.finish(key)
		c.claim(key, "two", long, inbox.Done)
	})
	t.Run("released", func(t *testing.T) {
		c := claims{t, open(t)}
		c.release(key, "one") // there is nothing to release
		c.claim(key, "one", long, inbox.Claimed)
		c.release(key, "two") // it is not the owner
		c.claim(key, "two", long, inbox.InProgress)
		c.release(key, "one")
		c.claim(key, "two", long, inbox.Claimed)
	})
	t.Run("lease over", func(t *testing.T) {
		c := claims{t, open(t)}
		c.claim(key, "one", over, inbox.Claimed)
		c.claim(key, "two", long, inbox.Claimed)
		c.release(key, "one") // it is not its claim any more
		c.claim(key, "three", long, inbox.InProgress)
		c.finish(key) // by the first, which was slow: what it did is done
		c.claim(key, "three", long, inbox.Done)
	})
	t.Run("one of many at once", func(t *testing.T) {
		c := claims{t, open(t)}
		for round := range 20 {
			var (
				group sync.WaitGroup
				won   atomic.Int32
			)
			key := key
			key.Event.ID = strconv.Itoa(round)
			if round%2 == 0 { // every other round begins with a claim that is over
				c.claim(key, "before", over, inbox.Claimed)
			}
			for i := range 8 {
				group.Go(func() {
					state, err := c.Claim(t.Context(), key, strconv.Itoa(i), long)
					switch {
					case err != nil:
						t.Error(err)
					case state == inbox.Claimed:
						won.Add(1)
						if err := c.Finish(t.Context(), key); err != nil {
							t.Error(err)
						}
					}
				})
			}
			group.Wait()
			if got, want := won.Load(), int32(1); got != want {
				t.Fatalf("round %d: %d claims of 8 at once succeeded, want %d", round, got, want)
			}
		}
	})
}

type claims struct {
	t *testing.T
	inbox.Claims
}

func (c claims) claim(key inbox.Key, owner string, lease time.Duration, want inbox.State) {
	c.t.Helper()
	got, err := c.Claim(c.t.Context(), key, owner, lease)
	if err != nil || got != want {
		c.t.Fatalf("Claim %v by %s: got %q, %v, want %q", key, owner, got, err, want)
	}
}

func (c claims) finish(key inbox.Key) {
	c.t.Helper()
	if err := c.Finish(c.t.Context(), key); err != nil {
		c.t.Fatalf("Finish %v: %v", key, err)
	}
}

func (c claims) release(key inbox.Key, owner string) {
	c.t.Helper()
	if err := c.Release(c.t.Context(), key, owner); err != nil {
		c.t.Fatalf("Release %v by %s: %v", key, owner, err)
	}
}

// Marks tests an implementation of [inbox.Marks]. open returns an empty one.
func Marks(t *testing.T, open func(t *testing.T) inbox.Marks) {
	noon := time.Date(2005, 1, 29, 12, 0, 0, 0, time.UTC)
	t.Run("greater time and sequence", func(t *testing.T) {
		m := marks{t, open(t)}
		for i, step := range []struct {
			time     time.Time
			sequence string
			want     bool
		}{
			{noon, "0002", true},
			{noon, "0002", true},                    // the same event, tried again
			{noon, "0001", false},                   // within the same second
			{noon, "", false},                       // without a sequence
			{noon.Add(-time.Hour), "0009", false},   // redriven
			{noon.Add(-1), "0009", false},           // a nanosecond before
			{noon, "0010", true},                    // sorts as text
			{noon, "002", true},                     // by bytes, not by number
			{noon, "0Z", true},                      // also where a language would say otherwise
			{noon, "0a", true},                      //
			{noon, "0B", false},                     //
			{noon.Add(1), "0000", true},             // time comes first
			{noon.Add(time.Second), "", true},       //
			{noon.Add(time.Second), "", true},       //
			{noon.Add(500 * time.Hour), "1", true},  //
			{noon.Add(time.Minute), "9999", false},  //
			{noon.Add(500 * time.Hour), "1", true},  // a stale one changed nothing
			{noon.Add(500 * time.Hour), "0", false}, //
		} {
			m.advance(i, inbox.Mark{Service: "state", DeviceID: "hall", Stream: "power", Time: step.time, Sequence: step.sequence}, step.want)
		}
	})
	t.Run("a time that can't be believed stops nothing", func(t *testing.T) {
		m := marks{t, open(t)}
		now := time.Now()
		for i, step := range []struct {
			time     time.Time
			sequence string
			want     bool
		}{
			{now, "0005", true},
			{now.AddDate(80, 0, 0), "0006", true},            // a wrong clock, accepted later
			{now.Add(time.Second), "0007", true},             // what comes after is newer
			{now.AddDate(80, 0, 0), "0006", false},           // delivered again
			{now, "0005", false},                             // as ever
			{now.AddDate(80, 0, 0), "0008", true},            //
			{now.Add(-time.Hour), "0003", false},             // redriven: accepted before
			{now.AddDate(90, 0, 0), "0004", false},           // redriven, with a wrong clock as well
			{now.AddDate(70, 0, 0), "0009", true},            // the clock goes on being wrong
			{now.Add(-time.Hour), "0010", true},              // and is right at last
			{now.AddDate(80, 0, 0), "", false},               // without a sequence a believed time stays
			{now.Add(20 * time.Hour), "0011", true},          // less than a day ahead is believed
			{now.Add(19 * time.Hour), "0012", false},         //
			{now.Add(inbox.DefaultMaxFuture / 2), "", false}, //
			// The clock of the producer's host is wrong too, and is right again, in another process.
			{now.AddDate(80, 0, 0), fmt.Sprintf("%020d", now.AddDate(80, 0, 0).UnixNano()), true},
			{now, fmt.Sprintf("%020d", now.UnixNano()), true},
		} {
			m.advance(i, inbox.Mark{Service: "state", DeviceID: "hall", Stream: "power", Time: step.time, Sequence: step.sequence}, step.want)
		}
	})
	t.Run("how far ahead is believed", func(t *testing.T) {
		m := marks{t, open(t)}
		now := time.Now()
		for i, step := range []struct {
			time      time.Time
			sequence  string
			maxFuture time.Duration
			want      bool
		}{
			{now.Add(10 * time.Hour), "1", time.Hour, true},
			{now, "2", time.Hour, true},
			{now.AddDate(80, 0, 0), "3", -1, true},
			{now, "4", -1, false},
			{now, "4", 0, true},
		} {
			m.advance(i, inbox.Mark{Service: "state", DeviceID: "hall", Time: step.time, Sequence: step.sequence, MaxFuture: step.maxFuture}, step.want)
		}
	})
	t.Run("streams are apart", func(t *testing.T) {
		m := marks{t, open(t)}
		later := inbox.Mark{Service: "state", DeviceID: "hall", Stream: "power", Time: noon.Add(time.Hour)}
		for i, spoil := range []func(*inbox.Mark){
			func(*inbox.Mark) {},
			func(m *inbox.Mark) { m.Service = "alarm" },
			func(m *inbox.Mark) { m.DeviceID = "attic" },
			func(m *inbox.Mark) { m.Stream = "" },
		} {
			other := later
			spoil(&other)
			for _, other.Time = range []time.Time{noon, noon.Add(time.Hour)} {
				m.advance(i, other, true)
			}
		}
	})
	t.Run("the newest of many at once stays", func(t *testing.T) {
		m := marks{t, open(t)}
		var group sync.WaitGroup
		mark := func(n int) inbox.Mark {
			return inbox.Mark{Service: "state", DeviceID: "hall", Time: noon, Sequence: fmt.Sprintf("%04d", n)}
		}
		for n := range 16 {
			group.Go(func() {
				if _, err := m.Advance(context.WithoutCancel(t.Context()), mark(n)); err != nil {
					t.Error(err)
				}
			})
		}
		group.Wait()
		m.advance(14, mark(14), false) // 15 was there
	})
}

type marks struct {
	t *testing.T
	inbox.Marks
}

func (m marks) advance(step int, to inbox.Mark, want bool) {
	m.t.Helper()
	if got, err := m.Advance(m.t.Context(), to); err != nil || got != want {
		m.t.Errorf("step %d, Advance to %+v: got %t, %v, want %t", step, to, got, err, want)
	}
}
