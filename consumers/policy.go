package consumers

import "github.com/device-fanout/fanout/consumers/failure"

// GroupPolicy says what happens to a device's later events when one of its events goes to the dead-letter queue.
// See package failure for what each does.
type GroupPolicy = failure.GroupPolicy

// The group policies. Empty means Skip.
const (
	Skip  = failure.Skip
	Park  = failure.Park // needs Config.Parking
	Block = failure.Block
)
