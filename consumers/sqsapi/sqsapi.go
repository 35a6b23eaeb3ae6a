// Package sqsapi has what the packages that work with a service's queues share: the requests of Amazon SQS that they make, each as an
// interface of its own, and the queues of a service. [*sqs.Client] has all of the requests.
package sqsapi

import (
	"context"

	"github.com/aws/aws-sdk-go-v2/service/sqs"
)

// Queues are the queues of one service.
type Queues struct {
	Service        string // the service's name, for dead-letter records and logs
	URL            string // of the service's FIFO queue
	DLQURL         string // of the FIFO dead-letter queue for what the service could not handle
	DeliveryDLQURL string // of the dead-letter queue for what SNS could not deliver; empty where it is not needed
}

// Finder looks a queue up by its name.
type Finder interface {
	GetQueueUrl(ctx context.Context, in *sqs.GetQueueUrlInput, optFns ...func(*sqs.Options)) (*sqs.GetQueueUrlOutput, error)
}

// Describer reads a queue's attributes.
type Describer interface {
	GetQueueAttributes(ctx context.Context, in *sqs.GetQueueAttributesInput, optFns ...func(*sqs.Options)) (*sqs.GetQueueAttributesOutput, error)
}

// Receiver receives messages.
type Receiver interface {
	ReceiveMessage(ctx context.Context, in *sqs.ReceiveMessageInput, optFns ...func(*sqs.Options)) (*sqs.ReceiveMessageOutput, error)
}

// VisibilityChanger changes how long received messages stay hidden from others.
type VisibilityChanger interface {
	ChangeMessageVisibilityBatch(ctx context.Context, in *sqs.ChangeMessageVisibilityBatchInput, optFns ...func(*sqs.Options)) (*sqs.ChangeMessageVisibilityBatchOutput, error)
}

// Deleter deletes received messages.
type Deleter interface {
	DeleteMessageBatch(ctx context.Context, in *sqs.DeleteMessageBatchInput, optFns ...func(*sqs.Options)) (*sqs.DeleteMessageBatchOutput, error)
}

// Sender sends a message.
type Sender interface {
	SendMessage(ctx context.Context, in *sqs.SendMessageInput, optFns ...func(*sqs.Options)) (*sqs.SendMessageOutput, error)
}

// BatchSender sends several messages in one request.
type BatchSender interface {
	SendMessageBatch(ctx context.Context, in *sqs.SendMessageBatchInput, optFns ...func(*sqs.Options)) (*sqs.SendMessageBatchOutput, error)
}
