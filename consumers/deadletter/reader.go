package deadletter

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"
	"github.com/aws/smithy-go"
	"github.com/google/uuid"
)

const (
	batchSize = 10
	// visibility is how long what a reader receives is hidden from others, should it die before it has released it. It is well
	// inside the five minutes in which SQS recognizes a deduplication ID: a redrive that was killed between sending and deleting
	// can then be run again before they are over.
	visibility = time.Minute
	// receiveWait makes a receive a long poll. A short one asks a part of the servers only, and may miss what there is.
	receiveWait = time.Second
	// requestTimeout bounds every request.
	requestTimeout = 10 * time.Second
	// receiveTries is how often a receive is tried.
	receiveTries = 4
)

// reader receives a dead-letter queue from its front to its end and holds what its user does not want to give back yet.
type reader struct {
	api  QueueAPI
	from Source

	byID  map[string]*Letter // what is held, by message ID
	held  []*Letter          // the same, in the order in which it was received
	again int                // letters that became visible, and were received again, while they were held
}

func newReader(api QueueAPI, from Source) *reader {
	return &reader{api: api, from: from, byID: map[string]*Letter{}}
}

// hold keeps a letter until [reader.releaseHeld].
func (r *reader) hold(l *Letter) {
	if l.held {
		return
	}
	l.held = true
	r.byID[l.MessageID] = l
	r.held = append(r.held, l)
}

// each hands take one received batch after the other until the queue gives no more, take returns false, or ctx ends.
//
// A held letter that took so long that it has become visible comes again, as the same Letter with its new handle. That goes
// on as long as new ones come too; a queue too large to be read once within the visibility timeout ends in an error.
func (r *reader) each(ctx context.Context, take func([]*Letter) bool) error {
	for {
		if err := ctx.Err(); err != nil {
			return fmt.Errorf("deadletter: reading %s was interrupted: %w", r.from.URL, err)
		}
		before := time.Now()
		messages, err := r.receive(ctx)
		if err != nil {
			return err
		}
		if len(messages) == 0 {
			return nil
		}
		letters := make([]*Letter, len(messages))
		for i, m := range messages {
			l := newLetter(r.from.Service, m)
			if held := r.byID[l.MessageID]; held != nil {
				held.handle = l.handle
				l = held
				r.again++
			}
			l.hiddenUntil = before.Add(visibility)
			letters[i] = l
		}
		if !take(letters) {
			return nil
		}
		if r.again > 2*len(r.held)+100 {
			return fmt.Errorf("deadletter: %s: after %d messages the first ones came again and again: it holds more than can be read in %v",
				r.from.URL, len(r.held), visibility)
		}
	}
}

// receive makes one receive. It does not end with ctx: one cut off may have hidden messages already. When no answer came, the
// messages of the lost reply are asked for again by the same attempt ID; after an answer that ID is no longer valid.
func (r *reader) receive(ctx context.Context) ([]types.Message, error) {
	attempt := uuid.NewString()
	for try := 1; ; try++ {
		out, err := r.receiveOnce(ctx, attempt)
		if err == nil {
			return out.Messages, nil
		}
		var answered smithy.APIError
		if errors.As(err, &answered) {
			attempt = uuid.NewString()
		}
		if try == receiveTries || !transient(err) {
			return nil, fmt.Errorf("deadletter: receive from %s: %w", r.from.URL, err)
		}
		time.Sleep(100 * time.Millisecond << try)
	}
}

func (r *reader) receiveOnce(ctx context.Context, attempt string) (*sqs.ReceiveMessageOutput, error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), receiveWait+requestTimeout)
	defer cancel()
	return r.api.ReceiveMessage(ctx, &sqs.ReceiveMessageInput{
		QueueUrl:                    &r.from.URL,
		MaxNumberOfMessages:         batchSize,
		WaitTimeSeconds:             int32(receiveWait / time.Second),
		VisibilityTimeout:           int32(visibility / time.Second),
		MessageAttributeNames:       []string{"All"},
		MessageSystemAttributeNames: []types.MessageSystemAttributeName{types.MessageSystemAttributeNameAll},
		ReceiveRequestAttemptId:     &attempt,
	}, func(o *sqs.Options) {
		o.Retryer = aws.NopRetryer{} // it would use the same attempt ID also where that is not allowed
		o.DisableMessageChecksumValidation = true
	})
}

// transient tells whether the same request may succeed a moment later.
func transient(err error) bool {
	var answered smithy.APIError
	if !errors.As(err, &answered) {
		return true
	}
	if _, throttled := retry.DefaultThrottleErrorCodes[answered.ErrorCode()]; throttled {
		return true
	}
	var response *awshttp.ResponseError
	return errors.As(err, &response) && response.HTTPStatusCode() >= http.StatusInternalServerError
}

// releaseHeld makes everything that is held visible again.
func (r *reader) releaseHeld(ctx context.Context) error { return r.release(ctx, r.held) }

// release makes letters visible again, last first, so that nobody gets the head of a device's letters while the rest is hidden.
// It works also after ctx has ended, but then not for long.
func (r *reader) release(ctx context.Context, letters []*Letter) error {
	interrupted := ctx.Err() != nil
	ctx = context.WithoutCancel(ctx)
	if interrupted {
		limited, cancel := context.WithTimeout(ctx, requestTimeout)
		defer cancel()
		ctx = limited
	}
	failed := 0
	var cause error
	for end := len(letters); end > 0; {
		var entries []types.ChangeMessageVisibilityBatchRequestEntry
		for end > 0 && len(entries) < batchSize {
			end--
			if l := letters[end]; time.Now().Before(l.hiddenUntil) {
				entries = append(entries, types.ChangeMessageVisibilityBatchRequestEntry{
					Id: aws.String(strconv.Itoa(len(entries))), ReceiptHandle: &l.handle,
				})
			}
		}
		if len(entries) == 0 {
			break
		}
		n, err := r.show(ctx, entries)
		if failed += n; err != nil {
			cause = err
		}
	}
	if failed > 0 {
		return fmt.Errorf("deadletter: %d messages of %s were not made visible; they will be within %v: %w", failed, r.from.URL, visibility, cause)
	}
	return nil
}

// show makes the messages of one batch visible. It returns how many are not.
func (r *reader) show(ctx context.Context, entries []types.ChangeMessageVisibilityBatchRequestEntry) (failed int, err error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	out, err := r.api.ChangeMessageVisibilityBatch(ctx, &sqs.ChangeMessageVisibilityBatchInput{QueueUrl: &r.from.URL, Entries: entries})
	if err != nil {
		return len(entries), err
	}
	for _, f := range out.Failed {
		if !f.SenderFault { // else its handle has expired: it is visible already
			failed++
			err = fmt.Errorf("%s: %s", aws.ToString(f.Code), aws.ToString(f.Message))
		}
	}
	return failed, err
}
