// Package queueneeds says what a consumer needs of the attributes of its queue and its dead-letter queue, whoever made them: the runtime
// asks at its start, and doctor whenever it looks. It makes no request.
package queueneeds

import (
	"encoding/json"
	"fmt"
	"strconv"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/sqs/types"
)

// MinReceiveCount is the lowest maxReceiveCount with which SQS does not dead-letter events that nobody has tried, as every receive counts
// for all messages that it returns. Package topology demands as much.
const MinReceiveCount = 5

// Needs is what differs between consumers. Zero values need nothing.
type Needs struct {
	MinVisibility   time.Duration // the shortest visibility timeout that can be extended in time
	HandlerTimeout  time.Duration // how long one event may take
	MinReceiveCount int           // the lowest maxReceiveCount; zero means MinReceiveCount
}

// Fault is an attribute that is not as a consumer needs it.
type Fault struct {
	DLQ       bool   // it is one of the dead-letter queue
	Fatal     bool   // a consumer must not work on these queues: it would lose events or their order
	Attribute string // its name in SQS
	Text      string // what is, what is wanted and why; it follows the queue's name
}

// Check compares the attributes of a queue and its dead-letter queue, as GetQueueAttributes returns them, with what a consumer needs. An
// attribute that is not there has nothing wrong with it, but for FifoQueue, VisibilityTimeout and RedrivePolicy, which every endpoint tells.
func Check(queue, dlq map[string]string, n Needs) []Fault {
	var faults []Fault
	add := func(f Fault, format string, args ...any) {
		f.Text = fmt.Sprintf(format, args...)
		faults = append(faults, f)
	}
	for _, q := range []struct {
		dlq        bool
		attributes map[string]string
	}{{false, queue}, {true, dlq}} {
		if q.attributes[fifo] != "true" {
			add(Fault{DLQ: q.dlq, Fatal: true, Attribute: fifo}, "is not FIFO, so that it would not keep a device's events in order; make one whose name ends in .fifo")
			continue
		}
		if q.attributes[contentDeduplication] == "true" {
			add(Fault{DLQ: q.dlq, Attribute: contentDeduplication},
				"has content-based deduplication, want none: a message that is sent without a deduplication ID is taken for a repeat of one with the same body, and dropped")
		}
		if scope := q.attributes[deduplicationScope]; scope != "" && scope != "messageGroup" {
			add(Fault{DLQ: q.dlq, Attribute: deduplicationScope},
				"has the deduplication scope %s, want messageGroup: events of two devices with one deduplication ID are taken for repeats, and dropped", scope)
		}
		if delay := q.attributes[delaySeconds]; delay != "" && delay != "0" {
			add(Fault{DLQ: q.dlq, Attribute: delaySeconds}, "delays every message by %s s, want none", delay)
		}
	}
	visibility := Seconds(queue[visibilityTimeout])
	if visibility < n.MinVisibility {
		add(Fault{Fatal: true, Attribute: visibilityTimeout}, "has a visibility timeout of %v, want at least %v: it could not be extended in time",
			visibility, n.MinVisibility)
	}
	if visibility < n.HandlerTimeout {
		add(Fault{Fatal: true, Attribute: visibilityTimeout}, "has a visibility timeout of %v, want at least the handler timeout, %v: "+
			"a consumer that can't reach the queue for a while would lose events that it still handles; raise the one or lower the other",
			visibility, n.HandlerTimeout)
	}
	most, _ := strconv.Atoi(queue[messageSize])
	if takes, err := strconv.Atoi(dlq[messageSize]); err == nil && takes < most {
		add(Fault{DLQ: true, Fatal: true, Attribute: messageSize}, "takes messages of up to %d bytes, want %d as the queue does: "+
			"a larger one would hold its device up for ever", takes, most)
	}
	least := n.MinReceiveCount
	if least == 0 {
		least = MinReceiveCount
	}
	target, count := Redrive(queue)
	switch arn := dlq[queueARN]; {
	case count == 0:
		add(Fault{Attribute: redrivePolicy}, "has no redrive policy: an event that ends its process each time comes back until it expires, and holds its device up")
	case count < least:
		add(Fault{Attribute: redrivePolicy}, "has a maxReceiveCount of %d, want at least %d: "+
			"every receive counts for all messages that it returns, so that SQS would dead-letter events that nobody has tried often enough", count, least)
	case arn != "" && target != arn:
		add(Fault{Attribute: redrivePolicy}, "has the dead-letter queue %s, want %s: what SQS moves there is not found among the service's dead letters", target, arn)
	}
	if keeps, waits := Seconds(dlq[retention]), Seconds(queue[retention]); keeps > 0 && keeps < waits {
		add(Fault{DLQ: true, Attribute: retention}, "keeps messages for %v, want at least the %v of the queue: dead letters expire before events do that wait", keeps, waits)
	}
	return faults
}

// Names of attributes.
const (
	fifo                 = string(types.QueueAttributeNameFifoQueue)
	contentDeduplication = string(types.QueueAttributeNameContentBasedDeduplication)
	deduplicationScope   = string(types.QueueAttributeNameDeduplicationScope)
	delaySeconds         = string(types.QueueAttributeNameDelaySeconds)
	visibilityTimeout    = string(types.QueueAttributeNameVisibilityTimeout)
	messageSize          = string(types.QueueAttributeNameMaximumMessageSize)
	redrivePolicy        = string(types.QueueAttributeNameRedrivePolicy)
	queueARN             = string(types.QueueAttributeNameQueueArn)
	retention            = string(types.QueueAttributeNameMessageRetentionPeriod)
)

// Seconds reads an attribute that is a number of seconds; what is none is zero.
func Seconds(attribute string) time.Duration {
	n, _ := strconv.Atoi(attribute)
	return time.Duration(n) * time.Second
}

// Redrive reads a queue's redrive policy: the ARN of the dead-letter queue, and how often a message is received before SQS moves it there,
// zero for never.
func Redrive(attributes map[string]string) (target string, maxReceives int) {
	var policy struct {
		Target          string      `json:"deadLetterTargetArn"`
		MaxReceiveCount json.Number `json:"maxReceiveCount"` // a number, or text from some who set it
	}
	_ = json.Unmarshal([]byte(attributes[redrivePolicy]), &policy) // without one there is no limit
	maxReceives, _ = strconv.Atoi(string(policy.MaxReceiveCount))
	return policy.Target, maxReceives
}
