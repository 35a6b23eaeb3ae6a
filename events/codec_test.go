package events_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/device-fanout/fanout/events"
	"github.com/device-fanout/fanout/events/device"
)

func powerEvent() events.Event {
	return events.Event{
		ID:       "0190c0de-1234-7abc-8def-0123456789ab",
		Source:   "/gateways/home-1",
		DeviceID: "V19",
		Time:     time.Date(2005, 1, 8, 7, 24, 54, 123000000, time.UTC),
		Sequence: "00000000000000000042",
		Data:     device.PowerChanged{On: true, LevelPercent: new(88.0)},
	}
}

// body is a CloudEvents event of the given attributes over those of a good one. An empty value takes one away.
func body(change map[string]string) string {
	attributes := map[string]string{
		"specversion": `"1.0"`, "id": `"e1"`, "source": `"/g"`, "type": `"device.humidity.measured.v1"`, "subject": `"d1"`,
		"time": `"2005-01-08T07:24:54Z"`, "data": `{"percent":40}`,
	}
	var parts []string
	for _, name := range []string{"specversion", "id", "source", "type", "subject", "time", "data"} {
		if value, ok := change[name]; ok {
			attributes[name] = value
		}
		if attributes[name] != "" {
			parts = append(parts, fmt.Sprintf("%q:%s", name, attributes[name]))
		}
		delete(change, name)
	}
	for name, value := range change {
		parts = append(parts, fmt.Sprintf("%q:%s", name, value))
	}
	return "{" + strings.Join(parts, ",") + "}"
}

func TestEncode_WritesCloudEventsJSON(t *testing.T) {
	t.Parallel()
	event := powerEvent()
	event.DeviceID = `a"b\c<&>`
	event.Time = time.Date(2005, 1, 8, 8, 24, 54, 123456789, time.FixedZone("", 3600))
	got, err := events.Encode(event)
	if err != nil {
		t.Fatal(err)
	}
	want := `{"specversion":"1.0","id":"0190c0de-1234-7abc-8def-0123456789ab","source":"/gateways/home-1",` +
		`"type":"device.power.changed.v1","subject":"a\"b\\c<&>","time":"2005-01-08T07:24:54.123456789Z",` +
		`"datacontenttype":"application/json",` +
		`"dataschema":"https://device-fanout.github.io/fanout/schemas/device.power.changed.v1.json",` +
		`"sequence":"00000000000000000042","data":{"on":true,"level_percent":88}}`
	if string(got) != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

func TestEncode_LeavesOutWhatIsEmpty(t *testing.T) {
	t.Parallel()
	event := powerEvent()
	event.Sequence, event.Data = "", device.TelemetryReported{RSSIdBm: []float64{}}
	got, err := events.Encode(event)
	if err != nil {
		t.Fatal(err)
	}
	if want := `.json","data":{"counter":0}}`; !strings.HasSuffix(string(got), want) {
		t.Errorf("got %s, want it to end in %s", got, want)
	}
}

// SNS and SQS refuse control characters, but for tab and line ends, and the non-characters U+FFFE and U+FFFF.
func TestEncode_EscapesWhatQueuesDoNotCarry(t *testing.T) {
	t.Parallel()
	text := "\x00\x1f\t\r\n\"\\</&>\u2028\ufeff\ufffd\ufffe\uffffü\U0001F4A1\U0001FFFE"
	event := powerEvent()
	event.Data = device.ConnectivityChanged{Reason: text}
	got, err := events.Encode(event)
	if err != nil {
		t.Fatal(err)
	}
	for i, r := range string(got) {
		if r < ' ' || r == 0xFFFE || r == 0xFFFF {
			t.Errorf("byte %d: got %U, want it escaped", i, r)
		}
	}
	if !strings.Contains(string(got), "</&>") {
		t.Errorf("got %s, want characters of HTML as they are", got)
	}
	var decoded struct {
		Data struct{ Reason string } `json:"data"`
	}
	if err := json.Unmarshal(got, &decoded); err != nil || decoded.Data.Reason != text {
		t.Errorf("encoding/json reads %q, %v, want %q", decoded.Data.Reason, err, text)
	}
}

func TestDecode_ToleratesWhatANewerProducerAdds(t *testing.T) {
	t.Parallel()
	want := events.Event{
		ID: "e1", Source: "/g", DeviceID: "d1", Time: time.Date(2005, 1, 8, 7, 24, 54, 0, time.UTC), Data: device.HumidityMeasured{Percent: 40},
	}
	for name, text := range map[string]string{
		"plain":                 body(nil),
		"white space":           " \t\r\n" + body(nil) + "\n",
		"unknown attribute":     body(map[string]string{"traceparent": `"00-0"`, "device_id": "7"}),
		"unknown field":         body(map[string]string{"data": `{"added":{"x":[1,"]}"]},"percent":40,"later":null}`}),
		"null attributes":       body(map[string]string{"sequence": "null", "datacontenttype": "null", "dataschema": "null", "data_base64": "null"}),
		"content type":          body(map[string]string{"datacontenttype": `"application/json; charset=utf-8"`}),
		"content type +json":    body(map[string]string{"datacontenttype": `"application/vnd.acme+json"`}),
		"escaped names":         body(map[string]string{"data": `{"per\u0063ent":40}`}),
		"escaped type":          body(map[string]string{"type": `"device.humidity.measured\u002ev1"`}),
		"exponent":              body(map[string]string{"data": `{ "percent" : 4.0e+1 }`}),
		"zone":                  body(map[string]string{"time": `"2005-01-08T08:24:54.000+01:00"`}),
		"schema of another one": body(map[string]string{"dataschema": `"https://example.org/x"`}),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := events.Decode([]byte(text))
			if err != nil {
				t.Fatalf("%s: %v", text, err)
			}
			if !reflect.DeepEqual(got, want) {
				t.Errorf("%s: got %#v, want %#v", text, got, want)
			}
		})
	}
}

