package producer

import (
	"context"
	"fmt"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sns"
	"github.com/aws/aws-sdk-go-v2/service/sns/types"

	awsx "github.com/device-fanout/fanout/internal/aws"
	"github.com/device-fanout/fanout/producer/internal/spool"
)

const maxBackoff = 5 * time.Second

// backoff is the delay before a failed event is sent again, and before more is sent to a topic in trouble.
var backoff = awsx.Backoff{First: 50 * time.Millisecond, Most: maxBackoff}

// send makes requests, first with batch, until there is none worth sending. It makes the next where the last has ended, because the
// stack that a request needs is there already.
func (p *Producer) send(batch []entry) {
	for batch != nil {
		batch = p.sendOne(batch)
	}
}

// sendOne makes one request, settles what it carried, and returns the next batch if there is one.
func (p *Producer) sendOne(batch []entry) []entry {
	entries := make([]types.PublishBatchRequestEntry, 0, len(batch))
	unsent := make([]outcome, len(batch)) // of what can't be sent any more
	start := time.Now()
	for i, head := range batch {
		switch {
		case p.requests.Err() != nil:
			unsent[i] = abandoned
			continue
		case head.attempts == 0:
			head.first = start
		case p.store == nil && start.Sub(head.first) > p.cfg.GiveUpAfter: // it has waited too long behind other batches
			unsent[i] = overdue
			continue
		}
		head.attempts++
		entries = append(entries, types.PublishBatchRequestEntry{
			Id:                     awsx.EntryID(i),
			Message:                aws.String(string(head.body)),
			MessageGroupId:         &head.event.DeviceID,
			MessageDeduplicationId: &head.key,
			MessageAttributes:      p.attributes.of(head.pending),
		})
	}
	results := make([]entryResult, len(batch))
	var answer requestResult
	if len(entries) > 0 {
		results, answer = p.request(batch, entries)
	}
	for i, f := range unsent {
		if f != 0 {
			results[i] = entryResult{f, &awsx.Answer{Verdict: awsx.Verdict{Code: batch[i].code}, Err: batch[i].err}}
		}
	}
	return p.settle(batch, results, answer)
}

// requestResult tells what a request as a whole came to.
type requestResult struct {
	entries   int           // that were in it
	took      time.Duration // zero when it was not answered
	throttled bool          // as a whole
	failed    bool          // as a whole, and for no reason that lies in one of its entries
}

// request makes one request.
func (p *Producer) request(batch []entry, entries []types.PublishBatchRequestEntry) ([]entryResult, requestResult) {
	ctx, cancel := context.WithTimeout(p.requests, p.cfg.RequestTimeout)
	defer cancel()
	var ended func(RequestEnd)
	if p.cfg.Hooks.Request != nil {
		ctx, ended = p.cfg.Hooks.Request(ctx, p.describe(batch, len(entries)))
	}
	start := time.Now()
	out, err := p.api.PublishBatch(ctx, &sns.PublishBatchInput{TopicArn: &p.topic, PublishBatchRequestEntries: entries}, oneAttempt)
	took := time.Since(start)
	results := readAnswer(len(batch), out, err)
	if ended != nil {
		end := RequestEnd{Took: took, Err: err}
		for _, o := range results {
			if o.outcome != confirmed {
				end.Failed++
				end.Code = o.Code
			}
		}
		ended(end)
	}
	answer := requestResult{entries: len(entries)}
	if err == nil {
		answer.took = took
		return results, answer
	}
	answer.throttled = results[0].Class == awsx.Throttled
	answer.failed = results[0].outcome == retryable
	return results, answer
}

// oneAttempt switches the SDK's own retries off: it would repeat a whole request out of sight of the bound on retries.
func oneAttempt(o *sns.Options) { o.Retryer = aws.NopRetryer{} }

