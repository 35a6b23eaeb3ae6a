package device

import "github.com/device-fanout/fanout/events"

func init() {
	events.Register(schemaBase, ContactChanged{Open: true}, "A door, a window or another contact was opened or closed.")
}

// ContactChanged says that a door, a window or another contact was opened or closed.
type ContactChanged struct {
	// Open is true when it is open now.
	Open bool `json:"open" doc:"true when the door, window or contact is open now"`
}

// EventType returns "device.contact.changed.v1".
func (ContactChanged) EventType() string { return "device.contact.changed.v1" }