func TestDecode_TakesNullForAMissingOptionalField(t *testing.T) {
	t.Parallel()
	got, err := events.DecodeData("device.telemetry.reported.v1", []byte(` {"counter":12.0,"celsius":null,"rssi_dbm":[],"latitude":1e0} `))
	if err != nil {
		t.Fatal(err)
	}
	want := device.TelemetryReported{Counter: 12, Latitude: new(1.0)}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %#v, want %#v", got, want)
	}
}

// A list that must be there stays one in Go, so that encoding/json does not write null for it.
func TestDecodeData_KeepsEmptyListsWithinLists(t *testing.T) {
	t.Parallel()
	kind, _ := events.Lookup("test.everything.v1")
	sample := kind.Sample.(everything)
	sample.Matrix = [][]int32{{}, {}}
	text, err := events.EncodeData(sample)
	if err != nil {
		t.Fatal(err)
	}
	got, err := events.DecodeData(kind.Name, text)
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(got, events.Data(sample)) {
		t.Errorf("got %#v, want %#v", got, sample)
	}
}

func TestDecode_NamesEveryBadField(t *testing.T) {
	t.Parallel()
	telemetry := func(data string) string {
		return body(map[string]string{"type": `"device.telemetry.reported.v1"`, "data": data})
	}
	for _, test := range []struct {
		body string
		code events.Code
		want string
	}{
		{"", events.CodeMalformedJSON, "events: malformed JSON: got an empty text, want an object"},
		{" \n", events.CodeMalformedJSON, "events: malformed JSON: got an empty text, want an object"},
		{"V19 on", events.CodeMalformedJSON, "events: malformed JSON: byte 1: invalid character 'V' looking for beginning of value"},
		{`{"id":"e1"`, events.CodeMalformedJSON, "events: malformed JSON: byte 10: unexpected end of JSON input"},
		{"{} {}", events.CodeMalformedJSON, "events: malformed JSON: byte 4: invalid character '{' after top-level value"},
		{"{\"id\":\"\xff\"}", events.CodeMalformedJSON, "events: malformed JSON: byte 8: got 0xff, want UTF-8"},
		{"\uFEFF{}", events.CodeMalformedJSON, "events: malformed JSON: byte 1: got a byte order mark, want UTF-8 without one"},
		{"[{}]", events.CodeMalformedJSON, "events: malformed JSON: got a list, want an object"},
		{`"x"`, events.CodeMalformedJSON, `events: malformed JSON: got "x", want an object`},
		{"null", events.CodeMalformedJSON, "events: malformed JSON: got null, want an object"},

		{body(map[string]string{"specversion": ""}), events.CodeInvalidEnvelope, `events: invalid event: specversion: missing, want "1.0"`},
		{body(map[string]string{"specversion": `"0.3"`}), events.CodeInvalidEnvelope, `events: invalid event: specversion: got "0.3", want "1.0"`},
		{body(map[string]string{"subject": ""}), events.CodeInvalidEnvelope, "events: invalid event: subject: missing, want 1 to 128 ASCII letters, digits or punctuation characters, without a space"},
		{body(map[string]string{"subject": `""`}), events.CodeInvalidEnvelope, `events: invalid event: subject: got "", want 1 to 128 ASCII letters, digits or punctuation characters, without a space`},
		{body(map[string]string{"subject": `"hall lamp"`}), events.CodeInvalidEnvelope, `events: invalid event: subject: got "hall lamp", want 1 to 128 ASCII letters, digits or punctuation characters, without a space`},
		{body(map[string]string{"id": "7"}), events.CodeInvalidEnvelope, "events: invalid event: id: got 7, want 1 to 128 ASCII letters, digits or punctuation characters, without a space"},
		{body(map[string]string{"id": `"` + strings.Repeat("x", 129) + `"`}), events.CodeInvalidEnvelope, `events: invalid event: id: got "` + strings.Repeat("x", 60) + `"… (129 characters), want 1 to 128 ASCII letters, digits or punctuation characters, without a space`},
		{body(map[string]string{"id": `"\ud800"`}), events.CodeInvalidEnvelope, `events: invalid event: id: got "�" with half a surrogate pair, want 1 to 128 ASCII letters, digits or punctuation characters, without a space`},
		{body(map[string]string{"source": ""}), events.CodeInvalidEnvelope, "events: invalid event: source: missing, want a URI reference of 1 to 512 characters, such as /gateways/home-1"},
		{body(map[string]string{"source": `"a b"`}), events.CodeInvalidEnvelope, `events: invalid event: source: got "a b", want a URI reference of 1 to 512 characters, such as /gateways/home-1`},
		{body(map[string]string{"time": ""}), events.CodeInvalidEnvelope, "events: invalid event: time: missing, want a time in RFC 3339 from year 1 to 9999, such as 2006-01-02T15:04:05Z"},
		{body(map[string]string{"time": `"2005-01-08 07:24:54"`}), events.CodeInvalidEnvelope, `events: invalid event: time: got "2005-01-08 07:24:54", want a time in RFC 3339 from year 1 to 9999, such as 2006-01-02T15:04:05Z`},
		{body(map[string]string{"time": `"0001-01-01T00:00:00Z"`}), events.CodeInvalidEnvelope, `events: invalid event: time: got "0001-01-01T00:00:00Z", want a time in RFC 3339 from year 1 to 9999, such as 2006-01-02T15:04:05Z`},
		{body(map[string]string{"time": `"0001-01-01T00:00:00+01:00"`}), events.CodeInvalidEnvelope, `events: invalid event: time: got "0001-01-01T00:00:00+01:00", want a time in RFC 3339 from year 1 to 9999, such as 2006-01-02T15:04:05Z`},
		{body(map[string]string{"type": ""}), events.CodeInvalidEnvelope, "events: invalid event: type: missing, want the event's type, such as device.power.changed.v1"},
		{body(map[string]string{"type": "[]"}), events.CodeInvalidEnvelope, "events: invalid event: type: got a list, want the event's type, such as device.power.changed.v1"},
		{body(map[string]string{"sequence": "42"}), events.CodeInvalidEnvelope, "events: invalid event: sequence: got 42, want 1 to 128 ASCII letters, digits or punctuation characters, without a space"},
		{body(map[string]string{"datacontenttype": `"text/xml"`}), events.CodeInvalidEnvelope, `events: invalid event: datacontenttype: got "text/xml", want "application/json" or nothing`},
		{body(map[string]string{"dataschema": "1"}), events.CodeInvalidEnvelope, "events: invalid event: dataschema: got 1, want a URI"},
		{body(map[string]string{"data": ""}), events.CodeInvalidEnvelope, "events: invalid event: data: missing, want an object"},
		{body(map[string]string{"data": "", "data_base64": `"e30="`}), events.CodeInvalidEnvelope, `events: invalid event: data_base64: got "e30=", want the payload as JSON in data`},
		{`{"id":"e2",` + body(nil)[1:], events.CodeInvalidEnvelope, "events: invalid event: id: got two values, want one"},
		{`{}`, events.CodeInvalidEnvelope, `events: invalid event: specversion: missing, want "1.0"; id: missing, want 1 to 128 ASCII letters, digits or punctuation characters, without a space; subject: missing, want 1 to 128 ASCII letters, digits or punctuation characters, without a space; time: missing, want a time in RFC 3339 from year 1 to 9999, such as 2006-01-02T15:04:05Z; source: missing, want a URI reference of 1 to 512 characters, such as /gateways/home-1; type: missing, want the event's type, such as device.power.changed.v1; data: missing, want an object`},

		{body(map[string]string{"type": `"device.door.slammed.v1"`, "data": "7"}), events.CodeUnknownType, `events: unknown type: type: got "device.door.slammed.v1", want a type registered in this program`},
		{body(map[string]string{"type": `"device.door.slammed.v1"`, "id": ""}), events.CodeInvalidEnvelope, `events: invalid event: id: missing, want 1 to 128 ASCII letters, digits or punctuation characters, without a space; type: got "device.door.slammed.v1", want a type registered in this program`},

		{body(map[string]string{"data": `{"percent":140}`}), events.CodeInvalidData, "events: invalid data of device.humidity.measured.v1: data.percent: got 140, want a number from 0 to 100"},
		{body(map[string]string{"data": `{"percent":-0.1}`}), events.CodeInvalidData, "events: invalid data of device.humidity.measured.v1: data.percent: got -0.1, want a number from 0 to 100"},
		{body(map[string]string{"data": `{"percent":1e999}`}), events.CodeInvalidData, "events: invalid data of device.humidity.measured.v1: data.percent: got 1e999, want a number from 0 to 100"},
		{body(map[string]string{"data": `{"percent":"40"}`}), events.CodeInvalidData, `events: invalid data of device.humidity.measured.v1: data.percent: got "40", want a number from 0 to 100`},
		{body(map[string]string{"data": `{"percent":null}`}), events.CodeInvalidData, "events: invalid data of device.humidity.measured.v1: data.percent: got null, want a number from 0 to 100"},
		{body(map[string]string{"data": `{}`}), events.CodeInvalidData, "events: invalid data of device.humidity.measured.v1: data.percent: missing, want a number from 0 to 100"},
		{body(map[string]string{"data": `{"Percent":40}`}), events.CodeInvalidData, "events: invalid data of device.humidity.measured.v1: data.percent: missing, want a number from 0 to 100"},
		{body(map[string]string{"data": `{"percent":40,"percent":41}`}), events.CodeInvalidData, "events: invalid data of device.humidity.measured.v1: data.percent: got two values, want one"},
		{body(map[string]string{"data": `null`}), events.CodeInvalidData, "events: invalid data of device.humidity.measured.v1: data: got null, want an object"},
		{body(map[string]string{"data": `[]`}), events.CodeInvalidData, "events: invalid data of device.humidity.measured.v1: data: got a list, want an object"},
		{body(map[string]string{"type": `"device.power.changed.v1"`, "data": `{"level_percent":101}`}), events.CodeInvalidData, "events: invalid data of device.power.changed.v1: data.on: missing, want a boolean; data.level_percent: got 101, want a number from 0 to 100"},
		{body(map[string]string{"type": `"device.power.changed.v1"`, "data": `{"on":1}`}), events.CodeInvalidData, "events: invalid data of device.power.changed.v1: data.on: got 1, want a boolean"},
		{telemetry(`{"counter":1.5,"rssi_dbm":[-100,51,null]}`), events.CodeInvalidData, "events: invalid data of device.telemetry.reported.v1: data.counter: got 1.5, want a whole number from 0 to 9007199254740991; data.rssi_dbm[2]: got null, want a number from -200 to 50; data.rssi_dbm[1]: got 51, want a number from -200 to 50"},
		{telemetry(`{"counter":1,"rssi_dbm":[` + strings.Repeat("0,", 256) + `0]}`), events.CodeInvalidData, "events: invalid data of device.telemetry.reported.v1: data.rssi_dbm: got a list of 257 elements, want a list of at most 256 elements"},
		{telemetry(`{"counter":9223372036854775808,"rssi_dbm":{}}`), events.CodeInvalidData, "events: invalid data of device.telemetry.reported.v1: data.counter: got 9223372036854775808, want a whole number from 0 to 9007199254740991; data.rssi_dbm: got an object, want a list of at most 256 elements"},
		{telemetry(`{"counter":` + strings.Repeat("9", 300) + `}`), events.CodeInvalidData, "events: invalid data of device.telemetry.reported.v1: data.counter: got " + strings.Repeat("9", 60) + "… (300 digits), want a whole number from 0 to 9007199254740991"},
		{body(map[string]string{"type": `"device.connectivity.changed.v1"`, "data": `{"online":true,"reason":"x` + strings.Repeat("ü", 200) + `"}`}), events.CodeInvalidData, `events: invalid data of device.connectivity.changed.v1: data.reason: got "x` + strings.Repeat("ü", 29) + `"… (201 characters), want a string of at most 200 characters`},
		{body(map[string]string{"type": `"device.connectivity.changed.v1"`, "data": `{"online":true,"reason":"\udc00\n"}`}), events.CodeInvalidData, `events: invalid data of device.connectivity.changed.v1: data.reason: got "�\n" with half a surrogate pair, want a string of at most 200 characters`},
		{
			body(map[string]string{"type": `"test.everything.v1"`, "data": `{"flag":true,"whole":1,"small":100,"natural":-1,"ratio":1,"free":0,"name":"","choice":"two","level":4,"at":"now","words":["x","x"],"inner":{"x":2}}`}), events.CodeInvalidData,
			`events: invalid data of test.everything.v1: data.natural: got -1, want a whole number from 0 to 65535; data.at: got "now", want a time in RFC 3339, such as 2006-01-02T15:04:05Z; data.small: got 100, want a whole number above -100 and below 100; data.ratio: got 1, want a number above 0 and below 1; data.name: got "", want a string of 1 to 5 characters; data.choice: got "two", want a string out of "one", "two words", "three"; data.level: got 4, want a whole number out of 1, 2, 3; data.words: got a list of 2 elements, want a list of 1 to 3 elements, no two alike; data.inner.x: got 2, want a number from -1 to 1`,
		},
		{
			body(map[string]string{"type": `"test.everything.v1"`, "data": `{"flag":true,"whole":1,"small":1,"natural":1,"ratio":0.1,"free":0,"name":"n","choice":"one","level":1,"at":"2006-01-02T15:04:05Z","words":["x"],"inner":{"x":1},"nick":"","points":[{"x":0},{"y":0},{"x":0,"y":-2}],"matrix":[[1],[10]]}`}), events.CodeInvalidData,
			`events: invalid data of test.everything.v1: data.nick: got "", want a string of at least 2 ASCII letters and digits; data.points[1].x: missing, want a number from -1 to 1; data.points[2].y: got -2, want a number from -1 to 1; data.matrix[1][0]: got 10, want a whole number from 0 to 9`,
		},
	} {
		_, err := events.Decode([]byte(test.body))
		var failed *events.Error
		if !errors.As(err, &failed) {
			t.Errorf("%s: got error %v, want an *events.Error", test.body, err)
			continue
		}
		if failed.Code != test.code || failed.Error() != test.want {
			t.Errorf("%s:\n got %s %s\nwant %s %s", test.body, failed.Code, failed, test.code, test.want)
		}
	}
}

