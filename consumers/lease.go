package consumers

import (
	"cmp"
	"context"
	"slices"
	"time"

	"github.com/device-fanout/fanout/consumers/internal/batch"
	awsx "github.com/device-fanout/fanout/internal/aws"
)

// mostHidden is how long after its receive a message may be hidden: SQS allows twelve hours.
// See https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-visibility-timeout.html.
const mostHidden = 12*time.Hour - time.Minute

// changing is the state of visibility changes. There is one request at a time, so that a late extension can't hide a message
// again that was released.
type changing struct {
	underWay bool
	releases []*message // to be made visible at once, in this order
	extends  []*message // to be kept hidden
	failures int        // releases in a row that failed
	after    time.Time  // when releases may go on after a failure
	isTurn   bool       // of extensions: the last request was of releases
}

func (c *changing) idle() bool { return !c.underWay && len(c.releases) == 0 }

// keepLeases is the heartbeat. It extends what is past a third of its visibility timeout, whatever state it is in: waiting,
// running, or finished and not yet deleted. That leaves several more beats before the lease ends, should a request fail.
func (r *run) keepLeases() {
	now := time.Now()
	for _, m := range r.held {
		left := m.leaseLeft(now)
		switch {
		case left <= 0:
			r.lose(m, false)
		case left <= r.facts.visibility*2/3 && !m.extending:
			m.extending = true
			r.changes.extends = append(r.changes.extends, m)
		}
	}
}

// release hands messages back, in the given order: tail first, so that nobody gets the head of a group while we still hold
// what is behind it.
func (r *run) release(messages ...*message) {
	for _, m := range messages {
		r.forget(m)
		r.stats.released.Add(1)
		r.changes.releases = append(r.changes.releases, m)
	}
}

// releaseWaiting hands back everything that waits in a lane.
func (r *run) releaseWaiting(l *lane) {
	r.release(reversed(l.waiting)...)
	l.waiting = nil
}

// startChanges sends the next visibility change, releases first; but where both wait they take turns, or many releases would cost
// the leases of what is held.
func (r *run) startChanges() {
	c := &r.changes
	if c.underWay {
		return
	}
	if c.isTurn {
		r.startExtension()
	}
	c.isTurn = !c.underWay && r.startRelease()
	if !c.underWay {
		r.startExtension()
	}
}

func (r *run) startRelease() (started bool) {
	c := &r.changes
	if len(c.releases) == 0 {
		return false
	}
	if wait := time.Until(c.after); wait > 0 {
		r.wakeWithin(wait)
		return false
	}
	messages := c.take(&c.releases)
	c.underWay = true
	for _, m := range messages {
		m.asked = min(m.delay, mostHidden-time.Since(m.receivedAt))
	}
	r.send(func() { r.change(messages, func(a awsx.Answers) { r.released(messages, a) }) })
	return true
}

func (r *run) startExtension() {
	c := &r.changes
	for len(c.extends) > 0 {
		var messages []*message
		for _, m := range c.take(&c.extends) {
			if m.state != gone {
				m.asked = cmp.Or(m.hide, r.facts.visibility)
				messages = append(messages, m)
			}
		}
		if len(messages) == 0 {
			continue
		}
		c.underWay = true
		sent := time.Now()
		r.send(func() { r.change(messages, func(a awsx.Answers) { r.extended(messages, a, sent) }) })
		return
	}
}

func (c *changing) take(list *[]*message) []*message {
	n := min(len(*list), awsx.MaxBatch)
	messages := slices.Clone((*list)[:n])
	*list = (*list)[:copy(*list, (*list)[n:])]
	return messages
}

// change makes one request and reports its answers to the loop.
func (r *run) change(messages []*message, then func(awsx.Answers)) {
	hidden := make([]batch.Hidden, len(messages))
	for i, m := range messages {
		hidden[i] = batch.Hidden{Handle: m.handle, For: m.asked}
	}
	// One that hangs must leave time for others before leases end.
	ctx, cancel := context.WithTimeout(r.requests, min(requestTimeout, r.facts.visibility/6))
	defer cancel()
	answers := batch.Hide(ctx, r.api, r.queue.URL, hidden)
	r.post(func() {
		r.changes.underWay = false
		then(answers)
	})
}

// released puts back in line what could not be released and will not be visible soon by itself.
func (r *run) released(messages []*message, answers awsx.Answers) {
	c := &r.changes
	var again []*message
	var failure error
	for i, m := range messages {
		if a := answers[i]; a.Err != nil && !a.HandleOver && time.Now().Before(m.leaseEnd()) {
			again, failure = append(again, m), a.Err
		}
	}
	if failure == nil {
		c.failures = 0
		return
	}
	c.releases = append(again, c.releases...)
	c.failures++
	delay := backoff(c.failures, 100*time.Millisecond, 5*time.Second)
	c.after = time.Now().Add(delay)
	r.cfg.Logger.Warn("handing messages back failed; they are retried until their visibility timeout ends", "messages", len(again), "failures", c.failures, "retry_in", delay, "err", failure)
}

// extended acts on the answer to every extension. One that failed for another reason than its lease is tried again by the
// next heartbeat.
func (r *run) extended(messages []*message, answers awsx.Answers, sent time.Time) {
	r.stats.extensions.Add(1)
	for i, m := range messages {
		m.extending = false
		if answers[i].Err == nil { // also of one that is to be released: until then it is hidden for so long
			m.setLease(sent.Add(m.asked))
		}
		if m.state == gone {
			continue
		}
		r.hideAnswered(m) // whether it succeeded or not: it is a precaution
		switch a := answers[i]; {
		case a.Err == nil:
		case a.HandleOver && m.state == finished: // it may have been deleted just now; the answer to its delete will tell
		case a.HandleOver:
			r.lose(m, false)
		default:
			r.cfg.Logger.Warn("extending a visibility timeout failed; the next heartbeat retries", "message_id", m.ID, "group_id", m.Group,
				"left", m.leaseLeft(time.Now()).Round(time.Millisecond), "err", a.Err)
		}
		r.proceed(m.lane) // it may have waited for that
	}
}
