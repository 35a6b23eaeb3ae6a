// Package check calls a service's own check of its dependencies, which may hang, panic or end its goroutine.
package check

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"
)

// Guard calls a check. It is safe for concurrent use.
type Guard struct {
	Check func(context.Context) error

	hangs atomic.Bool // a call has not come back, though its time may be over
}

var (
	// ErrHangs is what a check has failed with that did not come back in time. Until it does no other call is made, and each fails with it.
	ErrHangs = errors.New("the service's check does not return")
	errEnded = errors.New("the service's check ended its goroutine")
)

// patience is how long a call may take to notice that its context has ended, so that its own error is heard.
const patience = 100 * time.Millisecond

// Call calls the check and blocks until it has an answer, which takes the timeout at most, and a little for a check that minds its context.
func (g *Guard) Call(ctx context.Context, timeout time.Duration) error {
	if !g.hangs.CompareAndSwap(false, true) {
		return ErrHangs
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	answer := make(chan error, 1)
	go func() {
		err := errEnded
		defer func() {
			if value := recover(); value != nil {
				err = fmt.Errorf("the service's check panicked: %v", value)
			}
			g.hangs.Store(false)
			answer <- err
		}()
		err = g.Check(ctx)
	}()
	select {
	case err := <-answer:
		return err
	case <-ctx.Done():
	}
	select {
	case err := <-answer:
		return err
	case <-time.After(patience):
		return fmt.Errorf("%w within %v", ErrHangs, timeout)
	}
}
