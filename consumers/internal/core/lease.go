package core

import (
	"cmp"
	"slices"
	"time"

	awsx "github.com/device-fanout/fanout/internal/aws"
)

// Leases: the heartbeat that extends them, and releases, which end them.

// mostHidden is how long after its receive a message may be hidden: SQS allows twelve hours.
// See https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-visibility-timeout.html.
const mostHidden = 12*time.Hour - time.Minute

// changes is the state of visibility changes. There is one request at a time, so that a late extension can't hide a message
// again that was released.
type changes struct {
	underWay bool
	releases []*Message // to be made visible at once, in this order
	extends  []*Message // to be kept hidden
	failures int        // releases in a row that failed
	after    time.Time  // when releases may go on after a failure
	isTurn   bool       // of extensions: the last request was of releases
}

func (ch *changes) idle() bool { return !ch.underWay && len(ch.releases) == 0 }

// keepLeases is the heartbeat. It extends what is past a third of its visibility timeout, whatever state it is in. That leaves several more
// beats before the lease ends, should a request fail. What waits or rests goes back before SQS lets nobody hold it any longer.
func (c *Core) keepLeases() {
	due := make([]*Message, 0, len(c.held))
	for _, m := range c.held {
		if m.lease.left(c.now) <= c.cfg.Visibility*2/3 {
			due = append(due, m)
		}
	}
	slices.SortFunc(due, func(a, b *Message) int {
		return cmp.Or(a.lease.ends.Compare(b.lease.ends), cmp.Compare(a.Group, b.Group), cmp.Compare(a.Sequence, b.Sequence), cmp.Compare(a.ID, b.ID))
	})
	for _, m := range due {
		switch {
		case c.held[m.ID] != m: // lost with one before it
		case m.lease.left(c.now) <= 0:
			c.lose(m, false)
		case m.lease.changing:
		case c.now.Sub(m.ReceivedAt)+c.cfg.Visibility > mostHidden && m.state == Waiting:
			c.releaseFrom(m.lane, slices.Index(m.lane.waiting, m))
			c.proceed(m.lane)
		case c.now.Sub(m.ReceivedAt)+c.cfg.Visibility > mostHidden && !m.busy && (m.state == Resting || m.state == Asking || m.state == Sending):
			c.handBackAll(m.lane)
			c.proceed(m.lane)
		default:
			m.lease.changing = true
			c.changes.extends = append(c.changes.extends, m)
		}
	}
}

// hideFor asks for a visibility timeout, at most as long as SQS allows. The message's lane waits until that is answered.
func (c *Core) hideFor(m *Message, d time.Duration) {
	m.lease.changing, m.lease.hide = true, max(min(d, mostHidden-c.now.Sub(m.ReceivedAt)), time.Second)
	c.changes.extends = append(c.changes.extends, m)
	m.lane.hiding++
}

// release hands messages back, in the given order: tail first, so that nobody gets the head of a group while we still hold
// what is behind it.
func (c *Core) release(messages ...*Message) {
	for _, m := range messages {
		c.forget(m)
		c.counts.Released++
		c.changes.releases = append(c.changes.releases, m)
	}
}

// releaseWaiting hands back everything that waits in a lane.
func (c *Core) releaseWaiting(l *Lane) { c.releaseFrom(l, 0) }

// releaseFrom hands back what waits in a lane from the i-th on, last first.
func (c *Core) releaseFrom(l *Lane, i int) {
	taken := slices.Clone(l.waiting[i:])
	l.waiting = slices.Delete(l.waiting, i, len(l.waiting))
	if l.aside {
		c.aside -= len(taken)
	}
	slices.Reverse(taken)
	c.release(taken...)
}

// handBackAll hands back a lane's head and all that waits behind it, tail first. Nothing may be under way for the head.
func (c *Core) handBackAll(l *Lane) {
	c.releaseWaiting(l)
	m := l.head
	c.release(m)
	c.dropHead(l)
}

// handBack releases what waits in a lane, last first. What has been received as often as the queue allows stays, and what is
// before it, to be run: SQS would move it to the dead-letter queue untried at its next receive.
func (c *Core) handBack(l *Lane) {
	keep := 0
	for i, m := range l.waiting {
		if c.isSpent(m) && m.trouble == nil {
			keep = i + 1
		}
	}
	c.releaseFrom(l, keep)
}

