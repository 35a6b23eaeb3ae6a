package database

import (
	"fmt"
	"time"
)

// timeText is RFC 3339 with a fixed number of digits, so that the texts of two times sort as the times do.
const timeText = "2006-01-02T15:04:05.000000000Z"

// FormatTime returns t in UTC as text of fixed width, RFC 3339 with nine digits of a second: as text it sorts as times
// do. This is how times stand in TEXT columns. A year outside of 1 to 9999 is an error, as it would break the width.
func FormatTime(t time.Time) (string, error) {
	t = t.UTC()
	if t.Year() < 1 || t.Year() > 9999 {
		return "", fmt.Errorf("database: time in the year %d, want a year from 1 to 9999", t.Year())
	}
	return t.Format(timeText), nil
}

// TimeArguments returns t as arguments for a statement, such that nothing of it is lost. On SQLite that is one, for a
// TEXT column, see [FormatTime]. On PostgreSQL there are two: one for a TIMESTAMPTZ column, which keeps microseconds, and
// one for a SMALLINT column with the nanoseconds that do not fit into it, 0 to 999. Left to itself PostgreSQL would
// round, up as well as down. The pair sorts as times do.
func (k Kind) TimeArguments(t time.Time) ([]any, error) {
	if k != Postgres {
		text, err := FormatTime(t)
		return []any{text}, err
	}
	nanos := t.Nanosecond() % 1000
	micros, err := FormatTime(t.Add(-time.Duration(nanos)))
	return []any{micros, nanos}, err
}

// ParseTime reads a time column of either kind of database, scanned into a string. It is in UTC.
func ParseTime(text string) (time.Time, error) {
	t, err := time.Parse(time.RFC3339Nano, text)
	if err != nil {
		return time.Time{}, fmt.Errorf("database: time %q, want it as RFC 3339 says", text)
	}
	return t.UTC(), nil
}
