// Package clock is the engine's only source of time: it tells what time it is and calls back later.
//
// [Real] is the clock of the time package. It also follows the fake clock of testing/synctest, so most tests need
// nothing else. [Manual] is moved by hand, for tests in which real sockets or other people's goroutines take part.
package clock

import "time"

// Clock tells the time and runs functions later. Implementations are safe for concurrent use.
type Clock interface {
	// Now is the current time. It never goes back: a real clock carries Go's monotonic reading.
	Now() time.Time
	// AfterFunc calls f in its own goroutine once d has passed, unless the timer is stopped first.
	AfterFunc(d time.Duration, f func()) Timer
}

// Timer is one call that is to come.
type Timer interface {
	// Stop prevents the call. It reports whether it was in time; when false, f has run or is running.
	Stop() bool
	// Reset moves the call to d from now, also when it has already happened.
	Reset(d time.Duration) bool
}

// Real is the clock of the time package.
func Real() Clock { return realClock{} }

type realClock struct{}

func (realClock) Now() time.Time { return time.Now() }

func (realClock) AfterFunc(d time.Duration, f func()) Timer { return time.AfterFunc(d, f) }
