package events

import (
	"slices"
	"strconv"
	"strings"
)

// faults collects what is wrong with one event.
type faults struct {
	envelope, data []FieldError
	unknownType    *FieldError

	// Where in the payload a walk is: the first depth of steps. A path is only written out for an error.
	steps [maxDepth]step
	depth int
}

// maxDepth bounds how deep fields and elements of a payload nest. Register sees to it.
const maxDepth = 8

// step is one step into a payload.
type step struct {
	name  string // of a field
	index int    // in a list, where name is empty
}

func (f *faults) none() bool {
	return f.envelope == nil && f.data == nil && f.unknownType == nil
}

// envelopeField adds a bad attribute, unless it is known to be bad already. value is "" when it is missing.
func (f *faults) envelopeField(path, value, want string) {
	if !slices.ContainsFunc(f.envelope, func(field FieldError) bool { return field.Path == path }) {
		f.envelope = append(f.envelope, FieldError{path, value, want})
	}
}

// error makes an Error of what is wrong. The IDs of e are kept where they are legal.
func (f *faults) error(e Event, eventType string) *Error {
	failed := &Error{Code: CodeInvalidData}
	if legalID(e.ID) {
		failed.EventID = e.ID
	}
	if legalID(e.DeviceID) {
		failed.DeviceID = e.DeviceID
	}
	if legalID(eventType) {
		failed.Type = eventType
	}
	failed.Fields = f.envelope
	if f.unknownType != nil {
		failed.Code = CodeUnknownType
		failed.Fields = append(failed.Fields, *f.unknownType)
	}
	if f.envelope != nil {
		failed.Code = CodeInvalidEnvelope
	}
	failed.Fields = append(failed.Fields, f.data...)
	failed.Fields = failed.Fields[:min(len(failed.Fields), maxFieldErrors)]
	return failed
}

// dataField adds a bad field of the payload, unless it or what it stands in is known to be bad already.
func (f *faults) dataField(path, value, want string) {
	if len(f.data) == maxFieldErrors {
		return
	}
	for _, field := range f.data {
		if rest, ok := strings.CutPrefix(path, field.Path); ok && (rest == "" || rest[0] == '.' || rest[0] == '[') {
			return
		}
	}
	f.data = append(f.data, FieldError{path, value, want})
}

// enter steps into a field or an element. Every enter has its leave.
func (f *faults) enter(s step) {
	f.steps[f.depth] = s
	f.depth++
}

func (f *faults) leave() { f.depth-- }

// here returns the path of where the walk is, such as "data.points[3].celsius".
func (f *faults) here() string {
	path := []byte("data")
	for _, s := range f.steps[:f.depth] {
		if s.name != "" {
			path = append(append(path, '.'), s.name...)
		} else {
			path = append(strconv.AppendInt(append(path, '['), int64(s.index), 10), ']')
		}
	}
	return string(path)
}
