package consumers

import "fmt"

// GroupPolicy says what happens to a device's later events when one of its events goes to the dead-letter queue.
type GroupPolicy string

// Skip lets the device's next event run. It is the only policy so far.
const Skip GroupPolicy = "skip"

// Validate refuses a policy that the runtime does not know.
func (p GroupPolicy) Validate() error {
	if p != Skip {
		return fmt.Errorf("got %q, want %q", p, Skip)
	}
	return nil
}
