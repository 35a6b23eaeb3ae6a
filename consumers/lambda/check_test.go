package lambda

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/device-fanout/fanout/consumers"
	"github.com/device-fanout/fanout/consumers/internal/check"
)

// The answer for an event is that of a check that began after it had failed; those that failed meanwhile share the next one.
func TestChecker_AnswersOfBeforeDontCount(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		var calls []time.Duration
		c := &checker{guard: check.Guard{Check: func(context.Context) error {
			calls = append(calls, time.Since(began))
			time.Sleep(2 * time.Second)
			return nil
		}}}
		var asking sync.WaitGroup
		ask := func(at, want time.Duration) {
			asking.Go(func() {
				time.Sleep(at)
				passed, err := c.ask(t.Context(), time.Now(), time.Time{})
				if got := time.Since(began); !passed || err != nil || got != want {
					t.Errorf("asked at %v: got %t, %v at %v, want it passed at %v", at, passed, err, got, want)
				}
			})
		}
		ask(0, 2*time.Second)
		ask(time.Second, 4*time.Second)
		ask(1500*time.Millisecond, 4*time.Second)
		ask(3*time.Second, 6*time.Second)
		asking.Wait()
		if len(calls) != 3 {
			t.Errorf("called at %v, want three times", calls)
		}
	})
}

// The function's time ends the waiting, and is no answer. A check that goes on is not called beside itself.
func TestChecker_TimeIsOver(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		running := 0
		c := &checker{guard: check.Guard{Check: func(ctx context.Context) error {
			running++
			defer func() { running-- }()
			if running > 1 {
				t.Errorf("%d calls at a time", running)
			}
			time.Sleep(20 * time.Second)
			return ctx.Err()
		}}}
		began := time.Now()
		if passed, err := c.ask(t.Context(), began, began.Add(time.Second)); passed || err != nil || time.Since(began) != time.Second {
			t.Errorf("got %t, %v after %v, want neither after a second", passed, err, time.Since(began))
		}
		for range 5 { // it hangs until second 20
			time.Sleep(time.Second)
			if passed, err := c.ask(t.Context(), time.Now(), time.Time{}); passed || err == nil {
				t.Errorf("got %t, %v, want that it hangs", passed, err)
			}
		}
		time.Sleep(20 * time.Second)
		if passed, err := c.ask(t.Context(), time.Now(), time.Now().Add(consumers.CheckTimeout+time.Second)); passed || !errors.Is(err, check.ErrHangs) {
			t.Errorf("got %t, %v, want that it hangs anew", passed, err)
		}
		time.Sleep(time.Minute)
	})
}
