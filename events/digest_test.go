package events_test

import (
	"encoding/json"
	"testing"

	"github.com/device-fanout/fanout/events"
	"github.com/device-fanout/fanout/events/device"
)

func TestDigest_GoesByWhatTheJSONMeans(t *testing.T) {
	const eventType = "acme.bell.v1"
	same := [][]string{
		{`{"a":1,"b":[true,"x"]}`, ` { "b" : [true, "x"], "a" : 1 } `, `{"a":1.0,"b":[true,"\u0078"]}`, `{"a":10e-1,"b":[true,"x"],"c":null}`, `{"a":0.1E+1,"b":[true,"x"]}`},
		{`{"a":0}`, `{"a":-0}`, `{"a":0.000}`, `{"a":0e7}`},
		{`{"a":1200}`, `{"a":1.2e3}`, `{"a":12e2}`},
		{`{"a":12}`},
		{`{"a":-12}`},
		{`{"a":"12"}`},
		{`{"a":9007199254740993}`},
		{`{"a":9007199254740992}`}, // the same as a float64
		{`{"a":[]}`},
		{`{"a":[null]}`},
		{`{"a":{}}`, `{"a":{"b":null}}`},
		{`{}`, `{"a":null}`},
		{`{"a":["x","y"]}`},
		{`{"a":["y","x"]}`},
		{`{"a":["x,y"]}`},
		{`{"a":1e999999999999}`},
	}
	seen := map[string]string{}
	for _, group := range same {
		want, err := events.DigestOf(eventType, []byte(group[0]))
		if err != nil || len(want) != 32 {
			t.Fatalf("%s: got %q, %v, want 32 digits", group[0], want, err)
		}
		if other, ok := seen[want]; ok {
			t.Errorf("%s and %s have one digest", group[0], other)
		}
		seen[want] = group[0]
		for _, text := range group[1:] {
			if got, err := events.DigestOf(eventType, []byte(text)); err != nil || got != want {
				t.Errorf("%s: got %s, %v, want that of %s", text, got, err, group[0])
			}
		}
		if got, _ := events.DigestOf("acme.bell.v2", []byte(group[0])); got == want {
			t.Errorf("%s as another type: got the same digest", group[0])
		}
	}
	if _, err := events.DigestOf(eventType, []byte(`{"a":`)); err == nil {
		t.Error("no JSON: got no error")
	}
}

func TestDigest_OfAnEvent(t *testing.T) {
	e := events.New("lamp-7", device.TemperatureMeasured{Celsius: 20})
	want, err := e.Digest()
	if err != nil {
		t.Fatal(err)
	}
	if got, err := events.New("lamp-8", e.Data).Digest(); err != nil || got != want { // another ID, time and device
		t.Errorf("of another event with the same payload: got %s, %v, want %s", got, err, want)
	}
	if got, err := events.DigestOf(e.Type(), []byte(`{"celsius": 2e1}`)); err != nil || got != want {
		t.Errorf("of what a database has: got %s, %v, want %s", got, err, want)
	}
	raw := events.Raw{Type: "acme.bell.v1", JSON: json.RawMessage(`{"rung": true}`)}
	want, _ = events.DigestOf("acme.bell.v1", []byte(`{"rung":true}`))
	if got, err := events.New("bell", raw).Digest(); err != nil || got != want {
		t.Errorf("of an unknown type: got %s, %v, want %s", got, err, want)
	}
	want, _ = e.Digest()
	e.Data = device.TemperatureMeasured{Celsius: 21}
	if got, _ := e.Digest(); got == want {
		t.Error("another temperature: got the same digest")
	}
	if _, err := (events.Event{}).Digest(); err == nil {
		t.Error("no payload: got no error")
	}
}
