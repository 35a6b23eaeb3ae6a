package deadletter

import (
	"context"
	"fmt"
	"path"
	"strconv"
	"strings"

	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"

	"github.com/device-fanout/fanout/consumers/sqsapi"
)

// QueueAPI is what dead letters need of Amazon SQS; [*sqs.Client] has it.
type QueueAPI interface {
	sqsapi.Finder
	sqsapi.Receiver
	sqsapi.VisibilityChanger
	sqsapi.BatchSender
	sqsapi.Deleter
}

// DepthAPI is what [ReadDepth] needs of Amazon SQS; [*sqs.Client] has it.
type DepthAPI = sqsapi.Describer

// Source is a dead-letter queue to read.
type Source struct {
	Service string // for messages without a record
	URL     string
	// Queue is the name of the queue whose dead-letter queue this is. [Redrive] sends to it and to no other, whatever a message says of
	// where it came from: who may write to a dead-letter queue could else write to every queue with the rights of who redrives. Redrive,
	// [Export] and [Drop] want it.
	Queue string
	// Delivery says that this is the dead-letter queue of the service's subscription, for what the topic could not deliver.
	Delivery bool
}

// Name is the queue's name. It has no slash in it, whatever the URL is.
func (s Source) Name() string { return strings.Trim(path.Base(s.URL), "/") }

// check returns an error unless there is a queue to send back to.
func (s Source) check() error {
	if s.Queue == "" || s.Queue == s.Name() {
		return fmt.Errorf("deadletter: %s: got %q as the queue whose dead-letter queue it is, want another one's name", s.Name(), s.Queue)
	}
	return nil
}

// Foreign returns the name of the queue that a message's record names, if that is another than s.Queue, and else "".
func (s Source) Foreign(m *Message) string {
	arn := m.Record.Queue
	if name := arn[strings.LastIndexByte(arn, ':')+1:]; name != s.Queue {
		return name
	}
	return ""
}

// Depth is how many messages a queue holds, as SQS counts them: approximately, and up to a minute late.
type Depth struct {
	Visible  int `json:"visible"`
	InFlight int `json:"in_flight"`
	Delayed  int `json:"delayed"`
}

// Total is the sum.
func (d Depth) Total() int { return d.Visible + d.InFlight + d.Delayed }

// ReadDepth asks SQS how many messages a queue holds.
func ReadDepth(ctx context.Context, api DepthAPI, url string) (Depth, error) {
	var d Depth
	counts := map[types.QueueAttributeName]*int{
		types.QueueAttributeNameApproximateNumberOfMessages:           &d.Visible,
		types.QueueAttributeNameApproximateNumberOfMessagesNotVisible: &d.InFlight,
		types.QueueAttributeNameApproximateNumberOfMessagesDelayed:    &d.Delayed,
	}
	in := sqs.GetQueueAttributesInput{QueueUrl: &url}
	for name := range counts {
		in.AttributeNames = append(in.AttributeNames, name)
	}
	out, err := api.GetQueueAttributes(ctx, &in)
	if err != nil {
		return Depth{}, fmt.Errorf("deadletter: read attributes of %s: %w", url, err)
	}
	for name, count := range counts {
		if *count, err = strconv.Atoi(out.Attributes[string(name)]); err != nil {
			return Depth{}, fmt.Errorf("deadletter: read attributes of %s: %s: got %q, want a number", url, name, out.Attributes[string(name)])
		}
	}
	return d, nil
}
