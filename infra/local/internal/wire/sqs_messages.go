package wire

import (
	"context"
	"crypto/md5"
	"encoding/hex"
	"strings"

	"github.com/device-fanout/fanout/infra/local/faults"
	"github.com/device-fanout/fanout/infra/local/internal/apierr"
	"github.com/device-fanout/fanout/infra/local/internal/queue"
)

const traceHeader = "AWSTraceHeader"

func (h *Handler) sendMessage(_ context.Context, c *call, q *queue.Queue, in *sendMessageInput) (*sendMessageOutput, error) {
	content, err := newContent(&in.messageInput, c.trace)
	if err != nil {
		return nil, err
	}
	c.bytes = content.Size()
	result, err := q.Send(queue.SendInput{
		Content: content, GroupID: in.GroupID, DeduplicationID: in.DeduplicationID, Delay: in.Delay,
	})
	if err != nil {
		return nil, err
	}
	out := sent(content, in.SystemAttributes, result)
	return &out, nil
}

func (h *Handler) sendMessageBatch(_ context.Context, c *call, q *queue.Queue, in *sendBatchInput) (*sendBatchOutput, error) {
	b := newBatch(c, len(in.Entries), func(i int) string { return in.Entries[i].ID })
	if err := queue.CheckBatch(b.ids, "SendMessageBatchRequestEntry"); err != nil {
		return nil, err
	}
	out := &sendBatchOutput{Failed: b.failed}
	if len(b.going) == 0 {
		return out, nil
	}
	entries := make([]queue.BatchEntry, 0, len(b.going))
	for _, i := range b.going {
		entry := &in.Entries[i]
		content, err := newContent(&entry.messageInput, c.trace)
		if err != nil {
			return nil, err
		}
		c.bytes += content.Size()
		entries = append(entries, queue.BatchEntry{ID: entry.ID, Input: queue.SendInput{
			Content: content, GroupID: entry.GroupID, DeduplicationID: entry.DeduplicationID, Delay: entry.Delay,
		}})
	}
	results, err := q.SendBatch(entries)
	if err != nil {
		return nil, err
	}
	for k, result := range results {
		entry := &in.Entries[b.going[k]]
		if result.Err != nil {
			out.Failed = append(out.Failed, newBatchError(entry.ID, result.Err))
		} else {
			answer := sent(entries[k].Input.Content, entry.SystemAttributes, result.SendResult)
			out.Successful = append(out.Successful, sendBatchResult{entry.ID, answer})
		}
	}
	return out, nil
}

// sent is the answer for one message. The checksums are those of this request, also when it was a duplicate: clients
// compare them with what they sent.
func sent(content *queue.Content, system map[string]attributeValue, result queue.SendResult) sendMessageOutput {
	body := content.BodyMD5()
	out := sendMessageOutput{MessageID: result.MessageID.String(), MD5OfBody: hex.EncodeToString(body[:])}
	if len(content.Attributes) > 0 {
		sum := content.AttributesMD5()
		out.MD5OfAttributes = hex.EncodeToString(sum[:])
	}
	if len(system) > 0 {
		sum := queue.AttributesMD5([]queue.Attribute{{
			Name: traceHeader, Type: system[traceHeader].DataType, Value: content.TraceHeader,
		}})
		out.MD5OfSystemAttributes = hex.EncodeToString(sum[:])
	}
	if result.Sequence != 0 {
		out.SequenceNumber = result.Sequence.String()
	}
	return out
}

// newContent makes the content of a message. Its own trace header wins over that of the request.
func newContent(in *messageInput, trace string) (*queue.Content, error) {
	list, err := attributeList(in.Attributes)
	if err != nil {
		return nil, err
	}
	for name, value := range in.SystemAttributes {
		if name != traceHeader || value.DataType != "String" || value.StringValue == nil {
			return nil, apierr.New(queue.CodeInvalidParameter,
				"Message system attribute '%s' is invalid: only %s of type String is allowed.", name, traceHeader)
		}
		trace = *value.StringValue
	}
	return queue.NewContent(in.Body, list, trace), nil
}

func attributeList(attributes map[string]attributeValue) ([]queue.Attribute, error) {
	if len(attributes) == 0 {
		return nil, nil
	}
	list := make([]queue.Attribute, 0, len(attributes))
	for name, value := range attributes {
		a := queue.Attribute{Name: name, Type: value.DataType}
		switch {
		case len(value.StringList) > 0 || len(value.BinaryList) > 0:
			return nil, apierr.New(queue.CodeUnsupportedOperation,
				"Message attribute list values in SendMessage operation are not supported.")
		case a.IsBinary():
			a.Value = string(value.BinaryValue)
		case value.StringValue != nil:
			a.Value = *value.StringValue
		}
		list = append(list, a)
	}
	return list, nil
}

