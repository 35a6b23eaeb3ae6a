package lambda

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/device-fanout/fanout/consumers"
	"github.com/device-fanout/fanout/consumers/internal/check"
)

// checkEvery is the shortest time between the beginnings of two checks.
const checkEvery = time.Second

// checker calls a service's check, one call at a time, and gives its answer to all who wait for one. It is safe for concurrent use.
type checker struct {
	guard check.Guard

	mu   sync.Mutex
	last *checking // nil before the first
}

// checking is one call.
type checking struct {
	began time.Time
	done  chan struct{} // closed when err is there
	err   error
}

var errStopped = errors.New("the check was cut off: the function's time is over")

// ask tells whether a check passes that begins at after or later. It blocks until one has answered, which takes consumers.CheckTimeout and
// checkEvery at most, or until the moment last, unless that is zero. Where time is over before there is an answer, neither passed nor err
// is set.
func (c *checker) ask(ctx context.Context, after, last time.Time) (passed bool, err error) {
	var over <-chan time.Time
	if !last.IsZero() {
		over = time.After(time.Until(last))
	}
	for {
		one, wait := c.start(after, last)
		if one == nil {
			select {
			case <-time.After(wait):
				continue
			case <-over:
			case <-ctx.Done():
			}
			return false, nil
		}
		select {
		case <-one.done:
		case <-over:
			return false, nil
		case <-ctx.Done():
			return false, nil
		}
		switch {
		case errors.Is(one.err, errStopped):
			return false, nil
		case !one.began.Before(after):
			return one.err == nil, one.err
		}
	}
}

// start finds a check that is under way or has begun late enough, or begins one; if it is too early for that, it tells how long to wait.
func (c *checker) start(after, last time.Time) (one *checking, wait time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := time.Now()
	if c.last != nil {
		if !c.last.began.Before(after) {
			return c.last, 0
		}
		select {
		case <-c.last.done:
		default:
			return c.last, 0
		}
		if wait := c.last.began.Add(checkEvery).Sub(now); wait > 0 {
			return nil, wait
		}
	}
	c.last = &checking{began: now, done: make(chan struct{})}
	go c.run(c.last, last)
	return c.last, 0
}

// run makes the call.
func (c *checker) run(one *checking, last time.Time) {
	defer close(one.done)
	timeout, cutOff := consumers.CheckTimeout, false
	if !last.IsZero() && time.Until(last) < timeout {
		timeout, cutOff = time.Until(last), true
	}
	one.err = c.guard.Call(context.Background(), timeout)
	late := time.Since(one.began) >= timeout
	switch {
	case late && cutOff:
		one.err = errStopped
	case late && one.err == nil: // it gave up rather than passed
		one.err = check.ErrHangs
	}
}
