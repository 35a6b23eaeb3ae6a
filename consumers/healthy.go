package consumers

import (
	"errors"
	"fmt"
	"time"

	"github.com/device-fanout/fanout/consumers/internal/core"
)

// Health is how a Consumer does, for whoever starts, routes to or replaces its process.
type Health struct {
	// Started tells whether Run has found its queues and begun to receive.
	Started bool
	// Live is nil while the loop turns or no Run goes on; a process for which it is not should be replaced.
	Live error
	// Ready is nil while events can be received and handled; else it says why not.
	Ready error
}

// stillTurns is how long the loop may take for one turn. It does nothing but memory work.
const stillTurns = time.Minute

// Health tells how the Consumer does. It does not block, and may be called at any time.
func (c *Consumer) Health() Health {
	if c.current.Load() == nil {
		return Health{Ready: errors.New("the consumer is not running")}
	}
	c.status.Lock()
	turned, doubt := c.status.turned, c.status.doubt
	c.status.Unlock()
	h := Health{Started: true}
	if since := time.Since(turned); since > stillTurns {
		h.Live = fmt.Errorf("the consumer's loop has not turned for %v", since.Round(time.Second))
	}
	failed := c.receiveFailed.Load()
	switch {
	case h.Live != nil:
		h.Ready = h.Live
	case c.draining.Load():
		h.Ready = errors.New("the consumer is stopping")
	case c.paused.Load():
		h.Ready = errors.New("the consumer is paused")
	case failed != nil:
		h.Ready = fmt.Errorf("nothing can be received: %w%s", *failed, advice("; ", *failed))
	default:
		h.Ready = doubt
	}
	return h
}

// doubt says in words why events can't be handled.
func doubt(reason core.Reason, check error) error {
	switch {
	case reason == "":
		return nil
	case check != nil:
		return fmt.Errorf("events can't be handled: the service's check says: %w", check)
	case reason == core.ReasonBreaker:
		return errors.New("events can't be handled: the circuit breaker is open")
	}
	return errors.New("events fail, and nothing shows that their handler works")
}
