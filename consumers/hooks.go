package consumers

import (
	"context"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"

	"github.com/device-fanout/fanout/events"
)

// Hooks are called on the way of every event, on the goroutine of its handler. They must be fast and safe for concurrent use; nil
// ones are skipped. Everything that is only counted is in [Stats].
type Hooks struct {
	// Handle is called before an event's first attempt. The handler gets the context that it returns, or one made from it, and the
	// func that it returns, which must not be nil, hears of the verdict.
	Handle func(ctx context.Context, d Delivery) (context.Context, func(Outcome))
}

// Delivery is one event as it was delivered.
type Delivery struct {
	Service      string
	Event        events.Event // empty if the message can't be decoded
	MessageID    string
	DeviceID     string
	Type         string // by the message attribute
	ReceiveCount int    // the first delivery is 1
	SentAt       time.Time
	ReceivedAt   time.Time
	Attributes   map[string]types.MessageAttributeValue // of the message; they must not be changed
}

// Attribute gives the text of a message attribute, such as traceparent; it is empty for one that is not there.
func (d Delivery) Attribute(name string) string {
	return aws.ToString(d.Attributes[name].StringValue)
}

func (m *message) delivery(service string, e events.Event) Delivery {
	return Delivery{
		Service: service, Event: e, MessageID: m.ID, DeviceID: m.Device, Type: m.Type, ReceiveCount: m.ReceiveCount,
		SentAt: m.in.SentAt, ReceivedAt: m.ReceivedAt, Attributes: m.in.Attributes,
	}
}

// Outcome is a verdict on an event.
type Outcome struct {
	Verdict  Verdict
	Code     string // of a failure
	Error    string // its text
	Attempts int    // handlers started
}

// Verdict is what becomes of an event.
type Verdict string

// The verdicts; the package comment has them in a table.
const (
	VerdictHandled     Verdict = "handled"
	VerdictKnown       Verdict = "known"       // it can never succeed
	VerdictExhausted   Verdict = "exhausted"   // the quick retries are used up
	VerdictRetryAfter  Verdict = "retry_after" // its device goes back for a while
	VerdictUnavailable Verdict = "unavailable" // a dependency is down
	VerdictReleased    Verdict = "released"    // the consumer stops, or the lease is lost
)

func outcomeOf(v *verdict) Outcome {
	return Outcome{Verdict: Verdict(v.Name()), Code: v.Code, Error: v.Text, Attempts: v.Attempts}
}
