package producer

import "time"

// Quotas of Amazon SNS that a Producer keeps to.
const (
	// MaxBatchEntries is the most that one PublishBatch carries.
	// See https://docs.aws.amazon.com/sns/latest/api/API_PublishBatch.html.
	MaxBatchEntries = 10

	// DefaultMaxMessageBytes is the default MaximumMessageSize of a topic: 256 KiB.
	// See https://docs.aws.amazon.com/sns/latest/dg/large-message-payloads.html.
	DefaultMaxMessageBytes = 256 << 10

	// MaxGiveUpAfter keeps the last retry inside the five minutes in which SNS recognizes a deduplication ID.
	// See https://docs.aws.amazon.com/sns/latest/dg/fifo-message-dedup.html.
	MaxGiveUpAfter = 4*time.Minute + 30*time.Second

	// maxRequestTimeout lets a request that begins at MaxGiveUpAfter end before the five minutes are over.
	maxRequestTimeout = 20 * time.Second

	minMaxMessageBytes = 1 << 10
	maxMaxMessageBytes = 1 << 20
)

// Names of the message attributes; filter policies match on the first two.
const (
	attributeType       = "type"
	attributeSource     = "source"
	attributeTraceState = "tracestate"
	attributeTrace      = "traceparent"
)

// messageBytes is the size of a message as SNS and SQS count it: the UTF-8 bytes of the body and of every
// attribute's name, data type and value.
func messageBytes(event *pending) int {
	const dataType = len("String")
	size := len(event.body) + 2*dataType + len(attributeType) + len(event.eventType) + len(attributeSource) + len(event.event.Source)
	if event.trace.Parent != "" {
		size += dataType + len(attributeTrace) + len(event.trace.Parent)
	}
	if event.trace.State != "" {
		size += dataType + len(attributeTraceState) + len(event.trace.State)
	}
	return size
}
