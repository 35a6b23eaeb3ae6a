package consumers

import (
	"cmp"
	"context"
	"strconv"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"
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
	batch := c.take(&c.releases)
	c.underWay = true
	for _, m := range batch {
		m.asked = min(m.delay, mostHidden-time.Since(m.receivedAt))
	}
	r.send(func() { r.change(batch, func(a answers) { r.released(batch, a) }) })
	return true
}

func (r *run) startExtension() {
	c := &r.changes
	for len(c.extends) > 0 {
		var batch []*message
		for _, m := range c.take(&c.extends) {
			if m.state != gone {
				m.asked = cmp.Or(m.hide, r.facts.visibility)
				batch = append(batch, m)
			}
		}
		if len(batch) == 0 {
			continue
		}
		c.underWay = true
		sent := time.Now()
		r.send(func() { r.change(batch, func(a answers) { r.extended(batch, a, sent) }) })
		return
	}
}

func (c *changing) take(list *[]*message) []*message {
	n := min(len(*list), maxBatch)
	batch := append([]*message(nil), (*list)[:n]...)
	*list = (*list)[:copy(*list, (*list)[n:])]
	return batch
}

// change makes one request and reports its answers to the loop.
func (r *run) change(batch []*message, then func(answers)) {
	entries := make([]types.ChangeMessageVisibilityBatchRequestEntry, len(batch))
	for i, m := range batch {
		entries[i] = types.ChangeMessageVisibilityBatchRequestEntry{
			Id:                aws.String(strconv.Itoa(i)),
			ReceiptHandle:     &m.handle,
			VisibilityTimeout: int32(max(0, m.asked+time.Second-1) / time.Second),
		}
	}
	// One that hangs must leave time for others before leases end.
	ctx, cancel := context.WithTimeout(r.requests, min(requestTimeout, r.facts.visibility/6))
	defer cancel()
	out, err := r.api.ChangeMessageVisibilityBatch(ctx, &sqs.ChangeMessageVisibilityBatchInput{QueueUrl: &r.queue.URL, Entries: entries})
	a := answersOf(len(batch), err)
	if err == nil {
		for _, ok := range out.Successful {
			a.succeeded(ok.Id)
		}
		for _, f := range out.Failed {
			a.failed(f)
		}
	}
	r.post(func() {
		r.changes.underWay = false
		then(a)
	})
}

// released puts back in line what could not be released and will not be visible soon by itself.
func (r *run) released(batch []*message, answers answers) {
	c := &r.changes
	var again []*message
	var failure error
	for i, m := range batch {
		if a := answers[i]; a.err != nil && !a.leaseOver && time.Now().Before(m.leaseEnd()) {
			again, failure = append(again, m), a.err
		}
	}
	if failure == nil {
		c.failures = 0
		return
	}
	c.releases = append(again, c.releases...)
	c.failures++
	delay := min(100*time.Millisecond<<min(c.failures-1, 6), 5*time.Second)
	c.after = time.Now().Add(delay)
	r.cfg.Logger.Warn("handing messages back failed", "messages", len(again), "failures", c.failures, "retry_in", delay, "err", failure)
}

// extended acts on the outcome of every extension. One that failed for another reason than its lease is tried again by the
// next heartbeat.
func (r *run) extended(batch []*message, answers answers, sent time.Time) {
	r.stats.extensions.Add(1)
	for i, m := range batch {
		m.extending = false
		if answers[i].err == nil { // also of one that is to be released: until then it is hidden for so long
			m.setLease(sent.Add(m.asked))
		}
		if m.state == gone {
			continue
		}
		r.hideAnswered(m) // whatever came of it: it is a precaution
		switch a := answers[i]; {
		case a.err == nil:
		case a.leaseOver && m.state == finished: // it may have been deleted just now; the answer to its delete will tell
		case a.leaseOver:
			r.lose(m, false)
		default:
			r.cfg.Logger.Warn("extending a visibility timeout failed", "message_id", m.ID, "group_id", m.Group,
				"left", m.leaseLeft(time.Now()).Round(time.Millisecond), "err", a.err)
		}
		r.proceed(m.lane) // it may have waited for that
	}
}
