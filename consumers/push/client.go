package push

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/coder/websocket"
	"golang.org/x/time/rate"

	"github.com/device-fanout/fanout/events"
)

// client is one connection.
type client struct {
	remote string
	conn   *websocket.Conn
	buffer chan []byte   // from Handle to write; never closed
	ending chan farewell // holds the first farewell; never closed
	once   sync.Once

	after   events.Identity // of the event to go on after; zero to begin with what comes
	listens bool            // it hears what is handled; the audience's mutex guards it
	// ahead are the keys of the events that the past had before they were handled here: they do not come again. The audience's mutex
	// guards both.
	ahead      map[uint64]struct{}
	aheadUntil time.Time // when it is forgotten
}

// farewell is why a connection ends. Without a code there is nobody left to tell.
type farewell struct {
	code   websocket.StatusCode
	reason string // at most 123 bytes
}

// gone is the farewell to a client that has left or does not answer.
var gone = farewell{}

// end makes the connection end, and reports whether it was the first to do so. It does not block.
func (c *client) end(f farewell) (first bool) {
	c.once.Do(func() {
		c.ending <- f
		first = true
	})
	return first
}

// serve runs the connection until it has ended. Each client has three goroutines: this one writes, one reads and one
// pings. Only this one closes the connection. The reader goes on reading until then: it is what sees the client's
// answer to a close frame, and its context is what cuts the connection when ctx ends.
func (s *Service) serve(ctx context.Context, c *client) {
	ctx, cancel := context.WithCancel(ctx)
	var others sync.WaitGroup
	others.Go(func() { s.read(ctx, c) })
	others.Go(func() { s.ping(ctx, c) })

	var f farewell
	if early := s.resume(ctx, c); early != nil {
		f = *early
		c.end(f)
	} else {
		f = s.write(ctx, c)
	}
	s.audience.mute(c)
	if f.code == 0 {
		_ = c.conn.CloseNow() // nobody is there to notice an error
	} else {
		_ = c.conn.Close(f.code, f.reason) // waits 5 seconds at most for each, writing and the answer
	}
	cancel()
	others.Wait()
}

// write sends what is in the buffer, until something makes the connection end.
func (s *Service) write(ctx context.Context, c *client) farewell {
	for {
		if f := c.told(); f != nil { // first: nothing more is sent to a client that was told to go
			return *f
		}
		select {
		case f := <-c.ending:
			return f
		case message := <-c.buffer:
			if !s.send(ctx, c, message) {
				return gone
			}
		}
	}
}

// send writes a message, and tells whether it could.
func (s *Service) send(ctx context.Context, c *client, message []byte) bool {
	writing, cancel := context.WithTimeout(ctx, s.cfg.WriteTimeout)
	defer cancel()
	if err := c.conn.Write(writing, websocket.MessageText, message); err != nil {
		c.end(gone)
		return false
	}
	s.sent.Add(1)
	return true
}

// A client that changes its choice more often than this is read more slowly: each change costs everybody a moment.
const (
	choicesPerSecond = 5
	choicesAtOnce    = 20
)

// read takes the client's choices, until the connection is closed.
func (s *Service) read(ctx context.Context, c *client) {
	choices := rate.NewLimiter(choicesPerSecond, choicesAtOnce)
	for {
		kind, message, err := c.conn.Read(ctx)
		switch {
		case errors.Is(err, websocket.ErrMessageTooBig):
			c.end(gone) // the connection has said 1009 by itself
			return
		case err != nil:
			c.end(gone)
			return
		case kind != websocket.MessageText:
			s.refuse(c, farewell{websocket.StatusUnsupportedData, "want text messages"})
			continue
		}
		if choices.Wait(ctx) != nil { // ctx has ended
			c.end(gone)
			return
		}
		next, err := parseChoice(message)
		if err != nil {
			s.refuse(c, farewell{websocket.StatusInvalidFramePayloadData, shorten(err.Error())})
			continue
		}
		s.audience.change(c, next)
	}
}

// refuse ends the connection of a client that sent nonsense.
func (s *Service) refuse(c *client, f farewell) {
	if c.end(f) {
		s.logger.Info("client refused", "remote", c.remote, "reason", f.reason)
	}
}

// ping looks whether the client is still there, until ctx ends.
func (s *Service) ping(ctx context.Context, c *client) {
	ticker := time.NewTicker(s.cfg.PingInterval)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		s.audience.tidy(c)
		waiting, cancel := context.WithTimeout(ctx, s.cfg.WriteTimeout)
		err := c.conn.Ping(waiting)
		cancel()
		if err != nil {
			c.end(gone)
			return
		}
	}
}
