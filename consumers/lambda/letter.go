package lambda

import (
	"cmp"
	"context"
	"strconv"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"

	"github.com/device-fanout/fanout/consumers/deadletter"
)

// maxAttributes is the most message attributes that a message can have.
// See https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-message-metadata.html.
const maxAttributes = 10

func (d *delivery) attribute(name string) string {
	return aws.ToString(d.MessageAttributes[name].StringValue)
}

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
	if before, err := deadletter.ParseRecord(d.attribute(deadletter.Attribute)); err == nil { // it was redriven: go on counting
		record.Redrives = before.Redrives
	}
	attributes := make(map[string]types.MessageAttributeValue, len(d.MessageAttributes)+1)
	for name, value := range d.MessageAttributes {
		if name != deadletter.Attribute {
			attributes[name] = types.MessageAttributeValue{DataType: aws.String(value.DataType), StringValue: value.StringValue, BinaryValue: value.BinaryValue}
		}
	}
	if len(attributes) < maxAttributes {
		attributes[deadletter.Attribute] = types.MessageAttributeValue{DataType: aws.String("String"), StringValue: aws.String(record.Encode())}
	} else {
		f.cfg.Logger.Warn("no room for the dead-letter record: the message has ten attributes already", "message_id", d.MessageId)
	}
	_, err := f.api.SendMessage(ctx, &sqs.SendMessageInput{
		QueueUrl:               &f.queue.DLQURL,
		MessageBody:            &d.Body,
		MessageGroupId:         aws.String(cmp.Or(d.group(), d.MessageId)),
		MessageDeduplicationId: &d.MessageId,
		MessageAttributes:      attributes,
	})
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
