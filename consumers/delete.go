package consumers

import (
	"context"
	"slices"
	"time"

	"github.com/device-fanout/fanout/consumers/internal/batch"
	awsx "github.com/device-fanout/fanout/internal/aws"
)

const (
	// maxDeletes is how many delete requests may be under way at once.
	maxDeletes = 4
	// deleteWithin bounds how long a finished event waits for its delete while nothing is held up by it.
	deleteWithin = time.Second
)

// deleting is the state of deletes: finished messages gather here to share requests.
type deleting struct {
	pending  []*message
	underWay int
	oldest   time.Time // when pending became non-empty
	urgent   time.Time // when a device began to wait for what is pending; zero if none does
	after    time.Time // of the next request, after a failure
	failures int
	pace     time.Duration // smoothed time between two finished messages
	last     time.Time
}

func (d *deleting) add(m *message) {
	now := time.Now()
	if len(d.pending) == 0 {
		d.oldest = now
	}
	if !d.last.IsZero() {
		// A long silence says nothing about the pace to come: it counts as a tenth of a second.
		d.pace += (min(now.Sub(d.last), 100*time.Millisecond) - d.pace) / 8
	}
	d.last = now
	d.pending = append(d.pending, m)
}

// hurry says that a device waits for what is pending.
func (d *deleting) hurry() {
	if d.urgent.IsZero() && len(d.pending) > 0 {
		d.urgent = time.Now()
	}
}

func (d *deleting) remove(m *message) {
	if i := slices.Index(d.pending, m); i >= 0 {
		d.pending = slices.Delete(d.pending, i, i+1)
	}
}

// startDeletes sends what is worth sending now: a full request always; less when a device waits for it and the rest would
// not come within DeleteLinger at the present pace; and everything after a while.
func (r *run) startDeletes() {
	d := &r.deletes
	for len(d.pending) > 0 && d.underWay < maxDeletes {
		if wait := r.deleteDelay(time.Now()); wait > 0 {
			r.wakeWithin(wait)
			return
		}
		n := min(len(d.pending), awsx.MaxBatch)
		messages := slices.Clone(d.pending[:n])
		d.pending = d.pending[:copy(d.pending, d.pending[n:])]
		if len(d.pending) == 0 {
			d.urgent = time.Time{}
		} else {
			d.oldest = time.Now()
		}
		d.underWay++
		r.send(func() { r.delete(messages) })
	}
}

// deleteDelay is how long what is pending should wait for more.
func (r *run) deleteDelay(now time.Time) time.Duration {
	d := &r.deletes
	if wait := d.after.Sub(now); wait > 0 {
		return wait
	}
	if len(d.pending) >= awsx.MaxBatch || r.draining && r.running == 0 {
		return 0
	}
	wait := d.oldest.Add(deleteWithin).Sub(now)
	if !d.urgent.IsZero() {
		linger := r.cfg.DeleteLinger
		if time.Duration(awsx.MaxBatch-len(d.pending))*d.pace > linger {
			return 0
		}
		wait = min(wait, d.urgent.Add(linger).Sub(now))
	}
	return wait
}

// delete makes one request and reports its answers to the loop.
func (r *run) delete(messages []*message) {
	handles := make([]string, len(messages))
	for i, m := range messages {
		handles[i] = m.handle
	}
	ctx, cancel := context.WithTimeout(r.requests, requestTimeout)
	defer cancel()
	answers := batch.Delete(ctx, r.api, r.queue.URL, handles)
	r.post(func() { r.deleted(messages, answers) })
}

// deleted acts on the answer to every entry: it is deleted, lost with its lease, or to be tried again.
func (r *run) deleted(messages []*message, answers awsx.Answers) {
	d := &r.deletes
	d.underWay--
	r.stats.deletes.Add(1)
	r.stats.deleteEntries.Add(int64(len(messages)))
	var failure error
	for i, m := range messages {
		if m.state != finished { // lost meanwhile
			continue
		}
		if answers[i].Err != nil {
			r.stats.deletesFailed.Add(1)
		}
		switch a := answers[i]; {
		case a.Err == nil:
			r.forget(m)
			r.resumeMark(m)
		case a.HandleOver:
			r.lose(m, false)
		default:
			failure = a.Err
			d.add(m)
			d.hurry()
			continue
		}
		if l := m.lane; l.current == m { // a dead letter: only now may its followers go on
			l.current = nil
			r.proceed(l)
		}
	}
	if failure == nil {
		d.failures = 0
		return
	}
	d.failures++
	delay := backoff(d.failures, 50*time.Millisecond, 5*time.Second)
	d.after = time.Now().Add(delay)
	r.cfg.Logger.Warn("deleting handled messages failed", "failures", d.failures, "retry_in", delay, "err", failure)
}
