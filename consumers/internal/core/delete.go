package core

import (
	"slices"
	"time"

	awsx "github.com/device-fanout/fanout/internal/aws"
)

// Deletes: finished messages gather to share requests.

const (
	// MaxDeletes is how many delete requests may be under way at once.
	MaxDeletes = 4
	// deleteWithin bounds how long a finished event waits for its delete while nothing is held up by it.
	deleteWithin = time.Second
)

type deletes struct {
	pending  []*Message
	underWay int
	oldest   time.Time // when pending became non-empty
	urgent   time.Time // when a device began to wait for what is pending; zero if none does
	after    time.Time // of the next request, after a failure
	failures int
	pace     time.Duration // smoothed time between two finished messages
	last     time.Time
}

func (d *deletes) add(now time.Time, m *Message) {
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
func (d *deletes) hurry(now time.Time) {
	if d.urgent.IsZero() && len(d.pending) > 0 {
		d.urgent = now
	}
}

func (d *deletes) remove(m *Message) {
	if i := slices.Index(d.pending, m); i >= 0 {
		d.pending = slices.Delete(d.pending, i, i+1)
	}
}

// startDeletes sends what is worth sending now: a full request always; less when a device waits for it and the rest would
// not come within DeleteLinger at the present pace; and everything after a while.
func (c *Core) startDeletes() {
	d := &c.deletes
	for len(d.pending) > 0 && d.underWay < MaxDeletes {
		if wait := c.deleteDelay(); wait > 0 {
			c.wakeWithin(wait)
			return
		}
		messages := takeBatch(&d.pending)
		if len(d.pending) == 0 {
			d.urgent = time.Time{}
		} else {
			d.oldest = c.now
		}
		for _, m := range messages {
			c.to(m, Deleting)
		}
		d.underWay++
		c.work.Delete = append(c.work.Delete, messages)
	}
}

// deleteDelay is how long what is pending should wait for more.
func (c *Core) deleteDelay() time.Duration {
	d := &c.deletes
	if wait := d.after.Sub(c.now); wait > 0 {
		return wait
	}
	if len(d.pending) >= awsx.MaxBatch || c.draining && c.slots.running == 0 {
		return 0
	}
	wait := d.oldest.Add(deleteWithin).Sub(c.now)
	if !d.urgent.IsZero() {
		linger := c.cfg.DeleteLinger
		if time.Duration(awsx.MaxBatch-len(d.pending))*d.pace > linger {
			return 0
		}
		wait = min(wait, d.urgent.Add(linger).Sub(c.now))
	}
	return wait
}

// deleted acts on the answer to every entry: it is deleted, lost with its lease, or to be tried again.
func (c *Core) deleted(in Deleted) {
	d := &c.deletes
	d.underWay--
	c.counts.Deletes++
	c.counts.DeleteEntries += int64(len(in.Messages))
	var err error
	for i, m := range in.Messages {
		if m.state != Deleting { // lost meanwhile
			continue
		}
		a := in.Answers[i]
		if a.Err != nil {
			c.counts.DeletesFailed++
		}
		switch {
		case a.Err == nil:
			c.forget(m)
			c.park.resumeMark(m)
		case a.HandleOver:
			c.lose(m, false)
			continue
		default:
			err = a.Err
			c.to(m, Done)
			d.add(c.now, m)
			d.hurry(c.now)
			continue
		}
		if l := m.lane; l.head == m { // a dead letter: only now may its followers go on
			c.dropHead(l)
			c.proceed(l)
		}
	}
	if err == nil {
		d.failures = 0
		return
	}
	d.failures++
	pause := c.backoff(d.failures, 50*time.Millisecond, 5*time.Second)
	d.after = c.now.Add(pause)
	c.note(Note{Kind: NoteDeleteFailed, Failures: d.failures, In: pause, Err: err})
}
