// Package clocktest helps to test that a step of the host's clock does no harm.
package clocktest

import (
	"time"
	"unsafe"
)

// Steps are what tests set a clock by.
var Steps = []time.Duration{0, -time.Hour, time.Hour, -30 * 24 * time.Hour, 30 * 24 * time.Hour}

// Stepped returns t as a clock tells it that was set by whole seconds: with the same monotonic reading. A time without one is just
// another time.
func Stepped(t time.Time, by time.Duration) time.Time {
	const monotonic = 1 << 63 // the seconds stand in the 33 bits behind it, and the nanoseconds in 30
	wall := (*uint64)(unsafe.Pointer(&t))
	if *wall&monotonic == 0 {
		return t.Add(by)
	}
	*wall += uint64(by/time.Second) << 30
	return t
}
