package push

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path"
	"sync/atomic"
	"time"

	"github.com/coder/websocket"

	"github.com/device-fanout/fanout/events"
	"github.com/device-fanout/fanout/internal/door"
)

// Defaults of [Config].
const (
	DefaultBuffer       = 256
	DefaultMaxClients   = 10_000
	DefaultPingInterval = 30 * time.Second
	DefaultWriteTimeout = 10 * time.Second
	DefaultRecent       = 1000
)

// ErrClosed is what Handle returns after Close.
var ErrClosed = errors.New("push: closed")

// Config sets how a Service works. The zero value is ready for production.
type Config struct {
	// Buffer is how many events wait for a client before it is dropped. Zero means DefaultBuffer (256). An event that
	// several clients wait for is held once.
	Buffer int
	// MaxClients is how many clients may be connected. Zero means DefaultMaxClients (10,000).
	MaxClients int
	// PingInterval is how often a client must show that it is there. Zero means DefaultPingInterval (30s).
	PingInterval time.Duration
	// WriteTimeout is how long one message may take to write, and the answer to a ping to come. Zero means
	// DefaultWriteTimeout (10s).
	WriteTimeout time.Duration
	// Token is what clients must show; see [CheckToken] for what it may be. Empty lets everybody in who reaches the port.
	Token string
	// Recent is how many events are remembered for clients that come back, whatever they had chosen. Zero means
	// DefaultRecent (1000).
	Recent int
	// Past is asked for what a client has missed that is not among the recent events. Without it such a client is told
	// that it cannot resume.
	Past Past
	// Feed is shared with other Services, whose clients then get the same events: for several processes on one queue. Whoever sets it runs
	// [Service.Follow] beside the server. Nil is for one process that serves all clients.
	Feed Feed
	// OriginPatterns are hosts whose pages may connect besides those of the service's own host, such as "*.example.com",
	// in the syntax of [path.Match]; a pattern with a scheme also asks for that scheme.
	OriginPatterns []string
	// Logger hears of clients that were dropped or sent nonsense, and at level debug of those that come and go. Nil logs
	// nothing.
	Logger *slog.Logger
}

// Stats are counts since the start of a Service.
type Stats struct {
	Clients int    // connected now and not dropped
	Handled uint64 // events handled
	Sent    uint64 // messages written, one for each event and client
	Dropped uint64 // clients dropped because they were too slow
}

// Service passes events on to clients. Its methods are safe for concurrent use.
type Service struct {
	cfg      Config
	logger   *slog.Logger
	audience *audience
	scans    scans
	follower follower
	attempts door.Attempts
	ctx      context.Context    // of all connections; it ends when Close loses its patience
	abort    context.CancelFunc // ends ctx

	handled, sent, dropped atomic.Uint64
}

// New makes a Service. It starts nothing and never blocks. It panics when a setting is negative, a pattern has bad syntax
// or [CheckToken] refuses the token, as these are mistakes in the program.
func New(cfg Config) *Service {
	if cfg.Buffer < 0 || cfg.MaxClients < 0 || cfg.PingInterval < 0 || cfg.WriteTimeout < 0 || cfg.Recent < 0 {
		cfg.Token = "" // not to be shown
		panic(fmt.Sprintf("push: config: got a negative setting in %+v, want zero or more", cfg))
	}
	if err := CheckToken(cfg.Token); err != nil {
		panic("push: config: " + err.Error())
	}
	for _, pattern := range cfg.OriginPatterns {
		if _, err := path.Match(pattern, ""); err != nil {
			panic(fmt.Sprintf("push: config: OriginPatterns: %q: %v", pattern, err))
		}
	}
	cfg.Buffer = cmp.Or(cfg.Buffer, DefaultBuffer)
	cfg.MaxClients = cmp.Or(cfg.MaxClients, DefaultMaxClients)
	cfg.PingInterval = cmp.Or(cfg.PingInterval, DefaultPingInterval)
	cfg.WriteTimeout = cmp.Or(cfg.WriteTimeout, DefaultWriteTimeout)
	cfg.Recent = cmp.Or(cfg.Recent, DefaultRecent)
	s := &Service{
		cfg:      cfg,
		logger:   cmp.Or(cfg.Logger, slog.New(slog.DiscardHandler)),
		audience: newAudience(cfg.MaxClients, cfg.Recent),
	}
	s.scans.turns, s.scans.waiting = make(chan struct{}, maxScans), map[events.Identity]*scan{}
	s.follower.heard = make(chan struct{}, 1)
	if cfg.Feed != nil {
		s.cfg.Past = feedPast{cfg.Feed, cfg.Past}
	}
	s.attempts.Logger, s.attempts.Server = s.logger, "push"
	s.ctx, s.abort = context.WithCancel(context.Background())
	return s
}

