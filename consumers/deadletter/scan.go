package deadletter

import (
	"context"
	"errors"
	"fmt"
	"strconv"

	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"
)

// QueueAPI is what dead letters need of Amazon SQS; [*sqs.Client] has it.
type QueueAPI interface {
	ReceiveMessage(ctx context.Context, in *sqs.ReceiveMessageInput, optFns ...func(*sqs.Options)) (*sqs.ReceiveMessageOutput, error)
	ChangeMessageVisibilityBatch(ctx context.Context, in *sqs.ChangeMessageVisibilityBatchInput, optFns ...func(*sqs.Options)) (*sqs.ChangeMessageVisibilityBatchOutput, error)
	SendMessage(ctx context.Context, in *sqs.SendMessageInput, optFns ...func(*sqs.Options)) (*sqs.SendMessageOutput, error)
	DeleteMessage(ctx context.Context, in *sqs.DeleteMessageInput, optFns ...func(*sqs.Options)) (*sqs.DeleteMessageOutput, error)
	GetQueueUrl(ctx context.Context, in *sqs.GetQueueUrlInput, optFns ...func(*sqs.Options)) (*sqs.GetQueueUrlOutput, error)
}

// DepthAPI is what [Depth] needs of Amazon SQS; [*sqs.Client] has it.
type DepthAPI interface {
	GetQueueAttributes(ctx context.Context, in *sqs.GetQueueAttributesInput, optFns ...func(*sqs.Options)) (*sqs.GetQueueAttributesOutput, error)
}

// Source is a dead-letter queue to read.
type Source struct {
	Service string // for messages without a record
	URL     string
}

// Scan hands every message that can be seen to visit, per device in order, until the queue gives no more, visit returns false,
// or ctx ends. Then it makes them visible again, last first. It can't see what another reader holds, nor, of one device, more
// than its first few letters, ten at most; [Depth] tells how many there are. Memory grows with the number of messages.
//
// The error is ctx's when it has ended. A message that could not be made visible again, as the error then says, becomes visible
// by itself within a minute.
func Scan(ctx context.Context, api QueueAPI, from Source, visit func(*Letter) bool) error {
	r := newReader(api, from)
	err := r.each(ctx, func(letters []*Letter) bool {
		for _, l := range letters {
			again := l.held
			r.hold(l)
			if visit != nil && !again && !visit(l) {
				visit = nil
			}
		}
		return visit != nil
	})
	return errors.Join(err, r.releaseHeld(ctx))
}

// Depth is how many messages a queue holds as far as SQS knows: visible, hidden and delayed. SQS calls the numbers approximate;
// they can be a minute old.
func Depth(ctx context.Context, api DepthAPI, url string) (int, error) {
	names := []types.QueueAttributeName{
		types.QueueAttributeNameApproximateNumberOfMessages,
		types.QueueAttributeNameApproximateNumberOfMessagesNotVisible,
		types.QueueAttributeNameApproximateNumberOfMessagesDelayed,
	}
	out, err := api.GetQueueAttributes(ctx, &sqs.GetQueueAttributesInput{QueueUrl: &url, AttributeNames: names})
	if err != nil {
		return 0, fmt.Errorf("deadletter: read attributes of %s: %w", url, err)
	}
	sum := 0
	for _, name := range names {
		n, err := strconv.Atoi(out.Attributes[string(name)])
		if err != nil {
			return 0, fmt.Errorf("deadletter: read attributes of %s: %s: got %q, want a number", url, name, out.Attributes[string(name)])
		}
		sum += n
	}
	return sum, nil
}
