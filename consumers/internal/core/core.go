package core

import (
	"container/heap"
	"slices"
	"time"

	"github.com/device-fanout/fanout/consumers/failure"
	"github.com/device-fanout/fanout/consumers/internal/attempt"
	awsx "github.com/device-fanout/fanout/internal/aws"
)

// Config is what a Core works by. Every field must be set, but where it says otherwise.
type Config struct {
	Slots          int
	Pollers        int
	WaitTime       time.Duration
	HandlerTimeout time.Duration
	DeleteLinger   time.Duration // less than zero for never
	MaxHold        time.Duration
	Check          bool // the service has a check of its dependencies
	Policy         failure.GroupPolicy

	Visibility  time.Duration // of the queue
	MaxReceives int           // before SQS moves a message to the dead-letter queue; zero for never

	NewID func() string                           // of receive request attempts
	Rand  func(below time.Duration) time.Duration // the random part of pauses; nil means that of math/rand/v2
	// Strict makes a step that no table has panic.
	Strict bool
}

// Core decides what one consumer does. Make one with [New].
type Core struct {
	cfg    Config
	now    time.Time // of the step or turn under way
	counts Counts
	work   Work

	held  map[string]*Message // by message ID
	lanes map[string]*Lane    // by message group

	policies []policy
	park     parkPolicy
	breaker  breaker
	isolate  isolatePolicy

	slots    slots
	intake   intake
	deletes  deletes
	changes  changes
	evidence evidence

	requests int       // for the parking store and dead letters, under way
	aside    int       // messages in lanes that are aside
	done     recentIDs // messages that are done with, though they may be delivered again
	tried    recentIDs // messages whose handlers have ended before in this process, so that they do not kill it
	failing  recentIDs // devices whose last event failed

	timers   timers
	wakeAt   time.Time // when the next turn must be although nothing happens; zero for never
	paused   bool
	draining bool
	aborted  bool

	untrusted bool // sequence numbers have contradicted the order of delivery
}

// Counts are what a Core has done so far, but for what is held now.
type Counts struct {
	Received, Redelivered, Handled, DeadLettered, Parked, RetriesLater, Released, LeasesLost  int64
	Receives, ReceivesFailed, Deletes, DeleteEntries, DeletesFailed, Extensions, Breaks, Held int64
	Devices, Deepest                                                                          int64
	Running                                                                                   int  // handlers
	Open                                                                                      bool // the circuit breaker
}

// New makes a Core that holds nothing.
func New(cfg Config) *Core {
	c := &Core{cfg: cfg, held: map[string]*Message{}, lanes: map[string]*Lane{}}
	c.park.c, c.breaker.c, c.isolate.c = c, c, c
	c.policies = []policy{&c.park, &c.breaker, &c.isolate}
	c.intake.wanted = 1
	return c
}

// Step takes in what has happened, now.
func (c *Core) Step(now time.Time, in Input) {
	c.now = now
	switch in := in.(type) {
	case Received:
		c.received(in)
	case ReceiveFailed:
		c.receiveFailed(in)
	case TryFailed:
		in.Message.fails(now, ReasonRetrying, in.Verdict)
	case AttemptEnded:
		c.attemptEnded(in)
	case Deleted:
		c.deleted(in)
	case Changed:
		c.changed(in)
	case Sent:
		c.sent(in)
	case Answered:
		c.answered(in)
	case Checked:
		c.checked(in)
	case Heartbeat:
		c.keepLeases()
		c.reportOverdue()
		c.measure()
	case SetPaused:
		c.paused = in.Paused
	case Drain:
		c.drain()
	case Abort:
		c.abort()
	}
}

// Turn tells what is to be done now. Wake says when the next turn must be.
func (c *Core) Turn(now time.Time) *Work {
	c.now, c.wakeAt = now, time.Time{}
	for len(c.timers) > 0 && !c.timers[0].at.After(now) {
		t := heap.Pop(&c.timers).(timer)
		if t.m.wake.Equal(t.at) {
			t.m.wake = time.Time{}
			c.goOn(t.m)
		}
	}
	c.part()
	c.check()
	for again := true; again; {
		c.breaker.turn()
		c.isolate.turn()
		again = c.start()
	}
	c.receive()
	c.startDeletes()
	c.startChanges()
	if len(c.timers) > 0 {
		c.wakeWithin(c.timers[0].at.Sub(now))
	}
	return &c.work
}

// Advance must be called once the Work of the last Turn has been begun, before the next Step.
func (c *Core) Advance() { c.work.reset() }

// Wake is when the next turn must be although nothing has happened; zero for never.
func (c *Core) Wake() time.Time { return c.wakeAt }

