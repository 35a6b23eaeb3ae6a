package events

import (
	"mime"
	"slices"
	"strings"

	"github.com/google/uuid"
)

// attribute is one of the names that an event on the wire, or an input line, can have.
type attribute int

const (
	attrSpecVersion attribute = iota
	attrID
	attrSource
	attrType
	attrSubject
	attrTime
	attrDataContentType
	attrDataSchema
	attrSequence
	attrData
	attrDataBase64
	attrDeviceID
	attrCount
)

var attributeNames = [attrCount]string{
	"specversion", "id", "source", "type", "subject", "time", "datacontenttype", "dataschema", "sequence", "data",
	"data_base64", "device_id",
}

// What an event on the wire and what a line in the short form may have, as errors list it.
var (
	wireNames  = attributeNames[:attrDataBase64]
	shortNames = []string{"device_id", "type", "time", "data", "id", "source"}
)

func findAttribute(name []byte) (attribute, bool) {
	for i := range attributeNames {
		if attributeNames[i] == string(name) {
			return attribute(i), true
		}
	}
	return 0, false
}

// envelope holds the text of every attribute that is there, and nil where there is none.
type envelope [attrCount][]byte

// decode reads one event. A strict reader also takes the short form of [ParseLine].
func (r *reader) decode(text []byte) (Event, error) {
	if err := checkJSON(text); err != nil {
		return Event{}, &Error{Code: CodeMalformedJSON, Err: err}
	}
	var raw envelope
	var unknown []string // names, collected only when they are errors
	for members := (walker{text: text}); ; {
		name, value, ok := members.member()
		if !ok {
			break
		}
		switch at, known := findAttribute(name); {
		case known && raw[at] == nil:
			raw[at] = value
		case known:
			r.envelopeField(attributeNames[at], "two values", "one")
		case r.strict && len(unknown) < maxFieldErrors:
			unknown = append(unknown, printable(name))
		}
	}
	short := r.strict && raw[attrSpecVersion] == nil
	if r.strict {
		r.refuseUnknown(&raw, unknown, short)
	}
	return r.event(&raw, short)
}

// refuseUnknown adds every name that does not belong into the form that the line is in.
func (r *reader) refuseUnknown(raw *envelope, unknown []string, short bool) {
	names := wireNames
	if short {
		names = shortNames
	}
	for at, value := range raw {
		isData := at == int(attrData) || at == int(attrDataBase64) // data_base64 has an error of its own
		if value != nil && !isData && !slices.Contains(names, attributeNames[at]) {
			unknown = append(unknown, attributeNames[at])
		}
	}
	for _, name := range unknown {
		r.envelopeField(name, "an unknown field", "one of "+strings.Join(names, ", "))
	}
}

// event makes an Event of the attributes and checks everything about it.
func (r *reader) event(raw *envelope, short bool) (Event, error) {
	device := attrSubject
	if short {
		device = attrDeviceID
	} else {
		r.checkWireAttributes(raw)
	}
	e := Event{
		ID:       r.text(raw, attrID, wantID),
		Source:   r.text(raw, attrSource, wantSource),
		DeviceID: r.text(raw, device, wantID),
		Sequence: r.text(raw, attrSequence, wantID),
	}
	if value := raw[attrTime]; value != nil {
		var want string
		if e.Time, want = parseTime(value); want == "" && !legalTime(e.Time) {
			want = wantTime
		}
		if want != "" {
			r.envelopeField("time", describeJSON(value), want)
		}
	}
	if short && absent(raw[attrID]) {
		e.ID = uuid.Must(uuid.NewV7()).String()
	}
	r.checkAttributes(e, attributeNames[device])
	if !legalSource(e.Source) && !(short && absent(raw[attrSource])) {
		r.envelopeField("source", quoteUnlessEmpty(e.Source), wantSource)
	}

	found, eventType := r.findType(raw)
	switch {
	case !absent(raw[attrDataBase64]):
		r.envelopeField("data_base64", describeJSON(raw[attrDataBase64]), "the payload as JSON in data")
	case raw[attrData] == nil:
		r.envelopeField("data", "", KindObject.article())
	case found != nil:
		e.Data = r.decodeData(found, raw[attrData])
		found.checkData(&r.faults, e.Data)
	case r.unknownTypes && eventType != "":
		e.Data = r.raw(eventType, r.text(raw, attrDataSchema, wantSchema), raw[attrData])
	}
	if !r.none() {
		return Event{}, r.error(e, eventType)
	}
	return e, nil
}

// checkWireAttributes checks what only a CloudEvents event has and an [Event] does not keep.
func (r *reader) checkWireAttributes(raw *envelope) {
	const wantVersion = `"` + specVersion + `"`
	if value := raw[attrSpecVersion]; value == nil {
		r.envelopeField("specversion", "", wantVersion)
	} else if string(value) != wantVersion {
		r.envelopeField("specversion", describeJSON(value), wantVersion)
	}
	r.text(raw, attrDataSchema, wantSchema)
	const wantContentType = `"` + dataContentType + `" or nothing`
	if contentType := r.text(raw, attrDataContentType, wantContentType); contentType != "" && contentType != dataContentType {
		media, _, err := mime.ParseMediaType(contentType)
		if err != nil || media != dataContentType && !strings.HasSuffix(media, "+json") {
			r.envelopeField("datacontenttype", quote(contentType), wantContentType)
		}
	}
}

// text returns the attribute, which must be a string that is not empty if it is there at all. Null is as good as
// nothing. It returns "" where there is none or a wrong one; the caller knows whether there must be one.
func (r *reader) text(raw *envelope, at attribute, want string) string {
	value := raw[at]
	if absent(value) {
		return ""
	}
	if value[0] == '"' {
		if text, ok := unquote(value); ok && text != "" {
			return text
		}
	}
	r.envelopeField(attributeNames[at], describeJSON(value), want)
	return ""
}

// findType returns the registered type that the attribute names, and the name as far as it could be read.
func (r *reader) findType(raw *envelope) (*entry, string) {
	types := current().byName
	if value := raw[attrType]; len(value) > 2 {
		if found := types[string(value[1:len(value)-1])]; found != nil && value[0] == '"' { // as nearly always
			return found, found.Name
		}
	}
	name := r.text(raw, attrType, wantType)
	found := types[name]
	switch {
	case name == "":
		r.envelopeField("type", "", wantType)
	case found == nil && !r.unknownTypes:
		r.addUnknownType(name)
	}
	return found, name
}

func absent(value []byte) bool { return value == nil || value[0] == 'n' }

// addUnknownType adds that no such type is registered.
func (f *faults) addUnknownType(eventType string) {
	f.unknownType = &FieldError{"type", quoteUnlessEmpty(eventType), "a type registered in this program"}
}
