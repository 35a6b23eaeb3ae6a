package consumers

import (
	"context"
	"errors"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"
	"github.com/aws/smithy-go"
	"github.com/google/uuid"
)

// polling is the state of receiving.
type polling struct {
	underWay int
	wanted   int // receives to keep under way: one when idle, more while they come back full
	failures int // receives in a row that failed
	after    time.Time
	attempt  string // request attempt ID to use again, after a receive whose reply was lost
}

// startPolls asks for what free slots can take. It asks for a full ten, or for half of the slots if they are few, so that slots
// which become free one by one do not make a request each.
func (r *run) startPolls() {
	for !r.draining && r.poll.underWay < r.poll.wanted {
		if wait := time.Until(r.poll.after); wait > 0 {
			r.lookAgainIn(wait)
			return
		}
		busy := r.running + r.sending + len(r.ready)
		free := r.cfg.Slots - busy - maxBatch*r.poll.underWay
		if free < min(maxBatch, (r.cfg.Slots+1)/2) {
			return
		}
		if len(r.held) >= maxBatch*r.cfg.Slots { // deletes do not keep up
			return
		}
		attempt := r.poll.attempt
		r.poll.attempt = ""
		if attempt == "" {
			attempt = uuid.NewString()
		}
		r.poll.underWay++
		go r.receive(min(maxBatch, free), attempt)
	}
}

// receive makes one long poll. Its context does not end with Run's: a poll cut off may have got messages already, and their
// devices would stand still until the visibility timeout.
func (r *run) receive(n int, attempt string) {
	ctx, cancel := context.WithTimeout(r.requests, r.cfg.WaitTime+requestTimeout)
	defer cancel()
	out, err := r.api.ReceiveMessage(ctx, &sqs.ReceiveMessageInput{
		QueueUrl:                    &r.queue.URL,
		MaxNumberOfMessages:         int32(n),
		WaitTimeSeconds:             int32(r.cfg.WaitTime / time.Second),
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
		r.post(func() { r.receiveFailed(attempt, err) })
		return
	}
	messages := make([]*message, len(out.Messages))
	for i, in := range out.Messages {
		messages[i] = newMessage(in, lease)
	}
	r.post(func() {
		r.stats.receives.Add(1)
		r.poll.underWay--
		r.poll.failures = 0
		switch {
		case len(messages) == maxBatch:
			r.poll.wanted = min(r.poll.wanted+1, r.cfg.Pollers)
		case len(messages) == 0:
			r.poll.wanted = 1
		}
		r.received(messages)
	})
}

// receiveFailed waits a growing time before the next receive. When no answer came, the messages of the lost reply are asked for
// again by the same attempt ID. After an answer, such as throttling, that ID is no longer valid.
func (r *run) receiveFailed(attempt string, err error) {
	r.stats.receives.Add(1)
	r.poll.underWay--
	if r.requests.Err() != nil {
		return
	}
	var answered smithy.APIError
	if !errors.As(err, &answered) {
		r.poll.attempt = attempt
	}
	r.poll.failures++
	delay := min(100*time.Millisecond<<min(r.poll.failures-1, 8), 10*time.Second)
	r.poll.after = time.Now().Add(delay)
	r.cfg.Logger.Warn("receive failed", "failures", r.poll.failures, "retry_in", delay, "err", err)
}