func TestDecode_ErrorKeepsWhatCouldBeRead(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		body                   string
		id, device, eventTypes string
	}{
		"bad data":       {body(map[string]string{"data": "1"}), "e1", "d1", "device.humidity.measured.v1"},
		"unknown type":   {body(map[string]string{"type": `"test.nobody.v1"`}), "e1", "d1", "test.nobody.v1"},
		"no subject":     {body(map[string]string{"subject": ""}), "e1", "", "device.humidity.measured.v1"},
		"illegal id":     {body(map[string]string{"id": `"a b"`}), "", "d1", "device.humidity.measured.v1"},
		"type too long":  {body(map[string]string{"type": `"` + strings.Repeat("x", 200) + `"`}), "e1", "d1", ""},
		"malformed JSON": {body(nil) + "}", "", "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := events.Decode([]byte(test.body))
			var failed *events.Error
			if !errors.As(err, &failed) {
				t.Fatalf("got %v, want an *events.Error", err)
			}
			got := [3]string{failed.EventID, failed.DeviceID, failed.Type}
			if want := [3]string{test.id, test.device, test.eventTypes}; got != want {
				t.Errorf("got %q, want %q", got, want)
			}
		})
	}
}

func TestDecode_BoundsItsErrors(t *testing.T) {
	t.Parallel()
	_, err := events.Decode([]byte(body(map[string]string{
		"type": `"device.telemetry.reported.v1"`, "data": `{"counter":1,"rssi_dbm":[` + strings.Repeat(`"x",`, 100_000) + `0]}`,
	})))
	var failed *events.Error
	if !errors.As(err, &failed) || len(failed.Fields) != 64 {
		t.Fatalf("got %v, want 64 bad fields", err)
	}
	if got, want := failed.Error(), "; and 54 more"; !strings.HasSuffix(got, want) || len(got) > 2000 {
		t.Errorf("got %d bytes %q, want at most 2000 and %q at the end", len(got), got, want)
	}
}

