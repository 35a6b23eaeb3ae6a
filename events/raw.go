package events

import (
	"bytes"
	"encoding/json"
	"unicode/utf8"
)

// Raw is the payload of an event whose type this program has not registered, as it stands in the envelope. [DecodeAny] makes it,
// for services that store or pass on events without looking into them. It is a JSON object with any fields; no bounds are checked.
//
// Encoding an event with a Raw payload gives the event that was decoded, its payload byte for byte but for line breaks between
// values, which become spaces.
type Raw struct {
	// Type is the event's type: 1 to 128 letters, digits or punctuation characters of ASCII. One that this program has registered
	// is refused, because its payload has a Go type.
	Type string
	// Schema is the event's attribute dataschema. It is empty when the event has none.
	Schema string
	// JSON is the payload, a JSON object. It must not be changed.
	JSON json.RawMessage
}

// EventType returns the event's type. Unlike that of every other payload it depends on the value.
func (r Raw) EventType() string { return r.Type }

// DecodeAny is [Decode] for programs that keep events as they are: an event of a type that this program has not registered is no
// error but has a payload of type [Raw]. The envelope is checked all the same. It is safe for concurrent use, and keeps
// nothing of body.
func DecodeAny(body []byte) (Event, error) {
	r := reader{unknownTypes: true}
	return r.decode(body)
}

// raw makes the payload of an event whose type is not registered.
func (r *reader) raw(eventType, schema string, text []byte) Data {
	raw := Raw{Type: eventType, Schema: schema, JSON: bytes.Clone(text)}
	r.checkRaw(raw)
	return raw
}

// checkRaw checks a payload that no type describes.
func (f *faults) checkRaw(raw Raw) {
	if found := current().byName[raw.Type]; found != nil {
		f.dataField("data", "events.Raw of "+raw.Type, "a value of "+found.goType.String())
		return
	}
	if !legalID(raw.Type) {
		f.envelopeField("type", quoteUnlessEmpty(raw.Type), wantID)
	}
	if !utf8.ValidString(raw.Schema) {
		f.envelopeField("dataschema", quote(raw.Schema), wantSchema)
	}
	switch start := skipSpace(raw.JSON, 0); {
	case start == len(raw.JSON):
		f.dataField("data", "", KindObject.article())
	case !utf8.Valid(raw.JSON) || !wellFormed(raw.JSON):
		f.dataField("data", "malformed JSON", KindObject.article())
	case raw.JSON[start] != '{':
		f.dataField("data", describeJSON(raw.JSON[start:]), KindObject.article())
	case bytes.Contains(raw.JSON, []byte("\uFFFE")) || bytes.Contains(raw.JSON, []byte("\uFFFF")):
		f.dataField("data", "U+FFFE or U+FFFF", `them escaped, as \ufffe and \uffff: SNS and SQS do not carry them`)
	}
}

// appendRaw appends a payload that has been checked, on one line: a line break can only stand between values, where a space does as
// well.
func appendRaw(out []byte, raw Raw) []byte {
	start := len(out)
	out = append(out, raw.JSON...)
	for i := start; i < len(out); i++ {
		if out[i] == '\n' || out[i] == '\r' {
			out[i] = ' '
		}
	}
	return out
}
