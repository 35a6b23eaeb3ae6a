// Package chime is the code of the guides: an event type of one's own, and the tests of a service that hears it.
package chime

import "github.com/device-fanout/fanout/events"

// schemaBase is where the JSON Schemas of these types are published.
const schemaBase events.SchemaBase = "https://acme.example/schemas/"

func init() {
	events.Register(schemaBase, DoorbellPressed{Button: "front", Seconds: new(1.5)}, "Somebody pressed a doorbell.")
}

// DoorbellPressed says that somebody pressed a doorbell.
type DoorbellPressed struct {
	Button  string   `json:"button" validate:"max=16,oneof=front back" doc:"which button"`
	Seconds *float64 `json:"seconds,omitempty" validate:"omitempty,gte=0,lte=60" doc:"for how long, in seconds"`
}

// EventType is the type's name on the wire.
func (DoorbellPressed) EventType() string { return "acme.doorbell.pressed.v1" }
