package events

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// ParseTime reads a time as the attribute time of an event has it, and returns it in UTC: RFC 3339, with a t or z in lower case, and with
// a leap second, too. A leap second is the last second of a month in UTC and has no place of its own in a [time.Time]: all of it becomes the
// last nanosecond of the second before, so that it is behind all that came before and in front of the next day.
func ParseTime(text string) (time.Time, error) {
	t, want := readTime(text)
	if want != "" {
		return time.Time{}, fmt.Errorf("got %s, want %s", quote(text), want)
	}
	return t, nil
}

// readTime is ParseTime; instead of an error it says what was wanted.
func readTime(text string) (_ time.Time, want string) {
	const seconds = len("2006-01-02T15:04:")
	upper := strings.ToUpper(text)
	leap := len(upper) > seconds+2 && upper[seconds:seconds+2] == "60"
	if leap {
		upper = upper[:seconds] + "59" + upper[seconds+2:]
	}
	var t time.Time
	if err := t.UnmarshalText([]byte(upper)); err != nil {
		return time.Time{}, wantTime
	}
	if t = t.UTC(); !leap {
		return t, ""
	}
	t = t.Truncate(time.Second)
	if next := t.Add(time.Second); next.Day() != 1 || next.Hour() != 0 || next.Minute() != 0 || next.Second() != 0 {
		return time.Time{}, "a second of 60 only at the end of a month in UTC"
	}
	return t.Add(time.Second - 1), ""
}

// DefaultMaxFuture is how far ahead of its own clock a gateway takes, and a service believes, the time of an event unless told otherwise.
const DefaultMaxFuture = 24 * time.Hour

// CheckTime reports whether the event's time lies within bounds around now: at most past before it, and at most future after it. Zero or
// less bounds nothing. What takes events in uses it against clocks that are wrong; [Event.Validate] knows no bounds. The error is an [*Error] with
// the field time. An event without a time is left to Validate.
func (e Event) CheckTime(now time.Time, past, future time.Duration) error {
	var want string
	switch {
	case e.Time.IsZero():
		return nil
	case past > 0 && now.Sub(e.Time) > past:
		want = fmt.Sprintf("a time at most %v ago", past)
	case future > 0 && e.Time.Sub(now) > future:
		want = fmt.Sprintf("a time at most %v ahead", future)
	default:
		return nil
	}
	var bad faults
	bad.envelopeField("time", strconv.Quote(e.Time.UTC().Format(time.RFC3339Nano)), want)
	return bad.error(e, e.Type())
}
