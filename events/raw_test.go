package events_test

import (
	"encoding/json"
	"errors"
	"reflect"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/device-fanout/fanout/events"
	"github.com/device-fanout/fanout/events/eventstest"
)

const doorbell = "acme.doorbell.pressed.v3" // a type that no test registers

func TestDecodeAny_KeepsATypeThatIsNotRegistered(t *testing.T) {
	t.Parallel()
	data := `{ "button":"front",	"presses":1.50e0, "button":"back", "nested":[{"é":null}] }`
	text := body(map[string]string{"type": `"` + doorbell + `"`, "data": data, "sequence": `"7"`, "dataschema": `"https://acme.example/v3.json"`})
	var failed *events.Error
	if _, err := events.Decode([]byte(text)); !errors.As(err, &failed) || failed.Code != events.CodeUnknownType {
		t.Errorf("Decode: got %v, want an unknown type", err)
	}
	event, err := events.DecodeAny([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	want := events.Raw{Type: doorbell, Schema: "https://acme.example/v3.json", JSON: json.RawMessage(data)}
	if got, ok := events.As[events.Raw](event); !ok || !reflect.DeepEqual(got, want) {
		t.Errorf("data: got %#v, want %#v", event.Data, want)
	}
	if event.Type() != doorbell || event.ID != "e1" || event.DeviceID != "d1" || event.Sequence != "7" {
		t.Errorf("got %#v, want the attributes of the envelope", event)
	}
	if alone, err := events.EncodeData(event.Data); err != nil || string(alone) != data {
		t.Errorf("EncodeData: got %s, %v, want %s", alone, err, data)
	}
	encoded, err := events.Encode(event)
	if err != nil || !strings.HasSuffix(string(encoded), `"dataschema":"https://acme.example/v3.json","sequence":"7","data":`+data+"}") {
		t.Fatalf("Encode: got %s, %v, want the schema and the data as they came", encoded, err)
	}
	if again, err := events.DecodeAny(encoded); err != nil || !reflect.DeepEqual(again, event) {
		t.Errorf("after a round trip: got %#v, %v, want %#v", again, err, event)
	}
}

func TestEncode_RawStaysOnOneLine(t *testing.T) {
	t.Parallel()
	event := powerEvent()
	event.Data = events.Raw{Type: doorbell, JSON: json.RawMessage("{\r\n\t\"a\":\n[1,\n2]\n}")}
	encoded, err := events.Encode(event)
	if want := "\"data\":{  \t\"a\": [1, 2] }}"; err != nil || !strings.HasSuffix(string(encoded), want) || strings.Contains(string(encoded), "dataschema") {
		t.Errorf("got %q, %v, want it to end in %q and without dataschema", encoded, err, want)
	}
}

// What is wrong with the envelope, or is no payload at all, is an error for those too who take every type.
func TestDecodeAny_ChecksTheEnvelope(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		change map[string]string
		code   events.Code
		path   string
	}{
		{map[string]string{"type": `"a b"`}, events.CodeInvalidEnvelope, "type"},
		{map[string]string{"type": `"` + strings.Repeat("a", 129) + `"`}, events.CodeInvalidEnvelope, "type"},
		{map[string]string{"type": ""}, events.CodeInvalidEnvelope, "type"},
		{map[string]string{"type": "7"}, events.CodeInvalidEnvelope, "type"},
		{map[string]string{"type": `"x.v1"`, "subject": `"a b"`}, events.CodeInvalidEnvelope, "subject"},
		{map[string]string{"type": `"x.v1"`, "dataschema": `7`}, events.CodeInvalidEnvelope, "dataschema"},
		{map[string]string{"type": `"x.v1"`, "data": ""}, events.CodeInvalidEnvelope, "data"},
		{map[string]string{"type": `"x.v1"`, "data_base64": `"e30="`}, events.CodeInvalidEnvelope, "data_base64"},
		{map[string]string{"type": `"x.v1"`, "data": "[]"}, events.CodeInvalidData, "data"},
		{map[string]string{"type": `"x.v1"`, "data": "null"}, events.CodeInvalidData, "data"},
		{map[string]string{"type": `"x.v1"`, "data": "{\"a\":\"\uFFFE\"}"}, events.CodeInvalidData, "data"},
		{map[string]string{"data": `{"percent":140}`}, events.CodeInvalidData, "data.percent"}, // a type that is registered
	} {
		text := body(test.change)
		_, err := events.DecodeAny([]byte(text))
		var failed *events.Error
		if !errors.As(err, &failed) || failed.Code != test.code || len(failed.Fields) != 1 || failed.Fields[0].Path != test.path {
			t.Errorf("%s: got %v, want %s of %s", text, err, test.code, test.path)
		}
	}
}

func TestEncode_RefusesARawThatIsNone(t *testing.T) {
	t.Parallel()
	for want, raw := range map[string]events.Raw{
		"type: missing, want 1 to 128 ":                                             {JSON: json.RawMessage("{}")},
		"data: missing, want an object":                                             {Type: doorbell, JSON: json.RawMessage(" ")},
		"data: got malformed JSON, want an object":                                  {Type: doorbell, JSON: json.RawMessage("{")},
		"data: got 12, want an object":                                              {Type: doorbell, JSON: json.RawMessage(" 12")},
		"dataschema: got \"\\xff\", want a URI":                                     {Type: doorbell, Schema: "\xff", JSON: json.RawMessage("{}")},
		"data: got events.Raw of device.power.changed.v1, want a value of device.P": {Type: "device.power.changed.v1", JSON: json.RawMessage(`{"on":5}`)},
	} {
		event := powerEvent()
		event.Data = raw
		for name, err := range map[string]error{"Validate": event.Validate(), "EncodeData": func() error { _, err := events.EncodeData(raw); return err }()} {
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("%s of %+v: got %v, want %q in it", name, raw, err, want)
			}
		}
	}
	event := powerEvent()
	event.Data = &events.Raw{Type: doorbell, JSON: json.RawMessage("{}")}
	if err := event.Validate(); err == nil {
		t.Error("a pointer: got no error, want one")
	}
}

