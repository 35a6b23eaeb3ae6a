package consumers

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"
)

// Consumer reads one service's queue. Make one with [New] and let it work with [Consumer.Run].
type Consumer struct {
	api     QueueAPI
	queue   Queue
	handler Handler
	cfg     Config
	stats   counters
}

// Stats counts what a Consumer has done so far.
type Stats struct {
	Received      int64 // messages, repeated deliveries included
	Redelivered   int64 // of them, those that SQS had delivered before
	Handled       int64 // messages whose handler succeeded
	Retries       int64 // handlers started again after an unknown error
	DeadLettered  int64 // messages that the dead-letter queue has confirmed
	Released      int64 // messages handed back unhandled
	LeasesLost    int64 // messages whose visibility timeout could not be extended
	Receives      int64 // receive requests
	Deletes       int64 // delete requests
	DeleteEntries int64 // messages in those requests
	Extensions    int64 // requests that extended visibility timeouts
	Held          int64 // messages held now
}

type counters struct {
	received, redelivered, handled, retries, deadLettered, released, leasesLost atomic.Int64
	receives, deletes, deleteEntries, extensions, held                          atomic.Int64
}

// New makes a Consumer of queue. It makes no request. The error lists every fault of queue and cfg.
func New(api QueueAPI, queue Queue, handler Handler, cfg Config) (*Consumer, error) {
	cfg = cfg.withDefaults()
	err := errors.Join(queue.validate(), cfg.validate())
	if handler == nil {
		err = errors.Join(err, errors.New("consumers: handler is nil"))
	}
	if err != nil {
		return nil, err
	}
	cfg.Logger = cfg.Logger.With("service", queue.Service)
	return &Consumer{api: api, queue: queue, handler: handler, cfg: cfg}, nil
}

// Stats returns what the Consumer has done so far. It may be called at any time.
func (c *Consumer) Stats() Stats {
	s := &c.stats
	return Stats{
		Received: s.received.Load(), Redelivered: s.redelivered.Load(), Handled: s.handled.Load(), Retries: s.retries.Load(),
		DeadLettered: s.deadLettered.Load(), Released: s.released.Load(), LeasesLost: s.leasesLost.Load(),
		Receives: s.receives.Load(), Deletes: s.deletes.Load(), DeleteEntries: s.deleteEntries.Load(),
		Extensions: s.extensions.Load(), Held: s.held.Load(),
	}
}

// Run receives and handles until ctx ends, then drains: the last receive ends by itself, events that were not started go back
// tail first, running handlers finish, and what they finished is deleted. It returns nil after a clean drain.
// An error means that the queues are not fit to start with, or that handlers outlasted [Config.DrainTimeout]; their events come
// again. Run may be called once at a time.
func (c *Consumer) Run(ctx context.Context) error {
	facts, err := c.check(ctx)
	if err != nil {
		if ctx.Err() != nil {
			return nil
		}
		return err
	}
	r := newRun(c, facts)
	c.cfg.Logger.Info("consumer started", "queue", facts.arn, "visibility_timeout", facts.visibility)
	return r.loop(ctx)
}

// facts is what a consumer learns of its queue at the start.
type facts struct {
	arn        string
	visibility time.Duration
}

// check looks at both queues before the first receive, so that a mistake shows now and not with the first dead letter.
func (c *Consumer) check(ctx context.Context) (facts, error) {
	source, err := c.attributes(ctx, c.queue.URL)
	if err != nil {
		return facts{}, fmt.Errorf("consumers: queue of %s: %w", c.queue.Service, err)
	}
	dlq, err := c.attributes(ctx, c.queue.DLQURL)
	if err != nil {
		return facts{}, fmt.Errorf("consumers: dead-letter queue of %s: %w", c.queue.Service, err)
	}
	fifo := string(types.QueueAttributeNameFifoQueue)
	var faults []error
	if source[fifo] != "true" {
		faults = append(faults, fmt.Errorf("consumers: queue %s is not FIFO: it would not keep a device's events in order", c.queue.URL))
	}
	if dlq[fifo] != "true" {
		faults = append(faults, fmt.Errorf("consumers: dead-letter queue %s is not FIFO: it would not keep a device's events in order", c.queue.DLQURL))
	}
	seconds, _ := strconv.Atoi(source[string(types.QueueAttributeNameVisibilityTimeout)])
	visibility := time.Duration(seconds) * time.Second
	if visibility < minVisibility {
		faults = append(faults, fmt.Errorf("consumers: queue %s has a visibility timeout of %v, want at least %v: it could not be extended in time",
			c.queue.URL, visibility, minVisibility))
	}
	size := string(types.QueueAttributeNameMaximumMessageSize)
	most, _ := strconv.Atoi(source[size])
	if takes, err := strconv.Atoi(dlq[size]); err == nil && takes < most {
		faults = append(faults, fmt.Errorf("consumers: dead-letter queue %s takes messages of up to %d bytes, want %d as queue %s does: "+
			"a larger one would hold its device up for ever", c.queue.DLQURL, takes, most, c.queue.URL))
	}
	if err := errors.Join(faults...); err != nil {
		return facts{}, err
	}
	return facts{arn: source[string(types.QueueAttributeNameQueueArn)], visibility: visibility}, nil
}

func (c *Consumer) attributes(ctx context.Context, url string) (map[string]string, error) {
	out, err := c.api.GetQueueAttributes(ctx, &sqs.GetQueueAttributesInput{
		QueueUrl: &url,
		AttributeNames: []types.QueueAttributeName{
			types.QueueAttributeNameQueueArn,
			types.QueueAttributeNameVisibilityTimeout,
			types.QueueAttributeNameFifoQueue,
			types.QueueAttributeNameMaximumMessageSize,
		},
	})
	var unknown *types.InvalidAttributeName // a standard queue does not know FifoQueue
	if errors.As(err, &unknown) {
		return map[string]string{}, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read attributes of %s: %w", url, err)
	}
	return out.Attributes, nil
}
