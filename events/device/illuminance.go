package device

import "github.com/device-fanout/fanout/events"

func init() {
	events.Register(schemaBase, IlluminanceMeasured{Lux: 320}, "A sensor measured how bright it is.")
}

// IlluminanceMeasured says how bright a sensor finds it.
type IlluminanceMeasured struct {
	// Lux is the illuminance. Full sunlight is about 120,000 lux.
	Lux float64 `json:"lux" validate:"gte=0,lte=200000" doc:"illuminance in lux"`
}

// EventType returns "device.illuminance.measured.v1".
func (IlluminanceMeasured) EventType() string { return "device.illuminance.measured.v1" }
