package deadletter

import (
	"cmp"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"strconv"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"
)

// Message is one message in a dead-letter queue.
type Message struct {
	Record    Record    // of a message that nobody wrote one for, only what can be told without
	MessageID string    // in the dead-letter queue
	DeviceID  string    // the message group; on a standard queue the event's subject
	EventID   string    // empty when the body can't be read
	Type      string    // of the event: from the message attribute, else from the body, else empty
	Time      time.Time // of the event; zero when the body can't be read
	Body      string

	groupID     string // empty on a standard queue
	attributes  map[string]types.MessageAttributeValue
	handle      string
	hiddenUntil time.Time // when others can receive it again, at the earliest
	held        bool      // until the reader ends
}

// newLetter reads a message as far as it can be read.
func newLetter(from Source, in types.Message) *Message {
	l := &Message{
		MessageID:  aws.ToString(in.MessageId),
		groupID:    in.Attributes[string(types.MessageSystemAttributeNameMessageGroupId)],
		Body:       aws.ToString(in.Body),
		attributes: in.MessageAttributes,
		handle:     aws.ToString(in.ReceiptHandle),
	}
	var envelope struct {
		ID      string `json:"id"`
		Type    string `json:"type"`
		Time    string `json:"time"`
		Subject string `json:"subject"`
	}
	_ = json.Unmarshal([]byte(l.Body), &envelope) // an undecodable body is a common reason to be here
	l.EventID, l.Type, l.DeviceID = envelope.ID, envelope.Type, cmp.Or(l.groupID, envelope.Subject)
	l.Time, _ = time.Parse(time.RFC3339Nano, envelope.Time)
	if t := aws.ToString(in.MessageAttributes["type"].StringValue); t != "" {
		l.Type = t
	}
	source := in.Attributes[string(types.MessageSystemAttributeNameDeadLetterQueueSourceArn)]
	var before Record
	if text, ok := in.MessageAttributes[Attribute]; ok {
		r, err := ParseRecord(aws.ToString(text.StringValue))
		// A redriven message carries the record of its last failure. Where SQS moved it since then, that one is out of date.
		if err == nil && r.Service != "" && source == "" {
			l.Record = r.completed(l.Type, sentTime(in))
			return l
		}
		before = r
	}
	l.Record = Record{
		Service:     from.Service,
		Queue:       source,
		Class:       Moved,
		Code:        CodeReceiveCount,
		Error:       "moved by SQS: the message was received too often without being handled",
		Fingerprint: FingerprintOf(from.Service, Moved, CodeReceiveCount, l.Type),
		MessageID:   l.MessageID,
		Redrives:    before.Redrives,
		RedrivenAt:  before.RedrivenAt,
	}
	if from.Delivery {
		l.Record.Class, l.Record.Code = Undelivered, "delivery_failed"
		l.Record.Error = "the topic could not deliver the message to the queue: look at the queue's policy and encryption key"
		l.Record.Fingerprint = FingerprintOf(from.Service, Undelivered, "delivery_failed", l.Type)
	}
	l.Record.ReceiveCount, _ = strconv.Atoi(in.Attributes[string(types.MessageSystemAttributeNameApproximateReceiveCount)])
	l.Record.FailedAt = sentTime(in)
	return l
}

// sentTime is when the message came into the queue.
func sentTime(in types.Message) time.Time {
	ms, err := strconv.ParseInt(in.Attributes[string(types.MessageSystemAttributeNameSentTimestamp)], 10, 64)
	if err != nil {
		return time.Time{}
	}
	return time.UnixMilli(ms).UTC()
}

// completed fills in what somebody who wrote the record by hand has left out.
func (r Record) completed(eventType string, failedAt time.Time) Record {
	r.Class, r.Code = cmp.Or(r.Class, Unknown), cmp.Or(r.Code, "unknown")
	r.Fingerprint = cmp.Or(r.Fingerprint, FingerprintOf(r.Service, r.Class, r.Code, eventType))
	if r.FailedAt.IsZero() {
		r.FailedAt = failedAt
	}
	return r
}

// origin is the message ID that the letter had in this dead-letter queue at first. All copies of it have the same.
func (l *Message) origin() string { return cmp.Or(l.Record.Aside.Letter, l.MessageID) }

// identity is equal for copies of one event in one group.
func (l *Message) identity() [sha256.Size]byte {
	return sha256.Sum256([]byte(l.DeviceID + "\x00" + l.Body))
}

// copyKey is equal for the copies of one letter, and not for letters that only have the same record.
type copyKey struct {
	origin   string
	identity [sha256.Size]byte
}

func (l *Message) copyKey() copyKey { return copyKey{l.origin(), l.identity()} }

// group is the message group that every copy of the letter goes to.
func (l *Message) group() string { return cmp.Or(l.groupID, l.MessageID) }

// name is what to call the letter's event in an error.
func (l *Message) name() string { return cmp.Or(l.EventID, l.MessageID) }

// TraceID is the trace that the event belongs to, from its traceparent; empty if there is none.
func (l *Message) TraceID() string {
	if parts := strings.Split(aws.ToString(l.attributes["traceparent"].StringValue), "-"); len(parts) == 4 {
		return parts[1]
	}
	return ""
}

// Attributes are the message attributes as text, binary ones in base64, without the record.
func (l *Message) Attributes() map[string]string {
	list := make(map[string]string, len(l.attributes))
	for name, v := range l.attributes {
		switch {
		case name == Attribute:
		case v.StringValue != nil:
			list[name] = *v.StringValue
		default:
			list[name] = base64.StdEncoding.EncodeToString(v.BinaryValue)
		}
	}
	return list
}
