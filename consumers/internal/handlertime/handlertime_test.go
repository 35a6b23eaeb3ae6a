package handlertime

import (
	"context"
	"errors"
	"runtime"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// ended waits for the end of ctx and tells after how long it came, and with which error.
func ended(ctx context.Context, since time.Time) (time.Duration, error) {
	<-ctx.Done()
	return time.Since(since), ctx.Err()
}

func wantEnd(t *testing.T, ctx context.Context, since time.Time, want time.Duration, wantErr error) {
	t.Helper()
	if got, err := ended(ctx, since); got != want || !errors.Is(err, wantErr) {
		t.Errorf("ended after %v with %v, want after %v with %v", got, err, want, wantErr)
	}
}

func TestWithTimeout_EndsLikeAContextWithADeadline(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		ctx, cancel := WithTimeout(t.Context(), 10*time.Second, time.Time{})
		defer cancel()
		child, cancelChild := context.WithCancel(ctx)
		defer cancelChild()
		if end, ok := child.Deadline(); !ok || !end.Equal(began.Add(10*time.Second)) {
			t.Errorf("deadline: got %v, %t", end, ok)
		}
		wantEnd(t, child, began, 10*time.Second, context.DeadlineExceeded)
		if err := context.Cause(child); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("cause: got %v", err)
		}
		late, cancelLate := context.WithCancel(ctx) // made from one that has ended
		defer cancelLate()
		if !errors.Is(late.Err(), context.DeadlineExceeded) {
			t.Errorf("late child: got %v", late.Err())
		}
		called := make(chan struct{})
		context.AfterFunc(ctx, func() { close(called) })
		<-called
	})
}

func TestPause_StopsTheClock(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		ctx, cancel := WithTimeout(t.Context(), 10*time.Second, time.Time{})
		defer cancel()
		child, cancelChild := context.WithTimeout(ctx, time.Hour)
		defer cancelChild()
		time.Sleep(4 * time.Second)
		first := Pause(child)
		time.Sleep(20 * time.Second)
		second := Pause(ctx) // they overlap
		first()
		first() // more than once
		time.Sleep(20 * time.Second)
		if err := ctx.Err(); err != nil {
			t.Errorf("while the clock stands: got %v", err)
		}
		if end, _ := ctx.Deadline(); !end.Equal(time.Now().Add(6 * time.Second)) {
			t.Errorf("deadline while the clock stands: in %v, want in 6s", time.Until(end))
		}
		second()
		wantEnd(t, child, began, 50*time.Second, context.DeadlineExceeded)
		Pause(ctx)() // nothing is left to stop
	})
}

func TestPause_NotBeyondTheLimit(t *testing.T) {
	t.Parallel()
	for name, resumed := range map[string]bool{"resumed": true, "never resumed": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				began := time.Now()
				ctx, cancel := WithTimeout(t.Context(), 10*time.Second, began.Add(15*time.Second))
				defer cancel()
				resume := Pause(ctx)
				time.Sleep(12 * time.Second)
				if end, _ := ctx.Deadline(); !end.Equal(began.Add(15 * time.Second)) {
					t.Errorf("deadline: %v after the start, want 15s", end.Sub(began))
				}
				if resumed {
					resume()
				}
				wantEnd(t, ctx, began, 15*time.Second, context.DeadlineExceeded)
			})
		})
	}
}

func TestWithTimeout_EndsWithItsParent(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		errLost := errors.New("lost")
		parent, lose := context.WithCancelCause(t.Context())
		ctx, cancel := WithTimeout(parent, 10*time.Second, time.Time{})
		defer cancel()
		child, cancelChild := context.WithCancel(ctx)
		defer cancelChild()
		Pause(ctx) // the clock stands; the parent's end is another matter
		lose(errLost)
		if !errors.Is(ctx.Err(), context.Canceled) { // at once
			t.Errorf("got %v", ctx.Err())
		}
		<-child.Done()
		if got := context.Cause(child); !errors.Is(got, errLost) {
			t.Errorf("cause: got %v, want %v", got, errLost)
		}
	})
}

func TestWithTimeout_TellsTheEarlierDeadlineOfItsParent(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		parent, cancelParent := context.WithTimeout(t.Context(), 3*time.Second)
		defer cancelParent()
		ctx, cancel := WithTimeout(parent, 10*time.Second, time.Time{})
		defer cancel()
		if end, _ := ctx.Deadline(); !end.Equal(began.Add(3 * time.Second)) {
			t.Errorf("deadline: %v after the start, want 3s", end.Sub(began))
		}
		wantEnd(t, ctx, began, 3*time.Second, context.DeadlineExceeded)
	})
}

func TestWithTimeout_OverBeforeItBegan(t *testing.T) {
	t.Parallel()
	ended, cancelParent := context.WithCancel(t.Context())
	cancelParent()
	for _, parent := range []context.Context{t.Context(), ended} {
		ctx, cancel := WithTimeout(parent, -1, time.Time{})
		<-ctx.Done()
		cancel()
	}
}

func TestPause_WithoutAHandler(t *testing.T) {
	t.Parallel()
	Pause(t.Context())()
}

// Contexts are made, paused and ended by several goroutines; the race detector looks on, and nothing is left behind.
func TestWithTimeout_UsedByManyGoroutines(t *testing.T) {
	t.Parallel()
	for range 100 {
		ctx, cancel := WithTimeout(t.Context(), time.Millisecond, time.Now().Add(2*time.Millisecond))
		var group sync.WaitGroup
		for range 4 {
			group.Go(func() {
				for ctx.Err() == nil {
					resume := Pause(ctx)
					child, cancelChild := context.WithCancel(ctx)
					runtime.Gosched()
					resume()
					_, _ = child.Deadline()
					cancelChild()
				}
			})
		}
		group.Wait()
		cancel()
		if h := ctx.(*handling); len(h.after) > 0 {
			t.Fatalf("%d functions are left", len(h.after))
		}
	}
}
