package events_test

import (
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/device-fanout/fanout/events"
	"github.com/device-fanout/fanout/events/device"
)

func TestParseLine_ReadsTheShortForm(t *testing.T) {
	t.Parallel()
	line := `{"id":"f-1","source":"/g","device_id":"V19","type":"device.motion.changed.v1","time":"2005-01-08T07:24:54Z","data":{"detected":true}}`
	got, err := events.ParseLine([]byte(line + "\r\n"))
	if err != nil {
		t.Fatal(err)
	}
	want := events.Event{
		ID: "f-1", Source: "/g", DeviceID: "V19", Time: time.Date(2005, 1, 8, 7, 24, 54, 0, time.UTC), Data: device.MotionChanged{Detected: true},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %#v, want %#v", got, want)
	}
}

func TestParseLine_FillsInAnID(t *testing.T) {
	t.Parallel()
	line := []byte(`{"device_id":"V19","type":"device.motion.changed.v1","time":"2005-01-08T07:24:54Z","data":{"detected":true},"id":null,"source":null}`)
	first, err := events.ParseLine(line)
	if err != nil {
		t.Fatal(err)
	}
	second, err := events.ParseLine(line)
	if err != nil {
		t.Fatal(err)
	}
	if first.ID == second.ID || first.Source != "" {
		t.Errorf("got IDs %q and %q and source %q, want two IDs and no source", first.ID, second.ID, first.Source)
	}
	if id, err := uuid.Parse(first.ID); err != nil || id.Version() != 7 {
		t.Errorf("got ID %q, want a UUIDv7", first.ID)
	}
}

func TestParseLine_ReadsCloudEvents(t *testing.T) {
	t.Parallel()
	want := powerEvent()
	body, err := events.Encode(want)
	if err != nil {
		t.Fatal(err)
	}
	got, err := events.ParseLine(body)
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %#v, want %#v", got, want)
	}
}

func TestParseLine_IsStrict(t *testing.T) {
	t.Parallel()
	const (
		short = `"device_id":"d1","type":"device.power.changed.v1","time":"2005-01-08T07:24:54Z"`
		id    = "1 to 128 ASCII letters, digits or punctuation characters, without a space"
		names = "one of device_id, type, time, data, id, source"
		wire  = "one of specversion, id, source, type, subject, time, datacontenttype, dataschema, sequence, data"
	)
	for _, test := range []struct {
		line string
		code events.Code
		want string
	}{
		{"", events.CodeMalformedJSON, "events: malformed JSON: got an empty text, want an object"},
		{"(5889 rows)", events.CodeMalformedJSON, "events: malformed JSON: byte 1: invalid character '(' looking for beginning of value"},
		{"{" + short + "}", events.CodeInvalidEnvelope, "events: invalid event: data: missing, want an object"},
		{"{" + short + `,"data":{"on":true},"room":"hall"}`, events.CodeInvalidEnvelope, "events: invalid event: room: got an unknown field, want " + names},
		{"{" + short + `,"data":{"on":true},"subject":"d2"}`, events.CodeInvalidEnvelope, "events: invalid event: subject: got an unknown field, want " + names},
		{"{" + short + `,"data":{"on":true},"A b\n":"d2"}`, events.CodeInvalidEnvelope, `events: invalid event: "A b\n": got an unknown field, want ` + names},
		{"{" + short + `,"data":{"on":true},"id":""}`, events.CodeInvalidEnvelope, `events: invalid event: id: got "", want ` + id},
		{"{" + short + `,"data":{"on":true},"source":""}`, events.CodeInvalidEnvelope, `events: invalid event: source: got "", want a URI reference of 1 to 512 characters, such as /gateways/home-1`},
		{"{" + short + `,"data":{"on":true,"colour":"red"}}`, events.CodeInvalidData, "events: invalid data of device.power.changed.v1: data.colour: got an unknown field, want one of on, level_percent"},
		{"{" + short + `,"data":{"On":true}}`, events.CodeInvalidData, `events: invalid data of device.power.changed.v1: data."On": got an unknown field, want one of on, level_percent; data.on: missing, want a boolean`},
		{"{" + short + `,"data":{"on":true},"source":"a b"}`, events.CodeInvalidEnvelope, `events: invalid event: source: got "a b", want a URI reference of 1 to 512 characters, such as /gateways/home-1`},
		{strings.Replace("{"+short+`,"data":{"on":true}}`, `"d1"`, `"hall lamp"`, 1), events.CodeInvalidEnvelope, `events: invalid event: device_id: got "hall lamp", want ` + id},
		{strings.Replace("{"+short+`,"data":{"on":true}}`, `"device_id":"d1",`, "", 1), events.CodeInvalidEnvelope, `events: invalid event: device_id: missing, want ` + id},
		{strings.Replace("{"+short+`,"data":{"on":true}}`, "power", "colour", 1), events.CodeUnknownType, `events: unknown type: type: got "device.colour.changed.v1", want a type registered in this program`},
		{body(map[string]string{"device_id": `"d1"`}), events.CodeInvalidEnvelope, "events: invalid event: device_id: got an unknown field, want " + wire},
		{body(map[string]string{"traceparent": `"00"`}), events.CodeInvalidEnvelope, "events: invalid event: traceparent: got an unknown field, want " + wire},
		{body(map[string]string{"id": ""}), events.CodeInvalidEnvelope, "events: invalid event: id: missing, want " + id},
		{body(map[string]string{"data_base64": `"e30="`}), events.CodeInvalidEnvelope, `events: invalid event: data_base64: got "e30=", want the payload as JSON in data`},
	} {
		_, err := events.ParseLine([]byte(test.line))
		var failed *events.Error
		if !errors.As(err, &failed) || failed.Code != test.code || failed.Error() != test.want {
			t.Errorf("%s:\n got %v\nwant %s", test.line, err, test.want)
		}
	}
}

func TestParseLine_BoundsItsErrors(t *testing.T) {
	t.Parallel()
	line := `{"device_id":"d1","type":"device.power.changed.v1","time":"2005-01-08T07:24:54Z","data":{}`
	for i := range 100 {
		line += fmt.Sprintf(`,"x%d":0`, i)
	}
	_, err := events.ParseLine([]byte(line + "}"))
	var failed *events.Error
	if !errors.As(err, &failed) || len(failed.Fields) != 64 {
		t.Errorf("got %v, want 64 bad fields", err)
	}
}
