package queue

import (
	"hash/maphash"
	"time"

	"github.com/device-fanout/fanout/infra/local/internal/dedup"
)

// Queue is one queue. It is safe for concurrent use. Once deleted, its methods fail with NonExistentQueue.
type Queue struct {
	service    *Service
	name, arn  string
	fifo       bool
	perGroup   bool // deduplication counts per group; fixed at creation, as on AWS, whatever the attribute says later
	handleSeed maphash.Seed

	// The service's mutex guards all that follows.
	config            config
	tags              map[string]string
	created, modified int64
	purged            int64 // when the last purge was, or 0
	deleted           bool

	order    order
	hidden   schedule
	ages     ages
	received map[Sequence]*message // messages that have been received and still exist
	window   *dedup.Window
	attempts attempts
	moves    []*moveTask // out of this queue, oldest first

	total, inFlight, delayed int

	waiters waiters
	woken   bool // whether the queue is in the service's list of queues to serve
	alarm   alarm
}

func newQueue(s *Service, name string, isFIFO bool, c config, now int64) *Queue {
	q := &Queue{
		service:    s,
		name:       name,
		arn:        s.ARN(name),
		fifo:       isFIFO,
		perGroup:   c.dedupScope == "messageGroup",
		handleSeed: maphash.MakeSeed(),
		config:     c,
		tags:       make(map[string]string),
		created:    now,
		modified:   now,
	}
	q.clear()
	return q
}

// Name is the queue's name.
func (q *Queue) Name() string { return q.name }

// ARN is the queue's ARN.
func (q *Queue) ARN() string { return q.arn }

// FIFO reports whether it is a FIFO queue.
func (q *Queue) FIFO() bool { return q.fifo }

// begin takes the lock, tells the time and brings the queue up to date. It fails, without the lock, when the queue has
// been deleted. Otherwise the caller must end with q.service.unlock(now).
func (q *Queue) begin() (now int64, err error) {
	now = q.service.lock()
	if q.deleted {
		q.service.unlock(now)
		return 0, errNonExistentQueue()
	}
	q.advance(now)
	return now, nil
}

// advance lets all happen that time has brought: messages become visible, messages expire.
func (q *Queue) advance(now int64) {
	for m := q.hidden.first(); m != nil && m.visibleAt <= now; m = q.hidden.first() {
		q.show(m)
	}
	retention := int64(q.config.retention) * int64(time.Second)
	for m := q.ages.oldest; m != nil && m.sent+retention <= now; m = q.ages.oldest {
		q.drop(m)
	}
}

// nextEvent is when time will change something again, or 0 for never.
func (q *Queue) nextEvent() int64 {
	var next int64
	if m := q.hidden.first(); m != nil {
		next = m.visibleAt
	}
	if m := q.ages.oldest; m != nil {
		expiry := m.sent + int64(q.config.retention)*int64(time.Second)
		if next == 0 || expiry < next {
			next = expiry
		}
	}
	return next
}

// insert puts a new message into the queue.
func (q *Queue) insert(m *message, groupID string, state visibility, visibleAt, now int64) {
	q.service.lastSequence++
	m.sequence = q.service.lastSequence
	if groupID != "" {
		m.group = q.order.group(groupID)
	}
	m.state = state
	if state == delayed {
		m.visibleAt = visibleAt
		q.hidden.add(m)
		q.delayed++
	}
	q.total++
	q.ages.insert(m)
	q.order.add(m)
}

// hide makes m invisible until the given moment because it has been received.
func (q *Queue) hide(m *message, until int64) {
	q.attempts.touch(m)
	was := m.state
	m.visibleAt = until
	if was == visible {
		q.hidden.add(m)
	} else {
		q.hidden.moved(m)
	}
	q.count(was, -1)
	m.state = inFlight
	q.count(inFlight, 1)
	if was != inFlight {
		q.order.changed(m, was)
	}
}

// show makes m, which is delayed or in flight, visible.
func (q *Queue) show(m *message) {
	q.attempts.touch(m)
	was := m.state
	q.hidden.remove(m)
	q.count(was, -1)
	m.state = visible
	q.order.changed(m, was)
}

// drop takes m out of the queue.
func (q *Queue) drop(m *message) {
	q.attempts.touch(m)
	if m.state != visible {
		q.hidden.remove(m)
	}
	q.count(m.state, -1)
	q.total--
	q.ages.remove(m)
	q.order.remove(m)
	delete(q.received, m.sequence)
}

func (q *Queue) count(state visibility, by int) {
	switch state {
	case inFlight:
		q.inFlight += by
	case delayed:
		q.delayed += by
	case visible: // is what remains of the total
	}
}

// clear forgets all messages and all deduplication IDs.
func (q *Queue) clear() {
	q.hidden, q.ages = nil, ages{}
	q.received = make(map[Sequence]*message)
	q.attempts = newAttempts()
	q.total, q.inFlight, q.delayed = 0, 0, 0
	if q.fifo {
		q.order, q.window = newFIFO(), dedup.New()
	} else {
		q.order = newStandard()
	}
}

func (q *Queue) status(now int64) Status {
	q.advance(now)
	st := Status{
		Name:         q.name,
		FIFO:         q.fifo,
		Visible:      q.total - q.inFlight - q.delayed,
		InFlight:     q.inFlight,
		Delayed:      q.delayed,
		LockedGroups: q.order.lockedGroups(),
		Waiting:      q.waiters.count,
	}
	if q.ages.oldest != nil {
		st.OldestAge = time.Duration(now - q.ages.oldest.sent)
	}
	q.service.wake(q)
	return st
}
