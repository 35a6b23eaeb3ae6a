package push

import (
	"errors"
	"hash/maphash"
	"slices"
	"sync"
	"time"

	"github.com/device-fanout/fanout/events"
)

var errFull = errors.New("push: too many clients, try again later")

// audience knows which clients want which events, and the last events that there were. It is safe for concurrent use.
type audience struct {
	max     int
	present sync.WaitGroup // those between enter and leave

	mu       sync.RWMutex // guards what is below, for memory work only
	closed   bool
	chosen   map[*client]choice   // every client that is not muted
	all      map[*client]struct{} // the clients that listen to all devices
	byDevice map[string]map[*client]struct{}
	recent   recent
	seed     maphash.Seed // of keys; never changes
}

// key stands for an event's identity where many are remembered: a random function of it in eight bytes.
func (a *audience) key(event events.Event) uint64 {
	return maphash.Comparable(a.seed, event.Identity())
}

func newAudience(limit, remembered int) *audience {
	return &audience{
		max:      limit,
		chosen:   make(map[*client]choice),
		all:      make(map[*client]struct{}),
		byDevice: make(map[string]map[*client]struct{}),
		recent:   recent{max: remembered},
		seed:     maphash.MakeSeed(),
	}
}

// hear takes an event that is handled, and returns the clients that listen to such, and whether the service is still open.
// Each client either gets the event this way or, if it begins to listen later, finds it among the recent ones.
func (a *audience) hear(event events.Event) (listeners []*client, open bool) {
	eventType := event.Type()
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.closed {
		return nil, false
	}
	a.recent.add(event)
	if n := len(a.all) + len(a.byDevice[event.DeviceID]); n > 0 {
		listeners = make([]*client, 0, n)
	}
	for _, group := range []map[*client]struct{}{a.all, a.byDevice[event.DeviceID]} {
		for c := range group {
			if len(c.ahead) > 0 && c.knows(a.key(event)) {
				continue
			}
			if a.chosen[c].wants(eventType) {
				listeners = append(listeners, c)
			}
		}
	}
	return listeners, true
}

// enter lets the client in with its first choice. The error is errFull or ErrClosed. After enter comes leave.
func (a *audience) enter(c *client, first choice) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	switch {
	case a.closed:
		return ErrClosed
	case len(a.chosen) >= a.max:
		return errFull
	}
	a.present.Add(1)
	a.chosen[c] = first
	return nil
}

// listen makes the client hear what is handled from now on.
func (a *audience) listen(c *client) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.register(c)
}

// resume makes the client hear what is handled from now on, and returns what it chose of the recent events after that
// one. If it is not among them it changes nothing and returns false.
func (a *audience) resume(c *client, after events.Identity) (missed []events.Event, ok bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	last, ok := a.recent.after(after)
	if !ok {
		return nil, false
	}
	return a.join(c, last, nil), true
}

// maxAhead is how many events a client remembers that the past had before they were handled here, and aheadFor for how long.
const (
	maxAhead = 1000
	aheadFor = 5 * time.Minute
)

// catchUp makes the client hear what is handled from now on, and returns what it chose of the recent events that it was not given.
// scanned has the keys of what the past has, given of what the client got of that, in its order. If the past ends before the recent events
// begin, catchUp changes nothing and returns false.
func (a *audience) catchUp(c *client, scanned map[uint64]struct{}, given []uint64) (missed []events.Event, ok bool) {
	had := make(map[uint64]struct{}, len(given))
	for _, key := range given {
		had[key] = struct{}{}
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.recent.before.ID != "" {
		if _, reached := scanned[maphash.Comparable(a.seed, a.recent.before)]; !reached {
			return nil, false
		}
	}
	all := a.recent.all()
	missed = a.join(c, all, had)
	for _, event := range all {
		delete(had, a.key(event))
	}
	c.ahead, c.aheadUntil = make(map[uint64]struct{}), time.Now().Add(aheadFor)
	for _, key := range slices.Backward(given) {
		if _, ahead := had[key]; ahead && len(c.ahead) < maxAhead {
			c.ahead[key] = struct{}{}
		}
	}
	return missed, true
}

// join registers the client and returns those of the events that it chose and has not had; mu is held.
func (a *audience) join(c *client, of []events.Event, had map[uint64]struct{}) (missed []events.Event) {
	for _, event := range of {
		if _, twice := had[a.key(event)]; !twice && a.chosen[c].wantsAll(event) {
			missed = append(missed, event)
		}
	}
	a.register(c)
	return missed
}

// knows tells whether the client got the event before it was handled here, and forgets it; the audience's mutex is held.
func (c *client) knows(key uint64) bool {
	_, ahead := c.ahead[key]
	delete(c.ahead, key)
	return ahead
}

// tidy forgets what a client remembers for no longer.
func (a *audience) tidy(c *client) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if c.ahead != nil && time.Now().After(c.aheadUntil) {
		c.ahead = nil
	}
}

// choiceOf returns what the client has chosen.
func (a *audience) choiceOf(c *client) choice {
	a.mu.RLock()
	defer a.mu.RUnlock()
	return a.chosen[c]
}

// leave says that nothing of the client is left.
func (a *audience) leave(c *client) {
	a.mute(c)
	a.present.Done()
}

// change replaces the choice of a client, unless it is muted.
func (a *audience) change(c *client, next choice) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if _, in := a.chosen[c]; !in {
		return
	}
	listens := c.listens
	a.forget(c)
	a.chosen[c] = next
	if listens {
		a.register(c)
	}
}

// mute passes nothing more on to the client. It may be muted already.
func (a *audience) mute(c *client) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.forget(c)
}

// close lets nobody in any more, and returns those who are in. After it, wait for present.
func (a *audience) close() []*client {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.closed = true
	return a.clients()
}

// clients returns those who are in; mu is held.
func (a *audience) clients() []*client {
	clients := make([]*client, 0, len(a.chosen))
	for c := range a.chosen {
		clients = append(clients, c)
	}
	return clients
}

func (a *audience) open() bool {
	a.mu.RLock()
	defer a.mu.RUnlock()
	return !a.closed
}

// size returns how many clients there are, without those that are muted.
func (a *audience) size() int {
	a.mu.RLock()
	defer a.mu.RUnlock()
	return len(a.chosen)
}

// register makes a client hear what it has chosen, unless it is muted; mu is held.
func (a *audience) register(c *client) {
	wanted, in := a.chosen[c]
	if !in {
		return
	}
	c.listens = true
	if len(wanted.devices) == 0 {
		a.all[c] = struct{}{}
	}
	for _, device := range wanted.devices {
		if a.byDevice[device] == nil {
			a.byDevice[device] = make(map[*client]struct{})
		}
		a.byDevice[device][c] = struct{}{}
	}
}

// forget undoes register and enter; mu is held.
func (a *audience) forget(c *client) {
	for _, device := range a.chosen[c].devices {
		delete(a.byDevice[device], c)
		if len(a.byDevice[device]) == 0 {
			delete(a.byDevice, device)
		}
	}
	delete(a.all, c)
	delete(a.chosen, c)
	c.listens = false
}
