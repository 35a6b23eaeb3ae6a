package events_test

import (
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"testing"

	"github.com/device-fanout/fanout/events"
)

func FuzzDecode(f *testing.F) {
	addSamples(f)
	f.Add([]byte(body(map[string]string{"time": `"2005-01-08T08:24:54.123456789123+01:00"`, "sequence": `"0"`})))
	f.Add([]byte(body(map[string]string{"type": `"device.reading.measured.v1"`, "data": `{"quantity":"\ud83d\ude00\u0000\uffff","value":-0.0,"unit":"°C"}`})))
	f.Add([]byte(body(map[string]string{"type": `"device.telemetry.reported.v1"`, "data": `{"counter":1.0e3,"rssi_dbm":[],"celsius":null}`})))
	f.Add([]byte(body(map[string]string{"type": `"acme.doorbell.pressed.v3"`, "dataschema": `"https://acme.example/v3.json"`, "data": "{\n\"a\": [1e400, \"\\ud800\"],\"a\":null}"})))
	f.Fuzz(func(t *testing.T, text []byte) {
		event, err := events.Decode(text)
		checkOutcome(t, event, err)
		checkAny(t, text, event, err)
		if err != nil {
			return
		}
		if strict, err := events.ParseLine(text); err == nil && !reflect.DeepEqual(strict, event) {
			t.Errorf("ParseLine reads %#v, Decode %#v", strict, event)
		}
	})
}

func FuzzParseLine(f *testing.F) {
	addSamples(f)
	f.Add([]byte(`{"device_id":"V19","type":"device.motion.changed.v1","time":"2005-01-08T07:24:54Z","data":{"detected":true}}`))
	f.Add([]byte(`{"id":"0018B20000020CBC-D2010048-1","device_id":"0018B20000020CBC","type":"device.telemetry.reported.v1","time":"2021-09-02T13:35:06.147Z",` +
		`"data":{"counter":1,"celsius":34,"battery_millivolts":4087,"button_pressed":false,"latitude":45.195,"longitude":5.718,"rssi_dbm":[-109]}}`))
	f.Add([]byte(" 2005-01-29 00:00:12 | S    | 18     | 1     | 24    | ArgusMS | inhabitant"))
	f.Fuzz(func(t *testing.T, line []byte) {
		event, err := events.ParseLine(line)
		if err == nil && event.Source == "" {
			event.Source = "/gateways/fuzz"
		}
		checkOutcome(t, event, err)
	})
}

// checkOutcome checks what must hold of anything that was read: an error is an *events.Error with bad fields or a cause,
// and an event encodes and decodes to itself.
func checkOutcome(t *testing.T, event events.Event, err error) {
	t.Helper()
	if err != nil {
		var failed *events.Error
		if !errors.As(err, &failed) {
			t.Fatalf("got error %T %v, want an *events.Error", err, err)
		}
		if (len(failed.Fields) == 0) == (failed.Err == nil) {
			t.Fatalf("got %#v, want either bad fields or a cause", failed)
		}
		if !reflect.DeepEqual(event, events.Event{}) {
			t.Fatalf("got event %#v with error %v, want none", event, err)
		}
		for _, c := range failed.Error() {
			if c < ' ' {
				t.Fatalf("got control character %U in error %q", c, failed)
			}
		}
		return
	}
	encoded, err := events.Encode(event)
	if err != nil {
		t.Fatalf("%#v was read but does not encode: %v", event, err)
	}
	again, err := events.Decode(encoded)
	if err != nil {
		t.Fatalf("%s was encoded but does not decode: %v", encoded, err)
	}
	if !reflect.DeepEqual(again, event) {
		t.Fatalf("got %#v after a round trip over %s, want %#v", again, encoded, event)
	}
}

func addSamples(f *testing.F) {
	f.Helper()
	files, err := filepath.Glob("device/testdata/samples/*.json")
	if err != nil || len(files) == 0 {
		f.Fatalf("device/testdata/samples: got %d files, %v, want some", len(files), err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(text)
	}
}
