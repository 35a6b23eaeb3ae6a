package aws

import (
	"math/rand/v2"
	"time"
)

// Backoff is how long to wait before another attempt, by how many in a row have failed. It is pure but for its randomness, and safe for
// concurrent use.
type Backoff struct {
	First time.Duration // after the first failure
	Most  time.Duration // the longest; zero means no bound
	// Rand gives a random duration below n, which is more than zero. Nil means that of math/rand/v2.
	Rand func(n time.Duration) time.Duration
}

// After is the wait after that many failures, 1 or more: First, doubled with each further failure up to Most, less a random part of up
// to a half, so that many callers do not come back at once.
func (b Backoff) After(failures int) time.Duration {
	d := b.Doubled(failures)
	if d < 2 {
		return d
	}
	if b.Rand == nil {
		return d - rand.N(d/2)
	}
	return d - b.Rand(d/2)
}

// Doubled is the same without the random part.
func (b Backoff) Doubled(failures int) time.Duration {
	most := b.Most
	if most <= 0 {
		most = 1<<63 - 1
	}
	d := min(max(b.First, 0), most)
	for ; failures > 1 && 0 < d && d < most; failures-- {
		if d > most/2 {
			return most
		}
		d *= 2
	}
	return d
}