// UnknownTypes tells that the service takes events of types that this program has not registered, as [events.Raw]; see
// consumers.Config.
func (*Service) UnknownTypes() bool { return true }

// Check returns nil, or [ErrClosed] after Close: what Handle does needs nothing but memory, or [Config.Feed], which is asked then. So an event that it can't pass on is a dead letter
// within a second or two, rather than to hold its device up as if something were down. It is meant for consumers.Config.Check.
func (s *Service) Check(ctx context.Context) error {
	if !s.audience.open() {
		return ErrClosed
	}
	if s.cfg.Feed != nil {
		return s.cfg.Feed.Check(ctx)
	}
	return nil
}

// Handle passes event on to the clients that chose its device and type. It never waits for them. The event is encoded
// once, and not at all when nobody wants it. The error is that of [events.Encode], or [ErrClosed].
//
// With [Config.Feed] it puts the event there, from where every Service passes it on, and returns once that is done: it blocks until then, and
// the error may also be that of Feed.Add.
func (s *Service) Handle(ctx context.Context, event events.Event) error {
	if s.cfg.Feed != nil {
		return s.share(ctx, event)
	}
	listeners, open := s.audience.hear(event)
	if !open {
		return ErrClosed
	}
	if len(listeners) > 0 {
		message, err := events.Encode(event)
		if err != nil {
			return fmt.Errorf("push: event %q of device %q: %w", event.ID, event.DeviceID, err)
		}
		for _, c := range listeners {
			s.offer(c, message)
		}
	}
	s.handled.Add(1)
	return nil
}

// offer puts message into the client's buffer, or drops the client when there is no room.
func (s *Service) offer(c *client, message []byte) {
	select {
	case c.buffer <- message:
		return
	default:
	}
	reason := fmt.Sprintf("too slow: %d events were waiting", cap(c.buffer))
	if c.end(farewell{websocket.StatusPolicyViolation, reason}) {
		s.dropped.Add(1)
		s.audience.mute(c) // no more work for one that is lost
		s.logger.Warn("client dropped", "remote", c.remote, "reason", reason)
	}
}

// Stats returns the counts as they are now.
func (s *Service) Stats() Stats {
	return Stats{
		Clients: s.audience.size(),
		Handled: s.handled.Load(),
		Sent:    s.sent.Load(),
		Dropped: s.dropped.Load(),
	}
}

// Close tells every client that the service stops, close code 1001, and waits until they are gone. New ones are
// refused. Events that still wait in buffers are not sent. When ctx ends first, the remaining connections are cut, and
// Close returns the error of ctx. It may be called more than once.
func (s *Service) Close(ctx context.Context) error {
	for _, c := range s.audience.close() {
		c.end(farewell{websocket.StatusGoingAway, "the service stops"})
	}
	gone := make(chan struct{})
	go func() { // ends when the last client is gone, which abort brings about
		s.audience.present.Wait()
		s.scans.running.Wait()
		close(gone)
	}()
	var err error
	select {
	case <-gone:
	case <-ctx.Done():
		err = fmt.Errorf("push: close: clients were cut off: %w", ctx.Err())
	}
	s.abort()
	<-gone
	return err
}
