package clock_test

import (
	"context"
	"errors"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/device-fanout/fanout/infra/local/internal/clock"
)

var start = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func TestManual_CallsComeInOrderAndAtTheirMoment(t *testing.T) {
	t.Parallel()
	c := clock.NewManual(start)
	var got []string
	note := func(name string) func() {
		return func() { got = append(got, name+" "+c.Now().Sub(start).String()) }
	}
	c.AfterFunc(3*time.Second, note("c"))
	c.AfterFunc(time.Second, note("a"))
	c.AfterFunc(time.Second, func() {
		note("b")()
		c.AfterFunc(time.Second, note("of b"))
	})
	c.AfterFunc(5*time.Second, note("late"))
	c.Advance(4 * time.Second)
	want := []string{"a 1s", "b 1s", "of b 2s", "c 3s"}
	if !slices.Equal(got, want) {
		t.Errorf("called %q, want %q", got, want)
	}
	if now := c.Now().Sub(start); now != 4*time.Second {
		t.Errorf("the clock is at %v, want 4s", now)
	}
	c.Advance(time.Second)
	if want = append(want, "late 5s"); !slices.Equal(got, want) {
		t.Errorf("called %q, want %q", got, want)
	}
}

func TestManual_StopAndReset(t *testing.T) {
	t.Parallel()
	c := clock.NewManual(start)
	calls := 0
	timer := c.AfterFunc(time.Second, func() { calls++ })
	other := c.AfterFunc(2*time.Second, func() {})
	if !timer.Stop() || timer.Stop() {
		t.Error("want the first Stop to be in time and the second not")
	}
	c.Advance(time.Second)
	if calls != 0 {
		t.Errorf("a stopped timer was called")
	}
	if timer.Reset(2 * time.Second) {
		t.Error("Reset reports a stopped timer as running")
	}
	if !timer.Reset(3 * time.Second) {
		t.Error("Reset reports a running timer as stopped")
	}
	c.Advance(2 * time.Second)
	if calls != 0 || other.Stop() {
		t.Errorf("after 2 of 3 s: %d calls, want 0, and the other timer over", calls)
	}
	c.Advance(time.Second)
	if calls != 1 {
		t.Errorf("%d calls, want 1", calls)
	}
}

func TestManual_AdvanceWaitsForWhatIsDueAtOnce(t *testing.T) {
	t.Parallel()
	c := clock.NewManual(start)
	var done atomic.Int32
	for range 50 {
		c.AfterFunc(0, func() { done.Add(1) })
	}
	c.Advance(0)
	if got := done.Load(); got != 50 {
		t.Errorf("%d of 50 calls were made", got)
	}
}

func TestManual_AwaitTimers(t *testing.T) {
	t.Parallel()
	c := clock.NewManual(start)
	go func() { c.AfterFunc(time.Hour, func() {}) }()
	if err := c.AwaitTimers(t.Context(), 1); err != nil {
		t.Error(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := c.AwaitTimers(ctx, 2); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want context.Canceled", err)
	}
}

func TestManual_TimeDoesNotGoBack(t *testing.T) {
	t.Parallel()
	defer func() {
		if recover() == nil {
			t.Error("a negative Advance did not panic")
		}
	}()
	clock.NewManual(start).Advance(-1)
}
