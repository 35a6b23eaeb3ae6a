package device

import "github.com/device-fanout/fanout/events"

func init() {
	events.Register(schemaBase, ReadingMeasured{Quantity: "co2", Value: 612, Unit: "ppm"}, "A sensor that has no type of its own measured something.")
}

// ReadingMeasured is the reading of a sensor that has no type of its own.
type ReadingMeasured struct {
	// Quantity is what was measured, such as "co2".
	Quantity string `json:"quantity" validate:"min=1,max=64" doc:"what was measured"`
	// Value is the reading, in Unit.
	Value float64 `json:"value" validate:"gte=-1e12,lte=1e12" doc:"the reading"`
	// Unit is the unit of Value, such as "ppm". It is empty for a raw reading.
	Unit string `json:"unit,omitempty" validate:"omitempty,max=32" doc:"unit of the reading, left out for a raw one"`
}

// EventType returns "device.reading.measured.v1".
func (ReadingMeasured) EventType() string { return "device.reading.measured.v1" }
