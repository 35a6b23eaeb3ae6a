package consumers

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"

	"github.com/device-fanout/fanout/consumers/internal/attempt"
	"github.com/device-fanout/fanout/consumers/internal/check"
	"github.com/device-fanout/fanout/consumers/internal/core"
	"github.com/device-fanout/fanout/consumers/internal/reused"
	awsx "github.com/device-fanout/fanout/internal/aws"
	"github.com/device-fanout/fanout/internal/queueneeds"
)

// Consumer reads one service's queue. Make one with [New] and start it with [Consumer.Run].
type Consumer struct {
	api   QueueAPI
	queue Queue
	cfg   Config

	service attempt.Service
	guard   check.Guard
	reused  *reused.Watch
	running atomic.Bool // a Run goes on, be it in its first check
	paused  atomic.Bool
	wake    chan struct{}       // tells a run that paused has changed
	current atomic.Pointer[run] // nil while it does not run

	retries       atomic.Int64
	draining      atomic.Bool
	receiveFailed atomic.Pointer[error] // the last receive's
	status        struct {
		sync.Mutex
		before core.Counts // of runs that have ended
		counts core.Counts
		turned time.Time // when the loop did
		doubt  error     // why events can't be handled
	}
}

// Stats counts what a Consumer has done so far.
type Stats struct {
	Received       int64 // messages, repeated deliveries included
	Redelivered    int64 // of them, those that SQS had delivered before
	Handled        int64 // messages whose handler succeeded
	Retries        int64 // handlers started again after an unknown error
	DeadLettered   int64 // messages that the dead-letter queue has confirmed
	Parked         int64 // of them, those that did not fail but followed an earlier one of their device
	RetriesLater   int64 // messages whose device was handed back by RetryAfter
	Released       int64 // messages handed back unhandled
	Reused         int64 // messages with the identity of an earlier event and another type or payload; see [Reused]
	LeasesLost     int64 // messages whose visibility timeout could not be extended
	Receives       int64 // receive requests
	ReceivesFailed int64 // of them, those that returned an error
	Deletes        int64 // delete requests
	DeleteEntries  int64 // messages in those requests
	DeletesFailed  int64 // of them, those that were not deleted, to be tried again or lost with their lease
	Extensions     int64 // requests that extended visibility timeouts
	Breaks         int64 // how often the circuit breaker opened
	Held           int64 // messages held now
	Devices        int64 // devices they are of
	Deepest        int64 // messages of the device of which the most are held, as of the last heartbeat
	Running        bool  // Run has begun and not returned
	Draining       bool  // it stops
	Open           bool  // the circuit breaker is open now
	Paused         bool  // it is paused now
}

// New makes a Consumer of queue. It makes no request. The error lists every fault of queue and cfg.
func New(api QueueAPI, queue Queue, handler Handler, cfg Config) (*Consumer, error) {
	cfg = cfg.withDefaults()
	err := errors.Join(attempt.CheckQueue("consumers", queue), cfg.validate())
	switch {
	case handler == nil && cfg.Check != nil:
		err = errors.Join(err, errors.New("consumers: handler is nil: Config.Check tells whether what a handler needs works, and there is none"))
	case handler == nil:
		err = errors.Join(err, errors.New("consumers: handler is nil"))
	}
	if err != nil {
		return nil, err
	}
	cfg.Logger = cfg.Logger.With("service", queue.Service)
	known, _ := attempt.Sentinels(cfg.Known) // validated above
	return &Consumer{
		api: api, queue: queue, cfg: cfg, guard: check.Guard{Check: cfg.Check},
		reused: reused.New(cfg.Logger, cfg.RefuseReused), wake: make(chan struct{}, 1),
		service: attempt.Service{
			Handler: handler, UnknownTypes: cfg.UnknownTypes, Known: known, Retries: cfg.Retries, RetryDelay: cfg.RetryDelay,
			Faults: attempt.NewHookFaults(cfg.Logger),
		},
	}, nil
}

// Pause stops receiving until [Consumer.Resume]. What is held is handled. It may be called at any time, also before Run.
func (c *Consumer) Pause() { c.setPaused(true) }

// Resume ends a [Consumer.Pause].
func (c *Consumer) Resume() { c.setPaused(false) }

func (c *Consumer) setPaused(paused bool) {
	c.paused.Store(paused)
	select {
	case c.wake <- struct{}{}:
	default: // it is told already
	}
}

// Stats returns what the Consumer has done so far. It may be called at any time.
func (c *Consumer) Stats() Stats {
	c.status.Lock()
	n := c.status.counts
	c.status.Unlock()
	return Stats{
		Received: n.Received, Redelivered: n.Redelivered, Handled: n.Handled, Retries: c.retries.Load(), DeadLettered: n.DeadLettered, Parked: n.Parked,
		RetriesLater: n.RetriesLater, Released: n.Released, Reused: c.reused.Count(), LeasesLost: n.LeasesLost, Receives: n.Receives, ReceivesFailed: n.ReceivesFailed,
		Deletes: n.Deletes, DeleteEntries: n.DeleteEntries, DeletesFailed: n.DeletesFailed, Extensions: n.Extensions, Breaks: n.Breaks,
		Held: n.Held, Devices: n.Devices, Deepest: n.Deepest,
		Running: c.current.Load() != nil, Draining: c.draining.Load(), Open: n.Open, Paused: c.paused.Load(),
	}
}

