package device

import "github.com/device-fanout/fanout/events"

func init() {
	events.Register(schemaBase, SetpointChanged{Celsius: 20.5}, "The temperature wanted of a thermostat was changed.")
}

// SetpointChanged says that another temperature is wanted of a thermostat.
type SetpointChanged struct {
	// Celsius is the temperature wanted now, in degrees Celsius.
	Celsius float64 `json:"celsius" validate:"gte=-100,lte=200" doc:"wanted temperature in degrees Celsius"`
}

// EventType returns "device.setpoint.changed.v1".
func (SetpointChanged) EventType() string { return "device.setpoint.changed.v1" }
