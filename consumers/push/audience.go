package push

import (
	"errors"
	"sync"
)

var errFull = errors.New("push: too many clients, try again later")

// audience knows which clients want which devices. It is safe for concurrent use.
type audience struct {
	max     int
	present sync.WaitGroup // those between enter and leave

	mu       sync.RWMutex // guards what is below, for memory work only
	closed   bool
	chosen   map[*client][]string // every client that is not muted, with its choice; none is all
	all      map[*client]struct{} // the clients that want all devices
	byDevice map[string]map[*client]struct{}
}

func newAudience(limit int) *audience {
	return &audience{
		max:      limit,
		chosen:   make(map[*client][]string),
		all:      make(map[*client]struct{}),
		byDevice: make(map[string]map[*client]struct{}),
	}
}

// of returns the clients that want events of the device, and whether the service is still open.
func (a *audience) of(deviceID string) (listeners []*client, open bool) {
	a.mu.RLock()
	defer a.mu.RUnlock()
	if n := len(a.all) + len(a.byDevice[deviceID]); n > 0 {
		listeners = make([]*client, 0, n)
	}
	for c := range a.all {
		listeners = append(listeners, c)
	}
	for c := range a.byDevice[deviceID] {
		listeners = append(listeners, c)
	}
	return listeners, !a.closed
}

// enter lets the client in with its first choice. The error is errFull or ErrClosed. After enter comes leave.
func (a *audience) enter(c *client, devices []string) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	switch {
	case a.closed:
		return ErrClosed
	case len(a.chosen) >= a.max:
		return errFull
	}
	a.present.Add(1)
	a.choose(c, devices)
	return nil
}

// leave says that nothing of the client is left.
func (a *audience) leave(c *client) {
	a.mute(c)
	a.present.Done()
}

// change replaces the choice of a client, unless it is muted.
func (a *audience) change(c *client, devices []string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if _, in := a.chosen[c]; in {
		a.forget(c)
		a.choose(c, devices)
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

// choose records a choice; mu is held.
func (a *audience) choose(c *client, devices []string) {
	a.chosen[c] = devices
	if len(devices) == 0 {
		a.all[c] = struct{}{}
	}
	for _, device := range devices {
		if a.byDevice[device] == nil {
			a.byDevice[device] = make(map[*client]struct{})
		}
		a.byDevice[device][c] = struct{}{}
	}
}

// forget undoes choose; mu is held.
func (a *audience) forget(c *client) {
	for _, device := range a.chosen[c] {
		delete(a.byDevice[device], c)
		if len(a.byDevice[device]) == 0 {
			delete(a.byDevice, device)
		}
	}
	delete(a.all, c)
	delete(a.chosen, c)
}
