package acme

import "github.com/device-fanout/fanout/events"

func init() {
	events.Register(schemaBase, DoorbellPressed{Button: "front", Seconds: new(1.5)}, "Somebody pressed a doorbell.")
}

// DoorbellPressed is the payload of acme.doorbell.pressed.v1: Somebody pressed a doorbell.
type DoorbellPressed struct {
	Button  string   `json:"button" validate:"oneof=front back" doc:"which button"`
	Seconds *float64 `json:"seconds,omitempty" validate:"omitempty,gte=0,lte=60" doc:"for how long, in seconds"`
}

// EventType returns "acme.doorbell.pressed.v1".
func (DoorbellPressed) EventType() string { return "acme.doorbell.pressed.v1" }
