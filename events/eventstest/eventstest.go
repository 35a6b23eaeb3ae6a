// Package eventstest makes random events for property tests with pgregory.net/rapid. It works from what [events.Register]
// knows, so that it covers types of your own as well:
//
//	rapid.Check(t, func(t *rapid.T) {
//		event := eventstest.Event(t)
//		…
//	})
package eventstest

import (
	"encoding/json"
	"fmt"
	"time"

	"pgregory.net/rapid"

	"github.com/device-fanout/fanout/events"
)

// Event draws a valid event of any registered type: with every attribute set, and legal characters of all kinds in them.
func Event(t *rapid.T) events.Event {
	kind := Type(t)
	return events.Event{
		ID:       id().Draw(t, "id"),
		Source:   rapid.SampledFrom([]string{"/gateways/home-1", "urn:gateway:7", "https://gateway.example/a?b=%20#c", "x"}).Draw(t, "source"),
		DeviceID: id().Draw(t, "device"),
		Time:     moment().Draw(t, "time"),
		Sequence: rapid.OneOf(rapid.Just(""), id()).Draw(t, "sequence"),
		Data:     Data(t, kind),
	}
}

// Type draws one of the registered types.
func Type(t *rapid.T) events.Type {
	var names []string
	for _, kind := range events.Types() {
		names = append(names, kind.Name)
	}
	kind, _ := events.Lookup(rapid.SampledFrom(names).Draw(t, "type"))
	return kind
}

// Data draws a valid payload of a registered type.
func Data(t *rapid.T, kind events.Type) events.Data {
	text := encode(t, object(kind.Fields, true).Draw(t, "data"))
	data, err := events.DecodeData(kind.Name, text)
	if err != nil {
		t.Fatalf("a payload that should be valid: %s: %v", text, err)
	}
	return data
}

// Document draws the JSON text of a payload that may or may not be valid: values just within and just out of their
// bounds, of wrong kinds, missing, null, and fields that nobody knows. An optional field is never null: [events.Decode]
// takes that for a missing one, but the schemas do not allow it.
func Document(t *rapid.T, kind events.Type) []byte {
	return encode(t, object(kind.Fields, false).Draw(t, "data"))
}

func encode(t *rapid.T, value any) []byte {
	text, err := json.Marshal(value)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// id draws what may be a message group ID or a deduplication ID.
func id() *rapid.Generator[string] {
	return rapid.StringOfN(rapid.RuneFrom(nil, printable('!')), 1, 128, -1)
}

func moment() *rapid.Generator[time.Time] {
	const first, last = -62135596799, 253402300799 // one second into year 1, and the last of year 9999
	return rapid.Custom(func(t *rapid.T) time.Time {
		nanoseconds := rapid.OneOf(rapid.Just[int64](0), rapid.Int64Range(0, 999_999_999)).Draw(t, "nanoseconds")
		return time.Unix(rapid.Int64Range(first, last).Draw(t, "seconds"), nanoseconds).UTC()
	})
}

// object draws a JSON object. When it need not be valid, about every second one has a fault.
func object(fields []events.Field, valid bool) *rapid.Generator[map[string]any] {
	if len(fields) == 0 {
		return rapid.Just(map[string]any{})
	}
	return rapid.Custom(func(t *rapid.T) map[string]any {
		fault := -1
		if !valid {
			fault = rapid.IntRange(-1, len(fields)-1).Draw(t, "fault in")
		}
		drawn := map[string]any{}
		for i, field := range fields {
			switch {
			case !field.Required && i != fault && rapid.Bool().Draw(t, "without "+field.Name):
			case i != fault:
				drawn[field.Name] = value(field, valid).Draw(t, field.Name)
			case field.Required && rapid.IntRange(0, 4).Draw(t, "missing") == 0:
			case field.Required && rapid.IntRange(0, 4).Draw(t, "null") == 0:
				drawn[field.Name] = nil
			default:
				drawn[field.Name] = faulty(field).Draw(t, field.Name)
			}
		}
		if !valid && rapid.Bool().Draw(t, "unknown field") {
			drawn["added_later"] = rapid.SampledFrom([]any{nil, 1, "x", []int{1}}).Draw(t, "its value")
		}
		return drawn
	})
}

// value draws a value for a field.
func value(field events.Field, valid bool) *rapid.Generator[any] {
	rules := newRules(field.Rules)
	switch field.Kind {
	case events.KindBoolean:
		return rapid.Bool().AsAny()
	case events.KindInteger:
		return rules.integer()
	case events.KindNumber:
		return rules.number()
	case events.KindString:
		return rules.text()
	case events.KindTime:
		return rapid.Map(moment(), func(at time.Time) any { return at.Format(time.RFC3339Nano) })
	case events.KindList:
		low, high := rules.count(4)
		if !field.Required && low == 0 {
			low = min(1, high) // an optional list without elements is left out
		}
		elements := value(*field.Element, valid)
		if rules.has("unique") {
			return rapid.SliceOfNDistinct(elements, low, high, func(v any) string { return fmt.Sprint(v) }).AsAny()
		}
		return rapid.SliceOfN(elements, low, high).AsAny()
	case events.KindObject:
		return object(field.Fields, valid).AsAny()
	default:
		panic(fmt.Sprintf("eventstest: kind %q is not known", field.Kind))
	}
}

// faulty draws a value that is likely out of a field's bounds, or of another kind.
func faulty(field events.Field) *rapid.Generator[any] {
	other := rapid.SampledFrom([]any{
		true, 0, -1, 12.5, 1e300, -1e300, 1 << 62, json.Number("3.0"), json.Number("1e2"), "", "x", "2005-01-08T07:24:54Z",
		[]any{},
		[]any{nil},
		[]any{"x", "x"},
		map[string]any{},
	})
	rules := newRules(field.Rules)
	switch field.Kind {
	case events.KindInteger, events.KindNumber:
		return rapid.OneOf(other, rules.edge())
	case events.KindString:
		return rapid.OneOf(other, rules.textOfWrongLength())
	case events.KindList:
		low, high := rules.count(4)
		near := max(0, low-1)
		if !field.Required {
			near = max(1, near)
		}
		return rapid.OneOf(other,
			rapid.SliceOfN(value(*field.Element, true), near, max(near, high+1)).AsAny(),
			rapid.SliceOfN(faulty(*field.Element), 1, max(1, min(high, 3))).AsAny())
	case events.KindObject:
		return rapid.OneOf(other, object(field.Fields, false).AsAny())
	default:
		return other
	}
}
