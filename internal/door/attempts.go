package door

import (
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/time/rate"
)

const (
	// attemptsAtOnce is how often an address may be wrong before it is slowed down, and attemptEvery how often from then on.
	attemptsAtOnce = 10
	attemptEvery   = time.Second
	// slowedAtOnce is how many wrong attempts wait for their answer at the same time; they hold connections, so the others wait for nothing.
	slowedAtOnce = 8
	// attemptAddresses is how many addresses are remembered. Of more, those that may try again are forgotten, and if there are none all are.
	attemptAddresses = 10_000
)

// Attempts slows down who shows wrong keys, by address, and logs that at a bounded rate. The zero value logs nothing. It is safe for
// concurrent use.
type Attempts struct {
	Logger *slog.Logger // nil logs nothing
	Server string       // what the log calls the server

	mu     sync.Mutex
	from   map[netip.Addr]*rate.Limiter
	log    rate.Sometimes
	silent int // failures since the last line of the log

	waiting atomic.Int64 // in Failed
}

// Refuse answers 429 if the request's address has been wrong too often of late, and tells whether it has. What it shows is not looked at
// then: so nobody finds a secret by trying. All who are behind one proxy have one address, so this is for people, not for devices.
func (a *Attempts) Refuse(w http.ResponseWriter, r *http.Request) bool {
	a.mu.Lock()
	bucket := a.from[remote(r)]
	wait := bucket != nil && bucket.Tokens() < 1
	a.mu.Unlock()
	if wait {
		w.Header().Set("Retry-After", strconv.Itoa(int(attemptEvery/time.Second)))
		http.Error(w, "too many wrong attempts from this address, try again later", http.StatusTooManyRequests)
	}
	return wait
}

// Failed notes a wrong attempt. It returns at once for the first few of an address, and after that a second later, or when the request ends, to
// slow down whoever tries. It is for what can't be guessed: a right key is never made to wait.
func (a *Attempts) Failed(r *http.Request) {
	if !a.note(r) {
		return
	}
	defer a.waiting.Add(-1)
	if a.waiting.Add(1) > slowedAtOnce {
		return
	}
	select {
	case <-time.After(attemptEvery):
	case <-r.Context().Done():
	}
}

// note counts and logs a wrong attempt, and tells whether there were too many of late.
func (a *Attempts) note(r *http.Request) (tooMany bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	from := remote(r)
	bucket := a.from[from]
	if bucket == nil {
		a.sweep()
		bucket = rate.NewLimiter(rate.Every(attemptEvery), attemptsAtOnce)
		a.from[from] = bucket
	}
	a.silent++
	if a.Logger != nil {
		a.log.Interval = logEvery
		a.log.Do(func() {
			a.Logger.Warn("login refused: a wrong key or token", "server", a.Server, "remote", r.RemoteAddr, "refused", a.silent)
			a.silent = 0
		})
	}
	return !bucket.Allow()
}

// sweep makes room for another address; mu is held.
func (a *Attempts) sweep() {
	if len(a.from) > 0 && len(a.from) < attemptAddresses {
		return
	}
	for from, bucket := range a.from {
		if bucket.Tokens() >= attemptsAtOnce {
			delete(a.from, from)
		}
	}
	if a.from == nil || len(a.from) >= attemptAddresses {
		a.from = map[netip.Addr]*rate.Limiter{}
	}
}

// remote is the address that a request came from.
func remote(r *http.Request) netip.Addr {
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		return netip.Addr{}
	}
	a, err := netip.ParseAddr(host)
	if err != nil {
		return netip.Addr{}
	}
	return network(a)
}
