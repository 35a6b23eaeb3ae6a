package deadletter

import (
	"encoding/json"
	"strconv"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"
)

// Letter is one message in a dead-letter queue.
type Letter struct {
	Record    Record    // of a message that SQS itself moved, only what can be told without one
	MessageID string    // in the dead-letter queue
	DeviceID  string    // the message group
	EventID   string    // empty when the body can't be read
	Type      string    // of the event: from the message attribute, else from the body, else empty
	Time      time.Time // of the event; zero when the body can't be read
	Body      string

	attributes  map[string]types.MessageAttributeValue
	handle      string
	hiddenUntil time.Time // when others can receive it again, at the earliest
	held        bool      // by a reader
	sent        bool      // it is back in its queue and still to be deleted
}

// newLetter reads a message as far as it can be read.
func newLetter(service string, in types.Message) *Letter {
	l := &Letter{
		MessageID:  aws.ToString(in.MessageId),
		DeviceID:   in.Attributes[string(types.MessageSystemAttributeNameMessageGroupId)],
		Body:       aws.ToString(in.Body),
		attributes: in.MessageAttributes,
		handle:     aws.ToString(in.ReceiptHandle),
	}
	var envelope struct {
		ID   string `json:"id"`
		Type string `json:"type"`
		Time string `json:"time"`
	}
	_ = json.Unmarshal([]byte(l.Body), &envelope) // an undecodable body is a common reason to be here
	l.EventID, l.Type = envelope.ID, envelope.Type
	l.Time, _ = time.Parse(time.RFC3339Nano, envelope.Time)
	if t := aws.ToString(in.MessageAttributes["type"].StringValue); t != "" {
		l.Type = t
	}
	if text, ok := in.MessageAttributes[Attribute]; ok {
		if r, err := ParseRecord(aws.ToString(text.StringValue)); err == nil && r.Service != "" {
			l.Record = r
			return l
		}
	}
	l.Record = Record{
		Service:     service,
		Queue:       in.Attributes[string(types.MessageSystemAttributeNameDeadLetterQueueSourceArn)],
		Class:       Moved,
		Code:        "receive_count",
		Error:       "moved by SQS: the message was received too often without being handled",
		Fingerprint: FingerprintOf(service, Moved, "receive_count", l.Type),
		MessageID:   l.MessageID,
	}
	l.Record.ReceiveCount, _ = strconv.Atoi(in.Attributes[string(types.MessageSystemAttributeNameApproximateReceiveCount)])
	if ms, err := strconv.ParseInt(in.Attributes[string(types.MessageSystemAttributeNameSentTimestamp)], 10, 64); err == nil {
		l.Record.FailedAt = time.UnixMilli(ms).UTC()
	}
	return l
}

// Filter selects dead letters. Every field that is set must match; the zero value selects all.
type Filter struct {
	Device, Type, Code, Fingerprint string
	Class                           Class
	Text                            string        // somewhere in the error text
	OlderThan, NewerThan            time.Duration // since the failure
	Limit                           int           // at most so many, the oldest of each device first
}

// Matches tells whether the filter selects l at the time now. It does not count; Limit is the caller's.
func (f Filter) Matches(l *Letter, now time.Time) bool {
	age := now.Sub(l.Record.FailedAt)
	switch {
	case f.Device != "" && f.Device != l.DeviceID,
		f.Type != "" && f.Type != l.Type,
		f.Code != "" && f.Code != l.Record.Code,
		f.Class != "" && f.Class != l.Record.Class,
		f.Fingerprint != "" && f.Fingerprint != l.Record.Fingerprint,
		f.Text != "" && !strings.Contains(l.Record.Error, f.Text),
		f.OlderThan > 0 && age < f.OlderThan,
		f.NewerThan > 0 && age > f.NewerThan:
		return false
	}
	return true
}
