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
	// moveTimeout is the longest that sending and deleting one message may take.
	moveTimeout = 2*requestTimeout + 5*time.Second
	// minRotated is how many of the ten messages of a device that SQS shows at once must be in the way to be moved to the end. Fewer are
	// made visible again, and are received again together with those behind them.
	minRotated = batchSize / 2
)

// action is what a sweep does with the messages that it selects.
type action interface {
	// refuse returns why a message must not be taken, or nil.
	refuse(m *Message) error
	// take sends or writes one message. After deadline others may receive it.
	take(m *Message, deadline time.Time) error
	// settle makes sure of what take did with these messages; then they can be deleted.
	settle(messages []*Message) error
	// deletes tells whether a message is deleted afterwards.
	deletes() bool
}

// sweep goes through a whole dead-letter queue, also through what SQS does not show at first.
//
// SQS shows no more than the first ten messages of a device, and nothing behind a message that is in flight. So those that are in the way
// are moved to the end: copied to the end of the queue, and deleted once that is confirmed. The copies keep their order, and when the
// first copy is at the head, all messages of the device have been seen: that is a rotation. A rotation that was begun is completed, also
// when the sweep is interrupted. One that a killed sweep has left is completed by the next sweep with the same journal, before anything
// else is done to that device.
//
// While a lane works on the first messages of a device, SQS shows nobody the others. So no two lanes work on the same device.
type sweep struct {
	*reader
	cfg     Config
	act     action
	toEnd   *sender // sends to the end of the dead-letter queue
	pace    *rate.Limiter
	start   time.Time
	reports chan struct{} // capacity 1: one report at a time

	mu        sync.Mutex // guards what follows; the one of reader guards what is held
	news      *sync.Cond // with mu: signals that a lane should receive, broadcasts that all should check whether to go on
	devices   map[string]*device
	known     map[copyKey]bool          // messages that were counted
	settled   map[copyKey]string        // messages that are held, sent or written: their message ID
	sent      map[[sha256.Size]byte]int // by identity of what was sent: the count of redrives that it carries
	unmarked  map[string]Rotation       // by message ID of copies without room for a record: what it would say
	undeleted []*Message                // sent or written, but not deleted
	taken     int                       // messages that were tried, for the limit
	rotations int                       // devices in the middle of a rotation
	polling   int                       // lanes that are receiving
	busy      int                       // lanes that handle what they have received
	heard     time.Time                 // when a receive last returned messages
	activity  int                       // grows whenever messages may have become visible
	done      bool                      // the queue shows no more messages
	fatal     error
	sum       Summary
}

// device is what a sweep knows of one device. Only the lane that has its first messages touches it.
type device struct {
	seen      *Message // one of its messages
	stuck     bool     // one of its messages failed: those behind it stay
	rotation  string   // ID of the rotation under way, or empty
	restoring bool     // the rotation was begun by another sweep: nothing is taken until it is complete
	complete  bool     // the rotation is complete: what is received now was seen before, or is new
	broken    bool     // a message could not be moved to the end: the next sweep completes the rotation
}

func newSweep(api QueueAPI, from Source, act action, cfg Config) *sweep {
	s := &sweep{
		reader: newReader(api, from), cfg: cfg, act: act, toEnd: newSender(api, from.URL), pace: perSecond(cfg.Rate), start: time.Now(),
		reports: make(chan struct{}, 1), devices: map[string]*device{}, known: map[copyKey]bool{}, settled: map[copyKey]string{},
		sent: map[[sha256.Size]byte]int{}, unmarked: map[string]Rotation{}, heard: time.Now(),
	}
	s.news = sync.NewCond(&s.mu)
	for id, rotation := range cfg.Journal.openRotations() {
		s.devices[id] = &device{rotation: rotation, restoring: true}
		s.rotations++
	}
	return s
}

