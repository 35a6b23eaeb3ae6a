package failure

import "fmt"

// GroupPolicy says what happens to a device's later events when one of its events goes to the dead-letter queue.
type GroupPolicy string

// The group policies.
const (
	// Skip lets the device's next event run. It is the default.
	Skip GroupPolicy = "skip"
	// Park parks the device: its later events follow to the dead-letter queue, in order, until it is released. It needs
	// a parking store; see package parking.
	Park GroupPolicy = "park"
	// Block lets nothing go to the dead-letter queue: the event stays at the head of its device, and is tried again with growing
	// pauses until it succeeds. What can't be decoded blocks its device too.
	Block GroupPolicy = "block"
)

// Validate refuses a policy that the runtime does not know.
func (p GroupPolicy) Validate() error {
	switch p {
	case Skip, Park, Block:
		return nil
	}
	return fmt.Errorf("got %q, want %q, %q or %q", p, Skip, Park, Block)
}
