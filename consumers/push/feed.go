package push

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"iter"
	"sync"
	"sync/atomic"
	"time"

	"github.com/coder/websocket"

	"github.com/device-fanout/fanout/consumers/failure"
	"github.com/device-fanout/fanout/events"
)

// Feed is what several Services share, so that the clients of each get what any of them handles: a list of events in one order, which it shortens from
// its beginning. Package pushdb keeps one in PostgreSQL. Its methods are safe for concurrent use.
type Feed interface {
	Past
	// Add puts an event at the end, with message as its text. Events of one call after another keep their order. An event whose identity is in
	// the list is not added again. When it returns nil every Service will read the event.
	Add(ctx context.Context, event events.Event, message []byte) error
	// Begin returns the position of the event that has n others behind it, or 0 if there are no more than n.
	Begin(ctx context.Context, n int) (position int64, err error)
	// Read returns up to limit events in order, the one at position first if it is there, and else the next one.
	Read(ctx context.Context, position int64, limit int) ([]Entry, error)
	// Listen calls heard whenever there may be something to read, until ctx ends or it can't tell any more.
	Listen(ctx context.Context, heard func()) error
	// Check returns nil if events can be added, and else why not.
	Check(ctx context.Context) error
}

// Entry is an event of a [Feed].
type Entry struct {
	Position int64        // from 1; some may be left out
	Event    events.Event // zero if this program can't read it
	Message  []byte       // CloudEvents JSON
}

const (
	// feedPoll is how often the feed is read although nothing was heard of it: the notification, or the connection that it comes by, may be lost.
	feedPoll = 2 * time.Second
	// feedPage is how many events are read at once.
	feedPage = 1000
	// feedPatience is how long one reading may take, and how long a client waits for one that finds its event.
	feedPatience = 10 * time.Second
)

// StatusTryAgain is the close code for a client that must connect again, with after, since the service can't tell at the moment what it has missed.
const StatusTryAgain = websocket.StatusTryAgainLater

// follower reads a feed.
type follower struct {
	begun atomic.Bool   // it has read what there was at first. Before that no client is let in: it would get old events for new ones
	ready atomic.Bool   // it has begun once
	heard chan struct{} // something may be there to read, or somebody waits; holds one

	mu      sync.Mutex
	waiting []chan error // of those who wait for a reading that begins from now on; each holds one
}

// wake makes the follower read.
func (f *follower) wake() {
	select {
	case f.heard <- struct{}{}:
	default: // it knows
	}
}

