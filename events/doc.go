// Package events is the envelope around everything that a device says, the registry of payload types, and their way to JSON
// and back. Producers and consumers import it; it imports nothing else of this project. It knows no event type by itself:
// package device has those of a home, and a module of your own has yours.
//
// An [Event] is one thing that a device said, at a time, with a payload whose Go type decides the event's type:
//
//	event := events.New("lamp-7", device.PowerChanged{On: true})
//	event.Source = "/gateways/home-1" // the producer fills in its own
//	body, err := events.Encode(event)
//
// On the wire an event is CloudEvents 1.0 JSON in structured mode, which any CloudEvents library reads: id, source, type,
// subject (the device ID), time, dataschema, the extension sequence, and the payload as data. [Decode] turns it back:
//
//	event, err := events.Decode(body)
//	switch data := event.Data.(type) {
//	case device.PowerChanged:
//		fmt.Println(event.DeviceID, data.On)
//	}
//
// [ParseLine] reads the lines that gateways and tools write by hand, which are shorter than a CloudEvents event.
//
// An event is told from all others by its [Identity]: source, device and ID. IDs alone may come twice, as sources may number their events.
//
// # What it guarantees
//
// Nothing passes [Encode], [Decode] or [ParseLine] that is not valid: IDs are legal as message group ID and
// deduplication ID of SNS and SQS, required fields are there, and every value is within the bounds of its validate tag.
// What has been encoded decodes to the same event: times are in UTC and to the
// nanosecond, an optional list without elements is nil.
//
// Every error about an event is an [*Error]. Its [Code] tells the class apart, and it lists every bad field by its path
// in the JSON text:
//
//	events: invalid data of device.humidity.measured.v1: data.percent: got 140, want a number from 0 to 100
//
// Such an error is final: trying the same event again cannot help.
//
// Decode is tolerant of what a newer producer may have added: unknown attributes and fields are passed over, and null
// stands for a missing optional field. ParseLine is not, because in hand-made input an unknown name is a mistake.
//
// # A type of your own
//
// One Go file adds a type, in this module or in any other. It declares the payload and registers it; encoding, decoding,
// validation, the JSON Schema (package schemas/generate) and typed handlers follow from that:
//
//	package acme
//
//	import "github.com/device-fanout/fanout/events"
//
//	func init() {
//		events.Register("https://acme.example/schemas/", DoorbellPressed{Button: "front", Seconds: new(1.5)}, "Somebody pressed a doorbell.")
//	}
//
//	// DoorbellPressed says that somebody pressed a doorbell.
//	type DoorbellPressed struct {
//		Button  string   `json:"button" validate:"oneof=front back" doc:"which button"`
//		Seconds *float64 `json:"seconds,omitempty" validate:"omitempty,gte=0,lte=60" doc:"for how long, in seconds"`
//	}
//
//	func (DoorbellPressed) EventType() string { return "acme.doorbell.pressed.v1" }
//
// The sample is checked when the program starts, and a payload that could not be encoded, decoded and described in a
// schema without loss makes [Register] panic with what to change. The rules are few: field names in snake case with
// the unit in the name; a field without omitempty is required; an optional boolean, number, time or object is a
// pointer; bounds are the rules of [Rule]. Fields may be booleans, integers, float64, strings,
// [time.Time], structs and slices.
//
// A program knows the types of the packages that it imports. An event of another type fails with [CodeUnknownType], but for a program
// that stores or passes on events without looking into them: [DecodeAny] gives their payloads as [Raw], and Encode takes them.
//
// # Changing a type
//
// Adding an optional field is compatible: old consumers pass it over. Everything else (a field removed or renamed, a
// type changed, a bound narrowed, a new required field) needs a new version, which is a second Go type whose name on the
// wire ends in .v2. Both stay registered while events of the old one are about. The files in package device's testdata/samples
// prove that old events can still be read; they are never changed.
//
// # What it does not do
//
// It does not send, order or store events, and does not fetch schemas. Binary payloads (data_base64), payloads that are
// no objects, and fields of any shape (maps, interfaces, types with a JSON form of their own) are refused.
package events