func (h *Handler) receiveMessage(ctx context.Context, c *call, q *queue.Queue, in *receiveInput) (*received, error) {
	names := in.SystemAttributeNames
	if c.query && len(in.AttributeNames) > 0 {
		names = in.AttributeNames // the Query protocol obeys one of the two lists, JSON the union
	} else if !c.query {
		names = append(names, in.AttributeNames...)
	}
	out := &received{account: h.Queues.Account(), fifo: q.FIFO(), attributes: in.MessageAttributes}
	if err := out.system.choose(names); err != nil {
		return nil, err // before anything is taken
	}
	deliveries, err := q.Receive(ctx, queue.ReceiveInput{
		MaxMessages:       in.MaxMessages,
		VisibilityTimeout: in.VisibilityTimeout,
		WaitTime:          in.WaitTime,
		AttemptID:         in.AttemptID,
	})
	if err != nil {
		return nil, err
	}
	c.entries = len(deliveries)
	for i := range deliveries {
		c.bytes += deliveries[i].Size()
	}
	if c.verdict.Kind == faults.ExpireVisibility {
		changes := make([]queue.VisibilityChange, len(deliveries))
		for i := range deliveries {
			changes[i].ReceiptHandle = deliveries[i].ReceiptHandle()
		}
		if _, err := q.ChangeVisibility(changes); err != nil {
			return nil, err
		}
	}
	out.deliveries = deliveries
	out.corrupt = c.verdict.Kind == faults.WrongChecksum
	return out, nil
}

// received is the answer to a receive: the messages and what of them was asked for.
type received struct {
	deliveries []queue.Delivery
	account    string
	fifo       bool
	system     systemSet
	attributes []string // names or patterns of message attributes
	corrupt    bool     // its checksums are to be wrong
}

// sum is a checksum as it is sent.
func (r *received) sum(right [md5.Size]byte) [md5.Size]byte {
	if r.corrupt {
		right[0] ^= 0xff
	}
	return right
}

// systemSet is a set of system attributes.
type systemSet uint16

const (
	sysSenderID systemSet = 1 << iota
	sysSentTimestamp
	sysReceiveCount
	sysFirstReceived
	sysTraceHeader
	sysDeadLetterSource
	sysGroupID
	sysDeduplicationID
	sysSequenceNumber
	sysAll = 1<<iota - 1
)

var systemNames = map[string]systemSet{
	"All":                              sysAll,
	"SenderId":                         sysSenderID,
	"SentTimestamp":                    sysSentTimestamp,
	"ApproximateReceiveCount":          sysReceiveCount,
	"ApproximateFirstReceiveTimestamp": sysFirstReceived,
	traceHeader:                        sysTraceHeader,
	"DeadLetterQueueSourceArn":         sysDeadLetterSource,
	"MessageGroupId":                   sysGroupID,
	"MessageDeduplicationId":           sysDeduplicationID,
	"SequenceNumber":                   sysSequenceNumber,
}

func (s *systemSet) choose(names []string) error {
	for _, name := range names {
		set, ok := systemNames[name]
		if !ok {
			return apierr.New(queue.CodeInvalidAttributeName, "Unknown Attribute %s.", name)
		}
		*s |= set
	}
	return nil
}

// chosen returns the message attributes that were asked for, and their checksum.
func (r *received) chosen(c *queue.Content) ([]queue.Attribute, [md5.Size]byte) {
	if len(c.Attributes) == 0 || len(r.attributes) == 0 {
		return nil, [md5.Size]byte{}
	}
	var some []queue.Attribute
	for _, a := range c.Attributes {
		if matchesAnyName(r.attributes, a.Name) {
			some = append(some, a)
		}
	}
	if len(some) == len(c.Attributes) {
		return c.Attributes, r.sum(c.AttributesMD5())
	}
	return some, r.sum(queue.AttributesMD5(some))
}

func matchesAnyName(patterns []string, name string) bool {
	for _, p := range patterns {
		prefix, wild := strings.CutSuffix(p, ".*")
		switch {
		case p == name, p == "All", p == "*", p == ".*", wild && strings.HasPrefix(name, prefix):
			return true
		}
	}
	return false
}
