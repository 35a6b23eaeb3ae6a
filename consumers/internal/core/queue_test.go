package core

import (
	"fmt"
	"time"

	"github.com/device-fanout/fanout/consumers/failure"
)

// A model of a FIFO queue with a dead-letter queue, as far as a consumer can tell.

type entry struct {
	id        int    // its place in the order of the queue
	event     int    // of the story; less than zero for the end mark of a release
	release   string // that has sent it
	group     int
	receives  int
	visibleAt time.Duration
	handle    int     // of its last delivery
	holder    *worker // that has it, as far as it knows
	gone      bool    // deleted or moved
	started   int     // the delivery whose handler was started last
}

type queueModel struct {
	w       *world
	entries []*entry // in order
	first   int      // entries before this one are gone
	max     int      // receives before one is moved; zero for never
	handles int
	replies map[string][]*entry // what a receive with an attempt ID was given
	waiting []*poll
	looksAt time.Duration            // when wake is called next
	copies  [][]copied               // by event: dead letters
	buried  []int                    // their events, in the order in which they came
	seen    map[string]time.Duration // when a message came there
}

type copied struct {
	id     string // of the message
	moved  bool   // by the queue itself
	follow bool   // its device was parked
}

// bury puts an event into the dead-letter queue.
func (q *queueModel) bury(event int, c copied) {
	if at, ok := q.seen[c.id]; ok && q.w.now-at < 5*time.Minute { // deduplicated
		return
	}
	if q.seen == nil {
		q.seen = map[string]time.Duration{}
	}
	q.seen[c.id] = q.w.now
	q.copies[event] = append(q.copies[event], c)
	q.buried = append(q.buried, event)
}

// poll is a receive that waits for messages.
type poll struct {
	worker *worker
	c      Receive
	until  time.Duration
}

func (q *queueModel) send(event, device int, release string) {
	e := &entry{id: len(q.entries), event: event, group: device, release: release}
	if release != "" {
		e.group += releasedGroup
	}
	q.entries = append(q.entries, e)
	q.wake()
}

// releasedGroup is added to a device for the group in which its dead letters come back.
const releasedGroup = 32

func (e *entry) device() int { return e.group % releasedGroup }

// hides tells whether a delivery with this handle still hides the message.
func (e *entry) hides(handle int, now time.Duration) bool {
	return !e.gone && e.handle == handle && e.visibleAt > now
}

// take gives out up to n messages, from the first groups of which none is hidden.
func (q *queueModel) take(p *poll, visibility time.Duration) []*entry {
	var locked uint64 // groups
	var out []*entry
	for q.first < len(q.entries) && q.entries[q.first].gone {
		q.first++
	}
	for _, e := range q.entries[q.first:] {
		bit := uint64(1) << e.group
		switch {
		case e.gone || locked&bit != 0:
			continue
		case e.visibleAt > q.w.now:
			locked |= bit
			continue
		case q.max > 0 && e.receives >= q.max:
			e.gone = true
			if w := q.w; w.story.policy == failure.Park && len(w.story.releases) == 0 && e.started == e.receives && e.event >= 0 && !w.handled[e.event] && w.store.devices[fmt.Sprint("d", e.device())].State == "" {
				w.failf("the queue moves e%d, and its device is not parked", e.event)
			}
			if e.event >= 0 {
				q.bury(e.event, copied{id: fmt.Sprint("m", e.id), moved: true})
			}
			q.w.tellf("the queue moves e%d to the dead-letter queue after %d receives", e.event, e.receives)
			continue
		case len(out) == p.c.Max:
			return out
		}
		q.handles++
		e.receives++
		e.handle, e.holder, e.visibleAt = q.handles, p.worker, q.w.now+visibility
		out = append(out, e)
	}
	return out
}

// wake answers the receives that wait, once there is something for them or their time is over.
func (q *queueModel) wake() {
	for len(q.waiting) > 0 {
		p := q.waiting[0]
		got := q.take(p, q.w.story.visibility)
		if len(got) == 0 && q.w.now < p.until {
			q.again(p)
			return
		}
		q.waiting = q.waiting[1:]
		q.reply(p, got)
	}
}

// again looks once more when the next message becomes visible by itself, or when the wait is over.
func (q *queueModel) again(p *poll) {
	at := p.until
	for _, e := range q.entries[q.first:] {
		if !e.gone && e.visibleAt > q.w.now && e.visibleAt < at {
			at = e.visibleAt
		}
	}
	if q.looksAt > q.w.now && q.looksAt <= at {
		return
	}
	q.looksAt = at
	q.w.after(at-q.w.now, q.wake)
}

func (q *queueModel) receive(p *poll) {
	if got, ok := q.replies[p.c.Attempt]; ok {
		same := true
		for _, e := range got {
			same = same && e.hides(e.handle, q.w.now) && e.holder == p.worker
		}
		if same {
			p.worker.received(p, got)
			return
		}
	}
	q.waiting = append(q.waiting, p)
	q.wake()
}

func (q *queueModel) reply(p *poll, got []*entry) {
	if q.replies == nil {
		q.replies = map[string][]*entry{}
	}
	if len(got) > 0 {
		q.replies[p.c.Attempt] = got
	}
	p.worker.received(p, got)
}

// empty tells whether nothing is left.
func (q *queueModel) empty() bool {
	for _, e := range q.entries[q.first:] {
		if !e.gone {
			return false
		}
	}
	return true
}
