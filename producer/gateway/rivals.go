package gateway

import (
	"sync"
	"time"

	awsx "github.com/device-fanout/fanout/internal/aws"
)

// rivals notices another client with the same client ID. A broker ends the older of two such connections without a word, so each of
// the two connects again at once and ends the other's, for ever. Each wait before the next attempt is longer than the one
// before, so that the session stays with one of them for a while. It is safe for concurrent use. The zero value is ready.
type rivals struct {
	mu    sync.Mutex
	since time.Time // when the connection was made; zero without one
	short int       // connections in a row that ended soon
}

const (
	// soon is after how long a connection that ends is an ordinary one.
	soon = time.Minute
	// suspicious is how many connections in a row must have ended soon before another client is suspected: one is a network.
	suspicious = 3
)

// rivalsBackoff is how long a client waits that is suspected to have a rival.
var rivalsBackoff = awsx.Backoff{First: reconnectEvery, Most: 5 * time.Minute}

// connected says that a connection was made.
func (r *rivals) connected(now time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.since = now
}

// lost says that there is no connection. Where one was just lost it returns how many in a row have ended soon, this one included, and how
// long to wait before the next attempt; else zero.
func (r *rivals) lost(now time.Time) (times int, pause time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.since.IsZero() {
		return 0, 0
	}
	if now.Sub(r.since) < soon {
		r.short++
	} else {
		r.short = 0
	}
	r.since = time.Time{}
	if r.short < suspicious {
		return r.short, 0
	}
	return r.short, rivalsBackoff.After(r.short - suspicious + 1)
}

// reconnecting is called before each attempt to connect again. It tells the cause of the loss where it can be guessed, and waits.
func (s *subscription) reconnecting() {
	times, pause := s.rivals.lost(time.Now())
	if pause == 0 {
		return
	}
	s.rivalLog.Do(func() {
		s.logger.Error("the broker ends each connection soon after it was made: does another client have the same client ID? Every gateway needs its own (--mqtt-client-id)",
			"times", times, "next_in", pause.Round(time.Second))
	})
	select {
	case <-time.After(pause):
	case <-s.stopped:
	}
}
