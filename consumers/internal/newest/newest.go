// Package newest tells which of two events of a device is the newer one, so that state does not go backwards and a wrong clock does not
// stop it.
//
// The greater time is newer, and of one time the greater sequence. But a time that lies too far ahead of the service's own clock is not
// believed: where one of the two is such, the sequence alone decides, which is the order in which the producer has accepted them. So an event
// from 2099 takes the place of what was accepted before it, and what comes after takes its place in turn, while an old event that is redriven is
// still an old one. If it is the service's clock that is wrong, and long behind, all are compared by sequence, and nothing is lost by it.
//
// Where one of the two has no sequence, the one whose time is believed is newer. Sequences come from the clock of the producer's host: one that lies
// as far ahead holds up none that does not.
package newest

import (
	"cmp"
	"fmt"
	"strings"
	"time"

	"github.com/device-fanout/fanout/events"
)

// latest is the latest time that tables can hold.
var latest = time.Date(9999, 12, 31, 23, 59, 59, 999_999_000, time.UTC)

// Limit is the latest time that is believed at the time now. Zero means events.DefaultMaxFuture; with a negative value every time is believed.
func Limit(now time.Time, maxFuture time.Duration) time.Time {
	limit := now.Add(cmp.Or(maxFuture, events.DefaultMaxFuture)).UTC()
	if maxFuture < 0 || limit.After(latest) {
		return latest
	}
	return limit
}

// sequenceDigits is the width of a sequence that the producer has given: nanoseconds since 1970. What has another one is of somebody else.
const sequenceDigits = 20

// SequenceLimit is the greatest sequence that is believed where limit is the latest time.
func SequenceLimit(limit time.Time) string {
	if limit.Year() > 2261 { // more nanoseconds than there are numbers for
		return strings.Repeat("9", sequenceDigits)
	}
	return fmt.Sprintf("%0*d", sequenceDigits, max(0, limit.UnixNano()))
}

// Place is where an event stands in the order of its device.
type Place struct {
	Time     time.Time
	Sequence string
}

// NotBefore reports whether p is newer than old, or the same. limit is the latest time that is believed.
func (p Place) NotBefore(old Place, limit time.Time) bool {
	believed, oldBelieved := !p.Time.After(limit), !old.Time.After(limit)
	switch {
	case believed && oldBelieved:
	case p.Sequence != "" && old.Sequence != "":
		return p.Sequence >= old.Sequence || p.sequenceBelieved(limit) && !old.sequenceBelieved(limit)
	case believed != oldBelieved:
		return believed
	}
	return cmp.Or(p.Time.Compare(old.Time), cmp.Compare(p.Sequence, old.Sequence)) >= 0
}

// sequenceBelieved tells whether the clock that p has its sequence from can have been right.
func (p Place) sequenceBelieved(limit time.Time) bool {
	return len(p.Sequence) != sequenceDigits || p.Sequence <= SequenceLimit(limit)
}

// SQL is [Place.NotBefore] as the condition of an ON CONFLICT DO UPDATE, for the row excluded and that of the table. Columns are those of
// the time, the first of which is compared with limit, an SQL expression, as sequenceLimit is. The column of the sequence is called sequence.
func SQL(table, limit, sequenceLimit string, columns ...string) string {
	row := func(of string) string {
		var list strings.Builder
		for _, column := range columns {
			fmt.Fprintf(&list, "%s.%s, ", of, column)
		}
		return fmt.Sprintf("(%s%s.sequence)", list.String(), of)
	}
	sequenceBelieved := func(of string) string {
		return fmt.Sprintf(`(length(%[1]s.sequence) <> %[2]d OR %[1]s.sequence <= %[3]s)`, of, sequenceDigits, sequenceLimit)
	}
	return fmt.Sprintf(`CASE
		WHEN excluded.%[2]s <= %[3]s AND %[1]s.%[2]s <= %[3]s THEN %[4]s >= %[5]s
		WHEN excluded.sequence <> '' AND %[1]s.sequence <> '' THEN excluded.sequence >= %[1]s.sequence OR %[6]s AND NOT %[7]s
		WHEN excluded.%[2]s <= %[3]s THEN TRUE
		WHEN %[1]s.%[2]s <= %[3]s THEN FALSE
		ELSE %[4]s >= %[5]s END`, table, columns[0], limit, row("excluded"), row(table), sequenceBelieved("excluded"), sequenceBelieved(table))
}
