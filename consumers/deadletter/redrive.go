package deadletter

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"
)

// redriveVisibility is how long a redrive hides what it has received. It bounds the time that a redrive which was killed
// keeps the rest of the queue from the next one.
const redriveVisibility = 5 * time.Minute

// shortPoll keeps the SDK from repeating a receive whose messages might then be hidden twice over.
func shortPoll(o *sqs.Options) { o.Retryer = aws.NopRetryer{} }

// Outcome is what a redrive did with one letter.
type Outcome struct {
	Letter *Letter
	Err    error // nil when the event is back in its queue and gone from the dead-letter queue
}

// Summary counts what a redrive did.
type Summary struct {
	Seen    int // letters read
	Matched int // letters that the filter selected
	Moved   int // letters sent back and deleted
	Failed  int // letters that could not be sent, or were sent and could not be deleted
	Held    int // letters left alone because an earlier one of their device failed
}

// Redrive sends the letters that filter selects back to the queue called fallback, or to the one that their record names. It
// reports each to done, which may be nil. It ends when the queue gives no more, when filter.Limit letters were moved, or when
// ctx ends; what it did not move is visible again afterwards.
//
// The returned error is of receiving; failures of single letters are in their outcomes and in the summary.
func Redrive(ctx context.Context, api QueueAPI, from Source, fallback string, filter Filter, done func(Outcome)) (Summary, error) {
	r := redrive{api: api, from: from, fallback: fallback, urls: map[string]string{}, stuck: map[string]bool{}}
	if done == nil {
		done = func(Outcome) {}
	}
	var left []*Letter
	err := receiveAll(ctx, api, from, redriveVisibility, func(letters []*Letter) bool {
		now := time.Now()
		for _, l := range letters {
			r.sum.Seen++
			full := filter.Limit > 0 && r.sum.Matched >= filter.Limit
			if full || ctx.Err() != nil || !filter.Matches(l, now) {
				left = append(left, l)
				continue
			}
			r.sum.Matched++
			if r.stuck[l.DeviceID] {
				r.sum.Held++
				left = append(left, l)
				continue
			}
			err := r.move(ctx, l)
			done(Outcome{Letter: l, Err: err})
			if err != nil {
				r.sum.Failed++
				r.stuck[l.DeviceID] = true
				left = append(left, l)
				continue
			}
			r.sum.Moved++
		}
		return ctx.Err() == nil && (filter.Limit == 0 || r.sum.Matched < filter.Limit)
	})
	return r.sum, errors.Join(err, release(ctx, api, from.URL, left))
}

type redrive struct {
	api      QueueAPI
	from     Source
	fallback string            // name of the queue for letters whose record names none
	urls     map[string]string // by queue name
	stuck    map[string]bool   // devices with a letter that failed
	sum      Summary
}

// move sends one letter and deletes it after the send was confirmed. Neither ends with ctx: a request cut off may have been
// carried out.
func (r *redrive) move(ctx context.Context, l *Letter) error {
	ctx = context.WithoutCancel(ctx)
	name := r.fallback
	if arn := l.Record.Queue; arn != "" {
		name = arn[strings.LastIndexByte(arn, ':')+1:]
	}
	url, err := r.url(ctx, name)
	if err != nil {
		return err
	}
	record := l.Record
	record.Redrives++
	attributes := maps.Clone(l.attributes)
	if attributes == nil {
		attributes = map[string]types.MessageAttributeValue{}
	}
	if _, ok := attributes[Attribute]; ok || len(attributes) < 10 {
		attributes[Attribute] = types.MessageAttributeValue{DataType: aws.String("String"), StringValue: aws.String(record.Encode())}
	}
	_, err = r.api.SendMessage(ctx, &sqs.SendMessageInput{
		QueueUrl:               &url,
		MessageBody:            &l.Body,
		MessageGroupId:         aws.String(cmp.Or(l.DeviceID, l.MessageID)),
		MessageDeduplicationId: aws.String("redrive-" + l.MessageID),
		MessageAttributes:      attributes,
	})
	if err != nil {
		return fmt.Errorf("deadletter: send event %s of device %s to %s: %w", cmp.Or(l.EventID, l.MessageID), l.DeviceID, name, err)
	}
	if _, err := r.api.DeleteMessage(ctx, &sqs.DeleteMessageInput{QueueUrl: &r.from.URL, ReceiptHandle: &l.handle}); err != nil {
		return fmt.Errorf("deadletter: event %s of device %s is back in %s, but was not deleted from its dead-letter queue; "+
			"run the redrive again within five minutes: %w", cmp.Or(l.EventID, l.MessageID), l.DeviceID, name, err)
	}
	return nil
}

func (r *redrive) url(ctx context.Context, name string) (string, error) {
	if url, ok := r.urls[name]; ok {
		return url, nil
	}
	out, err := r.api.GetQueueUrl(ctx, &sqs.GetQueueUrlInput{QueueName: &name})
	if err != nil {
		return "", fmt.Errorf("deadletter: look for queue %s: %w", name, err)
	}
	r.urls[name] = aws.ToString(out.QueueUrl)
	return r.urls[name], nil
}
