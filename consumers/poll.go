package consumers

import (
	"context"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"
	"github.com/google/uuid"

	awsx "github.com/device-fanout/fanout/internal/aws"
)

// polling is the state of receiving.
type polling struct {
	underWay int
	asked    int // messages that those under way ask for
	wanted   int // receives to keep under way: one when idle, more while they come back full
	failures int // receives in a row that failed
	after    time.Time
	short    time.Time // since when fewer slots are free than are worth a receive; zero when that is not so
	lost     []string  // request attempt IDs of receives whose replies were lost, to be used again
}

// pollLinger is how long a few free slots wait for more of them, so that slots which become free one by one do not make a
// request each.
const pollLinger = 20 * time.Millisecond

// startPolls asks for what free slots can take, and those that soon will be: at once when that is a full ten, or half of the slots if they
// are few.
//
// Dead letters on their way take no slot: a dead-letter queue that can't be reached does not stop the other devices.
// Their number is bounded by how many messages may be held in all.
func (r *run) startPolls() {
	for !r.draining && !r.paused.Load() && r.poll.underWay < r.poll.wanted {
		if wait := time.Until(r.poll.after); wait > 0 {
			r.wakeWithin(wait)
			return
		}
		busy := r.running + len(r.ready)
		free := r.cfg.Slots + r.soonFree() - busy - r.poll.asked
		if r.breaker.open {
			if r.breaker.mayPoll(1) == 0 {
				return
			}
			free, r.breaker.polled = 1, true
		} else if !r.worthAPoll(free) {
			return
		}
		if len(r.held)+len(r.changes.releases) >= r.mostHeld() { // deletes, dead letters or releases do not keep up
			return
		}
		attempt, ok := r.poll.takeLost()
		if !ok {
			attempt = uuid.NewString()
		}
		r.startReceive(min(awsx.MaxBatch, free), r.cfg.WaitTime, attempt, true)
	}
	if r.draining {
		r.fetchLost()
	}
}

// soonFree is how many slots become free within pollLinger, all at most, at the pace at which messages are finished now. They
// are asked for ahead, or quick handlers would wait for every receive.
func (r *run) soonFree() int {
	d := &r.deletes
	if d.last.IsZero() {
		return 0
	}
	pace := max(d.pace, time.Since(d.last))
	return int(min(pollLinger/max(pace, 1), time.Duration(r.cfg.Slots)))
}

// worthAPoll tells whether that many free slots are enough for a receive, or have waited long enough for more.
func (r *run) worthAPoll(free int) bool {
	if free < 1 {
		r.poll.short = time.Time{}
		return false
	}
	if free < min(awsx.MaxBatch, (r.cfg.Slots+1)/2) {
		if r.poll.underWay > 0 { // a small one beside it would only break up what one receive can bring
			r.poll.short = time.Time{}
			return false
		}
		now := time.Now()
		if r.poll.short.IsZero() {
			r.poll.short = now
		}
		if wait := r.poll.short.Add(pollLinger).Sub(now); wait > 0 {
			r.wakeWithin(wait)
			return false
		}
	}
	r.poll.short = time.Time{}
	return true
}

func (r *run) startReceive(n int, wait time.Duration, attempt string, again bool) {
	r.poll.underWay++
	r.poll.asked += n
	r.send(func() { r.receive(n, wait, attempt, again) })
}

// fetchLost asks once more for what lost replies brought, so that it can be handed back.
func (r *run) fetchLost() {
	for len(r.poll.lost) > 0 {
		if wait := time.Until(r.poll.after); wait > 0 {
			r.wakeWithin(wait)
			return
		}
		attempt, _ := r.poll.takeLost()
		r.startReceive(awsx.MaxBatch, time.Second, attempt, false) // a wait of zero would mean the queue's own
	}
}

func (p *polling) takeLost() (attempt string, ok bool) {
	if len(p.lost) == 0 {
		return "", false
	}
	attempt, p.lost = p.lost[0], p.lost[1:]
	return attempt, true
}

// receive makes one long poll; again says whether to ask once more if its reply is lost. Its context does not end with Run's: a
// poll cut off may have got messages already, and their devices would stand still until the visibility timeout.
func (r *run) receive(n int, wait time.Duration, attempt string, again bool) {
	ctx, cancel := context.WithTimeout(r.requests, wait+requestTimeout)
	defer cancel()
	out, err := r.api.ReceiveMessage(ctx, &sqs.ReceiveMessageInput{
		QueueUrl:                    &r.queue.URL,
		MaxNumberOfMessages:         int32(n),
		WaitTimeSeconds:             int32(wait / time.Second),
		VisibilityTimeout:           int32(r.facts.visibility / time.Second), // the queue's own may change while we run
		MessageAttributeNames:       []string{"All"},
		MessageSystemAttributeNames: []types.MessageSystemAttributeName{types.MessageSystemAttributeNameAll},
		ReceiveRequestAttemptId:     &attempt,
	}, func(o *sqs.Options) {
		// The SDK would repeat the request with the same attempt ID also where that is not allowed; see below.
		o.Retryer = aws.NopRetryer{}
		// A wrong checksum would fail the whole receive, with its messages in flight. Bodies are checked by decoding them.
		o.DisableMessageChecksumValidation = true
	})
	lease := time.Now().Add(r.facts.visibility)
	if err != nil {
		r.post(func() { r.receiveFailed(n, attempt, again, err) })
		return
	}
	messages := make([]*message, len(out.Messages))
	for i, in := range out.Messages {
		messages[i] = newMessage(in, lease)
	}
	parked, err := r.parked(ctx, messages)
	r.post(func() {
		r.stats.receives.Add(1)
		r.poll.underWay--
		r.poll.asked -= n
		if err != nil { // they are kept, and each asks for itself: handed back they would use up their receives
			parked = map[string]bool{}
			for _, m := range messages {
				parked[m.Device] = true
			}
			r.received(messages, parked)
			r.waitAfterFailure("parking store unavailable, receiving is paused", err)
			return
		}
		r.poll.failures = 0
		switch {
		case len(messages) >= n:
			r.poll.wanted = min(r.poll.wanted+1, r.cfg.Pollers)
		case len(messages) == 0:
			r.poll.wanted = 1
		}
		r.received(messages, parked)
	})
}

// receiveFailed waits a growing time before the next receive. When no answer came, the messages of the lost reply are asked for
// again by the same attempt ID, also if this request was never sent: one before it with that ID may have been. After an answer,
// such as throttling, that ID is no longer valid.
func (r *run) receiveFailed(n int, attempt string, again bool, err error) {
	r.stats.receives.Add(1)
	r.poll.underWay--
	r.poll.asked -= n
	if r.requests.Err() != nil {
		return
	}
	if again && !awsx.VerdictOf(err).Answered {
		r.poll.lost = append(r.poll.lost, attempt)
	}
	r.waitAfterFailure("receive failed", err)
}

// waitAfterFailure pauses receiving and logs why.
func (r *run) waitAfterFailure(message string, err error) {
	r.poll.failures++
	delay := backoff(r.poll.failures, 100*time.Millisecond, 10*time.Second)
	r.poll.after = time.Now().Add(delay)
	attrs := []any{"failures", r.poll.failures, "retry_in", delay, "err", err}
	if hint := advice("", err); hint != "" {
		attrs = append(attrs, "hint", hint)
	}
	r.cfg.Logger.Warn(message, attrs...)
}
