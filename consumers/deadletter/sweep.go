package deadletter

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

const (
	// DefaultLanes is how many devices a sweep works on at once.
	DefaultLanes = 16
	// moveTimeout is the longest that sending and deleting one letter may take.
	moveTimeout = 2*requestTimeout + 5*time.Second
	// crowd is how many letters that stay, of the ten of a device that SQS shows at once, are worth being set aside. Fewer are
	// given back, and come again with those behind them.
	crowd = batchSize / 2
)

// action is what a sweep does to the letters that it selects.
type action interface {
	// take does it to one letter, so that the letter can be deleted once settle has returned. After deadline others may have it.
	take(l *Message, deadline time.Time) error
	// settle makes sure of what take did for these letters.
	settle(letters []*Message) error
	// deletes tells whether a letter is deleted afterwards.
	deletes() bool
}

// sweep goes through a whole dead-letter queue, whatever stands in front of what.
//
// SQS shows no more than the first ten letters of a device, and nothing behind a letter that is in flight. So what stays of a
// device's letters is set aside as often as needed: copied to the end of the queue, and deleted after that was confirmed. The
// copies keep their order, and once the first of them is at the head again all of the device's letters have passed: that is a lap.
// A lap that was begun is ended, also when the sweep is interrupted; one that a killed sweep left behind is ended by the next
// sweep with the same journal, before anything else happens to that device.
//
// While a lane works on the first letters of a device SQS gives nobody another of it. So no two lanes have the same device.
type sweep struct {
	*reader
	cfg     Config
	act     action
	aside   *sender // back to the end of the dead-letter queue
	pace    *rate.Limiter
	start   time.Time
	reports chan struct{} // capacity 1: one report at a time

	mu       sync.Mutex // of reader guards what is held; this one what follows
	news     *sync.Cond // of mu: one more lane is to receive, or all are to look whether to go on
	devices  map[string]*device
	known    map[copyKey]bool          // letters that were counted
	settled  map[copyKey]string        // letters that are held, or gone to where they should: their message ID
	sent     map[[sha256.Size]byte]int // what was sent, by identity: the count of redrives that it carries
	bareOf   map[string]string         // copies that had no room for a record, by message ID: the first message ID of the letter
	undead   []*Message                // sent, and could not be deleted
	taken    int                       // letters acted upon, for the limit
	laps     int                       // devices in the middle of a lap
	polling  int                       // lanes that receive
	busy     int                       // lanes between a receive that gave something and the end of its handling
	heard    time.Time                 // when a receive gave something for the last time
	activity int                       // grows whenever something may have become visible
	done     bool                      // the queue gives no more
	fatal    error
	sum      Summary
}

// device is what a sweep knows of one device. Only the lane that has its first letters touches it.
type device struct {
	seen      *Message // one of its letters
	stuck     bool     // one of its letters could not be taken: those behind stay
	lap       string   // name of the lap under way
	restoring bool     // the lap is another sweep's: until it is complete nothing is taken
	whole     bool     // the lap is complete: what comes now was seen, or is new
	broken    bool     // a letter could not be set aside: the lap waits for the next sweep
	// bare are the message IDs of this lap's copies that had no room for a record to say so.
	bare []string
}

func newSweep(api QueueAPI, from Source, act action, cfg Config) *sweep {
	s := &sweep{
		reader: newReader(api, from), cfg: cfg, act: act, aside: newSender(api, from.URL), pace: perSecond(cfg.Rate), start: time.Now(),
		reports: make(chan struct{}, 1), devices: map[string]*device{}, known: map[copyKey]bool{}, settled: map[copyKey]string{},
		sent: map[[sha256.Size]byte]int{}, bareOf: map[string]string{}, heard: time.Now(),
	}
	s.news = sync.NewCond(&s.mu)
	for id, lap := range cfg.Journal.openLaps() {
		s.devices[id] = &device{lap: lap, restoring: true}
		s.laps++
	}
	return s
}

// run sweeps until the queue gives no more, the limit is reached or ctx ends.
func (s *sweep) run(ctx context.Context) (Summary, error) {
	stop := s.heartbeat(ctx)
	var lanes sync.WaitGroup
	for range max(1, s.cfg.Lanes) {
		lanes.Go(func() { s.lane(ctx) })
	}
	lanes.Wait()
	s.aside.close()
	stop()
	s.lastDeletes(ctx)
	s.openLaps()
	err := errors.Join(s.fatal, s.releaseHeld(ctx))
	if ctx.Err() != nil && !s.done {
		err = errors.Join(fmt.Errorf("deadletter: reading %s was interrupted: %w", s.from.URL, ctx.Err()), err)
	}
	return s.sum, err
}