// run sweeps until the queue shows no more, the limit is reached or ctx ends.
func (s *sweep) run(ctx context.Context) (Summary, error) {
	stop := s.heartbeat(ctx)
	var lanes sync.WaitGroup
	for range s.cfg.Lanes {
		lanes.Go(func() { s.lane(ctx) })
	}
	lanes.Wait()
	s.toEnd.close()
	stop()
	s.retryDeletes(ctx)
	s.reportOpenRotations()
	err := errors.Join(s.fatal, s.releaseHeld(ctx))
	if ctx.Err() != nil && !s.done {
		err = errors.Join(fmt.Errorf("deadletter: reading %s was interrupted; run the same command again to go on: %w", s.from.URL, ctx.Err()), err)
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
		messages, err := s.receive(ctx)
		s.received(messages)
		if err != nil {
			s.fail(err)
			return
		}
		if len(messages) == 0 {
			s.exhausted(before)
			continue
		}
		s.handle(ctx, messages)
		if s.holding() >= maxHeld {
			s.fail(fmt.Errorf("deadletter: %s: %d messages would stay in the queue, and SQS lets hardly more be in flight at once; "+
				"use filters that select more of them", s.from.URL, maxHeld))
		}
	}
}

// more tells whether to receive once more, and the activity so far.
func (s *sweep) more(ctx context.Context) (activity int, more bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	more = !s.done && s.fatal == nil && (!s.stoppingLocked(ctx) || s.rotations > 0)
	if more {
		s.polling++
	}
	return s.activity, more
}

// received notes the end of a receive. If it returned messages, another lane receives in its place.
func (s *sweep) received(messages []*Message) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.polling--
	if len(messages) > 0 {
		s.heard = time.Now()
		s.news.Signal()
	}
}

// exhausted decides after an empty receive whether the queue shows no more: no lane is handling messages, and nothing has become visible
// since before the receive. Otherwise it waits while another lane receives, so that not every lane starts one more long poll just
// before the queue is found empty.
//
// During a rotation an empty receive says less: another reader or a killed run may hide the device's messages for a moment. They are
// waited for, so that the rotation can be completed.
func (s *sweep) exhausted(before int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.busy == 0 && s.activity == before && (s.rotations == 0 || time.Since(s.heard) > visibility):
		s.done = true
	case s.polling > 0 && !s.done:
		s.news.Wait()
	}
}

// reportOpenRotations reports the devices whose rotations were not completed. If the queue has shown no message of a device for longer than
// a killed reader would hide them, there are none, and its rotation ends.
func (s *sweep) reportOpenRotations() {
	for id, d := range s.devices {
		if d.rotation == "" || d.broken {
			continue
		}
		if d.seen == nil {
			if s.done && s.fatal == nil {
				s.endRotation(d, id)
			}
			continue
		}
		s.sum.Broken++
		s.report(Outcome{Message: d.seen, Err: fmt.Errorf("deadletter: messages of device %s are out of order in %s: the run ended while some were moved to the end "+
			"to reach those behind them; run the same command again with the same journal to put them in order", d.seen.DeviceID, s.from.Name())})
	}
}

// fail ends the sweep with an error. The first one counts.
func (s *sweep) fail(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.fatal == nil {
		s.fatal = err
	}
}

// stopping tells whether the sweep takes no more messages.
func (s *sweep) stopping(ctx context.Context) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.stoppingLocked(ctx)
}

func (s *sweep) stoppingLocked(ctx context.Context) bool {
	return ctx.Err() != nil || s.fatal != nil || s.cfg.Filter.Limit > 0 && s.taken >= s.cfg.Filter.Limit
}

// handle handles what one receive returned, side by side by device.
func (s *sweep) handle(ctx context.Context, messages []*Message) {
	s.mu.Lock()
	s.busy++
	s.mu.Unlock()
	var order []string
	batches := map[string][]*Message{}
	for _, m := range messages {
		if s.heldFor(m) != nil {
			continue // its heartbeat failed; it is held again
		}
		if batches[m.group()] == nil {
			order = append(order, m.group())
		}
		batches[m.group()] = append(batches[m.group()], m)
	}
	var wait sync.WaitGroup
	for i, id := range order {
		// Ten messages are the most of one receive, so there may be more of the last device.
		more := len(messages) == batchSize && i == len(order)-1 && batches[id][0].groupID != ""
		wait.Go(func() { s.handleDevice(ctx, s.device(id), batches[id], more) })
	}
	wait.Wait()
	s.mu.Lock()
	s.busy--
	s.activity++
	s.done = false // a lane may have received nothing while this one was handling these
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

// failed counts and reports a message that failed.
func (s *sweep) failed(m *Message, err error) {
	s.count(func(sum *Summary) { sum.Failed++ })
	s.report(Outcome{Message: m, Err: err})
}

func (s *sweep) report(o Outcome) {
	if s.cfg.Report == nil {
		return
	}
	s.reports <- struct{}{}
	s.cfg.Report(o)
	<-s.reports
}
