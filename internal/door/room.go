package door

import (
	"cmp"
	"container/list"
	"net"
	"net/netip"
	"sync"
	"time"
)

const (
	// maxConnections bounds the connections of a process however many descriptors it may have: each costs about 20 KB of memory.
	maxConnections = 20_000
	// minKept is how many descriptors are kept for everything but connections to servers, at least.
	minKept = 128
	// reserve is how many connections beyond its room a server takes to answer that there is none.
	reserve = 16
	// grace is how long a connection gets for its request before it is closed for another one. What is read at once never is.
	grace = 10 * time.Millisecond
)

// room bounds connections: those of all servers that share it, and those of one remote address. It is safe for concurrent use.
type room struct {
	max        int
	perAddress int // loopback is not bounded: behind it may be a proxy

	mu        sync.Mutex
	taken     int
	addresses map[netip.Addr]*address
	waiting   list.List     // of *place, the longest first
	entering  int           // how many wait in enter
	freed     chan struct{} // closed when a place was given back
}

// address is what has come from one address.
type address struct {
	taken   int
	waiting list.List // of *place, the longest first
}

// place is what a connection takes of a room.
type place struct {
	room  *room
	from  netip.Addr
	of    *address // nil when the place is not, or no longer, taken
	close func()   // does not block
	// endsItself is true for HTTP/2: its last answer may still be on its way when no request is left, and a drain tells the client. The
	// server's mutex guards it.
	endsItself bool

	spare      *int // counts the places beyond the room; nil if this is none of them
	since      time.Time
	inAll, own *list.Element // in waiting, while it waits for a request
}

// newRoom makes room for max connections, of which one address may have perAddress. Zero for perAddress means half of all.
func newRoom(maximum, perAddress int) *room {
	return &room{max: maximum, perAddress: cmp.Or(perAddress, max(1, maximum/2)), addresses: map[netip.Addr]*address{}, freed: make(chan struct{})}
}

// process is the room of all servers that are given none.
var process = sync.OnceValue(func() *room { return newRoom(roomOf(descriptors()), 0) })

// roomOf is how many of a process's descriptors are for connections: three quarters, but at least [minKept] are left.
func roomOf(descriptors int) int {
	kept := max(descriptors/4, minKept)
	return min(max(descriptors-kept, descriptors/4, 1), maxConnections)
}

// addressOf is what connections are counted by: the address, of IPv6 the network of one customer.
func addressOf(remote net.Addr) netip.Addr {
	at, ok := remote.(*net.TCPAddr)
	if !ok {
		return netip.Addr{}
	}
	return network(at.AddrPort().Addr())
}

// network is an address as it is counted. Whoever has one IPv6 address has the 2⁶⁴ of its network.
func network(a netip.Addr) netip.Addr {
	a = a.Unmap().WithZone("")
	if a.Is6() && !a.IsLoopback() {
		if prefix, err := a.Prefix(64); err == nil {
			return prefix.Addr()
		}
	}
	return a
}

// enter takes a place for p, whose connection waits for its first request. If there is none it closes a connection that waits, or takes
// one of the server's spare places, or waits. It returns whether there was a place, how many connections it has closed, and is false
// early once done is closed.
func (r *room) enter(p *place, spare *int, done <-chan struct{}) (ok bool, closed int) {
	for {
		r.mu.Lock()
		of := r.addresses[p.from]
		if of == nil {
			of = &address{}
		}
		crowded := of.taken >= r.perAddress && !p.from.IsLoopback()
		if !crowded && r.taken < r.max {
			r.take(p, of)
			r.mu.Unlock()
			return true, closed
		}
		victims := &r.waiting
		if crowded {
			victims = &of.waiting
		}
		patience := time.Duration(-1)
		if front := victims.Front(); front != nil {
			victim := front.Value.(*place)
			if patience = grace - time.Since(victim.since); patience <= 0 {
				r.give(victim)
				r.mu.Unlock()
				victim.close()
				closed++
				continue
			}
		}
		if patience < 0 && *spare < reserve {
			*spare++
			p.spare = spare
			r.take(p, of)
			r.mu.Unlock()
			return true, closed
		}
		if patience < 0 && crowded && r.taken < r.max { // the others need not wait for this address
			r.mu.Unlock()
			return false, closed
		}
		r.entering++
		freed := r.freed
		r.mu.Unlock()
		var late <-chan time.Time
		if patience >= 0 {
			late = time.After(patience)
		}
		ended := false
		select {
		case <-freed:
		case <-late:
		case <-done:
			ended = true
		}
		r.mu.Lock()
		r.entering--
		r.mu.Unlock()
		if ended {
			return false, closed
		}
	}
}

// take takes the place, which waits for a request; mu is held.
func (r *room) take(p *place, of *address) {
	r.addresses[p.from] = of
	p.room, p.of = r, of
	of.taken++
	if p.spare == nil {
		r.taken++
	}
	p.wait()
}

// give gives the place back, if it is taken; mu is held.
func (r *room) give(p *place) {
	if p.of == nil {
		return
	}
	p.work()
	if p.of.taken--; p.of.taken == 0 {
		delete(r.addresses, p.from)
	}
	if p.spare == nil {
		r.taken--
	} else {
		*p.spare--
	}
	p.of = nil
	if r.entering > 0 {
		close(r.freed)
		r.freed = make(chan struct{})
	}
}

// wait puts the place among those that wait for a request; mu is held.
func (p *place) wait() {
	if p.of != nil && p.inAll == nil {
		p.since = time.Now()
		p.inAll, p.own = p.room.waiting.PushBack(p), p.of.waiting.PushBack(p)
	}
}

// work takes the place from those that wait; mu is held.
func (p *place) work() {
	if p.inAll != nil {
		p.room.waiting.Remove(p.inAll)
		p.of.waiting.Remove(p.own)
		p.inAll, p.own = nil, nil
	}
}

// waits says that the connection waits for a request from now on.
func (p *place) waits() {
	p.room.mu.Lock()
	defer p.room.mu.Unlock()
	p.wait()
}

// works says that a request has come.
func (p *place) works() {
	p.room.mu.Lock()
	defer p.room.mu.Unlock()
	p.work()
}

// leave gives the place back. It may be given back already.
func (p *place) leave() {
	p.room.mu.Lock()
	defer p.room.mu.Unlock()
	p.room.give(p)
}

// idle tells whether the connection waits for a request.
func (p *place) idle() bool {
	p.room.mu.Lock()
	defer p.room.mu.Unlock()
	return p.inAll != nil
}

// evict closes the connection that has waited longest, if one waits: there are no descriptors left.
func (r *room) evict() {
	r.mu.Lock()
	front := r.waiting.Front()
	if front == nil {
		r.mu.Unlock()
		return
	}
	victim := front.Value.(*place)
	r.give(victim)
	r.mu.Unlock()
	victim.close()
}

// size returns how many connections there are, and how many there may be.
func (r *room) size() (taken, most int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.taken, r.max
}
