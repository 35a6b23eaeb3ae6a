package device

import "github.com/device-fanout/fanout/events"

func init() {
	events.Register(schemaBase, ConnectivityChanged{Online: false, Reason: "no frame for 30 minutes"}, "A device was found or lost by its gateway.")
}

// ConnectivityChanged says that a gateway reaches a device again, or does not any more.
type ConnectivityChanged struct {
	// Online is true when the device is reached.
	Online bool `json:"online" doc:"true when the gateway reaches the device"`
	// Reason says why, for a reader. It may be empty.
	Reason string `json:"reason,omitempty" validate:"omitempty,max=200" doc:"why, in words"`
}

// EventType returns "device.connectivity.changed.v1".
func (ConnectivityChanged) EventType() string { return "device.connectivity.changed.v1" }
