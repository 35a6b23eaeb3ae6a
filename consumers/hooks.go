package consumers

import (
	"context"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"

	"github.com/device-fanout/fanout/consumers/failure"
	"github.com/device-fanout/fanout/events"
)

// Hooks are called on the way of every event, on the goroutine of its handler. They must be fast and safe for concurrent use; nil
// ones are skipped. They only watch: one that panics or returns nil leaves the verdict as it is, which is logged once a minute at most.
// Everything that is only counted is in [Stats].
type Hooks struct {
	// Handle is called before an event's first attempt. The handler's context has the values of the context that it returns; when that
	// ends has no effect. The func that it returns hears of the verdict. Neither should be nil.
	Handle func(ctx context.Context, d Delivery) (context.Context, func(Outcome))
	// DeadLettered is called when the dead-letter queue has confirmed an event that failed, on a goroutine of its own. An event that was
	// held becomes a dead letter between two attempts, so that Handle does not hear of it; and events that follow to the queue because
	// their device is parked are not told.
	DeadLettered func(d Delivery, o Outcome)
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
	Class    Class  // that its dead letter has, if it becomes one; empty if it can't
	Code     string // of a failure
	Error    string // its text
	Attempts int    // handlers started
	// Err is the error itself, for [errors.As]; a [*PanicError] of a panic, and nil without a failure. Its methods may panic, as the
	// handler's own error may: a hook that panics is caught.
	Err error
}

// Class says what kind of failure made an event a dead letter; see package failure.
type Class = failure.Class

// Verdict is what becomes of an event.
type Verdict string

// The verdicts; the package comment has them in a table.
const (
	VerdictHandled     Verdict = "handled"
	VerdictKnown       Verdict = "known"       // it can never succeed
	VerdictExhausted   Verdict = "exhausted"   // it failed again, though its handler works
	VerdictHeld        Verdict = "held"        // it failed, and is tried again as nothing shows that the handler works, or by [Block]
	VerdictRetryAfter  Verdict = "retry_after" // its device goes back for a while
	VerdictUnavailable Verdict = "unavailable" // a dependency is down
	VerdictReleased    Verdict = "released"    // the consumer stops, or the lease is lost
)

func outcomeOf(v *verdict) Outcome {
	return Outcome{Verdict: Verdict(v.Name()), Class: v.Class, Code: v.Code, Error: v.Text, Attempts: v.Attempts, Err: v.Err}
}
