package door

import (
	"bufio"
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// Config says what a [Server] serves and how long it waits.
type Config struct {
	Name    string       // what the log calls it
	Handler http.Handler // never nil
	// Guard refuses requests before the handler sees them. Nil refuses none.
	Guard *Guard
	// TLS encrypts. Nil doesn't; a listener of [tls.NewListener] does it too.
	TLS *tls.Config
	// Logger hears, at a bounded rate, when there are too many connections or none can be accepted, and at level debug of clients that vanish. Nil
	// logs nothing.
	Logger *slog.Logger
	// Always are the paths that are answered also when there is no room for anything else.
	Always []string
	// NoRoom answers a request that can't be taken now; Retry-After is set. Nil answers with a line of text.
	NoRoom http.HandlerFunc

	HeaderTimeout  time.Duration // for a handshake and a header; zero means 5 seconds
	BodyTimeout    time.Duration // for the body after the header, unless the handler sets another deadline; zero means 10 seconds
	WriteTimeout   time.Duration // for each write, unless the handler sets another deadline before it; zero means 30 seconds
	IdleTimeout    time.Duration // between two requests; zero means 1 minute
	MaxHeaderBytes int           // zero means 64 KiB

	room *room // nil means the one of the process
}

// Server is an [http.Server] with the bounds of this package. Make one with [New]. Its methods are safe for concurrent use.
type Server struct {
	cfg      Config
	room     *room
	http     *http.Server
	requests atomic.Int64 // in handlers

	mu       sync.Mutex
	draining bool
	places   map[net.Conn]*place
	bodies   map[*body]struct{} // those that have not come to their end
}

const (
	// discardTimeout is how long the rest of a body that nobody reads may take, so that its client reads the answer.
	discardTimeout = 500 * time.Millisecond
	// drainBody is how long a body may take to arrive once the server drains.
	drainBody = time.Second
	// maxStreams is how many requests of one HTTP/2 connection are answered at once.
	maxStreams = 100
)

// New makes a server. It starts nothing.
func New(cfg Config) *Server {
	cfg.HeaderTimeout = cmp.Or(cfg.HeaderTimeout, 5*time.Second)
	cfg.BodyTimeout = cmp.Or(cfg.BodyTimeout, 10*time.Second)
	cfg.WriteTimeout = cmp.Or(cfg.WriteTimeout, 30*time.Second)
	cfg.IdleTimeout = cmp.Or(cfg.IdleTimeout, time.Minute)
	cfg.MaxHeaderBytes = cmp.Or(cfg.MaxHeaderBytes, 64<<10)
	cfg.Logger = cmp.Or(cfg.Logger, slog.New(slog.DiscardHandler))
	if cfg.NoRoom == nil {
		cfg.NoRoom = func(w http.ResponseWriter, _ *http.Request) {
			http.Error(w, "too many connections, try again later", http.StatusServiceUnavailable)
		}
	}
	if cfg.room == nil {
		cfg.room = process()
	}
	s := &Server{cfg: cfg, room: cfg.room, places: map[net.Conn]*place{}, bodies: map[*body]struct{}{}}
	s.http = &http.Server{
		Handler:           http.HandlerFunc(s.serve),
		ReadHeaderTimeout: cfg.HeaderTimeout,
		IdleTimeout:       cfg.IdleTimeout,
		MaxHeaderBytes:    cfg.MaxHeaderBytes,
		HTTP2:             &http.HTTP2Config{MaxConcurrentStreams: maxStreams, SendPingTimeout: cfg.IdleTimeout, WriteByteTimeout: cfg.WriteTimeout},
		ErrorLog:          slog.NewLogLogger(cfg.Logger.Handler(), slog.LevelDebug), // clients that vanish, mostly
		ConnState:         s.changed,
		ConnContext: func(ctx context.Context, conn net.Conn) context.Context {
			return context.WithValue(ctx, placeKey{}, s.placeOf(conn))
		},
	}
	return s
}

type placeKey struct{}

// Serve answers requests on l until [Server.Shutdown] or [Server.Close], and then returns nil. It closes l.
func (s *Server) Serve(l net.Listener) error {
	if err := s.http.Serve(&inside{newEntrance(l, s.cfg.Name, s.room, s.cfg.Logger), s}); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

// inside are the connections that have a place.
type inside struct {
	*entrance
	server *Server
}

// Accept implements net.Listener.
func (i *inside) Accept() (net.Conn, error) {
	conn, p, err := i.accept()
	if err != nil {
		return nil, err
	}
	if i.server.cfg.TLS != nil {
		conn = tls.Server(conn, i.server.cfg.TLS)
	} else if encrypted, ok := conn.(*tls.Conn); ok {
		p.close = func() { _ = encrypted.NetConn().Close() } // its own Close may wait for the client
	}
	i.server.mu.Lock()
	defer i.server.mu.Unlock()
	i.server.places[conn] = p
	return conn, nil
}

func (s *Server) placeOf(conn net.Conn) *place {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.places[conn]
}

// changed follows a connection.
func (s *Server) changed(conn net.Conn, to http.ConnState) {
	http2 := false
	if encrypted, ok := conn.(*tls.Conn); ok && (to == http.StateActive || to == http.StateIdle) { // the handshake is over
		http2 = encrypted.ConnectionState().NegotiatedProtocol == "h2"
	}
	s.mu.Lock()
	p, draining := s.places[conn], s.draining
	if p != nil && http2 {
		p.endsItself = true
	}
	if to == http.StateClosed || to == http.StateHijacked {
		delete(s.places, conn)
	}
	s.mu.Unlock()
	if p == nil { // closed already
		return
	}
	switch to {
	case http.StateNew, http.StateIdle:
		p.waits()
		if draining && !http2 {
			p.close()
		}
	case http.StateActive: // the header has come
		p.works()
	case http.StateClosed:
		p.leave()
	case http.StateHijacked: // its handler knows when it ends
	}
}

// serve hands a request to the handler.
func (s *Server) serve(w http.ResponseWriter, r *http.Request) {
	p := r.Context().Value(placeKey{}).(*place)
	out := &response{ResponseWriter: w, control: http.NewResponseController(w), timeout: s.cfg.WriteTimeout}
	in := s.watch(r, out.control)
	busy := s.requests.Add(1) > int64(s.room.max) // many may come on one connection
	defer func() {
		s.requests.Add(-1)
		ended := s.forget(in)
		if out.hijacked {
			p.leave()
			return
		}
		if !ended {
			_ = out.control.SetReadDeadline(time.Now().Add(discardTimeout))
		}
		out.extend()
	}()
	if s.cfg.Guard != nil && !s.cfg.Guard.admits(out, r) {
		return
	}
	if p.spare != nil {
		out.Header().Set("Connection", "close")
	}
	if (p.spare != nil || busy) && !slices.Contains(s.cfg.Always, r.URL.Path) {
		out.Header().Set("Retry-After", "1")
		s.cfg.NoRoom(out, r)
		return
	}
	s.cfg.Handler.ServeHTTP(out, r)
}

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

// Shutdown stops listening and waits until the handlers have returned and their answers are written. Connections without a complete header are closed
// at once; bodies have a second left. When ctx ends first, all connections are closed and its error is returned.
// Connections that a handler has hijacked are the handler's own business.
func (s *Server) Shutdown(ctx context.Context) error {
	s.mu.Lock()
	s.draining = true
	bodies := slices.Collect(maps.Keys(s.bodies))
	waiting := make([]*place, 0, len(s.places))
	for _, p := range s.places {
		if !p.endsItself {
			waiting = append(waiting, p)
		}
	}
	s.mu.Unlock()
	for _, b := range bodies {
		b.expire(drainBody)
	}
	for _, p := range waiting {
		if p.idle() {
			p.close()
		}
	}
	err := s.http.Shutdown(ctx)
	if err != nil {
		_ = s.http.Close() // its error is that of a listener that is closed
	}
	return err
}

// Close closes the listener and all connections.
func (s *Server) Close() error { return s.http.Close() }
