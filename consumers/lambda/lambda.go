package lambda

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	awsevents "github.com/aws/aws-lambda-go/events"

	"github.com/device-fanout/fanout/consumers"
	"github.com/device-fanout/fanout/consumers/internal/attempt"
	"github.com/device-fanout/fanout/consumers/internal/batch"
	"github.com/device-fanout/fanout/consumers/internal/check"
	"github.com/device-fanout/fanout/consumers/internal/evidence"
	"github.com/device-fanout/fanout/consumers/internal/reused"
	awsx "github.com/device-fanout/fanout/internal/aws"
)

// Function handles the batches of one service's queue. Make one with [New] and pass its Handle to Lambda.
type Function struct {
	api     QueueAPI
	queue   consumers.Queue
	cfg     Config
	service attempt.Service
	check   *checker // nil if the service has none
	reused  *reused.Watch

	first sync.Once // batch, which reads the queues' attributes

	mu   sync.Mutex
	seen evidence.Evidence
}

// New makes a Function of queue. It makes no request; the first batch reads the attributes of both queues, if api can, and logs what is not
// as it should be. The error lists every fault of queue and cfg.
func New(api QueueAPI, queue consumers.Queue, handler consumers.Handler, cfg Config) (*Function, error) {
	cfg = cfg.withDefaults()
	err := errors.Join(attempt.CheckQueue("lambda", queue), cfg.validate())
	if handler == nil {
		err = errors.Join(err, errors.New("lambda: handler is nil"))
	}
	if err != nil {
		return nil, err
	}
	cfg.Logger = cfg.Logger.With("service", queue.Service)
	known, _ := attempt.Sentinels(cfg.Known) // validated above
	f := &Function{api: api, queue: queue, cfg: cfg, reused: reused.New(cfg.Logger, cfg.RefuseReused), service: attempt.Service{
		Handler: handler, UnknownTypes: cfg.UnknownTypes, Known: known, Retries: cfg.Retries, RetryDelay: cfg.RetryDelay,
		Faults: attempt.NewHookFaults(cfg.Logger),
	}}
	if cfg.Check != nil {
		f.check = &checker{guard: check.Guard{Check: cfg.Check}}
	}
	return f, nil
}

// Handle handles a batch and reports what Lambda must not delete: an event that failed, and all later ones of its device.
// It returns when all handlers have; the package comment tells what becomes of each message. The error is always nil: an
// error would make Lambda deliver the whole batch again.
func (f *Function) Handle(ctx context.Context, in awsevents.SQSEvent) (awsevents.SQSEventResponse, error) {
	if deadline, ok := ctx.Deadline(); ok && f.timeIsUp(ctx) { // no invocation has more
		f.cfg.Logger.Error("no event is started: the time left is within the margin; the function's timeout must be longer",
			"time_left", time.Until(deadline), "margin", f.cfg.Margin)
	}
	deliveries := make([]*delivery, len(in.Records))
	lanes := make(map[string][]*delivery)
	for i, m := range in.Records {
		d := newDelivery(m)
		d.delay = f.cfg.HandBack
		deliveries[i] = d
		lanes[d.Group] = append(lanes[d.Group], d)
	}
	var running sync.WaitGroup
	f.first.Do(func() { running.Go(func() { f.lookAtQueues(ctx) }) })
	call := &invocation{Function: f, ctx: f.reused.In(ctx)}
	for _, lane := range lanes {
		running.Go(func() {
			call.handleLane(lane)
			f.handBack(ctx, lane)
		})
	}
	running.Wait()
	var response awsevents.SQSEventResponse
	for _, d := range deliveries {
		if !d.done { // unless proven otherwise: what is not reported is deleted
			response.BatchItemFailures = append(response.BatchItemFailures, awsevents.SQSBatchItemFailure{ItemIdentifier: d.ID})
		}
	}
	return response, nil
}

// invocation is one call of the function.
type invocation struct {
	*Function
	ctx  context.Context
	down atomic.Bool // a handler has said that a dependency is down: no more handlers are started
}

// handleLane handles the events of one device, one after another, up to the first that is not done.
func (c *invocation) handleLane(lane []*delivery) {
	for i, d := range lane {
		d.first = i == 0
		if d.done = c.handleOne(d); !d.done {
			return
		}
	}
}

// handBack makes what is not done visible again: the later events first, and the failed one last, after a while. Until that
// is over they stay behind it. What can't be handed back comes when its visibility timeout ends.
func (f *Function) handBack(ctx context.Context, lane []*delivery) {
	var messages []batch.Hidden
	for i := len(lane) - 1; i >= 0 && !lane[i].done; i-- {
		m := batch.Hidden{Handle: lane[i].handle}
		if i == 0 || lane[i-1].done {
			m.For = lane[i].delay
		}
		messages = append(messages, m)
	}
	var err error
	for some := range slices.Chunk(messages, awsx.MaxBatch) { // one, unless the queue is not FIFO
		for _, a := range batch.Hide(ctx, f.api, f.queue.URL, some) {
			err = cmp.Or(err, a.Err)
		}
	}
	if err != nil {
		f.cfg.Logger.Warn("events of a device could not be handed back; they come after the visibility timeout",
			"group_id", lane[0].Group, "err", err)
	}
}
