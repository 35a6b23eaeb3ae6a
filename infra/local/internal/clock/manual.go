package clock

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"
)

// Manual is a clock that stands still until it is told to go on. See [NewManual]. It is safe for concurrent use.
type Manual struct {
	advancing sync.Mutex // one Advance at a time

	mu      sync.Mutex
	changed sync.Cond // timers or running has changed
	now     time.Time
	timers  []*manualTimer // by when they are due, equal ones in the order in which they were set
	running int            // calls that were due when they were asked for
}

// NewManual makes a clock that shows start.
func NewManual(start time.Time) *Manual {
	c := &Manual{now: start.Round(0)} // without Go's monotonic reading, which would go on
	c.changed.L = &c.mu
	return c
}

// Now implements [Clock].
func (c *Manual) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

// Advance moves the clock on by d and makes the calls that fall due on the way, one after the other, each at its own
// moment: the earliest first, and those of one moment in the order in which they were asked for. It returns after the
// last of them has returned; a call that asks for another one within d gets it. Those calls must not call Advance.
//
// What other goroutines do once such a call has woken them is their own affair: Advance does not wait for it.
// It panics when d is negative.
func (c *Manual) Advance(d time.Duration) {
	if d < 0 {
		panic(fmt.Sprintf("clock: advance by %v: time does not go back", d))
	}
	c.advancing.Lock()
	defer c.advancing.Unlock()
	c.mu.Lock()
	defer c.mu.Unlock()
	end := c.now.Add(d)
	for {
		for c.running > 0 {
			c.changed.Wait()
		}
		if len(c.timers) == 0 || c.timers[0].at.After(end) {
			c.now = end
			return
		}
		t := c.timers[0]
		c.timers = slices.Delete(c.timers, 0, 1)
		c.now = t.at
		c.mu.Unlock()
		t.f()
		c.mu.Lock()
	}
}

// AwaitTimers waits until at least n calls are to come, so that a test does not advance the clock before what it waits
// for has begun. A long poll that waits is one, and there is one more for each queue with long polls to which time alone
// will bring something. The error is that of ctx, with the number of calls there are.
func (c *Manual) AwaitTimers(ctx context.Context, n int) error {
	stop := context.AfterFunc(ctx, func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.changed.Broadcast()
	})
	defer stop()
	c.mu.Lock()
	defer c.mu.Unlock()
	for len(c.timers) < n {
		if err := ctx.Err(); err != nil {
			return fmt.Errorf("clock: await %d timers, there are %d: %w", n, len(c.timers), err)
		}
		c.changed.Wait()
	}
	return nil
}

// AfterFunc implements [Clock]. A call that is due at once is made at once, in its own goroutine; Advance waits for it.
func (c *Manual) AfterFunc(d time.Duration, f func()) Timer {
	t := &manualTimer{clock: c, f: f}
	t.Reset(d)
	return t
}

// manualTimer is one call that is to come. The clock's mutex guards it.
type manualTimer struct {
	clock *Manual
	f     func()
	at    time.Time
}

// Stop implements [Timer].
func (t *manualTimer) Stop() bool {
	t.clock.mu.Lock()
	defer t.clock.mu.Unlock()
	return t.stop()
}

func (t *manualTimer) stop() bool {
	i := slices.Index(t.clock.timers, t)
	if i < 0 {
		return false
	}
	t.clock.timers = slices.Delete(t.clock.timers, i, i+1)
	return true
}

// Reset implements [Timer].
func (t *manualTimer) Reset(d time.Duration) bool {
	c := t.clock
	c.mu.Lock()
	defer c.mu.Unlock()
	defer c.changed.Broadcast()
	stopped := t.stop()
	if d <= 0 {
		c.running++
		go func() {
			t.f()
			c.mu.Lock()
			defer c.mu.Unlock()
			c.running--
			c.changed.Broadcast()
		}()
		return stopped
	}
	t.at = c.now.Add(d)
	i := slices.IndexFunc(c.timers, func(other *manualTimer) bool { return other.at.After(t.at) })
	if i < 0 {
		i = len(c.timers)
	}
	c.timers = slices.Insert(c.timers, i, t)
	return stopped
}
