package consumers

import (
	"time"

	awsx "github.com/device-fanout/fanout/internal/aws"
)

// random is the random part of pauses. Nil means that of math/rand/v2; tests set one that can be repeated.
var random func(below time.Duration) time.Duration

// backoff is the pause after so many failures in a row: first, doubled with each up to most, less a random part of up to a half.
func backoff(failures int, first, most time.Duration) time.Duration {
	return awsx.Backoff{First: first, Most: most, Rand: random}.After(failures)
}
