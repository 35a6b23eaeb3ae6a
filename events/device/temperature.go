package device

import "github.com/device-fanout/fanout/events"

func init() {
	events.Register(schemaBase, TemperatureMeasured{Celsius: 21.4}, "A sensor measured a temperature.")
}

// TemperatureMeasured says how warm a sensor finds it.
type TemperatureMeasured struct {
	// Celsius is the temperature in degrees Celsius.
	Celsius float64 `json:"celsius" validate:"gte=-100,lte=200" doc:"temperature in degrees Celsius"`
}

// EventType returns "device.temperature.measured.v1".
func (TemperatureMeasured) EventType() string { return "device.temperature.measured.v1" }
