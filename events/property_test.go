package events_test

import (
	"encoding/json"
	"errors"
	"reflect"
	"testing"

	"pgregory.net/rapid"

	"github.com/device-fanout/fanout/events"
	"github.com/device-fanout/fanout/events/eventstest"
)

func TestRoundTrip_GivesTheSameEvent(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		event := eventstest.Event(t)
		body, err := events.Encode(event)
		if err != nil {
			t.Fatal(err)
		}
		for name, read := range map[string]func([]byte) (events.Event, error){"Decode": events.Decode, "ParseLine": events.ParseLine} {
			got, err := read(body)
			if err != nil {
				t.Fatalf("%s: %s: %v", name, body, err)
			}
			if !reflect.DeepEqual(got, event) {
				t.Fatalf("%s: %s: got %#v, want %#v", name, body, got, event)
			}
		}
	})
}

// The codec of this package and encoding/json agree about every payload.
func TestEncodeData_AgreesWithEncodingJSON(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		kind := eventstest.Type(t)
		data := eventstest.Data(t, kind)
		got, err := events.EncodeData(data)
		if err != nil {
			t.Fatal(err)
		}
		want, err := json.Marshal(data)
		if err != nil {
			t.Fatal(err)
		}
		var gotValue, wantValue any
		if err := json.Unmarshal(got, &gotValue); err != nil {
			t.Fatalf("%s: %v", got, err)
		}
		if err := json.Unmarshal(want, &wantValue); err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(gotValue, wantValue) {
			t.Fatalf("got %s, encoding/json writes %s", got, want)
		}
		read := reflect.New(reflect.TypeOf(data))
		if err := json.Unmarshal(got, read.Interface()); err != nil || !reflect.DeepEqual(read.Elem().Interface(), data) {
			t.Fatalf("%s: encoding/json reads %#v, %v, want %#v", got, read.Elem(), err, data)
		}
	})
}

// Whatever stands in a payload, it is read or refused with a typed error, and what was read is valid.
func TestDecodeData_TakesNothingInvalid(t *testing.T) {
	t.Parallel()
	taken, refused := 0, 0
	rapid.Check(t, func(t *rapid.T) {
		kind := eventstest.Type(t)
		text := eventstest.Document(t, kind)
		data, err := events.DecodeData(kind.Name, text)
		if err != nil {
			refused++
			checkRefusal(t, err)
			return
		}
		taken++
		event := powerEvent()
		event.Data = data
		if err := event.Validate(); err != nil {
			t.Fatalf("%s was read but is not valid: %v", text, err)
		}
	})
	if taken == 0 || refused == 0 {
		t.Errorf("took %d and refused %d, want some of both", taken, refused)
	}
}

func checkRefusal(t *rapid.T, err error) {
	var failed *events.Error
	if !errors.As(err, &failed) || failed.Code != events.CodeInvalidData || len(failed.Fields) == 0 {
		t.Fatalf("got %#v, want an *events.Error with code %s and bad fields", err, events.CodeInvalidData)
	}
}
