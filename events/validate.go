package events

import (
	"errors"
	"math"
	"net/url"
	"reflect"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/go-playground/validator/v10"
)

// maxSourceLength bounds the source in characters. It travels twice with every event, in the body and as an attribute.
const maxSourceLength = 512

// What the attributes of an event take, in words.
const (
	wantSource   = "a URI reference of 1 to 512 characters, such as /gateways/home-1"
	wantTime     = "a time in RFC 3339 from year 1 to 9999, such as 2006-01-02T15:04:05Z"
	wantType     = "the event's type, such as device.power.changed.v1"
	wantSchema   = "a URI"
	wantData     = "the payload, a value of a type passed to events.Register"
	wantDataType = "a type passed to events.Register"
)

// tags is the one validator: it caches what it learns about each Go type. It is safe for concurrent use.
var tags = newTags()

func newTags() *validator.Validate {
	v := validator.New(validator.WithRequiredStructEnabled())
	v.RegisterTagNameFunc(func(field reflect.StructField) string {
		name, _, _ := strings.Cut(field.Tag.Get("json"), ",")
		return name
	})
	return v
}

// Validate reports whether the event can be published: every attribute is legal, and the payload is a value of a
// registered type within its bounds. The error is an [*Error] that lists every bad field. The paths are those of the
// JSON text, so that the device ID is called subject. It is safe for concurrent use.
func (e Event) Validate() error {
	_, err := e.check()
	return err
}

// check is Validate, and returns the registered type of the payload for who goes on. That is nil for a [Raw] payload.
func (e Event) check() (*entry, error) {
	var bad faults
	bad.checkAttributes(e, "subject")
	if !legalSource(e.Source) {
		bad.envelopeField("source", quoteUnlessEmpty(e.Source), wantSource)
	}
	found, name := bad.checkPayload(e.Data)
	if bad.none() {
		return found, nil
	}
	return nil, bad.error(e, name)
}

// checkPayload checks a payload, and returns its registered type, or nil if it has none, and the name of its type as far as it has one.
func (f *faults) checkPayload(data Data) (found *entry, name string) {
	if raw, ok := data.(Raw); ok {
		f.checkRaw(raw)
		return nil, raw.Type
	}
	if found = f.checkGoType(data); found == nil {
		return nil, ""
	}
	found.checkData(f, data)
	return found, found.Name
}

// checkAttributes checks what stands around the payload, but for the source and the type. devicePath is what the
// device ID is called.
func (f *faults) checkAttributes(e Event, devicePath string) {
	if !legalID(e.ID) {
		f.envelopeField("id", quoteUnlessEmpty(e.ID), wantID)
	}
	if want := wantOfDeviceID(e.DeviceID); want != "" {
		f.envelopeField(devicePath, quoteUnlessEmpty(e.DeviceID), want)
	}
	if !legalTime(e.Time) {
		value := ""
		if !e.Time.IsZero() {
			value = strconv.Quote(e.Time.UTC().Format(time.RFC3339Nano))
		}
		f.envelopeField("time", value, wantTime)
	}
	if e.Sequence != "" && !legalID(e.Sequence) {
		f.envelopeField("sequence", quote(e.Sequence), wantID)
	}
}

// checkGoType returns the registered type that data is a value of, or nil after adding what is wrong.
func (f *faults) checkGoType(data Data) *entry {
	goType := reflect.TypeOf(data)
	if goType == nil {
		f.data = append(f.data, FieldError{Path: "data", Want: wantData})
		return nil
	}
	types := current().byGoType
	if found := types[goType]; found != nil {
		return found
	}
	if goType.Kind() == reflect.Pointer && types[goType.Elem()] != nil {
		value := goType.String()
		if reflect.ValueOf(data).IsNil() {
			value = "nil " + value
		}
		f.data = append(f.data, FieldError{Path: "data", Value: value, Want: "a value of " + goType.Elem().String()})
		return nil
	}
	f.unknownType = &FieldError{Path: "data", Value: goType.String(), Want: wantDataType}
	return nil
}

// legalTime reports whether t can be written in RFC 3339 and is not the zero time.
func legalTime(t time.Time) bool {
	year := t.UTC().Year()
	return !t.IsZero() && year >= 1 && year <= 9999
}

// ValidateSource reports whether source can be the source of an event: a URI reference of 1 to 512 characters, such as
// /gateways/home-1. The error is an [*Error] with [CodeInvalidEnvelope].
func ValidateSource(source string) error {
	if legalSource(source) {
		return nil
	}
	return &Error{
		Code:   CodeInvalidEnvelope,
		Fields: []FieldError{{Path: "source", Value: quote(source), Want: wantSource}},
	}
}

// legalSource reports whether source is a URI reference of a bounded length.
func legalSource(source string) bool {
	if source == "" || len(source) > maxSourceLength {
		return false
	}
	plain := true // a path of ordinary characters needs no parsing
	for i := range len(source) {
		switch c := source[i]; {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', strings.IndexByte("-._~/", c) >= 0:
		case strings.IndexByte(":?#[]@!$&'()*+,;=%", c) >= 0:
			plain = false
		default:
			return false
		}
	}
	if plain {
		return true
	}
	_, err := url.Parse(source)
	return err == nil
}

// checkData checks a payload of type e: first for what JSON cannot carry, which is numbers that are none, strings that
// are no UTF-8 and years of five digits, then against its validate tags.
func (e *entry) checkData(bad *faults, data Data) {
	if e.root.walk {
		bad.walkValue(e.root, reflect.ValueOf(data))
	}
	err := tags.Struct(data)
	if err == nil {
		return
	}
	failed, ok := errors.AsType[validator.ValidationErrors](err)
	if !ok {
		bad.dataField("data", describeGo(data), err.Error()) // cannot be: the validator was given a struct
		return
	}
	for _, field := range failed {
		path := strings.TrimPrefix(field.Namespace(), e.goType.Name()+".")
		want := "a value that passes " + field.ActualTag()
		if n := e.root.find(path); n != nil {
			want = n.Want
		}
		bad.dataField("data."+path, describeGo(field.Value()), want)
	}
}

// walkValue adds the values in v, which stands where f is, that JSON cannot carry.
func (f *faults) walkValue(n *node, v reflect.Value) {
	if n.pointer {
		if v.IsNil() {
			return
		}
		v = v.Elem()
	}
	switch n.Kind {
	case KindObject:
		for _, member := range n.members {
			if member.walk {
				f.enter(step{name: member.Name})
				f.walkValue(member, v.Field(member.index))
				f.leave()
			}
		}
	case KindList:
		for i := range v.Len() {
			f.enter(step{index: i})
			f.walkValue(n.element, v.Index(i))
			f.leave()
		}
	case KindNumber:
		if number := v.Float(); math.IsNaN(number) || math.IsInf(number, 0) {
			f.dataField(f.here(), describeGo(number), n.Want)
		}
	case KindString:
		if text := v.String(); !utf8.ValidString(text) {
			f.dataField(f.here(), quote(text), n.Want+" in UTF-8")
		}
	case KindTime:
		if t := v.Interface().(time.Time).UTC(); t.Year() < 0 || t.Year() > 9999 {
			f.dataField(f.here(), describeGo(t), n.Want)
		}
	}
}
