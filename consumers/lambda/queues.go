package lambda

import (
	"context"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"

	"github.com/device-fanout/fanout/consumers/sqsapi"
	"github.com/device-fanout/fanout/internal/pauses"
	"github.com/device-fanout/fanout/internal/queueneeds"
)

// lookFor is how long the first batch may take longer for the queues' attributes.
const lookFor = 2 * time.Second

// lookAtQueues reads the attributes of both queues and warns of what is not as a function needs it. It is no error that they can't be read:
// the function works without that permission.
func (f *Function) lookAtQueues(ctx context.Context) {
	api, ok := f.api.(sqsapi.Describer)
	if !ok {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, lookFor)
	defer cancel()
	var found [2]map[string]string
	for i, url := range []string{f.queue.URL, f.queue.DLQURL} {
		out, err := api.GetQueueAttributes(ctx, &sqs.GetQueueAttributesInput{
			QueueUrl: &url, AttributeNames: []types.QueueAttributeName{types.QueueAttributeNameAll},
		})
		if err != nil {
			f.cfg.Logger.Debug("the queue's attributes can't be read, and are not checked", "queue", url, "err", err)
			return
		}
		found[i] = out.Attributes
	}
	warn := func(queue map[string]string, attribute, reason string) {
		f.cfg.Logger.Warn("an attribute is not as a function needs it",
			"queue", queue[string(types.QueueAttributeNameQueueArn)], "attribute", attribute, "reason", reason)
	}
	needs := queueneeds.Needs{HandlerTimeout: f.cfg.HandlerTimeout, MinReceiveCount: pauses.Deliveries(pauses.ShortFor)}
	for _, fault := range queueneeds.Check(found[0], found[1], needs) {
		if fault.DLQ {
			warn(found[1], fault.Attribute, "the dead-letter queue "+fault.Text)
		} else {
			warn(found[0], fault.Attribute, "the queue "+fault.Text)
		}
	}
	if _, count := queueneeds.Redrive(found[0]); f.cfg.MaxReceiveCount > 0 && count > 0 && count < f.cfg.MaxReceiveCount {
		warn(found[0], string(types.QueueAttributeNameRedrivePolicy), "the function was told a higher maxReceiveCount than the queue has: "+
			"SQS moves events to the dead-letter queue before the function does, without a record")
	}
}
