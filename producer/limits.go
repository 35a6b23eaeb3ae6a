package producer

import (
	"time"

	awsx "github.com/device-fanout/fanout/internal/aws"
)

// Quotas of Amazon SNS that a Producer keeps to.
const (
	// MaxBatchEntries is the most that one PublishBatch carries.
	// See https://docs.aws.amazon.com/sns/latest/api/API_PublishBatch.html.
	MaxBatchEntries = awsx.MaxBatch

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

// messageBytes is the size of a message.
func messageBytes(event *pending) int {
	size := len(event.body)
	add := func(name, value string) { size += awsx.AttributeBytes(name, "String", len(value)) }
	add(attributeType, event.eventType)
	add(attributeSource, event.event.Source)
	if event.trace.Parent != "" {
		add(attributeTrace, event.trace.Parent)
	}
	if event.trace.State != "" {
		add(attributeTraceState, event.trace.State)
	}
	return size
}
