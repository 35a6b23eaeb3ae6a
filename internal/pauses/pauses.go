// Package pauses says how long an event waits between two deliveries while it can't be handled and nobody holds it, as behind a Lambda
// function. Every delivery counts: the queue's maxReceiveCount has to last for as long as an outage may.
//
// It imports the standard library alone, as the declaration of a topology needs it.
package pauses

import "time"

const (
	// First is the pause after the first delivery; it is doubled with each further one.
	First = 5 * time.Second
	// Short is the longest pause in the first hours, so that an event is handled within two minutes after an outage.
	Short = 100 * time.Second
	// ShortFor is how long pauses stay that short, from the first delivery on: an outage of four hours and the attempts at its end.
	ShortFor = 4*time.Hour + 10*time.Minute
	// Long is the longest pause after that.
	Long = 15 * time.Minute
)

// After is the pause after an event was delivered that many times, the first of which was age ago. first is the pause after the first
// delivery; a longer one than Short or Long takes their place.
func After(first time.Duration, deliveries int, age time.Duration) time.Duration {
	most := Short
	if age >= ShortFor {
		most = Long
	}
	most = max(first, most)
	pause := first
	for ; deliveries > 1 && pause < most; deliveries-- {
		pause *= 2
	}
	return min(pause, most)
}

// Deliveries is how often an event is delivered that can't be handled for so long.
func Deliveries(outage time.Duration) int {
	n := 1
	for age := time.Duration(0); age < outage; n++ {
		age += After(First, n, age)
	}
	return n
}
