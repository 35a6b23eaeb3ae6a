package events

import (
	"reflect"
	"time"

	"github.com/google/uuid"
)

// Event is one thing that a device said: a CloudEvents 1.0 event whose subject is the device.
// Make one with [New]; it is a plain value and may be copied.
type Event struct {
	// ID is unique within source and device for ever: the three are the event's [Identity]. [New] makes a UUIDv7; a source that numbers its
	// own events sets its own.
	ID string
	// Source is the gateway that heard the event, as a URI reference. Empty lets the producer fill in its own.
	Source string
	// DeviceID is the CloudEvents subject and the message group ID: 1 to 128 letters, digits or punctuation
	// characters of ASCII, and no space.
	DeviceID string
	// Time is when it happened at the device.
	Time time.Time
	// Sequence sorts by order of acceptance within a device. The producer sets it; it is empty before.
	Sequence string
	// Data is the payload. Its Go type decides the event's type, unless it is a [Raw].
	Data Data
}

// Data is a payload that can be published: a struct value of a type passed to [Register], or a [Raw].
type Data interface {
	// EventType returns the event's type on the wire, such as "device.power.changed.v1".
	// It is a constant of the Go type: it must not depend on the value.
	EventType() string
}

// New makes an event of device deviceID that happens now, with a new UUIDv7 as its ID.
// It does not validate; [Event.Validate] and everything that sends does.
func New(deviceID string, data Data) Event {
	return Event{
		ID:       uuid.Must(uuid.NewV7()).String(),
		DeviceID: deviceID,
		Time:     time.Now().UTC(),
		Data:     data,
	}
}

// Type returns the event's type, such as "device.power.changed.v1", or "" without data.
func (e Event) Type() string {
	if e.Data == nil {
		return ""
	}
	if v := reflect.ValueOf(e.Data); v.Kind() == reflect.Pointer && v.IsNil() {
		return "" // a nil pointer has no methods to ask; Validate says what is wrong
	}
	return e.Data.EventType()
}

// As returns the event's payload as a T, and whether it is one.
//
//	if power, ok := events.As[device.PowerChanged](event); ok && power.On { … }
func As[T Data](e Event) (T, bool) {
	data, ok := e.Data.(T)
	return data, ok
}
