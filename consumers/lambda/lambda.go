package lambda

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"time"

	awsevents "github.com/aws/aws-lambda-go/events"
	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"

	"github.com/device-fanout/fanout/consumers"
	"github.com/device-fanout/fanout/consumers/internal/attempt"
)

// Function handles the batches of one service's queue. Make one with [New] and pass its Handle to Lambda.
type Function struct {
	api     QueueAPI
	queue   consumers.Queue
	cfg     Config
	service attempt.Service
}

// New makes a Function of queue. It makes no request. The error lists every fault of queue and cfg.
func New(api QueueAPI, queue consumers.Queue, handler consumers.Handler, cfg Config) (*Function, error) {
	cfg = cfg.withDefaults()
	err := errors.Join(validateQueue(queue), cfg.validate())
	if handler == nil {
		err = errors.Join(err, errors.New("lambda: handler is nil"))
	}
	if err != nil {
		return nil, err
	}
	cfg.Logger = cfg.Logger.With("service", queue.Service)
	known, _ := attempt.Sentinels(cfg.Known) // validated above
	return &Function{api: api, queue: queue, cfg: cfg, service: attempt.Service{
		Handler: handler, UnknownTypes: cfg.UnknownTypes, Known: known, Retries: cfg.Retries, RetryDelay: cfg.RetryDelay,
	}}, nil
}

// Handle handles a batch and reports what Lambda must not delete: an event that failed, and all later ones of its device.
// It returns when all handlers have; the package comment tells what becomes of each message. The error is always nil: an
// error would make Lambda deliver the whole batch again.
func (f *Function) Handle(ctx context.Context, batch awsevents.SQSEvent) (awsevents.SQSEventResponse, error) {
	if deadline, ok := ctx.Deadline(); ok && f.timeIsUp(ctx) { // no invocation has more
		f.cfg.Logger.Error("no event is started: the time left is within the margin; the function's timeout must be longer",
			"time_left", time.Until(deadline), "margin", f.cfg.Margin)
	}
	deliveries := make([]*delivery, len(batch.Records))
	lanes := make(map[string][]*delivery)
	for i, m := range batch.Records {
		d := newDelivery(m)
		d.delay = f.cfg.HandBack
		deliveries[i] = d
		lanes[d.Group] = append(lanes[d.Group], d)
	}
	var running sync.WaitGroup
	for _, lane := range lanes {
		running.Go(func() {
			f.handleLane(ctx, lane)
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

// handleLane handles the events of one device, one after another, up to the first that is not done.
func (f *Function) handleLane(ctx context.Context, lane []*delivery) {
	for i, d := range lane {
		if d.done = f.handleOne(ctx, d, i == 0); !d.done {
			return
		}
	}
}

// handBack makes what is not done visible again: the later events first, and the failed one last, after a while. Until that
// is over they stay behind it. What can't be handed back comes when its visibility timeout ends.
func (f *Function) handBack(ctx context.Context, lane []*delivery) {
	in := &sqs.ChangeMessageVisibilityBatchInput{QueueUrl: &f.queue.URL}
	for i := len(lane) - 1; i >= 0 && !lane[i].done; i-- {
		hidden := int32(0)
		if i == 0 || lane[i-1].done {
			hidden = int32(lane[i].delay.Seconds())
		}
		in.Entries = append(in.Entries, types.ChangeMessageVisibilityBatchRequestEntry{
			Id: aws.String(strconv.Itoa(i)), ReceiptHandle: &lane[i].handle, VisibilityTimeout: hidden,
		})
	}
	if len(in.Entries) == 0 {
		return
	}
	out, err := f.api.ChangeMessageVisibilityBatch(ctx, in)
	if err == nil && len(out.Failed) > 0 {
		err = fmt.Errorf("%s: %s", aws.ToString(out.Failed[0].Code), aws.ToString(out.Failed[0].Message))
	}
	if err != nil {
		f.cfg.Logger.Warn("events of a device could not be handed back; they come after the visibility timeout",
			"group_id", lane[0].Group, "err", err)
	}
}
