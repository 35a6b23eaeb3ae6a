package door

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
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
	leaving  atomic.Bool  // every answer ends its connection

	mu       sync.Mutex
	draining bool
	places   map[net.Conn]*place
	bodies   map[*body]struct{} // those that have not come to their end
}

// maxStreams is how many requests of one HTTP/2 connection are answered at once.
const maxStreams = 100

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
	if p.spare != nil || s.leaving.Load() {
		out.Header().Set("Connection", "close")
	}
	if (p.spare != nil || busy) && !slices.Contains(s.cfg.Always, r.URL.Path) {
		out.Header().Set("Retry-After", "1")
		s.cfg.NoRoom(out, r)
		return
	}
	s.cfg.Handler.ServeHTTP(out, r)
}

// Leave has clients go elsewhere: from now on every answer is the last one of its connection, and says so. New connections are taken as before.
func (s *Server) Leave() { s.leaving.Store(true) }

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
