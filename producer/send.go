package producer

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strconv"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sns"
	"github.com/aws/aws-sdk-go-v2/service/sns/types"
)

const (
	firstBackoff = 50 * time.Millisecond
	maxBackoff   = 5 * time.Second
)

var dataTypeString = aws.String("String")

// send makes one request and settles what it carried.
func (p *Producer) send(batch []entry) {
	entries := make([]types.PublishBatchRequestEntry, 0, len(batch))
	unsent := make([]fate, len(batch)) // of what can't be sent any more
	start := time.Now()
	for i, head := range batch {
		switch {
		case p.requests.Err() != nil:
			unsent[i] = abandoned
			continue
		case head.attempts == 0:
			head.first = start
		case start.Sub(head.first) > p.cfg.GiveUpAfter: // it has waited too long behind other batches
			unsent[i] = overdue
			continue
		}
		head.attempts++
		entries = append(entries, types.PublishBatchRequestEntry{
			Id:                     aws.String(strconv.Itoa(i)),
			Message:                aws.String(string(head.body)),
			MessageGroupId:         &head.event.DeviceID,
			MessageDeduplicationId: &head.event.ID,
			MessageAttributes: map[string]types.MessageAttributeValue{
				attributeType:   {DataType: dataTypeString, StringValue: aws.String(head.event.Type())},
				attributeSource: {DataType: dataTypeString, StringValue: &head.event.Source},
			},
		})
	}
	outcomes := make([]outcome, len(batch))
	var took time.Duration
	if len(entries) > 0 {
		ctx, cancel := context.WithTimeout(p.requests, p.cfg.RequestTimeout)
		out, err := p.api.PublishBatch(ctx, &sns.PublishBatchInput{TopicArn: &p.topic, PublishBatchRequestEntries: entries}, oneAttempt)
		cancel()
		outcomes = judge(len(batch), out, err)
		if err == nil {
			took = time.Since(start)
		}
	}
	for i, f := range unsent {
		if f != 0 {
			outcomes[i] = outcome{fate: f, code: batch[i].code, err: batch[i].err}
		}
	}
	p.settle(batch, outcomes, len(entries), took)
}

// oneAttempt switches the SDK's own retries off: it would repeat a whole request out of sight of the bound on retries.
func oneAttempt(o *sns.Options) { o.Retryer = aws.NopRetryer{} }

// settle acts on the outcome of every entry. First the callers hear of what has ended, then the lanes move on: so a device's
// callbacks run in its order. sent is how many of the entries were in the request, and took how long it took; zero when it was
// not answered.
func (p *Producer) settle(batch []entry, outcomes []outcome, sent int, took time.Duration) {
	again := make([]time.Duration, len(batch)) // the delay before each entry's next attempt; 0 for what has ended
	var done, failed, blocked int
	for i, head := range batch {
		o := outcomes[i]
		if o.fate == confirmed {
			head.answer(Result{MessageID: o.messageID, SequenceNumber: o.sequenceNumber})
			done++
			continue
		}
		head.code, head.err = o.code, o.err
		head.unknown = head.unknown || o.unknown
		if o.fate == refusedTogether {
			head.alone = true
		}
		closing := o.fate == abandoned
		if o.fate == retryable || o.fate == refusedTogether {
			delay := backoff(head.attempts)
			closing = p.requests.Err() != nil
			if !closing && time.Since(head.first)+delay <= p.cfg.GiveUpAfter {
				again[i] = delay
				continue
			}
		}
		failed++
		blocked += p.fail(head, closing)
	}
	p.warn(batch, outcomes)

	p.mu.Lock()
	defer p.mu.Unlock()
	p.underWay--
	if sent > 0 {
		p.stats.Batches++
		p.stats.Entries += int64(sent)
	}
	p.stats.Confirmed += int64(done)
	p.stats.Failed += int64(failed + blocked)
	p.stats.Buffered -= done + failed + blocked
	if took > 0 {
		if p.roundTrip == 0 {
			p.roundTrip = took
		}
		p.roundTrip += (took - p.roundTrip) / 8
	}
	for i, head := range batch {
		head.sending = false
		if again[i] > 0 {
			p.stats.Retried++
			if p.requests.Err() != nil {
				again[i] = 0 // Close does not wait for it: the next attempt ends at once
			}
			p.sendAgainIn(head.lane, again[i])
			continue
		}
		p.pop(head.lane)
	}
	p.admitWaiters()
	p.dispatch()
	p.signalDrained()
}

// fail answers an event with its error, and those that were waiting behind it with a BlockedError.
// It removes the latter from their lane and returns their number.
func (p *Producer) fail(head entry, closing bool) int {
	l := head.lane
	p.mu.Lock()
	followers := l.events[1:len(l.events):len(l.events)]
	l.events = l.events[:1:1]
	p.mu.Unlock()
	failure := head.failure(closing)
	head.answer(Result{Err: failure})
	for _, f := range followers {
		f.answer(Result{Err: &BlockedError{EventID: f.event.ID, DeviceID: f.event.DeviceID, BlockedBy: head.event.ID, Err: failure}})
	}
	return len(followers)
}

// answer tells the caller of an event what became of it. It is called once for every accepted event, without the lock.
func (event *pending) answer(r Result) {
	r.Event = event.event
	if event.done != nil {
		event.done(r)
	}
}

// failure makes the error of an event that has failed for good: for its last error, or because Close gave up on it.
func (event *pending) failure(closing bool) error {
	err := event.err
	switch {
	case closing && err == nil:
		err = ErrClosed
	case closing: // tell the trouble that it was in as well
		err = fmt.Errorf("%w: %w", ErrClosed, err)
	}
	if event.unknown {
		err = fmt.Errorf("%w: %w", ErrUnknownOutcome, err)
	}
	return &PublishError{
		EventID: event.event.ID, DeviceID: event.event.DeviceID,
		Code: event.code, Attempts: event.attempts, Err: err,
	}
}

// backoff is the delay before the attempt that follows attempt number n: 50 ms doubling up to 5 s, less a random part of up to
// a half, so that many producers do not come back at once.
func backoff(n int) time.Duration {
	d := min(firstBackoff<<min(n-1, 10), maxBackoff)
	return d - rand.N(d/2)
}

// warn logs failed entries, at most once a second.
func (p *Producer) warn(batch []entry, outcomes []outcome) {
	failed := 0
	var example outcome
	var device string
	for i, o := range outcomes {
		if o.fate != confirmed && o.fate != abandoned {
			failed++
			example, device = o, batch[i].lane.device
		}
	}
	if failed == 0 {
		return
	}
	now := time.Now()
	p.mu.Lock()
	silent := now.Sub(p.warned) < time.Second
	if !silent {
		p.warned = now
	}
	p.mu.Unlock()
	if !silent {
		p.cfg.Logger.Warn("publish failed", "entries", failed, "of", len(batch), "will_retry", example.fate == retryable || example.fate == refusedTogether,
			"code", example.code, "device_id", device, "err", example.err)
	}
}
