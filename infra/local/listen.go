package local

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"

	"github.com/device-fanout/fanout/internal/door"
)

// ErrClosed is the error of an engine that has been closed.
var ErrClosed = errors.New("local: engine closed")

// Listen opens a socket, serves it in the background until [Engine.Close], and returns the endpoint's URL, such as
// "http://127.0.0.1:4566".
//
// An empty addr means [DefaultAddr]; port 0 picks a free port. An addr without host, such as ":4566", means the
// loopback interface. The engine checks no credentials, so whoever reaches it can do everything: an address that is
// not on loopback is an error unless [Options].Exposed allows it, and is warned about even then. On loopback a request must name
// the engine by a loopback name and come from no web page: else any page could purge a queue through the browser of whoever visits it.
func (e *Engine) Listen(addr string) (string, error) {
	if addr == "" {
		addr = DefaultAddr
	}
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return "", fmt.Errorf("local: listen on %q: %w", addr, err)
	}
	if host == "" {
		host = "127.0.0.1"
	}
	l, err := door.Listen(net.JoinHostPort(host, port), e.exposed)
	if err != nil {
		return "", fmt.Errorf("local: %w", err)
	}
	if !door.IsLoopback(l.Addr()) {
		e.logger.Warn("local engine is reachable from the network and checks no credentials", "addr", l.Addr().String())
	}
	server, err := e.newServer(l)
	if err != nil {
		return "", errors.Join(err, l.Close())
	}
	e.serving.Go(func() { _ = e.serve(server, l) }) // ends when Close shuts the server down
	return "http://" + l.Addr().String(), nil
}

// Serve serves a listener until [Engine.Close], and then returns nil. It closes l.
func (e *Engine) Serve(l net.Listener) error {
	server, err := e.newServer(l)
	if err != nil {
		return errors.Join(err, l.Close())
	}
	return e.serve(server, l)
}

func (e *Engine) newServer(l net.Listener) (*door.Server, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.closed {
		return nil, ErrClosed
	}
	server := door.New(door.Config{
		Name: "local engine", Handler: e, Guard: door.Loopback(l), Logger: e.logger, Always: []string{"/_fanout/status"},
		MaxHeaderBytes: http.DefaultMaxHeaderBytes, // a request may be all in its URL
	})
	e.servers[server] = struct{}{}
	return server, nil
}

func (e *Engine) serve(server *door.Server, l net.Listener) error {
	if err := server.Serve(l); err != nil {
		e.logger.Error("local engine cannot serve", "addr", l.Addr().String(), "err", err)
		return fmt.Errorf("local: serve: %w", err)
	}
	return nil
}

// Close ends all long polls at once with an empty answer, stops listening, lets requests under way finish, and waits
// for the goroutines that [Engine.Listen] started. Queues and their messages stay readable, also through clients
// without sockets; new long polls return at once. Closing twice is fine.
func (e *Engine) Close() error {
	e.mu.Lock()
	e.closed = true
	servers := e.servers
	e.servers = nil
	e.mu.Unlock()

	e.queues.Close()
	ctx, cancel := context.WithTimeout(context.Background(), closeTimeout)
	defer cancel()
	for server := range servers {
		_ = server.Shutdown(ctx) // it cuts off a client that does not read
	}
	e.serving.Wait()
	return nil
}
