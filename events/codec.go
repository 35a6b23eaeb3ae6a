package events

import (
	"bytes"
	"reflect"
)

// What is constant about every event on the wire.
const (
	specVersion     = "1.0"
	dataContentType = "application/json"
)

// Encode returns the event as CloudEvents 1.0 JSON in structured mode, on one line, after validating it.
// The error is that of [Event.Validate]. It is safe for concurrent use.
func Encode(e Event) ([]byte, error) {
	found, err := e.check()
	if err != nil {
		return nil, err
	}
	out := make([]byte, 0, 512)
	out = append(out, `{"specversion":"`+specVersion+`","id":`...)
	out = appendString(out, e.ID)
	out = append(out, `,"source":`...)
	out = appendString(out, e.Source)
	out = append(out, `,"type":`...)
	out = appendString(out, e.Type())
	out = append(out, `,"subject":`...)
	out = appendString(out, e.DeviceID)
	out = append(out, `,"time":`...)
	out = appendTime(out, e.Time)
	out = append(out, `,"datacontenttype":"`+dataContentType+`"`...)
	raw, _ := e.Data.(Raw)
	schema := raw.Schema
	if found != nil {
		schema = found.SchemaURI
	}
	if schema != "" {
		out = append(out, `,"dataschema":`...)
		out = appendString(out, schema)
	}
	if e.Sequence != "" {
		out = append(out, `,"sequence":`...)
		out = appendString(out, e.Sequence)
	}
	out = append(out, `,"data":`...)
	if found == nil {
		out = appendRaw(out, raw)
	} else {
		out = found.root.appendValue(out, reflect.ValueOf(e.Data))
	}
	return append(out, '}'), nil
}

// Decode reads one event in CloudEvents 1.0 JSON, structured mode, and validates it. Attributes and fields that it does
// not know are passed over, because a newer producer may have added them; an optional field may be null. All else must
// be as the type's JSON Schema says: a required field that is missing is an error, not a zero value.
// The error is an [*Error] that lists every bad field. It is safe for concurrent use, and keeps nothing of body.
func Decode(body []byte) (Event, error) {
	r := reader{}
	return r.decode(body)
}

// EncodeData returns a payload alone as JSON, after validating it: a [Raw] one as it stands. The error is an [*Error].
func EncodeData(data Data) ([]byte, error) {
	var bad faults
	found, name := bad.checkPayload(data)
	if !bad.none() {
		return nil, bad.error(Event{}, name)
	}
	if found == nil {
		return bytes.Clone(data.(Raw).JSON), nil
	}
	return found.root.appendValue(nil, reflect.ValueOf(data)), nil
}

// DecodeData reads the payload of an event of the given type alone, as [Decode] does. The error is an [*Error].
func DecodeData(eventType string, data []byte) (Data, error) {
	var r reader
	if err := checkJSON(data); err != nil {
		return nil, &Error{Code: CodeMalformedJSON, Type: eventType, Err: err}
	}
	found := current().byName[eventType]
	if found == nil {
		r.addUnknownType(eventType)
		return nil, r.error(Event{}, eventType)
	}
	decoded := r.decodeData(found, data[skipSpace(data, 0):])
	found.checkData(&r.faults, decoded)
	if !r.none() {
		return nil, r.error(Event{}, eventType)
	}
	return decoded, nil
}
