package gateway

import (
	"context"
	"errors"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/device-fanout/fanout/events"
	"github.com/device-fanout/fanout/internal/door"
	"github.com/device-fanout/fanout/producer"
)

// Publisher is what a Gateway needs of a producer; [*producer.Producer] has it.
type Publisher interface {
	Enqueue(ctx context.Context, e events.Event, done func(producer.Result)) error
	Stats() producer.Stats
}

// Gateway takes events over HTTP and MQTT. It is safe for concurrent use. Make one with [New].
type Gateway struct {
	publisher Publisher
	keys      *Keys
	cfg       Config
	limits    *limits
	attempts  door.Attempts
	metrics   *metrics

	leaving     atomic.Bool   // Serve's context has ended
	closing     chan struct{} // closed once Config.ShutdownDelay is over too
	closeOnce   sync.Once
	made        time.Time
	lastNoRoom  atomic.Pointer[time.Time]
	subscribers atomic.Int64 // running Subscribe calls
	connected   atomic.Int64 // those that are connected
}

// New makes a Gateway that hands its events to publisher. It starts nothing. Events without a source get the producer's.
// The error lists every fault of cfg.
func New(publisher Publisher, keys *Keys, cfg Config) (*Gateway, error) {
	cfg = cfg.withDefaults()
	err := cfg.validate()
	if publisher == nil {
		err = errors.Join(errors.New("gateway: publisher: got nil, want a producer"), err)
	}
	if keys == nil {
		err = errors.Join(errors.New("gateway: keys: got nil, want those of LoadKeys, or Anyone"), err)
	}
	if err != nil {
		return nil, err
	}
	g := &Gateway{publisher: publisher, keys: keys, cfg: cfg, limits: newLimits(), made: time.Now(), closing: make(chan struct{})}
	g.attempts.Logger, g.attempts.Server = cfg.Logger, "gateway"
	g.metrics = newMetrics(g)
	return g, nil
}

// Serve answers requests on listener until ctx ends, and for Config.ShutdownDelay after that. Then it refuses new events, lets those under way be
// answered for as long as Config.DrainTimeout, and returns nil. It closes the listener. Encrypt with [crypto/tls.NewListener]. With the keys of [Anyone] and a listener
// on loopback it takes requests by loopback names only, and none from web pages.
func (g *Gateway) Serve(ctx context.Context, listener net.Listener) error {
	server := door.New(door.Config{
		Name: "gateway", Handler: g.Handler(), Logger: g.cfg.Logger, Always: []string{"/healthz", "/readyz"}, NoRoom: g.noRoom,
		BodyTimeout: g.cfg.BodyTimeout, WriteTimeout: writeTimeout, IdleTimeout: idleTimeout, MaxHeaderBytes: maxHeaderBytes,
		Guard: g.guard(listener),
	})
	ended := make(chan error, 1)
	go func() { ended <- server.Serve(listener) }() // ends with Shutdown
	select {
	case err := <-ended:
		return err
	case <-ctx.Done():
	}
	if g.cfg.ShutdownDelay > 0 {
		g.leaving.Store(true)
		server.Leave()
		g.cfg.Logger.Info("shutting down: requests are still served", "delay", g.cfg.ShutdownDelay)
		select {
		case err := <-ended:
			return err
		case <-time.After(g.cfg.ShutdownDelay):
		}
	}
	g.close()
	draining, cancel := context.WithTimeout(context.WithoutCancel(ctx), g.cfg.DrainTimeout)
	defer cancel()
	if err := server.Shutdown(draining); err != nil {
		g.cfg.Logger.Warn("requests were cut off", "err", err)
	}
	<-ended
	return nil
}

// close makes /readyz say no, refuses new events, and ends streams after the line that they are at.
func (g *Gateway) close() { g.closeOnce.Do(func() { close(g.closing) }) }

func (g *Gateway) isClosing() bool {
	select {
	case <-g.closing:
		return true
	default:
		return false
	}
}

// send hands one event to the producer and calls done exactly once, with nil when the event is accepted: confirmed, or
// in the spool. It returns once the producer has taken the event or it has failed. done must not block.
func (g *Gateway) send(ctx context.Context, e events.Event, done func(error)) {
	waiting, cancel := context.WithTimeout(ctx, roomPatience)
	defer cancel()
	err := g.publisher.Enqueue(waiting, e, func(r producer.Result) { done(r.Err) })
	switch {
	case err != nil && ctx.Err() == nil && errors.Is(err, context.DeadlineExceeded):
		if g.publisher.Stats().Full { // else it is the device that may have no more
			now := time.Now()
			g.lastNoRoom.Store(&now)
		}
		done(errNoRoom)
	case err != nil:
		done(err)
	}
}

// full tells whether an event was refused a moment before now because there was no room for any device.
func (g *Gateway) full(now time.Time) bool {
	at := g.lastNoRoom.Load()
	return at != nil && now.Sub(*at) < 2*roomPatience
}
