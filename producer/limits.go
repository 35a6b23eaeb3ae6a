package producer

import (
	"time"

	"github.com/device-fanout/fanout/events"
)

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

// Names of the message attributes that every event carries; filter policies match on them.
const (
	attributeType   = "type"
	attributeSource = "source"
)

// messageBytes is the size of a message as SNS and SQS count it: the UTF-8 bytes of the body and of every
// attribute's name, data type and value.
func messageBytes(body []byte, e events.Event) int {
	const dataTypes = 2 * len("String")
	return len(body) + dataTypes + len(attributeType) + len(e.Type()) + len(attributeSource) + len(e.Source)
}