// synced waits until all that the feed has now was read, or returns why that can't be.
func (f *follower) synced(ctx context.Context) error {
	done := make(chan error, 1)
	f.mu.Lock()
	f.waiting = append(f.waiting, done)
	f.mu.Unlock()
	f.wake()
	patience := time.NewTimer(feedPatience)
	defer patience.Stop()
	select {
	case err := <-done:
		return err
	case <-patience.C:
		return errors.New("push: the feed can't be read in time")
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (f *follower) takeWaiting() []chan error {
	f.mu.Lock()
	defer f.mu.Unlock()
	waiting := f.waiting
	f.waiting = nil
	return waiting
}

// Follow passes on to clients what [Config.Feed] has, until ctx ends; without a feed it returns at once. It is to run, once, for as long as clients are
// served. While the feed can't be read it tries again, and clients wait; it begins where it was.
func (s *Service) Follow(ctx context.Context) {
	if s.cfg.Feed == nil {
		return
	}
	var listening sync.WaitGroup
	defer listening.Wait()
	listening.Go(func() {
		for ctx.Err() == nil {
			if err := s.cfg.Feed.Listen(ctx, s.follower.wake); err != nil && ctx.Err() == nil {
				s.logger.Debug("feed is not listened to; it is read all the same, and listened to again", "err", err)
			}
			pause(ctx, feedPoll/2)
		}
	})
	defer func() {
		for _, done := range s.follower.takeWaiting() {
			done <- ctx.Err()
		}
	}()
	place, failing := place{}, false
	for {
		waiting := s.follower.takeWaiting()
		err := s.readFeed(ctx, &place)
		for _, done := range waiting {
			done <- err
		}
		if ctx.Err() != nil {
			return
		}
		if err != nil && !failing {
			s.logger.Warn("feed can't be read; clients wait for it", "err", err)
		} else if err == nil && failing {
			s.logger.Info("feed is read again")
		}
		failing = err != nil
		select {
		case <-s.follower.heard:
		case <-time.After(feedPoll):
		case <-ctx.Done():
			return
		}
	}
}

// pause waits, no longer than ctx lasts.
func pause(ctx context.Context, d time.Duration) {
	select {
	case <-time.After(d):
	case <-ctx.Done():
	}
}

// place is how far a feed was read.
type place struct {
	begun    bool
	position int64 // of the last event that was passed on; 0 if there was none
	message  []byte
}

// readFeed reads all that the feed has. The first time that is the last events only, for clients that come back.
func (s *Service) readFeed(ctx context.Context, at *place) error {
	ctx, cancel := context.WithTimeout(ctx, feedPatience)
	defer cancel()
	for {
		from := at.position
		if !at.begun {
			var err error
			if from, err = s.cfg.Feed.Begin(ctx, s.cfg.Recent); err != nil {
				return err
			}
		}
		entries, err := s.cfg.Feed.Read(ctx, from, feedPage)
		if err != nil {
			return err
		}
		more := len(entries) == feedPage
		if at.begun && from > 0 {
			// The last one is still there, or the feed was shortened beyond it. A database that came back without its last moments has given its
			// position to another one.
			if len(entries) == 0 || entries[0].Position != from || !bytes.Equal(entries[0].Message, at.message) {
				s.lostPlace()
				*at = place{}
				continue
			}
			entries = entries[1:]
		}
		at.begun = true
		for _, entry := range entries {
			s.pass(entry.Event, entry.Message)
			at.position, at.message = entry.Position, entry.Message
		}
		if !more {
			s.follower.begun.Store(true)
			s.follower.ready.Store(true)
			return nil
		}
	}
}

// pass hands an event of the feed to the clients that chose it.
func (s *Service) pass(event events.Event, message []byte) {
	if event.ID == "" {
		return
	}
	listeners, _ := s.audience.hear(event)
	for _, c := range listeners {
		s.offer(c, message)
	}
}

// lostPlace ends the connections of all clients: they have missed what the feed has no more, and go on after what they have.
func (s *Service) lostPlace() {
	s.follower.begun.Store(false)
	clients := s.audience.reset()
	s.logger.Warn("feed was shortened beyond what was read: clients are to connect again", "clients", len(clients))
	for _, c := range clients {
		c.end(farewell{StatusTryAgain, "events were missed: go on after the last one that you have"})
	}
}

// reset forgets the recent events, and mutes and returns all clients: what comes now must not be the last one that a client has.
func (a *audience) reset() []*client {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.recent = recent{max: a.recent.max}
	clients := a.clients()
	for _, c := range clients {
		a.forget(c)
	}
	return clients
}

// feedPast is what a feed has and, for longer ago, what an older past has.
type feedPast struct {
	feed, older Past // older may be nil
}

// Since implements [Past].
func (p feedPast) Since(ctx context.Context, after events.Identity) iter.Seq2[events.Event, error] {
	return func(yield func(events.Event, error) bool) {
		first := true
		for event, err := range p.feed.Since(ctx, after) {
			if err != nil && first && p.older != nil && !down(err) {
				p.older.Since(ctx, after)(yield)
				return
			}
			first = false
			if !yield(event, err) {
				return
			}
		}
	}
}

// down tells whether an error says that its cause may pass.
func down(err error) bool {
	_, ok := errors.AsType[*failure.UnavailableError](err)
	return ok
}

// share is Handle with a feed.
func (s *Service) share(ctx context.Context, event events.Event) error {
	if !s.audience.open() {
		return ErrClosed
	}
	message, err := events.Encode(event)
	if err == nil {
		err = s.cfg.Feed.Add(ctx, event, message)
	}
	if err != nil {
		return fmt.Errorf("push: event %q of device %q: %w", event.ID, event.DeviceID, err)
	}
	s.handled.Add(1)
	return nil
}
