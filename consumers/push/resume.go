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

// maxResumed is how many events of the past a client gets at most. Who has missed more asks the history.
const maxResumed = 10_000

// maxScanned is how many events of the past are looked through for those.
const maxScanned = 10 * maxResumed

// Past is where a client that was away gets what it has missed; the Service of package history has it.
type Past interface {
	// Since returns the events after the one with that ID, in the order in which they were handled for each device, up to
	// now. It may begin with some that came before. An event that is not known is an error.
	Since(ctx context.Context, eventID string) iter.Seq2[events.Event, error]
}

// resume sends the client what it has missed since the event that it wants to go on after, and makes it hear what comes.
// The farewell is nil unless that cannot be done.
//
// What lies not long ago is remembered here, which is exact. For the rest there is the past; it is recorded by another
// consumer. It may lag behind what was handled here: the recent events that it did not have yet come after it, and where it lags
// so far that it ends before they begin, the client cannot resume. It may also be ahead: what it had does not come again.
func (s *Service) resume(ctx context.Context, c *client) *farewell {
	if c.after == "" {
		return nil
	}
	missed, ok := s.audience.resume(c, c.after)
	if !ok {
		past := make(map[string]bool)
		if f := s.replay(ctx, c, past); f != nil {
			return f
		}
		if missed, ok = s.audience.catchUp(c, past); !ok {
			return &farewell{StatusCannotResume, "the past is not recorded yet up to the events that are remembered here"}
		}
	}
	for _, event := range missed {
		if f := s.sendPast(ctx, c, event); f != nil {
			return f
		}
	}
	return nil
}

// replay sends what the past has, and adds the IDs of that, with whether the client had chosen it.
func (s *Service) replay(ctx context.Context, c *client, past map[string]bool) *farewell {
	if s.cfg.Past == nil {
		return &farewell{StatusCannotResume, shorten(fmt.Sprintf("event %q is not among the last %d", c.after, s.cfg.Recent))}
	}
	scanned, sent := 0, 0
	for event, err := range s.cfg.Past.Since(ctx, c.after) {
		if f := c.told(); f != nil {
			return f
		}
		if err != nil {
			s.logger.Info("client cannot resume", "remote", c.remote, "event_id", c.after, "err", err)
			return &farewell{StatusCannotResume, shorten(fmt.Sprintf("no way on from event %q", c.after))}
		}
		if scanned++; scanned > maxScanned || sent == maxResumed {
			return &farewell{StatusCannotResume, "too many events since then"}
		}
		if !s.audience.choiceOf(c).wantsAll(event) {
			past[event.ID] = false
			continue
		}
		if f := s.sendPast(ctx, c, event); f != nil {
			return f
		}
		past[event.ID] = true
		sent++
	}
	return nil
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
	message, err := events.Encode(event)
	if err != nil { // it was handled with that error, or is of an older program; the others can still be sent
		s.logger.Warn("past event cannot be sent", "event_id", event.ID, "device_id", event.DeviceID, "err", err)
		return nil
	}
	if !s.send(ctx, c, message) {
		return &gone
	}
	return nil
}
