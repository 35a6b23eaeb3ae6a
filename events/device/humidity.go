package device

import "github.com/device-fanout/fanout/events"

func init() {
	events.Register(schemaBase, HumidityMeasured{Percent: 47.5}, "A sensor measured the relative humidity of the air.")
}

// HumidityMeasured says how humid a sensor finds the air.
type HumidityMeasured struct {
	// Percent is the relative humidity in percent.
	Percent float64 `json:"percent" validate:"gte=0,lte=100" doc:"relative humidity in percent"`
}

// EventType returns "device.humidity.measured.v1".
func (HumidityMeasured) EventType() string { return "device.humidity.measured.v1" }
