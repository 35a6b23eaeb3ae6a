package push

import (
	"context"
	"fmt"
	"iter"

	"github.com/coder/websocket"

	"github.com/device-fanout/fanout/events"
)

// StatusCannotResume is the close code for a client that wants to go on after an event from which there is no way to now:
// it is not known, or too much has happened since. The client connects again without it.
const StatusCannotResume websocket.StatusCode = 4001

// Past is where a client that was away gets what it has missed; the Service of package history has it.
type Past interface {
	// Since returns the events after that one, in the order in which they were handled for each device, up to now. It may begin with
	// some that came before. An empty source or subject of the identity stands for any; of several such events it is the earliest. An
	// event that is not known is an error.
	Since(ctx context.Context, after events.Identity) iter.Seq2[events.Event, error]
}

// resume sends the client what it has missed since the event that it wants to go on after, and makes it hear what comes.
// The farewell is nil unless that cannot be done.
//
// What lies not long ago is remembered here, which is exact. For the rest there is the past; it is recorded by another
// consumer. It may lag behind what was handled here: the recent events that it did not have yet come after it, and where it lags
// so far that it ends before they begin, the client cannot resume. It may also be ahead: what it had does not come again.
func (s *Service) resume(ctx context.Context, c *client) *farewell {
	if c.after.ID == "" {
		return nil
	}
	missed, ok := s.audience.resume(c, c.after)
	if !ok && s.cfg.Feed != nil { // another Service may have been quicker to pass it on
		if err := s.follower.synced(ctx); err != nil {
			return &farewell{StatusTryAgain, "what was missed can't be told now: try again later"}
		}
		missed, ok = s.audience.resume(c, c.after)
	}
	if !ok {
		if s.cfg.Past == nil {
			return &farewell{StatusCannotResume, shorten(fmt.Sprintf("event %q is not among the last %d", c.after.ID, s.cfg.Recent))}
		}
		l := &listener{client: c, past: make(chan []byte, scanBuffer), left: make(chan struct{}), patience: s.cfg.WriteTimeout}
		defer close(l.left)
		s.scans.join(s, l)
		if f := s.follow(ctx, l); f != nil {
			return f
		}
		missed = l.missed
	}
	for _, event := range missed {
		if f := s.sendPast(ctx, c, event); f != nil {
			return f
		}
	}
	return nil
}

// follow sends a client what a scan has for it.
func (s *Service) follow(ctx context.Context, l *listener) *farewell {
	for {
		select {
		case f := <-l.client.ending:
			return &f
		case message, more := <-l.past:
			switch {
			case !more:
				return l.end
			case !s.send(ctx, l.client, message):
				return &gone
			}
		}
	}
}

// told returns the farewell if the connection was told to end. It is for the goroutine that writes.
func (c *client) told() *farewell {
	select {
	case f := <-c.ending:
		return &f
	default:
		return nil
	}
}

// sendPast sends an event that is not new.
func (s *Service) sendPast(ctx context.Context, c *client, event events.Event) *farewell {
	if f := c.told(); f != nil {
		return f
	}
	if message := s.encodePast(event); message != nil && !s.send(ctx, c, message) {
		return &gone
	}
	return nil
}

// encodePast is an event that is not new as a message, or nil if it can't be sent: it was handled with that error, or is of an older program.
// The others can still be sent.
func (s *Service) encodePast(event events.Event) []byte {
	message, err := events.Encode(event)
	if err != nil {
		s.logger.Warn("past event cannot be sent", "event_id", event.ID, "device_id", event.DeviceID, "err", err)
		return nil
	}
	return message
}