func TestDecode_KeepsTheCause(t *testing.T) {
	t.Parallel()
	_, err := events.Decode([]byte("{,}"))
	var syntax *json.SyntaxError
	if !errors.As(err, &syntax) || syntax.Offset != 2 {
		t.Errorf("got %v, want a *json.SyntaxError at byte 2", err)
	}
}

func TestEncodeData_RefusesWhatIsInvalid(t *testing.T) {
	t.Parallel()
	got, err := events.EncodeData(device.PowerChanged{On: true})
	if err != nil || string(got) != `{"on":true}` {
		t.Errorf("got %s, %v, want %s", got, err, `{"on":true}`)
	}
	for name, test := range map[string]struct {
		data events.Data
		code events.Code
	}{
		"out of bounds": {device.HumidityMeasured{Percent: math.NaN()}, events.CodeInvalidData},
		"no type":       {unregistered{}, events.CodeUnknownType},
		"nil":           {nil, events.CodeInvalidData},
	} {
		_, err := events.EncodeData(test.data)
		var failed *events.Error
		if !errors.As(err, &failed) || failed.Code != test.code {
			t.Errorf("%s: got %v, want code %s", name, err, test.code)
		}
	}
}

func TestDecodeData_RefusesWhatIsInvalid(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		eventType, text string
		code            events.Code
	}{
		{"device.humidity.measured.v1", "{", events.CodeMalformedJSON},
		{"device.humidity.measured.v1", "{}", events.CodeInvalidData},
		{"test.nobody.v1", "{}", events.CodeUnknownType},
	} {
		_, err := events.DecodeData(test.eventType, []byte(test.text))
		var failed *events.Error
		if !errors.As(err, &failed) || failed.Code != test.code || failed.Type != test.eventType {
			t.Errorf("%s %s: got %#v, want code %s", test.eventType, test.text, err, test.code)
		}
	}
}

func TestEncodeData_WritesNumbersAsJavaScriptDoes(t *testing.T) {
	t.Parallel()
	for value, want := range map[float64]string{
		0: "0", 612: "612", -0.5: "-0.5", 1e12: "1000000000000", 0.000001: "0.000001", 1e-7: "1e-7", -1.5e-9: "-1.5e-9", 1e-10: "1e-10", 5e-324: "5e-324", 45.19500732421875: "45.19500732421875",
	} {
		got, err := events.EncodeData(device.ReadingMeasured{Quantity: "x", Value: value})
		if want := `{"quantity":"x","value":` + want + `}`; err != nil || string(got) != want {
			t.Errorf("got %s, %v, want %s", got, err, want)
		}
	}
}

func TestAs(t *testing.T) {
	t.Parallel()
	event := powerEvent()
	if got, ok := events.As[device.PowerChanged](event); !ok || !got.On {
		t.Errorf("got %v, %v, want the payload", got, ok)
	}
	if got, ok := events.As[device.MotionChanged](event); ok {
		t.Errorf("got %v, want none", got)
	}
}