// Idle tells whether nothing is held, nothing under way and nothing wanted: then a drain has ended.
func (c *Core) Idle() bool {
	return len(c.held) == 0 && c.slots.running == 0 && c.requests == 0 && c.intake.underWay == 0 && len(c.intake.lost) == 0 &&
		c.deletes.underWay == 0 && c.changes.idle()
}

// Counts returns what was done so far.
func (c *Core) Counts() Counts {
	n := c.counts
	n.Held, n.Devices, n.Running, n.Open = int64(len(c.held)), int64(len(c.lanes)), c.slots.running, c.breaker.open
	return n
}

func (c *Core) note(n Note) { c.work.Notes = append(c.work.Notes, n) }

// wakeWithin makes Wake say a time within d.
func (c *Core) wakeWithin(d time.Duration) {
	if at := c.now.Add(max(d, 0)); c.wakeAt.IsZero() || at.Before(c.wakeAt) {
		c.wakeAt = at
	}
}

// backoff is the pause after so many failures in a row: first, doubled with each up to most, less a random part of up to a half.
func (c *Core) backoff(failures int, first, most time.Duration) time.Duration {
	return awsx.Backoff{First: first, Most: most, Rand: c.cfg.Rand}.After(failures)
}

// at lets a message go on by itself after a pause.
func (c *Core) at(m *Message, pause time.Duration) {
	m.wake = c.now.Add(pause)
	heap.Push(&c.timers, timer{m.wake, m})
}

// goOn lets a message go on whose pause is over.
func (c *Core) goOn(m *Message) {
	switch m.state {
	case Resting:
		if !c.draining {
			c.rested(m)
		}
	case Asking:
		c.ask(m)
	case Sending:
		c.send(m)
	}
}

// lane finds or makes the lane of a message. Without a group, which only a standard queue allows, a message is alone.
func (c *Core) lane(m *Message) *Lane {
	key := m.Group
	if key == "" {
		key = "\x00" + m.ID
	}
	l := c.lanes[key]
	if l == nil {
		l = &Lane{group: key}
		c.lanes[key] = l
	}
	return l
}

// proceed lets a lane go on that waits for nothing of its own: its first message is run, or a policy takes it.
func (c *Core) proceed(l *Lane) {
	switch l.state {
	case Withheld:
		c.turnLane(l, Free)
	case Free:
	default:
		return
	}
	m := l.first()
	if m == nil {
		c.turnLane(l, Ended)
		if c.lanes[l.group] == l {
			delete(c.lanes, l.group)
			c.setAside(l, false)
			c.deletes.hurry(c.now) // the device's next events stay locked until what we hold of it is deleted
		}
		return
	}
	for _, p := range c.policies {
		switch p.before(l, m) {
		case run:
			continue
		case wait:
			c.turnLane(l, Withheld)
		case divert:
		}
		return
	}
	c.turnLane(l, Ready)
	c.slots.queue(l)
}

// takeFirst makes the first message of a lane its head.
func (c *Core) takeFirst(l *Lane) *Message {
	m := l.waiting[0]
	l.waiting[0] = nil
	l.waiting = l.waiting[1:]
	l.head = m
	return m
}

// putBack puts a lane's head in front of what waits.
func (c *Core) putBack(l *Lane) {
	l.waiting = slices.Insert(l.waiting, 0, l.head)
	l.head = nil
}

// dropHead takes the head from its lane, which may go on.
func (c *Core) dropHead(l *Lane) {
	if l.aside {
		c.aside--
	}
	l.head = nil
	c.turnLane(l, Free)
}

// insert puts a message at its place in its lane. SQS delivers a device's messages in order, and none while it knows that an earlier one is
// held. So one that comes for the first time comes after all others. One that comes again has its place by its sequence number, or where
// these can't be trusted, before all that were received earlier.
func (c *Core) insert(l *Lane, m *Message) {
	i := len(l.waiting)
	switch {
	case m.ReceiveCount <= 1:
	case c.untrusted:
		for i = 0; i < len(l.waiting) && l.waiting[i].answer == m.answer; {
			i++
		}
	default:
		for i > 0 && m.Sequence < l.waiting[i-1].Sequence {
			i--
		}
	}
	l.waiting = slices.Insert(l.waiting, i, m)
	if l.aside {
		c.aside++
	}
}

// setAside says whether what stands in a lane counts as held.
func (c *Core) setAside(l *Lane, aside bool) {
	if l.aside == aside {
		return
	}
	l.aside = aside
	if aside {
		c.aside += l.len()
	} else {
		c.aside -= l.len()
	}
}

// measure finds the lane that holds the most.
func (c *Core) measure() {
	deepest := 0
	for _, l := range c.lanes {
		deepest = max(deepest, l.len())
	}
	c.counts.Deepest = int64(deepest)
}