// publish makes what the core has done visible to [Consumer.Stats] and [Consumer.Health].
func (r *run) publish() {
	now := time.Now()
	reason, check := r.core.Doubt()
	s := &r.status
	s.Lock()
	defer s.Unlock()
	s.counts, s.turned, s.doubt = r.core.Counts().Plus(s.before), now, doubt(reason, check)
}

// Run receives and handles until ctx ends, then drains: the last receive ends by itself, events that were not started go back
// tail first, running handlers finish, and what they finished is deleted. It returns nil after a clean drain.
// An error means that the queues can't be read or are not set up as needed, or that handlers outlasted [Config.DrainTimeout]; their
// events come again. It is [ErrRunning] at once while another Run of the same Consumer goes on.
func (c *Consumer) Run(ctx context.Context) error {
	if !c.running.CompareAndSwap(false, true) {
		return ErrRunning
	}
	defer c.running.Store(false)
	facts, err := c.check(ctx)
	if err != nil {
		if ctx.Err() != nil {
			return nil
		}
		return err
	}
	r := newRun(c, facts)
	c.current.Store(r)
	defer c.current.Store(nil)
	c.draining.Store(false)
	c.receiveFailed.Store(nil)
	c.status.Lock()
	c.status.before, c.status.turned, c.status.doubt = c.status.counts, time.Now(), nil
	c.status.Unlock()
	c.cfg.Logger.Info("consumer started", "queue", facts.arn, "visibility_timeout", facts.visibility)
	return r.loop(ctx)
}

// facts is what a consumer learns of its queue at the start.
type facts struct {
	arn         string
	visibility  time.Duration
	maxReceives int // before SQS moves a message to the dead-letter queue; zero for never
}

// check reads the attributes of both queues before the first receive, so that a mistake shows now and not with the first dead letter: one
// with which events would be lost is an error, any other a warning in the log.
func (c *Consumer) check(ctx context.Context) (facts, error) {
	source, err := c.attributes(ctx, c.queue.URL)
	if err != nil {
		return facts{}, fmt.Errorf("consumers: queue of %s: %w%s", c.queue.Service, err, advice("; ", err))
	}
	dlq, err := c.attributes(ctx, c.queue.DLQURL)
	if err != nil {
		return facts{}, fmt.Errorf("consumers: dead-letter queue of %s: %w%s", c.queue.Service, err, advice("; ", err))
	}
	var faults []error
	for _, f := range queueneeds.Check(source, dlq, queueneeds.Needs{MinVisibility: minVisibility, HandlerTimeout: c.cfg.HandlerTimeout}) {
		name, url, of := "queue", c.queue.URL, source
		if f.DLQ {
			name, url, of = "dead-letter queue", c.queue.DLQURL, dlq
		}
		if f.Fatal {
			faults = append(faults, fmt.Errorf("consumers: %s %s %s", name, url, f.Text))
		} else {
			c.cfg.Logger.Warn("an attribute is not as a consumer needs it",
				"queue", of[string(types.QueueAttributeNameQueueArn)], "attribute", f.Attribute, "reason", "the "+name+" "+f.Text)
		}
	}
	if err := errors.Join(faults...); err != nil {
		return facts{}, err
	}
	_, maxReceives := queueneeds.Redrive(source)
	return facts{
		arn:         source[string(types.QueueAttributeNameQueueArn)],
		visibility:  queueneeds.Seconds(source[string(types.QueueAttributeNameVisibilityTimeout)]),
		maxReceives: maxReceives,
	}, nil
}

// advice says, after a separator, what to do about an error of a queue. It is empty where nothing is known to help.
func advice(separator string, err error) string {
	verdict := awsx.VerdictOf(err)
	hint := verdict.Hint()
	switch {
	case hint != "":
	case verdict.Class == awsx.Gone:
		hint = "create it, or check the service's name, the environment, the region and the account"
	case verdict.Class == awsx.Denied:
		hint = "allow sqs:GetQueueAttributes, ReceiveMessage, DeleteMessage and ChangeMessageVisibility on the queue, and " +
			"sqs:GetQueueAttributes and SendMessage on the dead-letter queue"
	default:
		return ""
	}
	return separator + hint
}

func (c *Consumer) attributes(ctx context.Context, url string) (map[string]string, error) {
	out, err := c.api.GetQueueAttributes(ctx, &sqs.GetQueueAttributesInput{
		QueueUrl: &url, AttributeNames: []types.QueueAttributeName{types.QueueAttributeNameAll},
	})
	if err != nil {
		return nil, fmt.Errorf("read attributes of %s: %w", url, err)
	}
	return out.Attributes, nil
}
