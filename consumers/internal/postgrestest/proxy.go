package postgrestest

import (
	"net"
	"sync"
	"testing"
)

// Proxy passes TCP connections on to a server, which can be changed: connections that are open stay with the old one, as those to a demoted
// primary do. It is safe for concurrent use.
type Proxy struct {
	listener net.Listener
	group    sync.WaitGroup

	mu     sync.Mutex // guards what is below
	target string
	open   map[net.Conn]bool
	closed bool
	silent map[net.Conn]bool // what comes from these goes nowhere

	unanswered int
}

// NewProxy starts a proxy to that address. It ends with the test.
func NewProxy(t testing.TB, target string) *Proxy {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &Proxy{listener: listener, target: target, open: map[net.Conn]bool{}, silent: map[net.Conn]bool{}}
	p.group.Go(p.accept) // ends with the listener
	t.Cleanup(func() {
		listener.Close()
		p.mu.Lock()
		p.closed = true
		for conn := range p.open {
			conn.Close()
		}
		p.mu.Unlock()
		p.group.Wait()
	})
	return p
}

// Address is where the proxy listens.
func (p *Proxy) Address() string { return p.listener.Addr().String() }

// Freeze has the connections that are open say nothing any more, as if the server had vanished, and nothing gets through to it. They are
// not closed. New connections work.
func (p *Proxy) Freeze() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for conn := range p.open {
		p.silent[conn] = true
	}
}

// Unanswered is how many simple queries, such as pings, came over connections that are frozen.
func (p *Proxy) Unanswered() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.unanswered
}

// copy passes bytes on until one of the connections closes.
func (p *Proxy) copy(to, from net.Conn) {
	buffer := make([]byte, 32<<10)
	for {
		n, err := from.Read(buffer)
		p.mu.Lock()
		silent := p.silent[from]
		if silent && n > 0 && buffer[0] == 'Q' { // a simple query
			p.unanswered++
		}
		p.mu.Unlock()
		if n > 0 && !silent {
			if _, err := to.Write(buffer[:n]); err != nil {
				return
			}
		}
		if err != nil {
			return
		}
	}
}

// Switch leads new connections to another address.
func (p *Proxy) Switch(target string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.target = target
}

func (p *Proxy) accept() {
	for {
		client, err := p.listener.Accept()
		if err != nil {
			return
		}
		p.group.Go(func() { p.pass(client) })
	}
}

// pass passes bytes in both directions until either end closes.
func (p *Proxy) pass(client net.Conn) {
	defer client.Close()
	p.mu.Lock()
	target := p.target
	p.mu.Unlock()
	server, err := net.Dial("tcp", target)
	if err != nil {
		return
	}
	defer server.Close()
	if !p.add(client, server) {
		return
	}
	defer p.remove(client, server)
	var back sync.WaitGroup
	back.Go(func() {
		p.copy(client, server)
		client.Close()
	})
	p.copy(server, client)
	server.Close()
	back.Wait()
}

func (p *Proxy) add(conns ...net.Conn) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, conn := range conns {
		p.open[conn] = true
	}
	return !p.closed
}

func (p *Proxy) remove(conns ...net.Conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, conn := range conns {
		delete(p.open, conn)
		delete(p.silent, conn)
	}
}