// lane receives and handles until there is no more to do.
func (s *sweep) lane(ctx context.Context) {
	defer s.news.Broadcast()
	for {
		before, more := s.more(ctx)
		if !more {
			return
		}
		letters, err := s.receive(ctx)
		s.received(letters)
		if err != nil {
			s.fail(err)
			return
		}
		if len(letters) == 0 {
			s.exhausted(before)
			continue
		}
		s.handle(ctx, letters)
		if s.holding() >= maxHeld {
			s.fail(fmt.Errorf("deadletter: %s: %d letters are held, and SQS lets hardly more be in flight; select so that fewer stay", s.from.URL, maxHeld))
		}
	}
}

// more tells whether to go on receiving, and how much has happened so far.
func (s *sweep) more(ctx context.Context) (activity int, more bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	more = !s.done && s.fatal == nil && (!s.stoppingLocked(ctx) || s.laps > 0)
	if more {
		s.polling++
	}
	return s.activity, more
}

// received notes the end of a receive. One that gave something calls another lane to receive in its place.
func (s *sweep) received(letters []*Message) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.polling--
	if len(letters) > 0 {
		s.heard = time.Now()
		s.news.Signal()
	}
}

// exhausted decides after an empty receive whether the queue gives no more: nobody handles anything, and nothing has become visible
// since before the receive. Otherwise, while another lane receives, it waits until that has news: if every lane began an empty receive
// whenever its last had ended, the last to end would begin long after the queue was exhausted.
//
// In the midst of a lap an empty receive says less: another reader, or a run that was killed, may hide the device's letters for a
// moment. The lap is to be ended, so that they are waited for.
func (s *sweep) exhausted(before int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.busy == 0 && s.activity == before && (s.laps == 0 || time.Since(s.heard) > visibility):
		s.done = true
	case s.polling > 0 && !s.done:
		s.news.Wait()
	}
}

// openLaps tells of the devices whose laps were not ended. Where the queue has shown none of a device's letters, for longer than
// another reader hides them should it die, there is nothing left to be put in order.
func (s *sweep) openLaps() {
	for id, d := range s.devices {
		switch {
		case d.lap == "" || d.broken:
			continue
		case d.seen == nil && s.done && s.fatal == nil:
			s.endLap(d, id)
			continue
		case d.seen == nil:
			continue
		}
		s.sum.Broken++
		s.report(Outcome{Letter: d.seen, Err: fmt.Errorf("deadletter: not all letters of device %s have come again since some were set aside to reach "+
			"those behind them; run it again with the same journal to put them in order", d.seen.DeviceID)})
	}
}

func (s *sweep) fail(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.fatal == nil {
		s.fatal = err
	}
}

// stopping tells whether nothing more is taken.
func (s *sweep) stopping(ctx context.Context) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.stoppingLocked(ctx)
}

func (s *sweep) stoppingLocked(ctx context.Context) bool {
	return ctx.Err() != nil || s.fatal != nil || s.cfg.Filter.Limit > 0 && s.taken >= s.cfg.Filter.Limit
}

// handle deals with one received batch, each device by itself.
func (s *sweep) handle(ctx context.Context, letters []*Message) {
	s.mu.Lock()
	s.busy++
	s.mu.Unlock()
	var order []string
	hands := map[string][]*Message{}
	for _, l := range letters {
		if held := s.heldFor(l); held != nil {
			continue // its heartbeat failed; it is held anew
		}
		if hands[l.group()] == nil {
			order = append(order, l.group())
		}
		hands[l.group()] = append(hands[l.group()], l)
	}
	var wait sync.WaitGroup
	for i, id := range order {
		// A full batch may have been cut off in the midst of its last device.
		more := len(letters) == batchSize && i == len(order)-1 && hands[id][0].groupID != ""
		wait.Go(func() { s.hand(ctx, s.device(id), hands[id], more) })
	}
	wait.Wait()
	s.mu.Lock()
	s.busy--
	s.activity++
	s.done = false // for a lane that came back empty while this batch was on its way
	s.mu.Unlock()
}

func (s *sweep) device(id string) *device {
	s.mu.Lock()
	defer s.mu.Unlock()
	d := s.devices[id]
	if d == nil {
		d = &device{}
		s.devices[id] = d
	}
	return d
}

func (s *sweep) count(change func(*Summary)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	change(&s.sum)
}

func (s *sweep) report(o Outcome) {
	if s.cfg.Report == nil {
		return
	}
	s.reports <- struct{}{}
	s.cfg.Report(o)
	<-s.reports
}
