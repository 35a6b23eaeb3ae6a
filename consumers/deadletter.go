package consumers

import (
	"cmp"
	"context"
	"errors"
	"maps"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"
	"github.com/aws/smithy-go"

	"github.com/device-fanout/fanout/consumers/deadletter"
)

// maxAttributes is the most message attributes that a message can have.
// See https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-message-metadata.html.
const maxAttributes = 10

// sendDeadLetter copies a message to the dead-letter queue, for as long as that takes, and then has it deleted. Its lane waits
// for both: were the message deleted first, it would be lost with the process; did followers start first, they would
// overtake it where it comes again. The heartbeat keeps its lease meanwhile.
func (r *run) sendDeadLetter(m *message, v *verdict) {
	r.sending++
	ctx, cancel := context.WithCancelCause(r.work)
	m.cancel = cancel
	in := r.deadLetter(m, v)
	go func() {
		defer cancel(nil)
		err := r.sendUntilConfirmed(ctx, m, in)
		r.post(func() {
			r.sending--
			l := m.lane
			switch {
			case m.state == gone: // the lease was lost meanwhile; if the copy is there, the message must not run again
				if err == nil {
					r.done.add(m.id)
				}
				l.current = nil
			case err != nil: // we stop: the message comes again, and what waited has gone back already
				l.current = nil
				r.release(m)
			default:
				r.stats.deadLettered.Add(1)
				r.cfg.Logger.Error("event dead-lettered", "event_id", v.eventID, "event_type", v.eventType, "device_id", m.group,
					"message_id", m.id, "class", v.class, "code", v.code, "attempts", v.attempts, "receive_count", m.receiveCount, "err", v.text)
				r.finish(m)
				r.deletes.hurry()
				return
			}
			r.proceed(l)
		})
	}()
}

// deadLetter makes the copy: body, group and attributes as they are, and the record as one more attribute.
//
// Its deduplication ID is the source message's ID, as it is when SQS itself moves a message. So a second attempt within five
// minutes is no second copy; and an event that fails again after a redrive, as another message, is not dropped for its old copy.
func (r *run) deadLetter(m *message, v *verdict) *sqs.SendMessageInput {
	record := deadletter.Record{
		Service:      r.queue.Service,
		Queue:        r.facts.arn,
		Class:        v.class,
		Code:         v.code,
		Error:        v.text,
		Fingerprint:  deadletter.FingerprintOf(r.queue.Service, v.class, v.code, v.eventType),
		Attempts:     v.attempts,
		ReceiveCount: m.receiveCount,
		MessageID:    m.id,
		SentAt:       m.sentAt,
		FailedAt:     time.Now().UTC(),
	}
	attributes := maps.Clone(m.attributes)
	if attributes == nil {
		attributes = map[string]types.MessageAttributeValue{}
	}
	if before, ok := attributes[deadletter.Attribute]; ok { // it was redriven: go on counting
		if old, err := deadletter.ParseRecord(aws.ToString(before.StringValue)); err == nil {
			record.Redrives, record.RedrivenAt, record.Release = old.Redrives, old.RedrivenAt, old.Release
		}
		delete(attributes, deadletter.Attribute)
	}
	if len(attributes) < maxAttributes {
		attributes[deadletter.Attribute] = types.MessageAttributeValue{DataType: aws.String("String"), StringValue: aws.String(record.Encode())}
	} else {
		r.cfg.Logger.Warn("no room for the dead-letter record: the message has ten attributes already", "message_id", m.id)
	}
	// SQS takes no body that is not UTF-8, so that there should be none; but if there is, it must not hold its device up for ever.
	body := strings.ToValidUTF8(m.body, "\uFFFD")
	return &sqs.SendMessageInput{
		QueueUrl:               &r.queue.DLQURL,
		MessageBody:            &body,
		MessageGroupId:         aws.String(cmp.Or(m.device, m.id)),
		MessageDeduplicationId: &m.id,
		MessageAttributes:      attributes,
	}
}

// sendUntilConfirmed tries until the queue has confirmed the message or ctx ends.
func (r *run) sendUntilConfirmed(ctx context.Context, m *message, in *sqs.SendMessageInput) error {
	for failures := 0; ; {
		// The request does not end with ctx: one cut off may have been carried out.
		one, cancel := context.WithTimeout(r.requests, requestTimeout)
		_, err := r.api.SendMessage(one, in)
		cancel()
		if err == nil {
			return nil
		}
		if _, ok := in.MessageAttributes[deadletter.Attribute]; ok && refused(err) {
			// The message is so large that the record makes it too large. It counts more than its record.
			delete(in.MessageAttributes, deadletter.Attribute)
			r.cfg.Logger.Error("the dead-letter queue refuses a message with its record; sending it without", "message_id", m.id,
				"group_id", m.group, "err", err)
			continue
		}
		failures++
		delay := min(100*time.Millisecond<<min(failures-1, 7), 10*time.Second)
		r.cfg.Logger.Error("sending to the dead-letter queue failed; the device waits", "message_id", m.id, "group_id", m.group,
			"failures", failures, "retry_in", delay, "err", err)
		select {
		case <-time.After(delay):
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// refused tells whether the queue refuses a message for what it is.
func refused(err error) bool {
	var answer smithy.APIError
	if !errors.As(err, &answer) {
		return false
	}
	switch answer.ErrorCode() {
	case "InvalidMessageContents", "InvalidParameterValue":
		return true
	}
	return false
}
