package door

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"syscall"
	"time"

	"golang.org/x/time/rate"
)

// ExposedError says that an address can be reached from other machines, by a server that lets everybody in.
type ExposedError struct{ Addr string }

// Error implements error.
func (e *ExposedError) Error() string {
	return fmt.Sprintf("listen on %s: other machines could reach it, and it asks for no key", e.Addr)
}

// Listen opens a TCP port. Unless exposed is true, an address that is not on the loopback interface is an [*ExposedError]; ":8080" is
// one, as it means all interfaces.
func Listen(addr string, exposed bool) (net.Listener, error) {
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return nil, err
	}
	if !exposed && !IsLoopback(l.Addr()) { // nothing has been accepted yet
		return nil, errors.Join(&ExposedError{addr}, l.Close())
	}
	return l, nil
}

// IsLoopback tells whether only this machine can reach a listener at addr. One that is no TCP address, such as a pipe's, counts as that.
func IsLoopback(addr net.Addr) bool {
	at, ok := addr.(*net.TCPAddr)
	return !ok || at.IP.IsLoopback()
}

// entrance accepts connections into a room.
type entrance struct {
	net.Listener
	name   string
	room   *room
	logger *slog.Logger
	done   chan struct{}
	once   sync.Once

	spare      int // guarded by the room's mutex
	failed     rate.Sometimes
	full       rate.Sometimes
	turnedAway int // since the last line of the log
}

func newEntrance(l net.Listener, name string, room *room, logger *slog.Logger) *entrance {
	return &entrance{
		Listener: l, name: name, room: room, logger: logger, done: make(chan struct{}),
		failed: rate.Sometimes{Interval: logEvery}, full: rate.Sometimes{Interval: logEvery},
	}
}

// logEvery is how often trouble that goes on is logged.
const logEvery = 10 * time.Second

// accept returns the next connection and its place. Only one goroutine calls it.
func (e *entrance) accept() (net.Conn, *place, error) {
	pause := time.Duration(0)
	for {
		conn, err := e.Listener.Accept()
		if err != nil {
			if !passes(err) {
				return nil, nil, err
			}
			e.failed.Do(func() {
				e.logger.Warn("connections can't be accepted; trying again", "server", e.name, "err", err)
			})
			e.room.evict()
			pause = min(max(2*pause, 5*time.Millisecond), time.Second)
			select {
			case <-time.After(pause):
			case <-e.done:
				return nil, nil, net.ErrClosed
			}
			continue
		}
		pause = 0
		p := &place{from: addressOf(conn.RemoteAddr()), close: func() { _ = conn.Close() }}
		ok, closed := e.room.enter(p, &e.spare, e.done)
		if !ok {
			closed++
			_ = conn.Close()
		}
		if e.turnedAway += closed; e.turnedAway > 0 {
			e.full.Do(func() {
				open, most := e.room.size()
				e.logger.Warn("too many connections; those that have waited longest without a request are closed",
					"server", e.name, "open", open, "max", most, "closed", e.turnedAway)
				e.turnedAway = 0
			})
		}
		if ok {
			return conn, p, nil
		}
	}
}

// passes tells whether accepting may work again in a moment.
func passes(err error) bool {
	for _, passing := range []error{
		syscall.EMFILE, syscall.ENFILE, syscall.ENOBUFS, syscall.ENOMEM, syscall.ECONNABORTED, syscall.ECONNRESET, syscall.EPROTO, syscall.EINTR, syscall.EPERM,
	} {
		if errors.Is(err, passing) {
			return true
		}
	}
	return false
}

// Close closes the listener.
func (e *entrance) Close() error {
	e.once.Do(func() { close(e.done) })
	return e.Listener.Close()
}

// Bound bounds the connections of a listener that speaks something other than HTTP, by the room of the process. Until its first byte has come a
// connection may be closed for another one.
func Bound(l net.Listener, name string, logger *slog.Logger) net.Listener {
	return bound{newEntrance(l, name, process(), logger)}
}

type bound struct{ *entrance }

// Accept implements net.Listener.
func (b bound) Accept() (net.Conn, error) {
	conn, p, err := b.accept()
	if err != nil {
		return nil, err
	}
	if p.spare != nil { // there is nothing to be said to it
		_ = conn.Close()
		p.leave()
		return b.Accept()
	}
	return &boundConn{Conn: conn, place: p}, nil
}

type boundConn struct {
	net.Conn
	place *place
	heard sync.Once
}

// Read implements net.Conn.
func (c *boundConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	if n > 0 {
		c.heard.Do(c.place.works)
	}
	return n, err
}

// Close implements net.Conn.
func (c *boundConn) Close() error {
	c.place.leave()
	return c.Conn.Close()
}