// lose gives up a message whose lease has ended: another consumer may have it by now. Unless it has come back to us, the
// messages behind it go back too, since they must not run before it.
func (c *Core) lose(m *Message, cameBack bool) {
	c.counts.LeasesLost++
	c.note(Note{Kind: NoteLeaseLost, Message: m})
	l, was, busy := m.lane, m.state, m.busy
	switch was {
	case Done, Deleting:
		c.deletes.remove(m)
		c.done.add(m.ID) // it will be delivered again, to be deleted without running
		c.forget(m)
		c.park.returnMark(m)
		if l.head == m { // a dead letter, which is in its queue already
			c.dropHead(l)
			c.proceed(l)
		}
	case Waiting:
		i := slices.Index(l.waiting, m)
		if !cameBack {
			c.releaseFrom(l, i+1)
		}
		l.waiting = slices.Delete(l.waiting, i, i+1)
		if l.aside {
			c.aside--
		}
		c.forget(m)
		if !cameBack {
			c.proceed(l)
		}
	default:
		if was == Running {
			c.work.Cancel = append(c.work.Cancel, Cancel{m, LeaseLost})
		}
		c.forget(m)
		if !cameBack {
			c.releaseWaiting(l)
		}
		if !busy {
			c.dropHead(l)
			if !cameBack {
				c.proceed(l)
			}
		}
	}
}

// startChanges asks for the next visibility change, releases first; but where both wait they take turns, or many releases would cost
// the leases of what is held.
func (c *Core) startChanges() {
	ch := &c.changes
	if ch.underWay {
		return
	}
	if ch.isTurn {
		c.startExtension()
	}
	ch.isTurn = !ch.underWay && c.startRelease()
	if !ch.underWay {
		c.startExtension()
	}
}

func (c *Core) startRelease() (started bool) {
	ch := &c.changes
	if len(ch.releases) == 0 {
		return false
	}
	if wait := ch.after.Sub(c.now); wait > 0 {
		c.wakeWithin(wait)
		return false
	}
	change := Change{Messages: takeBatch(&ch.releases), Release: true}
	for _, m := range change.Messages {
		m.lease.asked = min(m.lease.delay, mostHidden-c.now.Sub(m.ReceivedAt))
		change.For = append(change.For, m.lease.asked)
	}
	ch.underWay = true
	c.work.Change = append(c.work.Change, change)
	return true
}

func (c *Core) startExtension() {
	ch := &c.changes
	for len(ch.extends) > 0 {
		var change Change
		for _, m := range takeBatch(&ch.extends) {
			if m.state != Gone && m.state != Lost {
				m.lease.asked = cmp.Or(m.lease.hide, c.cfg.Visibility)
				change.Messages, change.For = append(change.Messages, m), append(change.For, m.lease.asked)
			}
		}
		if len(change.Messages) > 0 {
			ch.underWay = true
			c.work.Change = append(c.work.Change, change)
			return
		}
	}
}

func takeBatch(list *[]*Message) []*Message {
	n := min(len(*list), awsx.MaxBatch)
	messages := slices.Clone((*list)[:n])
	*list = (*list)[:copy(*list, (*list)[n:])]
	return messages
}

func (c *Core) changed(in Changed) {
	c.changes.underWay = false
	if in.Release {
		c.released(in)
	} else {
		c.extended(in)
	}
}

// released puts back in line what could not be released and will not be visible soon by itself.
func (c *Core) released(in Changed) {
	ch := &c.changes
	var again []*Message
	var err error
	for i, m := range in.Messages {
		if a := in.Answers[i]; a.Err != nil && !a.HandleOver && c.now.Before(m.lease.ends) {
			again, err = append(again, m), a.Err
		}
	}
	if err == nil {
		ch.failures = 0
		return
	}
	ch.releases = append(again, ch.releases...)
	ch.failures++
	pause := c.backoff(ch.failures, 100*time.Millisecond, 5*time.Second)
	ch.after = c.now.Add(pause)
	c.note(Note{Kind: NoteReleaseFailed, Count: len(again), Failures: ch.failures, In: pause, Err: err})
}

// extended acts on the answer to every extension. One that failed for another reason than its lease is tried again by the
// next heartbeat.
func (c *Core) extended(in Changed) {
	c.counts.Extensions++
	for i, m := range in.Messages {
		a := in.Answers[i]
		m.lease.changing = false
		if a.Err == nil { // also of one that is to be released: until then it is hidden for so long
			m.lease.ends = in.Sent.Add(in.For[i])
		}
		if m.state == Gone || m.state == Lost {
			continue
		}
		c.isolate.answered(m) // whether it succeeded or not: it is a precaution
		switch {
		case a.Err == nil:
		case a.HandleOver && (m.state == Done || m.state == Deleting): // it may have been deleted just now; the answer to its delete will tell
		case a.HandleOver:
			c.lose(m, false)
		default:
			c.note(Note{Kind: NoteExtendFailed, Message: m, In: m.lease.left(c.now), Err: a.Err})
		}
		c.proceed(m.lane) // it may have waited for that
	}
}
