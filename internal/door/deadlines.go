package door

import (
	"bufio"
	"errors"
	"io"
	"net"
	"net/http"
	"sync"
	"time"
)

const (
	// discardTimeout is how long the rest of a body that nobody reads may take, so that its client reads the answer.
	discardTimeout = 500 * time.Millisecond
	// drainBody is how long a body may take to arrive once the server drains.
	drainBody = time.Second
)

// body is a body that has a deadline until its end; net/http takes it away there.
type body struct {
	io.ReadCloser
	server  *Server
	control *http.ResponseController

	mu    sync.Mutex
	ended bool // nobody reads it any more
}

// watch gives the body of a request its deadline. It is nil without a body.
func (s *Server) watch(r *http.Request, control *http.ResponseController) *body {
	if r.Body == nil || r.Body == http.NoBody {
		return nil
	}
	b := &body{ReadCloser: r.Body, server: s, control: control}
	r.Body = b
	s.mu.Lock()
	s.bodies[b] = struct{}{}
	s.mu.Unlock()
	b.expire(s.cfg.BodyTimeout)
	s.mu.Lock()
	draining := s.draining
	s.mu.Unlock()
	if draining { // perhaps only now; from here on Shutdown does it
		b.expire(min(s.cfg.BodyTimeout, drainBody))
	}
	return b
}

// expire gives the body a deadline, unless nobody reads it any more. The server's mutex must not be held: HTTP/2 sets a deadline on the goroutine
// that follows the connection, too.
func (b *body) expire(after time.Duration) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.ended {
		_ = b.control.SetReadDeadline(time.Now().Add(after))
	}
}

// end says that nobody reads the body any more, and tells whether that was so already.
func (b *body) end() (ended bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	ended, b.ended = b.ended, true
	return ended
}

// forget says that nobody reads the body any more, and tells whether it had come to its end.
func (s *Server) forget(b *body) (ended bool) {
	if b == nil {
		return true
	}
	s.mu.Lock()
	delete(s.bodies, b)
	s.mu.Unlock()
	return b.end()
}

// Read implements io.Reader.
func (b *body) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if errors.Is(err, io.EOF) {
		b.server.forget(b)
	}
	return n, err
}

// response gives every write its deadline.
type response struct {
	http.ResponseWriter
	control  *http.ResponseController
	timeout  time.Duration
	hijacked bool
}

func (w *response) extend() { _ = w.control.SetWriteDeadline(time.Now().Add(w.timeout)) }

// Write implements io.Writer.
func (w *response) Write(b []byte) (int, error) {
	w.extend()
	return w.ResponseWriter.Write(b)
}

// Flush implements http.Flusher.
func (w *response) Flush() { _ = w.FlushError() }

// FlushError is what [http.ResponseController.Flush] calls.
func (w *response) FlushError() error {
	w.extend()
	return w.control.Flush()
}

// Hijack implements http.Hijacker.
func (w *response) Hijack() (conn net.Conn, in *bufio.ReadWriter, err error) {
	conn, in, err = w.control.Hijack()
	w.hijacked = err == nil
	return conn, in, err
}

// Unwrap is for [http.ResponseController].
func (w *response) Unwrap() http.ResponseWriter { return w.ResponseWriter }
