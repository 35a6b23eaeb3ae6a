package queue

import (
	"context"
	"time"

	"github.com/device-fanout/fanout/infra/local/internal/clock"
)

// waiter is one long poll that waits.
//
// It stands in the queue's list until exactly one of these happens, under the lock: it is handed messages, its time is
// up, its caller gives up, or the queue ends. Whoever takes it out of the list sends its only result; the channel has
// room for that, so nobody blocks.
type waiter struct {
	next, prev *waiter
	waiting    bool
	want       want
	timeout    clock.Timer
	result     chan result
}

type result struct {
	deliveries []Delivery
	err        error
}

// waiters is the list of long polls, first come first served.
type waiters struct {
	first, last *waiter
	count       int
}

func (l *waiters) push(w *waiter) {
	w.waiting = true
	w.prev, w.next = l.last, nil
	if l.last == nil {
		l.first = w
	} else {
		l.last.next = w
	}
	l.last = w
	l.count++
}

func (l *waiters) remove(w *waiter) {
	w.waiting = false
	if w.prev == nil {
		l.first = w.next
	} else {
		w.prev.next = w.next
	}
	if w.next == nil {
		l.last = w.prev
	} else {
		w.next.prev = w.prev
	}
	w.next, w.prev = nil, nil
	l.count--
}

// enlist starts a long poll. The lock is held.
func (q *Queue) enlist(what want, wait time.Duration, now int64) *waiter {
	w := &waiter{want: what, result: make(chan result, 1)}
	q.waiters.push(w)
	w.timeout = q.service.clock.AfterFunc(wait, func() { q.timeUp(w) })
	q.rearm(now)
	return w
}

// await waits without the lock until w is answered or ctx ends.
func (q *Queue) await(ctx context.Context, w *waiter) ([]Delivery, error) {
	select {
	case r := <-w.result:
		return r.deliveries, r.err
	case <-ctx.Done():
		// When messages were handed over in this very moment they are in flight now, as on AWS.
		q.giveUp(w)
		r := <-w.result
		if len(r.deliveries) == 0 && r.err == nil {
			r.err = ctx.Err()
		}
		return r.deliveries, r.err
	}
}

// giveUp ends w without messages, unless it has been answered already.
func (q *Queue) giveUp(w *waiter) {
	now := q.service.lock()
	defer q.service.unlock(now)
	q.dismiss(w, now)
}

// timeUp does the same when the wait is over. What becomes available in this very moment still counts.
func (q *Queue) timeUp(w *waiter) {
	now := q.service.lock()
	defer q.service.unlock(now)
	if w.waiting {
		q.serve(now)
		q.dismiss(w, now)
	}
}

func (q *Queue) dismiss(w *waiter, now int64) {
	if w.waiting {
		q.answer(w, result{})
		q.rearm(now)
	}
}

func (q *Queue) answer(w *waiter, r result) {
	q.waiters.remove(w)
	w.timeout.Stop()
	w.result <- r
}

// serve hands out what is deliverable to the long polls.
func (q *Queue) serve(now int64) {
	q.advance(now)
	for w := q.waiters.first; w != nil; w = q.waiters.first {
		deliveries := q.take(w.want, now)
		if len(deliveries) == 0 {
			break
		}
		q.answer(w, result{deliveries: deliveries})
	}
	q.rearm(now)
}

// endWaiters ends all long polls, with an empty answer or with err.
func (q *Queue) endWaiters(err error) {
	for w := q.waiters.first; w != nil; w = q.waiters.first {
		q.answer(w, result{err: err})
	}
	q.alarm.stop()
}

// alarm is the queue's only timer. It runs while a long poll waits and time alone may bring it something.
type alarm struct {
	timer clock.Timer
	at    int64 // when it will ring, or 0
}

func (a *alarm) stop() {
	if a.at != 0 {
		a.timer.Stop()
		a.at = 0
	}
}

// rearm sets the alarm to the next event, if anybody waits for it.
func (q *Queue) rearm(now int64) {
	next := int64(0)
	if q.waiters.first != nil {
		next = q.nextEvent()
	}
	if next == q.alarm.at {
		return
	}
	q.alarm.stop()
	if next == 0 {
		return
	}
	d := time.Duration(max(0, next-now))
	if q.alarm.timer == nil {
		q.alarm.timer = q.service.clock.AfterFunc(d, q.ring)
	} else {
		q.alarm.timer.Reset(d)
	}
	q.alarm.at = next
}

// ring is called by the alarm. A call that comes too late or too early does no harm.
func (q *Queue) ring() {
	now := q.service.lock()
	defer q.service.unlock(now)
	q.alarm.at = 0
	if !q.deleted {
		q.service.wake(q)
	}
}