// settle acts on the outcome of every entry. First the callers are told what has ended, then the lanes move on: so a device's
// callbacks run in its order. It returns the next batch for its caller to send, if there is one.
func (p *Producer) settle(batch []entry, results []entryResult, answer requestResult) []entry {
	again := make([]time.Duration, len(batch)) // the delay before each entry's next attempt; 0 for what has ended
	var done, failed, blocked, aside int
	var refs []spool.Ref // of what has ended
	for i, head := range batch {
		o := results[i]
		if o.outcome == confirmed {
			refs = append(refs, head.ref)
			p.tell(head.pending, Result{MessageID: o.MessageID, SequenceNumber: o.SequenceNumber})
			done++
			continue
		}
		head.code, head.err = o.Code, o.Err
		head.unknown = head.unknown || o.Class == awsx.Unknown
		head.refused = o.outcome == refused
		if o.outcome == refusedTogether {
			head.alone = true
		}
		if delay := backoff.After(head.attempts); p.sendAgain(head, o, delay) {
			again[i] = delay
			continue
		}
		if p.store == nil {
			failed++
			blocked += p.fail(head, p.requests.Err() != nil)
			continue
		}
		failure := head.failure(false)
		if err := p.setAside(head.pending, failure); err != nil {
			p.spoolFailed(err)
			again[i] = maxBackoff
			continue
		}
		followed := false
		if p.cfg.OnFailure == Gapless {
			p.mu.Lock()
			followed = head.lane.block(head.pending, failure)
			p.mu.Unlock()
		}
		if !followed { // else the spool keeps it until they are set aside too
			refs = append(refs, head.ref)
		}
		p.tell(head.pending, Result{Err: failure})
		failed++
		aside++
	}
	p.warn(batch, results, again)
	if p.store != nil && len(refs) > 0 {
		p.store.Done(refs...)
	}

	p.mu.Lock()
	defer p.mu.Unlock()
	p.underWay--
	p.recordRequest(answer)
	p.stats.Confirmed += int64(done)
	p.stats.Failed += int64(failed + blocked)
	p.stats.SetAside += int64(aside)
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
	if len(p.toLoad) > 0 {
		p.startReader()
	}
	next := p.worthSending()
	p.dispatch()
	p.signalDrained()
	return next
}

// sendAgain tells whether an event that was not confirmed is to be sent again, after delay.
func (p *Producer) sendAgain(head entry, o entryResult, delay time.Duration) bool {
	if p.store != nil {
		return o.outcome != refused // all other trouble ends some time, and the event is safe until then
	}
	return (o.outcome == retryable || o.outcome == refusedTogether) &&
		p.requests.Err() == nil && time.Since(head.first)+delay <= p.cfg.GiveUpAfter
}

// recordRequest counts a request and adapts the pace to its result. The caller holds mu.
func (p *Producer) recordRequest(answer requestResult) {
	if answer.entries == 0 {
		return
	}
	p.stats.Batches++
	p.stats.Entries += int64(answer.entries)
	switch {
	case answer.throttled:
		p.pace.throttled(time.Now())
	case answer.failed:
		p.pace.failed(time.Now())
	default:
		p.pace.succeeded()
	}
	if answer.took > 0 {
		if p.roundTrip == 0 {
			p.roundTrip = answer.took
		}
		p.roundTrip += (answer.took - p.roundTrip) / 8
	}
}

// fail answers an event with its error, and those that were waiting behind it with a BlockedError unless they shall go on.
// It removes the latter from their lane and returns their number.
func (p *Producer) fail(head entry, closing bool) int {
	l := head.lane
	var followers []*pending
	if p.cfg.OnFailure == Gapless || closing {
		p.mu.Lock()
		followers = l.events[1:len(l.events):len(l.events)]
		l.events = l.events[:1:1]
		for _, f := range followers {
			p.forget(l, f)
		}
		p.mu.Unlock()
	}
	failure := head.failure(closing)
	p.tell(head.pending, Result{Err: failure})
	for _, f := range followers {
		p.tell(f, Result{Err: &BlockedError{EventID: f.event.ID, DeviceID: f.event.DeviceID, BlockedBy: head.event.ID, Err: failure}})
	}
	return len(followers)
}

// tell tells the caller of an event and the hooks its outcome. It is called once for every accepted event, without the
// lock.
func (p *Producer) tell(event *pending, r Result) {
	event.answered(r)()
	if p.cfg.Hooks.Resolved != nil {
		p.cfg.Hooks.Resolved(Resolved{
			EventID: event.event.ID, DeviceID: event.event.DeviceID, Type: event.eventType,
			Attempts: event.attempts, Took: p.now().Sub(event.accepted), Code: event.code, Err: r.Err,
		})
	}
}

// answered returns what answers the caller of an event, if that has not happened yet.
func (event *pending) answered(r Result) func() {
	done, ended := event.done, event.ended
	r.Event = event.event
	return func() {
		if ended != nil {
			ended(r)
		}
		if done != nil {
			done(r)
		}
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
		Code: event.code, Attempts: event.attempts, Refused: event.refused, Err: err,
	}
}

// warn logs failed entries, at most once a second.
func (p *Producer) warn(batch []entry, results []entryResult, again []time.Duration) {
	failed := 0
	var example entryResult
	var device string
	var retried bool
	for i, o := range results {
		if o.outcome != confirmed && o.outcome != abandoned {
			failed++
			example, device, retried = o, batch[i].lane.device, again[i] > 0
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
		p.cfg.Logger.Warn("publish failed", "entries", failed, "of", len(batch), "will_retry", retried, "code", example.Code, "device_id", device, "err", example.Err)
	}
}
