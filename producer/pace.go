package producer

import "time"

// pace bounds how many batches may be under way at once. It halves the bound when the topic throttles whole requests, and raises it by
// one with every request that is answered, which doubles it within a round trip. It is guarded by the Producer's mu.
type pace struct {
	limit    int
	max      int
	failures int       // requests without success, in a row
	until    time.Time // no request before
}

// failuresToPause is how many requests in a row may fail before all devices pause. One that is lost slows nobody else.
const failuresToPause = 4

func (c *pace) succeeded() {
	c.failures = 0
	c.limit = min(c.limit+1, c.max)
}

func (c *pace) throttled(now time.Time) {
	c.failures++
	c.slowDown(now)
}

// failed is for requests that were not answered, or failed for a reason that lies in no single event.
func (c *pace) failed(now time.Time) {
	c.failures++
	if c.failures >= failuresToPause {
		c.slowDown(now)
	}
}

// slowDown halves the bound once for all requests that were under way together.
func (c *pace) slowDown(now time.Time) {
	if now.Before(c.until) {
		return
	}
	c.limit = max(1, c.limit/2)
	c.until = now.Add(backoff.After(c.failures))
}
