package consumers

import (
	"context"
	"fmt"
	"slices"
	"time"

	awsx "github.com/device-fanout/fanout/internal/aws"
)

const (
	// minVisibility is the shortest visibility timeout that a heartbeat can extend with room for a few failures.
	minVisibility = 2 * time.Second
	// requestTimeout bounds every request but the long poll.
	requestTimeout = 10 * time.Second
	// lastGrace is how long after DrainTimeout the last requests may take.
	lastGrace = 5 * time.Second
)

// run is one Run of a Consumer. Its loop owns every field: requests and handlers run on goroutines of their own and report
// back by [run.post], so that there is one order of events and no lock.
type run struct {
	*Consumer
	facts facts

	inbox    chan func()   // what goroutines report, for the loop to call
	ended    chan struct{} // closed when the loop has returned
	stopping chan struct{} // closed when draining begins

	toSend chan func() // requests, for goroutines that wait for another one to send

	work     context.Context // of handlers; ends when draining takes too long
	abort    context.CancelCauseFunc
	requests context.Context // of requests; ends a little later
	cutOff   context.CancelFunc

	held  map[string]*message // by message ID
	lanes map[string]*lane    // by message group
	ready []*lane             // lanes that wait for a slot, the longest waiting first

	toIsolate    []*lane  // lanes whose first messages are to be isolated, the longest waiting first
	nextIsolated *lane    // the one of them that waits for a slot
	isolated     *message // the isolated message that was started last

	running  int               // handlers
	workers  int               // goroutines for them
	jobs     chan job          // what they are to do; never full, as there is room for every slot
	sending  int               // dead letters on their way
	done     recentIDs         // messages that are done with, though they may be delivered again
	blocking map[*message]int  // messages that block their devices, and how often they did
	lasting  map[*message]bool // messages that wait for the end of a release, or for the dead-letter queue to take them
	tried    recentIDs         // messages whose handlers have ended before in this process, so that they do not kill it

	breaker breaker
	poll    polling
	deletes deleting
	changes changing

	draining bool
	wakeAt   time.Time // when the loop must turn again although nothing is reported; zero for never
}

func newRun(c *Consumer, f facts) *run {
	r := &run{
		Consumer: c,
		facts:    f,
		inbox:    make(chan func(), 64),
		ended:    make(chan struct{}),
		stopping: make(chan struct{}),
		toSend:   make(chan func()),
		held:     map[string]*message{},
		lanes:    map[string]*lane{},
		jobs:     make(chan job, c.cfg.Slots),
		blocking: map[*message]int{},
		lasting:  map[*message]bool{},
		poll:     polling{wanted: 1},
	}
	r.work, r.abort = context.WithCancelCause(context.Background())
	r.requests, r.cutOff = context.WithCancel(context.Background())
	return r
}

// post hands the loop something to do. It returns at once after the loop has exited.
func (r *run) post(report func()) {
	select {
	case r.inbox <- report:
	case <-r.ended:
	}
}

// send makes a request on another goroutine, if possible on one that has made some before: a request needs a deep stack, and growing a
// new one for each takes half as long as the request itself.
func (r *run) send(request func()) {
	select {
	case r.toSend <- request:
	default:
		go func() {
			for request != nil {
				request()
				select {
				case request = <-r.toSend:
				case <-r.ended:
					request = nil
				}
			}
		}()
	}
}

