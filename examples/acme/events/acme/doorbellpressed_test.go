package acme_test

import (
	"reflect"
	"testing"

	"github.com/device-fanout/fanout/events"

	"example.com/acme/platform/events/acme"
)

// What was sent once must be readable for ever, so this line never changes. An incompatible change is a new type, with the next version.
func TestDoorbellPressed_IsReadAsItWasFirstSent(t *testing.T) {
	t.Parallel()
	const line = `{"device_id":"device-7","type":"acme.doorbell.pressed.v1","time":"2026-01-31T12:00:00Z","source":"gateway/test","data":{"button":"front","seconds":1.5}}`
	event, err := events.ParseLine([]byte(line))
	if err != nil {
		t.Fatal(err)
	}
	if _, ok := event.Data.(acme.DoorbellPressed); !ok {
		t.Errorf("payload: got %T, want acme.DoorbellPressed", event.Data)
	}
	body, err := events.Encode(event)
	if err != nil {
		t.Fatal(err)
	}
	if again, err := events.Decode(body); err != nil || !reflect.DeepEqual(again, event) {
		t.Errorf("encoded and decoded: got %+v, %v, want %+v", again, err, event)
	}
}
