package attempt

import (
	"strconv"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"

	"github.com/device-fanout/fanout/consumers/deadletter"
	"github.com/device-fanout/fanout/consumers/parking"
)

// Message is a message as SQS delivered it. It is never changed.
type Message struct {
	ID           string
	Body         string
	Group        string // the message group
	Device       string // that the group is of: the same, but for a message that a release has sent
	IsReleased   bool   // a release has sent it; see package parking
	Attributes   map[string]types.MessageAttributeValue
	ReceiveCount int       // the first delivery is 1
	SentAt       time.Time // zero if it is not known
	FirstAt      time.Time // when it was received first, by anybody; zero if it is not known
}

// NewMessage reads a message with all its attributes.
func NewMessage(in types.Message) Message {
	m := Message{
		ID: aws.ToString(in.MessageId), Body: aws.ToString(in.Body), Attributes: in.MessageAttributes,
		Group: in.Attributes[string(types.MessageSystemAttributeNameMessageGroupId)],
	}
	m.Device, m.IsReleased = parking.DeviceOf(in)
	m.ReceiveCount, _ = strconv.Atoi(in.Attributes[string(types.MessageSystemAttributeNameApproximateReceiveCount)])
	m.SentAt = instant(in, types.MessageSystemAttributeNameSentTimestamp)
	m.FirstAt = instant(in, types.MessageSystemAttributeNameApproximateFirstReceiveTimestamp)
	return m
}

// instant reads an attribute in milliseconds; zero if it is not there.
func instant(in types.Message, name types.MessageSystemAttributeName) time.Time {
	ms, err := strconv.ParseInt(in.Attributes[string(name)], 10, 64)
	if err != nil {
		return time.Time{}
	}
	return time.UnixMilli(ms).UTC()
}

// IsMark tells whether the message is the end mark of a release.
func (m *Message) IsMark() bool { return m.IsReleased && m.Type() == parking.EndMark }

// Type is the event's type as the message attribute tells it, for messages whose body can't be read.
func (m *Message) Type() string { return aws.ToString(m.Attributes["type"].StringValue) }

// DeadLetter makes the copy of the message for the dead-letter queue with the given URL. service and queue are the service's name and
// the ARN of its queue, for the record. recorded is false if there was no room for it: the message has ten attributes already.
func (m *Message) DeadLetter(dlqURL, service, queue string, v *Verdict) (in *sqs.SendMessageInput, recorded bool) {
	return deadletter.Failed{Body: m.Body, Group: m.Device, Attributes: m.Attributes}.To(dlqURL, deadletter.Record{
		Service:      service,
		Queue:        queue,
		Class:        v.Class,
		Code:         v.Code,
		Error:        v.Text,
		Fingerprint:  deadletter.FingerprintOf(service, v.EventType, v.Code, v.cause(m.Device)),
		Attempts:     v.Attempts,
		ReceiveCount: m.ReceiveCount,
		MessageID:    m.ID,
		SentAt:       m.SentAt,
		FailedAt:     time.Now().UTC(),
	})
}
