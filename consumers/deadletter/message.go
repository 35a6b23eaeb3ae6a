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

	"github.com/device-fanout/fanout/events"
)

// Message is one message in a dead-letter queue.
type Message struct {
	Record    Record    // without a record in the message: what SQS tells about it
	MessageID string    // in the dead-letter queue
	DeviceID  string    // the message group; on a standard queue the event's subject
	EventID   string    // empty when the body can't be read
	Type      string    // of the event: from the message attribute, else from the body, else empty
	Time      time.Time // of the event; zero when the body can't be read
	Body      string

	groupID     string // empty on a standard queue
	attributes  map[string]types.MessageAttributeValue
	handle      string
	hiddenUntil time.Time // until then nobody else can receive it
	held        bool      // by the reader, see there
}

// newMessage makes a Message, as far as the message can be read.
func newMessage(from Source, in types.Message) *Message {
	m := &Message{
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
	_ = json.Unmarshal([]byte(m.Body), &envelope) // an undecodable body is a common reason to be here
	m.EventID, m.Type, m.DeviceID = envelope.ID, envelope.Type, cmp.Or(m.groupID, envelope.Subject)
	m.Time, _ = events.ParseTime(envelope.Time)
	if t := aws.ToString(in.MessageAttributes["type"].StringValue); t != "" {
		m.Type = t
	}
	source := in.Attributes[string(types.MessageSystemAttributeNameDeadLetterQueueSourceArn)]
	// A redriven message has the record of its last failure. If SQS has moved it since then, that record is out of date.
	before, err := ParseRecord(aws.ToString(in.MessageAttributes[Attribute].StringValue))
	if err == nil && before.Service != "" && source == "" {
		m.Record = before.completed(m.Type, sentTime(in))
		return m
	}
	m.Record = Record{
		Service:    from.Service,
		Queue:      source,
		Class:      Moved,
		Code:       CodeReceiveCount,
		Error:      "moved by SQS: the message was received too often without being handled",
		MessageID:  m.MessageID,
		FailedAt:   sentTime(in),
		Redrives:   before.Redrives,
		RedrivenAt: before.RedrivenAt,
	}
	if from.Delivery {
		m.Record.Class, m.Record.Code = Undelivered, "delivery_failed"
		m.Record.Error = "the topic could not deliver the message to the queue: look at the queue's policy and encryption key"
	}
	m.Record.Fingerprint = FingerprintOf(m.Record.Service, m.Type, m.Record.Code, "")
	m.Record.ReceiveCount, _ = strconv.Atoi(in.Attributes[string(types.MessageSystemAttributeNameApproximateReceiveCount)])
	return m
}

// sentTime is when the message came into the queue.
func sentTime(in types.Message) time.Time {
	ms, err := strconv.ParseInt(in.Attributes[string(types.MessageSystemAttributeNameSentTimestamp)], 10, 64)
	if err != nil {
		return time.Time{}
	}
	return time.UnixMilli(ms).UTC()
}

// maxSkew is how far the clock of a consumer may be ahead of that of SQS and be believed.
const maxSkew = time.Minute

// completed fills in what is missing in a record that was written by hand. A message can't have failed after it was sent here: a consumer whose
// clock is ahead is not believed, or rules that wait since the failure would wait for as long.
func (r Record) completed(eventType string, sent time.Time) Record {
	r.Class, r.Code = cmp.Or(r.Class, Unknown), cmp.Or(r.Code, "unknown")
	r.Fingerprint = cmp.Or(r.Fingerprint, FingerprintOf(r.Service, eventType, r.Code, CauseOfText(r.Error)))
	if r.FailedAt.IsZero() || !sent.IsZero() && r.FailedAt.Sub(sent) > maxSkew {
		r.FailedAt = sent
	}
	return r
}

// origin is the first message ID that the message had in this dead-letter queue, the same for all of its copies.
func (m *Message) origin() string { return cmp.Or(m.Record.Rotation.Origin, m.MessageID) }

// identity is equal for copies of one event in one group.
func (m *Message) identity() [sha256.Size]byte {
	return sha256.Sum256([]byte(m.DeviceID + "\x00" + m.Body))
}

// copyKey is equal for the copies of one message, but not for other messages with the same record.
type copyKey struct {
	origin   string
	identity [sha256.Size]byte
}

func (m *Message) copyKey() copyKey { return copyKey{m.origin(), m.identity()} }

// group is the message group that every copy of the message goes to.
func (m *Message) group() string { return cmp.Or(m.groupID, m.MessageID) }

// name is the event's ID for errors, or else the message's.
func (m *Message) name() string { return cmp.Or(m.EventID, m.MessageID) }

// TraceID is the ID of the trace that the event belongs to, from its traceparent; empty if there is none.
func (m *Message) TraceID() string {
	if parts := strings.Split(aws.ToString(m.attributes["traceparent"].StringValue), "-"); len(parts) == 4 {
		return parts[1]
	}
	return ""
}

// Attributes are the message attributes as text, binary ones in base64, without the record.
func (m *Message) Attributes() map[string]string {
	list := make(map[string]string, len(m.attributes))
	for name, v := range m.attributes {
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
