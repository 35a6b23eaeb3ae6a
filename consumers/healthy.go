package consumers

import "errors"

// Health is how a Consumer does, for whoever starts, routes to or replaces its process.
type Health struct {
	// Started tells whether Run has found its queues and begun to receive.
	Started bool
	// Live is nil while the loop turns or no Run goes on; a process for which it is not should be replaced.
	Live error
	// Ready is nil while events can be received and handled; else it says why not.
	Ready error
}

// Health tells how the Consumer does. It does not block, and may be called at any time.
func (c *Consumer) Health() Health {
	s := c.Stats()
	switch {
	case !s.Running:
		return Health{Ready: errors.New("the consumer is not running")}
	case s.Draining:
		return Health{Started: true, Ready: errors.New("the consumer is stopping")}
	case s.Paused:
		return Health{Started: true, Ready: errors.New("the consumer is paused")}
	case s.Open:
		return Health{Started: true, Ready: errors.New("the circuit breaker is open: events can't be handled at the moment")}
	}
	return Health{Started: true}
}
