package lambda

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/device-fanout/fanout/consumers"
)

// checkEvery is the shortest time between the beginnings of two checks.
const checkEvery = time.Second

// checker calls a service's check, one call at a time, and gives its answer to all who wait for one. It is safe for concurrent use.
type checker struct {
	check func(context.Context) error

	mu      sync.Mutex
	last    *checking // nil before the first
	hanging bool      // the last one has not come back, though its time is over
}

// checking is one call.
type checking struct {
	began time.Time
	done  chan struct{} // closed when err is there
	err   error
}

var (
	errHangs   = errors.New("the check does not answer")
	errStopped = errors.New("the check was cut off: the function's time is over")
)

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

// run makes the call. One that does not come back in time has failed; until it does no other is made, and each fails at once.
func (c *checker) run(one *checking, last time.Time) {
	defer close(one.done)
	c.mu.Lock()
	hanging := c.hanging
	c.mu.Unlock()
	if hanging {
		one.err = errHangs
		return
	}
	timeout, cutOff := consumers.CheckTimeout, false
	if !last.IsZero() && time.Until(last) < timeout {
		timeout, cutOff = time.Until(last), true
	}
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	answer := make(chan error, 1)
	c.setHanging(true)
	go func() {
		err := errors.New("the check ended its goroutine")
		defer func() {
			if value := recover(); value != nil {
				err = fmt.Errorf("the check panicked: %v", value)
			}
			c.setHanging(false)
			answer <- err
		}()
		err = c.check(ctx)
	}()
	select {
	case one.err = <-answer:
		if one.err != nil && ctx.Err() != nil && cutOff {
			one.err = errStopped
		}
	case <-ctx.Done():
		one.err = errHangs
		if cutOff {
			one.err = errStopped
		}
	}
}

func (c *checker) setHanging(hanging bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.hanging = hanging
}
