package device

import "github.com/device-fanout/fanout/events"

func init() {
	events.Register(schemaBase, MotionChanged{Detected: true}, "A motion sensor began or ceased to see motion.")
}

// MotionChanged says that a motion sensor began or ceased to see motion.
type MotionChanged struct {
	// Detected is true when motion begins and false when there is no more.
	Detected bool `json:"detected" doc:"true when motion begins, false when there is no more"`
}

// EventType returns "device.motion.changed.v1".
func (MotionChanged) EventType() string { return "device.motion.changed.v1" }
