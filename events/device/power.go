package device

import "github.com/device-fanout/fanout/events"

func init() {
	events.Register(schemaBase, PowerChanged{On: true, LevelPercent: new(88.0)}, "A lamp, plug or switch was switched on or off, or dimmed.")
}

// PowerChanged says that a lamp, plug or switch was switched on or off, or dimmed.
type PowerChanged struct {
	// On is true when the device is on now, at whatever level.
	On bool `json:"on" doc:"true when the device is on now"`
	// LevelPercent is how far it is dimmed up, where the device can tell.
	LevelPercent *float64 `json:"level_percent,omitempty" validate:"omitempty,gte=0,lte=100" doc:"level in percent of full power, where the device can be dimmed"`
}

// EventType returns "device.power.changed.v1".
func (PowerChanged) EventType() string { return "device.power.changed.v1" }
