package failure

// Class says what kind of failure made an event a dead letter.
type Class string

// Classes of failures.
const (
	// Known is a failure that no retry can mend: an event that can't be decoded, is invalid, or was refused by the handler.
	Known Class = "known"
	// Exhausted is any other failure, after more than one attempt.
	Exhausted Class = "exhausted"
	// Unknown is any other failure that was not retried at all.
	Unknown Class = "unknown"
	// Parked is an event that did not fail itself: it followed an earlier one of its device, which is parked. See package parking.
	Parked Class = "parked"
	// Moved is a message without a record: SQS itself moved it, after too many receives without an end.
	Moved Class = "moved"
	// Undelivered is a message without a record in the dead-letter queue of a subscription: the topic could not deliver it.
	Undelivered Class = "undelivered"
)

// Meaning says in a few words what a class means, for whoever meets it; empty for one that is none.
func (c Class) Meaning() string {
	switch c {
	case Known:
		return "it can never succeed as it is: undecodable, invalid, or refused by the handler"
	case Exhausted:
		return "the handler failed at every attempt, though it works for others or had time to recover"
	case Unknown:
		return "the same, at a single attempt"
	case Parked:
		return "it did not fail: it follows an earlier event of its parked device"
	case Moved:
		return "SQS moved it: it was received too often without a verdict, as when it ends its process"
	case Undelivered:
		return "SNS could not deliver it to the queue"
	}
	return ""
}

// Classes are all classes, for those who offer a choice.
func Classes() []Class { return []Class{Known, Exhausted, Unknown, Parked, Moved, Undelivered} }