func (r *run) loop(ctx context.Context) error {
	defer close(r.jobs)
	defer close(r.ended)
	defer r.cutOff()
	defer r.abort(ErrStopping)
	heartbeat := time.NewTicker(r.facts.visibility / 12)
	defer heartbeat.Stop()
	wake := time.NewTimer(time.Hour)
	defer wake.Stop()
	stop := ctx.Done()
	var drained, last <-chan time.Time
	for {
		if r.draining && r.idle() {
			r.cfg.Logger.Info("consumer stopped")
			return nil
		}
		r.wakeAt = time.Time{}
		r.startPolls()
		r.startIsolated()
		r.startHandlers()
		r.startDeletes()
		r.startChanges()
		if !r.wakeAt.IsZero() {
			wake.Reset(time.Until(r.wakeAt))
		}
		select {
		case report := <-r.inbox:
			report()
			for range len(r.inbox) { // one turn for everything that has been reported
				(<-r.inbox)()
			}
		case <-wake.C:
		case <-r.wake: // it was paused or resumed
		case <-heartbeat.C:
			r.keepLeases()
			r.reportOverdue()
			r.measure()
		case <-stop:
			stop = nil
			r.drain()
			drained = time.After(r.cfg.DrainTimeout)
		case <-drained:
			r.abort(ErrStopping)
			last = time.After(lastGrace)
		case <-last:
			return fmt.Errorf("consumers: %s: drain timeout of %v is over: %d handlers did not end, %d messages are still held and will be delivered again",
				r.queue.Service, r.cfg.DrainTimeout, r.running, len(r.held))
		}
		r.stats.held.Store(int64(len(r.held)))
		r.stats.devices.Store(int64(len(r.lanes)))
		r.stats.open.Store(r.breaker.open)
	}
}

// idle tells whether nothing is left to do or to wait for.
func (r *run) idle() bool {
	return len(r.held) == 0 && r.running == 0 && r.sending == 0 && r.poll.underWay == 0 && len(r.poll.lost) == 0 && r.deletes.underWay == 0 && r.changes.idle()
}

// wakeWithin makes the loop turn once more within d.
func (r *run) wakeWithin(d time.Duration) {
	if at := time.Now().Add(d); r.wakeAt.IsZero() || at.Before(r.wakeAt) {
		r.wakeAt = at
	}
}

// drain stops the intake and hands back what was not started, tail first.
func (r *run) drain() {
	r.cfg.Logger.Info("consumer draining", "running", r.running, "held", len(r.held))
	r.draining = true
	r.stats.draining.Store(true)
	close(r.stopping)
	r.ready, r.toIsolate, r.nextIsolated = nil, nil, nil
	r.breaker = breaker{}
	for _, l := range r.lanes {
		l.queued, l.blocker = false, nil
		r.handBack(l)
		r.proceed(l)
	}
}

// handBack releases what waits in a lane, last first. What has been received as often as the queue allows stays, and what is
// before it, to be run: SQS would move it to the dead-letter queue untried at its next receive.
func (r *run) handBack(l *lane) {
	keep := 0
	for i, m := range l.waiting {
		if r.facts.maxReceives > 0 && m.ReceiveCount >= r.facts.maxReceives && m.trouble.Load() == nil {
			keep = i + 1
		}
	}
	r.release(reversed(l.waiting[keep:])...)
	l.waiting = l.waiting[:keep]
}

// received takes in what one receive returned; parked has the devices that are parked.
func (r *run) received(messages []*message, parked map[string]bool) {
	for _, m := range messages {
		r.stats.received.Add(1)
		if m.ReceiveCount > 1 {
			r.stats.redelivered.Add(1)
		}
		if old := r.held[m.ID]; old != nil { // its lease ended without our knowing; the new delivery takes its place
			r.lose(old, true)
		}
		r.held[m.ID] = m
		m.lane = r.lane(m)
		if r.done.has(m.ID) {
			r.finish(m)
			continue
		}
		m.lane.asks = m.lane.asks || parked[m.Device]
		m.lane.insert(m)
	}
	for _, m := range messages {
		if m.state == waiting && r.draining {
			r.handBack(m.lane)
		}
		r.hideFollowers(m.lane)
		r.proceed(m.lane)
	}
}

// lane finds or makes the lane of a message. Without a group, which only a standard queue allows, a message is alone.
func (r *run) lane(m *message) *lane {
	key := m.Group
	if key == "" {
		key = "\x00" + m.ID
	}
	l := r.lanes[key]
	if l == nil {
		l = &lane{group: key}
		r.lanes[key] = l
	}
	return l
}