// DecodeAny reads what Decode reads alike, and gives back byte by byte the payloads that it does not know.
func TestDecodeAny_RoundTrip(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		event := eventstest.Event(t)
		known, err := events.Encode(event)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := events.DecodeAny(known); err != nil || !reflect.DeepEqual(got, event) {
			t.Fatalf("%s: got %#v, %v, want %#v", known, got, err, event)
		}
		data, err := events.EncodeData(event.Data)
		if err != nil {
			t.Fatal(err)
		}
		event.Data = events.Raw{Type: doorbell, Schema: rapid.SampledFrom([]string{"", "https://acme.example/v3.json"}).Draw(t, "schema"), JSON: data}
		encoded, err := events.Encode(event)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := events.DecodeAny(encoded); err != nil || !reflect.DeepEqual(got, event) {
			t.Fatalf("%s: got %#v, %v, want %#v", encoded, got, err, event)
		}
	})
}

// checkAny checks what must hold of DecodeAny for any text, given what Decode said.
func checkAny(t *testing.T, text []byte, event events.Event, err error) {
	t.Helper()
	got, anyErr := events.DecodeAny(text)
	var failed, anyFailed *events.Error
	errors.As(err, &failed)
	if anyErr != nil && (!errors.As(anyErr, &anyFailed) || anyFailed.Code == events.CodeUnknownType) {
		t.Fatalf("DecodeAny: got %v, want an *events.Error that does not complain of the type", anyErr)
	}
	switch {
	case err == nil:
		if anyErr != nil || !reflect.DeepEqual(got, event) {
			t.Fatalf("DecodeAny reads %#v, %v, Decode %#v", got, anyErr, event)
		}
	case failed.Code != events.CodeUnknownType:
		if anyErr == nil {
			t.Fatalf("DecodeAny reads %#v, Decode says %v", got, err)
		}
	case anyErr == nil:
		encoded, err := events.Encode(got)
		if err != nil {
			t.Fatalf("%#v was read but does not encode: %v", got, err)
		}
		again, err := events.DecodeAny(encoded)
		if err != nil {
			t.Fatalf("%s was encoded but does not decode: %v", encoded, err)
		}
		if twice, err := events.Encode(again); err != nil || string(twice) != string(encoded) {
			t.Fatalf("got %s, %v after a second round trip, want %s", twice, err, encoded)
		}
		if raw := got.Data.(events.Raw); !strings.ContainsAny(string(raw.JSON), "\r\n") && !reflect.DeepEqual(again, got) {
			t.Fatalf("got %#v after a round trip over %s, want %#v", again, encoded, got)
		}
	}
}
