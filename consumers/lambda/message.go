package lambda

import (
	"time"

	awsevents "github.com/aws/aws-lambda-go/events"
	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"

	"github.com/device-fanout/fanout/consumers/internal/attempt"
)

// delivery is one message of a batch.
type delivery struct {
	attempt.Message
	queue      string // ARN
	handle     string
	receivedAt time.Time
	first      bool // nothing of the batch ran before it in its lane

	// What its device's goroutine finds out.
	done  bool          // handled, or its dead letter is confirmed
	delay time.Duration // how long it is to stay hidden when it is handed back
}

// newDelivery reads a message as Lambda has it, which is not as SQS has it.
func newDelivery(m awsevents.SQSMessage) *delivery {
	in := types.Message{
		MessageId: &m.MessageId, Body: &m.Body, Attributes: m.Attributes,
		MessageAttributes: make(map[string]types.MessageAttributeValue, len(m.MessageAttributes)),
	}
	for name, value := range m.MessageAttributes {
		in.MessageAttributes[name] = types.MessageAttributeValue{DataType: aws.String(value.DataType), StringValue: value.StringValue, BinaryValue: value.BinaryValue}
	}
	return &delivery{Message: attempt.NewMessage(in), queue: m.EventSourceARN, handle: m.ReceiptHandle, receivedAt: time.Now()}
}
