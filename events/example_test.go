package events_test

import (
	"errors"
	"fmt"
	"time"

	"github.com/device-fanout/fanout/events"
	"github.com/device-fanout/fanout/events/device"
)

func ExampleEncode() {
	event := events.New("lamp-7", device.PowerChanged{On: true, LevelPercent: new(80.0)})
	event.Source = "/gateways/home-1" // the producer fills this in
	event.ID, event.Time = "e-1", time.Date(2026, 5, 4, 12, 30, 0, 0, time.UTC)

	body, err := events.Encode(event)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(string(body))
	// Output:
	// {"specversion":"1.0","id":"e-1","source":"/gateways/home-1","type":"device.power.changed.v1","subject":"lamp-7","time":"2026-05-04T12:30:00Z","datacontenttype":"application/json","dataschema":"https://device-fanout.github.io/fanout/schemas/device.power.changed.v1.json","data":{"on":true,"level_percent":80}}
}

func ExampleDecode() {
	body := []byte(`{"specversion":"1.0","id":"e-1","source":"/gateways/home-1","type":"device.power.changed.v1",
		"subject":"lamp-7","time":"2026-05-04T12:30:00Z","data":{"on":true}}`)

	event, err := events.Decode(body)
	if err != nil {
		fmt.Println(err)
		return
	}
	if power, ok := events.As[device.PowerChanged](event); ok {
		fmt.Println(event.DeviceID, "is on:", power.On)
	}
	// Output:
	// lamp-7 is on: true
}

func ExampleDecode_error() {
	body := []byte(`{"specversion":"1.0","id":"e-2","source":"/gateways/home-1","type":"device.humidity.measured.v1",
		"subject":"bath-2","time":"2026-05-04T12:30:00Z","data":{"percent":140}}`)

	_, err := events.Decode(body)
	fmt.Println(err)

	var failed *events.Error
	if errors.As(err, &failed) {
		fmt.Println(failed.Code, failed.EventID, failed.DeviceID)
		for _, field := range failed.Fields {
			fmt.Printf("%s is %s instead of %s\n", field.Path, field.Value, field.Want)
		}
	}
	// Output:
	// events: invalid data of device.humidity.measured.v1: data.percent: got 140, want a number from 0 to 100
	// invalid_data e-2 bath-2
	// data.percent is 140 instead of a number from 0 to 100
}

func ExampleParseLine() {
	for _, line := range []string{
		`{"id":"f-1","device_id":"door-1","type":"device.contact.changed.v1","time":"2026-05-04T12:30:00Z","data":{"open":true}}`,
		`{"device_id":"front door","type":"device.contact.changed.v1","time":"2026-05-04T12:30:00Z","data":{"opened":true}}`,
	} {
		event, err := events.ParseLine([]byte(line))
		if err != nil {
			fmt.Println(err)
			continue
		}
		fmt.Println(event.ID, event.DeviceID, event.Type())
	}
	// Output:
	// f-1 door-1 device.contact.changed.v1
	// events: invalid event: device_id: got "front door", want 1 to 128 ASCII letters, digits or punctuation characters, without a space; data.opened: got an unknown field, want one of open; data.open: missing, want a boolean
}

// DoorbellPressed says that somebody pressed a doorbell. This file is all that it takes to add the type.
type DoorbellPressed struct {
	Button  string   `json:"button" validate:"oneof=front back" doc:"which button"`
	Seconds *float64 `json:"seconds,omitempty" validate:"omitempty,gte=0,lte=60" doc:"for how long, in seconds"`
}

// EventType returns the type on the wire.
func (DoorbellPressed) EventType() string { return "acme.doorbell.pressed.v1" }

// SchemaURI says where the schema is published, when that is not with this project's.
func (DoorbellPressed) SchemaURI() string {
	return "https://acme.example/schemas/acme.doorbell.pressed.v1.json"
}

func init() {
	events.Register("https://acme.example/schemas/", DoorbellPressed{Button: "front", Seconds: new(1.5)}, "Somebody pressed a doorbell.")
}

func ExampleRegister() {
	event := events.New("doorbell-1", DoorbellPressed{Button: "side"})
	event.Source = "/gateways/home-1"
	fmt.Println(event.Validate())

	kind, _ := events.Lookup("acme.doorbell.pressed.v1")
	for _, field := range kind.Fields {
		fmt.Printf("%s: %s (%s)\n", field.Name, field.Want, field.Doc)
	}
	// Output:
	// events: invalid data of acme.doorbell.pressed.v1: data.button: got "side", want a string out of "front", "back"
	// button: a string out of "front", "back" (which button)
	// seconds: a number from 0 to 60 (for how long, in seconds)
}
