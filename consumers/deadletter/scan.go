package deadletter

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
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

const (
	batchSize = 10
	// scanVisibility is how long a scan hides messages, should it die before it has released them.
	scanVisibility = time.Minute
	// releaseTimeout bounds the handing back after a scan was interrupted.
	releaseTimeout = 10 * time.Second
)

// Source is a dead-letter queue to read.
type Source struct {
	Service string // for messages without a record
	URL     string
}

// Scan hands every message that can be seen to visit, per device in order, until the queue gives no more, visit returns
// false, or ctx ends. Then it makes them visible again, last first. Memory grows with the number of messages.
func Scan(ctx context.Context, api QueueAPI, from Source, visit func(*Letter) bool) error {
	var held []*Letter
	err := receiveAll(ctx, api, from, scanVisibility, func(letters []*Letter) bool {
		for _, l := range letters {
			held = append(held, l)
			if visit != nil && !visit(l) {
				visit = nil
			}
		}
		return visit != nil
	})
	return errors.Join(err, release(ctx, api, from.URL, held))
}

// receiveAll receives without waiting until nothing comes any more or take returns false.
func receiveAll(ctx context.Context, api QueueAPI, from Source, visibility time.Duration, take func([]*Letter) bool) error {
	for {
		out, err := api.ReceiveMessage(ctx, &sqs.ReceiveMessageInput{
			QueueUrl:                    &from.URL,
			MaxNumberOfMessages:         batchSize,
			WaitTimeSeconds:             0,
			VisibilityTimeout:           int32(visibility / time.Second),
			MessageAttributeNames:       []string{"All"},
			MessageSystemAttributeNames: []types.MessageSystemAttributeName{types.MessageSystemAttributeNameAll},
		}, shortPoll)
		if err != nil {
			return fmt.Errorf("deadletter: receive from %s: %w", from.URL, err)
		}
		if len(out.Messages) == 0 {
			return nil
		}
		letters := make([]*Letter, len(out.Messages))
		for i, m := range out.Messages {
			letters[i] = newLetter(from.Service, m)
		}
		if !take(letters) {
			return nil
		}
	}
}

// release makes letters visible again, last first. It works also after ctx has ended. What it can't release comes back when
// its visibility timeout ends.
func release(ctx context.Context, api QueueAPI, url string, letters []*Letter) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), releaseTimeout)
	defer cancel()
	for end := len(letters); end > 0; end -= batchSize {
		batch := letters[max(0, end-batchSize):end]
		entries := make([]types.ChangeMessageVisibilityBatchRequestEntry, len(batch))
		for i := range batch {
			l := batch[len(batch)-1-i]
			entries[i] = types.ChangeMessageVisibilityBatchRequestEntry{Id: aws.String(strconv.Itoa(i)), ReceiptHandle: &l.handle}
		}
		if _, err := api.ChangeMessageVisibilityBatch(ctx, &sqs.ChangeMessageVisibilityBatchInput{QueueUrl: &url, Entries: entries}); err != nil {
			return fmt.Errorf("deadletter: make %d messages of %s visible again: %w", end, url, err)
		}
	}
	return nil
}
