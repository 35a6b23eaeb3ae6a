package deadletter

import (
	"cmp"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"maps"
	"path"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"
)

// Limits of SQS that a redriven message must keep.
// See https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/quotas-messages.html.
const (
	maxAttributes   = 10
	maxMessageBytes = 1 << 20
)

// moveTimeout is the longest that the requests for one letter may take.
const moveTimeout = 2 * requestTimeout

// Outcome is what a redrive did with one letter.
type Outcome struct {
	Letter *Letter
	Err    error // nil when the event is back in its queue and gone from the dead-letter queue
}

// Summary counts what a redrive did.
type Summary struct {
	Seen     int // letters read
	Matched  int // letters that the filter selected
	Moved    int // letters sent back and deleted
	Failed   int // letters that could not be sent, or were sent and could not be deleted
	Held     int // letters left alone because an earlier one of their device failed
	Returned int // letters left alone because this very redrive had sent the same event back before
}

// Redrive sends the letters that filter selects back to the queue that their record names, or to the queue called fallback when
// it names none. It reports each to done, which may be nil. It ends when the queue gives no more, when it has tried to move
// filter.Limit letters, or when ctx ends; what it did not move is visible again afterwards.
//
// A letter that is left where it is hides what stands behind it of its device, so that filter reaches only the first few letters
// of a device, ten at most.
//
// It may be interrupted, killed, run again, and run twice at once: what one run holds no other sees. After it was killed, what
// it held is hidden for up to a minute; to run it again within five minutes makes no second copy of what it had sent and not
// deleted.
//
// The returned error is of reading, or ctx's when it has ended; failures of single letters are in their outcomes and in the
// summary.
func Redrive(ctx context.Context, api QueueAPI, from Source, fallback string, filter Filter, done func(Outcome)) (Summary, error) {
	if done == nil {
		done = func(Outcome) {}
	}
	r := redrive{
		reader: newReader(api, from), fallback: fallback, filter: filter, start: time.Now(), done: done,
		urls: map[string]lookup{}, stuck: map[string]bool{}, sent: map[[sha256.Size]byte]int{},
	}
	err := r.each(ctx, func(letters []*Letter) bool {
		for i, l := range letters {
			switch {
			case ctx.Err() != nil || r.full():
				r.see(l)
				r.hold(l)
			case time.Until(l.hiddenUntil) < moveTimeout:
				// There is no time to move it before others can have it. Let it and what is behind it come again.
				return r.giveBack(ctx, letters[i:]) == nil
			default:
				r.take(ctx, l)
			}
		}
		return !r.full()
	})
	return r.sum, errors.Join(err, r.releaseHeld(ctx))
}

type redrive struct {
	*reader
	fallback string // name of the queue for letters whose record names none
	filter   Filter
	start    time.Time
	done     func(Outcome)
	urls     map[string]lookup         // by queue name
	stuck    map[string]bool           // devices with a letter that failed
	sent     map[[sha256.Size]byte]int // what was sent, by identity: the count of redrives that it carries
	sum      Summary
}

type lookup struct {
	url string
	err error
}

func (r *redrive) full() bool {
	return r.filter.Limit > 0 && r.sum.Moved+r.sum.Failed >= r.filter.Limit
}

func (r *redrive) see(l *Letter) {
	if !l.held {
		r.sum.Seen++
	}
}

// giveBack makes letters that were not decided on visible again.
func (r *redrive) giveBack(ctx context.Context, letters []*Letter) error {
	var open []*Letter
	for _, l := range letters {
		if !l.held {
			open = append(open, l)
		}
	}
	return r.release(ctx, open)
}