// finish marks a message as done; what is left is to delete it.
func (c *Core) finish(m *Message) {
	c.to(m, Done)
	m.wake = time.Time{}
	c.deletes.add(c.now, m)
}

// forget drops a message that is not ours any more.
func (c *Core) forget(m *Message) {
	if m.busy && m.state != Deleting {
		c.to(m, Lost)
	} else {
		c.to(m, Gone)
	}
	m.wake = time.Time{}
	c.evidence.drop(m)
	c.isolate.answered(m)
	if c.held[m.ID] == m {
		delete(c.held, m.ID)
	}
}

// gone takes note that what was under way for a lost message has ended.
func (c *Core) gone(m *Message) {
	m.busy = false
	c.to(m, Gone)
	c.dropHead(m.lane)
	c.proceed(m.lane)
}

// drain stops the intake and hands back what was not started, tail first. What has failed goes back when the last receive has ended, which
// would bring it again; see [Core.part].
func (c *Core) drain() {
	c.draining = true
	c.slots.clear()
	c.isolate.clear()
	c.breaker.clear()
	for _, l := range c.sortedLanes() {
		switch l.state {
		case Ready, Gated, Isolating:
			c.turnLane(l, Free)
		case Busy:
			if m := l.head; !m.busy && m.stops() {
				c.handBackAll(l)
			}
		}
		if m := l.first(); m != nil && l.state == Free && m.trouble != nil {
			c.turnLane(l, Busy)
			c.takeFirst(l)
			c.rest(m, 0)
			continue
		}
		if l.state != Paused {
			c.handBack(l)
		}
		c.proceed(l)
	}
}

// givesUp lets a message that has failed wait for [Core.part].
func (c *Core) givesUp(m *Message, reason Reason, v *attempt.Verdict) {
	m.fails(c.now, reason, v)
	c.rest(m, 0)
}

// part hands back what has failed, and all that is behind it, once no receive is under way that would only bring it again. That would use up
// its receives.
func (c *Core) part() {
	if !c.draining || !c.aborted && (c.intake.underWay > 0 || len(c.intake.lost) > 0) {
		return
	}
	for _, l := range c.sortedLanes() {
		if l.state != Paused {
			continue
		}
		if c.isExhausted(l.head) && !c.aborted { // SQS would move it, without a word on why
			c.handBack(l)
			c.exhaust(l.head)
			continue
		}
		c.handBackAll(l)
		c.proceed(l)
	}
}

// sortedLanes lists the lanes in an order that is always the same.
func (c *Core) sortedLanes() []*Lane {
	list := make([]*Lane, 0, len(c.lanes))
	for _, l := range c.lanes {
		list = append(list, l)
	}
	slices.SortFunc(list, func(a, b *Lane) int {
		if a.group < b.group {
			return -1
		}
		return 1
	})
	return list
}

// abort ends what still runs, and lets no request be made again.
func (c *Core) abort() {
	c.aborted = true
	for _, l := range c.sortedLanes() {
		m := l.head
		switch {
		case m == nil:
		case m.state == Running:
			c.work.Cancel = append(c.work.Cancel, Cancel{m, Stopping})
		case !m.busy && (m.state == Asking || m.state == Sending):
			c.handBackAll(l)
			c.proceed(l)
		}
	}
}

// timers are a heap of when messages go on by themselves. One that has another wake time by then is skipped.
type timers []timer

type timer struct {
	at time.Time
	m  *Message
}

func (t timers) Len() int           { return len(t) }
func (t timers) Less(i, j int) bool { return t[i].at.Before(t[j].at) }
func (t timers) Swap(i, j int)      { t[i], t[j] = t[j], t[i] }
func (t *timers) Push(x any)        { *t = append(*t, x.(timer)) }
func (t *timers) Pop() any {
	old := *t
	last := old[len(old)-1]
	old[len(old)-1] = timer{}
	*t = old[:len(old)-1]
	return last
}

// Plus adds what another Core has done before to what this one has; what is held now stays that of n.
func (n Counts) Plus(before Counts) Counts {
	n.Received += before.Received
	n.Redelivered += before.Redelivered
	n.Handled += before.Handled
	n.DeadLettered += before.DeadLettered
	n.Parked += before.Parked
	n.RetriesLater += before.RetriesLater
	n.Released += before.Released
	n.LeasesLost += before.LeasesLost
	n.Receives += before.Receives
	n.ReceivesFailed += before.ReceivesFailed
	n.Deletes += before.Deletes
	n.DeleteEntries += before.DeleteEntries
	n.DeletesFailed += before.DeletesFailed
	n.Extensions += before.Extensions
	n.Breaks += before.Breaks
	return n
}
