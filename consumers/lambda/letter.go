package lambda

import (
	"context"
	"strconv"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"

	"github.com/device-fanout/fanout/consumers/deadletter"
)

// sendDeadLetter copies a message to the dead-letter queue, and returns whether that was confirmed. If it was not, the
// message comes again and so does the attempt; the deduplication ID, which is the message's own ID as when SQS moves a
// message, keeps the copy from being there twice.
func (f *Function) sendDeadLetter(ctx context.Context, d *delivery, failed failure) bool {
	record := deadletter.Record{
		Service:      f.queue.Service,
		Queue:        d.EventSourceARN,
		Class:        failed.class,
		Code:         failed.code,
		Error:        failed.text,
		Fingerprint:  deadletter.FingerprintOf(f.queue.Service, failed.class, failed.code, failed.eventType),
		Attempts:     failed.attempts,
		ReceiveCount: d.receiveCount(),
		MessageID:    d.MessageId,
		FailedAt:     time.Now().UTC(),
	}
	if ms, err := strconv.ParseInt(d.Attributes[string(types.MessageSystemAttributeNameSentTimestamp)], 10, 64); err == nil {
		record.SentAt = time.UnixMilli(ms).UTC()
	}
	attributes := make(map[string]types.MessageAttributeValue, len(d.MessageAttributes)+1)
	for name, value := range d.MessageAttributes {
		attributes[name] = types.MessageAttributeValue{DataType: aws.String(value.DataType), StringValue: value.StringValue, BinaryValue: value.BinaryValue}
	}
	in, recorded := deadletter.Failed{Body: d.Body, Group: d.group(), Attributes: attributes}.To(f.queue.DLQURL, record)
	if !recorded {
		f.cfg.Logger.Warn("no room for the dead-letter record: the message has ten attributes already", "message_id", d.MessageId)
	}
	_, err := f.api.SendMessage(ctx, in)
	if err != nil && deadletter.WithoutRecord(in, err) {
		f.cfg.Logger.Error("the dead-letter queue refuses a message with its record; sending it without", "message_id", d.MessageId, "err", err)
		_, err = f.api.SendMessage(ctx, in)
	}
	facts := []any{
		"event_id", failed.eventID, "event_type", failed.eventType, "group_id", d.group(), "message_id", d.MessageId,
		"class", failed.class, "code", failed.code, "attempts", failed.attempts, "receive_count", record.ReceiveCount,
	}
	if err != nil {
		f.cfg.Logger.Error("sending to the dead-letter queue failed; the event comes again", append(facts, "err", err)...)
		return false
	}
	f.cfg.Logger.Error("event dead-lettered", append(facts, "err", failed.text)...)
	return true
}
