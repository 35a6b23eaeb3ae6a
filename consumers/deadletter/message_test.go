package deadletter

import (
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"
)

func text(value string) types.MessageAttributeValue {
	return types.MessageAttributeValue{DataType: aws.String("String"), StringValue: &value}
}

func received(body string, attributes map[string]types.MessageAttributeValue) types.Message {
	return types.Message{
		MessageId: aws.String("dlq-1"), ReceiptHandle: aws.String("handle"), Body: &body, MessageAttributes: attributes,
		Attributes: map[string]string{"MessageGroupId": "lamp-7", "ApproximateReceiveCount": "11", "SentTimestamp": "1767323045006"},
	}
}

const goodBody = `{"specversion":"1.0","id":"e1","source":"g","subject":"lamp-7","type":"device.power.changed.v1","time":"2026-01-02T03:04:05Z","data":{"on":true}}`

func TestMessage_WithARecord(t *testing.T) {
	t.Parallel()
	m := newMessage(Source{Service: "push"}, received(goodBody, map[string]types.MessageAttributeValue{Attribute: text(example().Encode()), "type": text("device.power.changed.v1")}))
	if m.Record != example() {
		t.Errorf("got record %+v, want that of the attribute", m.Record)
	}
	if m.MessageID != "dlq-1" || m.DeviceID != "lamp-7" || m.EventID != "e1" || m.Type != "device.power.changed.v1" || m.Body != goodBody ||
		!m.Time.Equal(time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)) {
		t.Errorf("got %+v", m)
	}
}

// TestMessage_WithoutAUsableRecord: SQS moved it, so that it has no record, or one that somebody wrote by hand.
func TestMessage_WithoutAUsableRecord(t *testing.T) {
	t.Parallel()
	for name, attributes := range map[string]map[string]types.MessageAttributeValue{
		"no attributes":     nil,
		"no record":         {"type": text("device.power.changed.v1")},
		"empty record":      {Attribute: text("{}")},
		"null":              {Attribute: text("null")},
		"no JSON":           {Attribute: text("look at this later")},
		"other JSON":        {Attribute: text(`["history"]`)},
		"wrong types":       {Attribute: text(`{"service":"x","attempts":"3"}`)},
		"binary":            {Attribute: {DataType: aws.String("Binary"), BinaryValue: []byte{0xff, 0}}},
		"number":            {Attribute: {DataType: aws.String("Number"), StringValue: aws.String("7")}},
		"no value":          {Attribute: {}},
		"record of nobody":  {Attribute: text(`{"queue":"arn:aws:sqs:x:y:other.fifo"}`)},
		"type without text": {"type": {DataType: aws.String("Binary"), BinaryValue: []byte("x")}},
	} {
		in := received(goodBody, attributes)
		in.Attributes["DeadLetterQueueSourceArn"] = "arn:aws:sqs:eu-central-1:000000000000:dev-push.fifo"
		m := newMessage(Source{Service: "push"}, in)
		want := Record{
			Service: "push", Queue: "arn:aws:sqs:eu-central-1:000000000000:dev-push.fifo", Class: Moved, Code: "receive_count", Error: m.Record.Error,
			Fingerprint: FingerprintOf("push", "device.power.changed.v1", "receive_count", ""), ReceiveCount: 11, MessageID: "dlq-1",
			FailedAt: time.UnixMilli(1767323045006).UTC(),
		}
		if m.Record != want {
			t.Errorf("%s: got %+v, want %+v", name, m.Record, want)
		}
		if m.Type != "device.power.changed.v1" || m.EventID != "e1" {
			t.Errorf("%s: got type %q and event %q from the body", name, m.Type, m.EventID)
		}
	}
}

func TestMessage_BodyIsReadAsFarAsItCanBe(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ body, id, eventType string }{
		"no JSON":         {"oops", "", ""},
		"empty":           {"", "", ""},
		"array":           {"[1]", "", ""},
		"bad time first":  {`{"time":"yesterday","id":"e1","type":"t"}`, "e1", "t"},
		"time is no text": {`{"time":5,"id":"e1","type":"t"}`, "e1", "t"},
		"ID is no text":   {`{"id":5,"type":"t"}`, "", "t"},
		"bad data":        {`{"id":"e1","type":"t","data":{"percent":140}}`, "e1", "t"},
	} {
		m := newMessage(Source{Service: "push"}, received(c.body, nil))
		if m.EventID != c.id || m.Type != c.eventType || !m.Time.IsZero() || m.Body != c.body {
			t.Errorf("%s: got %+v, want ID %q and type %q", name, m, c.id, c.eventType)
		}
	}
	m := newMessage(Source{Service: "push"}, received("oops", map[string]types.MessageAttributeValue{"type": text("device.power.changed.v1")}))
	if m.Type != "device.power.changed.v1" {
		t.Errorf("undecodable body: got type %q, want that of the attribute", m.Type)
	}
}

func TestFilter_EveryFieldSelects(t *testing.T) {
	t.Parallel()
	now := example().FailedAt.Add(time.Hour)
	m := newMessage(Source{Service: "push"}, received(goodBody, map[string]types.MessageAttributeValue{Attribute: text(example().Encode())}))
	for name, c := range map[string]struct {
		filter Filter
		want   bool
	}{
		"zero":              {Filter{}, true},
		"device":            {Filter{Device: "lamp-7"}, true},
		"other device":      {Filter{Device: "lamp-70"}, false},
		"type":              {Filter{Type: "device.power.changed.v1"}, true},
		"other type":        {Filter{Type: "device.power.changed"}, false},
		"code":              {Filter{Code: "error"}, true},
		"other code":        {Filter{Code: "timeout"}, false},
		"class":             {Filter{Class: Exhausted}, true},
		"other class":       {Filter{Class: Known}, false},
		"fingerprint":       {Filter{Fingerprint: "0123abcd"}, true},
		"other fingerprint": {Filter{Fingerprint: "0123"}, false},
		"text":              {Filter{Text: "base is"}, true},
		"other text":        {Filter{Text: "Database"}, false},
		"older":             {Filter{OlderThan: time.Hour}, true},
		"not older":         {Filter{OlderThan: time.Hour + 1}, false},
		"newer":             {Filter{NewerThan: time.Hour}, true},
		"not newer":         {Filter{NewerThan: time.Hour - 1}, false},
		"all at once":       {Filter{Device: "lamp-7", Type: "device.power.changed.v1", Code: "error", Class: Exhausted, Fingerprint: "0123abcd", Text: "down", OlderThan: time.Minute, NewerThan: 2 * time.Hour}, true},
		"all but one":       {Filter{Device: "lamp-7", Type: "device.power.changed.v1", Code: "error", Class: Exhausted, Fingerprint: "0123abcd", Text: "up"}, false},
		"limit counts not":  {Filter{Limit: 1}, true},
	} {
		if got := c.filter.Matches(m, now); got != c.want {
			t.Errorf("%s: got %t, want %t", name, got, c.want)
		}
	}
}
