package check

import (
	"context"
	"errors"
	"runtime"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

var errDown = errors.New("database is down")

func TestGuard(t *testing.T) {
	t.Parallel()
	for name, row := range map[string]struct {
		check func(context.Context) error
		want  string
	}{
		"passes":             {func(context.Context) error { return nil }, ""},
		"fails":              {func(context.Context) error { return errDown }, errDown.Error()},
		"panics":             {func(context.Context) error { panic("nil map") }, "the service's check panicked: nil map"},
		"ends its goroutine": {func(context.Context) error { runtime.Goexit(); return nil }, errEnded.Error()},
		"minds its context":  {func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }, context.DeadlineExceeded.Error()},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				g := Guard{Check: row.check}
				for range 2 {
					got := ""
					if err := g.Call(t.Context(), time.Second); err != nil {
						got = err.Error()
					}
					if got != row.want {
						t.Errorf("got %q, want %q", got, row.want)
					}
				}
			})
		})
	}
}

func TestGuard_OneThatHangsIsNotCalledAgainBeforeItReturns(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var calls atomic.Int64
		release := make(chan struct{})
		g := Guard{Check: func(context.Context) error {
			if calls.Add(1) == 1 {
				<-release
			}
			return nil
		}}
		for range 3 {
			if err := g.Call(t.Context(), time.Second); !errors.Is(err, ErrHangs) {
				t.Errorf("got %v, want %v", err, ErrHangs)
			}
		}
		if n := calls.Load(); n != 1 {
			t.Errorf("%d calls, want one", n)
		}
		close(release)
		synctest.Wait()
		if err := g.Call(t.Context(), time.Second); err != nil || calls.Load() != 2 {
			t.Errorf("got %v after %d calls, want it called again", err, calls.Load())
		}
	})
}
