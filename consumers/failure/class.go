package failure

// Class says what kind of failure made an event a dead letter.
type Class string

// Classes of failures.
const (
	// Known is a failure that no retry can mend: an event that can't be decoded, is invalid, or was refused by the handler.
	Known Class = "known"
	// Exhausted is any other failure, after the quick retries in process were used up.
	Exhausted Class = "exhausted"
	// Unknown is any other failure that was not retried at all: the first attempt had used up the time, or retries are off.
	Unknown Class = "unknown"
	// Parked is an event that did not fail itself: it followed an earlier one of its device, which is parked. See package parking.
	Parked Class = "parked"
	// Moved is a message without a record: SQS itself moved it, after too many receives without an end.
	Moved Class = "moved"
	// Undelivered is a message without a record in the dead-letter queue of a subscription: the topic could not deliver it.
	Undelivered Class = "undelivered"
)

// Classes are all classes, for those who offer a choice.
func Classes() []Class { return []Class{Known, Exhausted, Unknown, Parked, Moved, Undelivered} }
