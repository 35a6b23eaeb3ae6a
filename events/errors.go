package events

import (
	"fmt"
	"strconv"
	"strings"
)

// Code tells classes of [Error] apart. The values are stable: they stand in dead-letter records.
type Code string

const (
	// CodeMalformedJSON means that the bytes are not exactly one JSON object in UTF-8.
	CodeMalformedJSON Code = "malformed_json"
	// CodeInvalidEnvelope means that an attribute around the payload is missing or illegal.
	CodeInvalidEnvelope Code = "invalid_envelope"
	// CodeUnknownType means that the envelope is good, but this program has not registered the event's type.
	CodeUnknownType Code = "unknown_type"
	// CodeInvalidData means that the envelope is good and the payload is not.
	CodeInvalidData Code = "invalid_data"
)

// maxFieldErrors bounds [Error.Fields], so that a hostile body cannot make a huge error.
const maxFieldErrors = 64

// maxFieldsInText bounds how many fields the text of an [Error] names.
const maxFieldsInText = 10

// Error says why an event cannot be encoded, decoded or published. Trying again cannot help.
// Every error of this package that concerns an event is an *Error; find it with [errors.As].
type Error struct {
	// Code is the class of the error.
	Code Code
	// EventID, DeviceID and Type say which event it was, as far as they could be read and are legal; else they are empty.
	EventID, DeviceID, Type string
	// Fields lists every bad field, envelope first, up to 64.
	Fields []FieldError
	// Err is the cause when there is one beside Fields, such as a [*json.SyntaxError].
	Err error
}

// FieldError is one bad field.
type FieldError struct {
	// Path is where it stands in the JSON text, such as "subject", "data.percent" or "data.rssi_dbm[2]".
	Path string
	// Value is what stands there, cut off when long, strings in quotes. It is empty when the field is missing.
	Value string
	// Want says in words what was wanted, such as "a number from 0 to 100".
	Want string
}

// Pointer returns Path as a JSON Pointer (RFC 6901), such as "/data/rssi_dbm/2": with ~0 and ~1 for a tilde and a slash in a name. A name that
// Path has cut off is cut off here, too.
func (f FieldError) Pointer() string {
	var out strings.Builder
	for rest := f.Path; rest != ""; {
		var token string
		switch rest[0] {
		case '.', ']':
			rest = rest[1:]
			continue
		case '"': // a name that is none of ours
			quoted, _ := strconv.QuotedPrefix(rest)
			token, _ = strconv.Unquote(quoted)
			rest = rest[max(len(quoted), 1):]
			if strings.HasPrefix(rest, cutOff) {
				rest = ""
			}
		case '[':
			rest = rest[1:]
			fallthrough
		default:
			end := strings.IndexAny(rest, ".[]")
			if end < 0 {
				end = len(rest)
			}
			token, rest = rest[:end], rest[end:]
		}
		out.WriteString("/" + inPointer.Replace(token))
	}
	return out.String()
}

var inPointer = strings.NewReplacer("~", "~0", "/", "~1")

// String returns the path, what was found and what was wanted, in one line.
func (f FieldError) String() string {
	if f.Value == "" {
		return f.Path + ": missing, want " + f.Want
	}
	return f.Path + ": got " + f.Value + ", want " + f.Want
}

// Error returns one line that names the class, the type where it matters, and the bad fields.
func (e *Error) Error() string {
	var b strings.Builder
	b.WriteString("events: ")
	switch e.Code {
	case CodeMalformedJSON:
		b.WriteString("malformed JSON")
	case CodeUnknownType:
		b.WriteString("unknown type")
	case CodeInvalidData:
		b.WriteString("invalid data")
		if e.Type != "" {
			b.WriteString(" of " + e.Type)
		}
	case CodeInvalidEnvelope:
		b.WriteString("invalid event")
	default:
		b.WriteString(string(e.Code))
	}
	separator := ": "
	for i, field := range e.Fields {
		if i == maxFieldsInText {
			fmt.Fprintf(&b, "; and %d more", len(e.Fields)-i)
			break
		}
		b.WriteString(separator + field.String())
		separator = "; "
	}
	if e.Err != nil {
		b.WriteString(separator + e.Err.Error())
	}
	return b.String()
}

// Unwrap returns the cause, or nil.
func (e *Error) Unwrap() error { return e.Err }