// take decides on one letter.
func (r *redrive) take(ctx context.Context, l *Letter) {
	if l.held {
		if l.sent { // its delete failed before: now it has a new handle
			if err := r.delete(ctx, l); err == nil {
				l.sent = false
				r.sum.Failed--
				r.sum.Moved++
				r.done(Outcome{Letter: l})
			}
		}
		return
	}
	r.see(l)
	switch {
	case !r.filter.Matches(l, r.start):
		r.hold(l)
		return
	case r.cameBack(l):
		// Without this, a redrive beside a consumer that still fails would go round in circles.
		r.sum.Returned++
		r.hold(l)
		return
	}
	r.sum.Matched++
	if r.stuck[l.DeviceID] {
		r.sum.Held++
		r.hold(l)
		return
	}
	err := r.move(ctx, l)
	if err != nil {
		r.sum.Failed++
		r.stuck[l.DeviceID] = true
		r.hold(l)
	} else {
		r.sum.Moved++
	}
	r.done(Outcome{Letter: l, Err: err})
}

// cameBack tells whether this redrive has sent the letter itself. Its count of redrives tells it from another letter of the same
// device with the same body.
func (r *redrive) cameBack(l *Letter) bool {
	redrives, ok := r.sent[l.identity()]
	return ok && l.Record.Redrives >= redrives
}

// identity is equal for copies of one event in one group.
func (l *Letter) identity() [sha256.Size]byte {
	return sha256.Sum256([]byte(l.DeviceID + "\x00" + l.Body))
}

// move sends one letter and deletes it after the send was confirmed. Neither ends with ctx: a request cut off may have been
// carried out.
func (r *redrive) move(ctx context.Context, l *Letter) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), requestTimeout)
	defer cancel()
	name := r.fallback
	if arn := l.Record.Queue; arn != "" {
		name = arn[strings.LastIndexByte(arn, ':')+1:]
	}
	url, err := r.url(ctx, name)
	if err != nil {
		return err
	}
	attributes := l.redriven()
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
	l.sent = true
	r.sent[l.identity()] = 0
	if _, counted := attributes[Attribute]; counted {
		r.sent[l.identity()] = l.Record.Redrives + 1
	}
	if err := r.delete(ctx, l); err != nil {
		return fmt.Errorf("deadletter: event %s of device %s is back in %s, but was not deleted from its dead-letter queue; "+
			"run the redrive again within five minutes: %w", cmp.Or(l.EventID, l.MessageID), l.DeviceID, name, err)
	}
	return nil
}

func (r *redrive) delete(ctx context.Context, l *Letter) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), requestTimeout)
	defer cancel()
	_, err := r.api.DeleteMessage(ctx, &sqs.DeleteMessageInput{QueueUrl: &r.from.URL, ReceiptHandle: &l.handle})
	return err
}

// redriven is the letter's attributes with one more redrive in its record. A message that had none gets one if there is room.
func (l *Letter) redriven() map[string]types.MessageAttributeValue {
	record := l.Record
	record.Redrives++
	attributes := maps.Clone(l.attributes)
	if attributes == nil {
		attributes = map[string]types.MessageAttributeValue{}
	}
	_, had := attributes[Attribute]
	attributes[Attribute] = types.MessageAttributeValue{DataType: aws.String("String"), StringValue: aws.String(record.Encode())}
	if !had && (len(attributes) > maxAttributes || messageBytes(l.Body, attributes) > maxMessageBytes) {
		delete(attributes, Attribute)
	}
	return attributes
}

// messageBytes is the size of a message as SQS counts it.
func messageBytes(body string, attributes map[string]types.MessageAttributeValue) int {
	n := len(body)
	for name, value := range attributes {
		n += len(name) + len(aws.ToString(value.DataType)) + len(aws.ToString(value.StringValue)) + len(value.BinaryValue)
	}
	return n
}

// url looks for a queue once.
func (r *redrive) url(ctx context.Context, name string) (string, error) {
	if name == path.Base(r.from.URL) {
		return "", fmt.Errorf("deadletter: %s is the dead-letter queue itself; want the queue that its events came from", name)
	}
	found, ok := r.urls[name]
	if ok {
		return found.url, found.err
	}
	out, err := r.api.GetQueueUrl(ctx, &sqs.GetQueueUrlInput{QueueName: &name})
	if err == nil {
		found.url = aws.ToString(out.QueueUrl)
	} else {
		found.err = fmt.Errorf("deadletter: look for queue %q: %w", name, err)
	}
	if err == nil || !transient(err) {
		r.urls[name] = found
	}
	return found.url, found.err
}