// proceed lets a lane go on: its next message waits for a slot, or the lane ends.
func (r *run) proceed(l *lane) {
	switch {
	case l.current != nil || l.queued || l.hiding > 0:
	case l.blocker != nil && l.blocker.state == waiting:
	case len(l.waiting) > 0 && l.waiting[0].IsMark() && r.undeleted(l.group):
		r.deletes.hurry()
	case len(l.waiting) > 0 && l.asks && !l.waiting[0].cleared && r.cfg.Parking != nil:
		r.follow(l)
	case len(l.waiting) > 0 && r.mustIsolate(l.waiting[0]):
		l.queued = true
		r.toIsolate = append(r.toIsolate, l)
	case len(l.waiting) > 0:
		l.queued = true
		r.ready = append(r.ready, l)
	case r.lanes[l.group] == l:
		delete(r.lanes, l.group)
		r.deletes.hurry() // the device's next events stay locked until what we hold of it is deleted
	}
}

// measure finds the lane that holds the most.
func (r *run) measure() {
	deepest := 0
	for _, l := range r.lanes {
		n := len(l.waiting)
		if l.current != nil {
			n++
		}
		deepest = max(deepest, n)
	}
	r.stats.deepest.Store(int64(deepest))
}

// mostHeld is how many messages may be held in all. Those that block their devices, and those that wait for something that may take
// long, don't count: they must not stop the others.
func (r *run) mostHeld() int {
	return awsx.MaxBatch*r.cfg.Slots + min(len(r.blocking)+len(r.lasting), maxBlockers)
}

// waitsLong takes note that a message waits for something that may take long. Its followers go back, so that they are not held: they stay
// withheld behind it.
func (r *run) waitsLong(m *message) {
	if m.state == running && !r.lasting[m] {
		r.lasting[m] = true
		r.handBack(m.lane)
	}
}

// handBackWith releases a lane's message and all that waits behind it, tail first.
func (r *run) handBackWith(l *lane, m *message) {
	r.releaseWaiting(l)
	r.release(m)
}

// finish marks a message as done; what is left is to delete it.
func (r *run) finish(m *message) {
	m.state = finished
	delete(r.blocking, m)
	delete(r.lasting, m)
	r.deletes.add(m)
}

// forget drops a message that is no longer ours.
func (r *run) forget(m *message) {
	m.state = gone
	delete(r.blocking, m)
	delete(r.lasting, m)
	r.hideAnswered(m)
	if r.held[m.ID] == m {
		delete(r.held, m.ID)
	}
}

// lose gives up a message whose lease has ended: another consumer may have it by now. Unless it has come back to us, the
// messages behind it go back too, since they must not run before it.
func (r *run) lose(m *message, cameBack bool) {
	if m.state == gone {
		return
	}
	r.stats.leasesLost.Add(1)
	r.cfg.Logger.Warn("lease lost: the message may be delivered again", "message_id", m.ID, "group_id", m.Group, "receive_count", m.ReceiveCount)
	was := m.state
	if was == finished {
		r.deletes.remove(m)
		r.done.add(m.ID) // it will be delivered again, to be deleted without running
	}
	if m.cancel != nil {
		m.cancel(ErrLeaseLost)
	}
	r.forget(m)
	if was == finished {
		r.returnMark(m)
	}
	l := m.lane
	switch {
	case was == waiting && cameBack:
		if i := slices.Index(l.waiting, m); i >= 0 {
			l.waiting = slices.Delete(l.waiting, i, i+1)
		}
	case was == waiting:
		behind := l.takeFrom(m)
		r.release(behind[:len(behind)-1]...) // the last of them is m
		r.proceed(l)
	case was == running && !cameBack:
		r.releaseWaiting(l)
	case was == finished && l.current == m: // a dead letter, which is in its queue already
		l.current = nil
		r.proceed(l)
	}
}
