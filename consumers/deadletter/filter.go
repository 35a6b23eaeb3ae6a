package deadletter

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/device-fanout/fanout/consumers/failure"
)

// Filter selects dead letters. Every field that is set must match; the zero value selects all.
type Filter struct {
	Device, Type, Code, Fingerprint string
	Class                           Class
	Text                            string        // a part of the error text
	OlderThan, NewerThan            time.Duration // since the failure
	Limit                           int           // the most messages; the oldest of a device come first
}

var fingerprint = regexp.MustCompile(`^[0-9a-f]{8}$`)

// Validate returns all faults in the filter: what no message could match, and what makes no sense.
func (f Filter) Validate() error {
	var faults []error
	fault := func(format string, args ...any) { faults = append(faults, fmt.Errorf(format, args...)) }
	if f.Class != "" && !slices.Contains(failure.Classes(), f.Class) {
		fault("class: got %q, want %s", f.Class, classNames())
	}
	if f.Fingerprint != "" && !fingerprint.MatchString(f.Fingerprint) {
		fault("fingerprint: got %q, want eight hexadecimal digits such as 5a4e7c9d", f.Fingerprint)
	}
	if f.OlderThan < 0 {
		fault("older-than: got %v, want a duration such as 10m", f.OlderThan)
	}
	if f.NewerThan < 0 {
		fault("newer-than: got %v, want a duration such as 24h", f.NewerThan)
	}
	if f.OlderThan > 0 && f.NewerThan > 0 && f.OlderThan > f.NewerThan {
		fault("older-than, newer-than: nothing is older than %v and newer than %v", f.OlderThan, f.NewerThan)
	}
	if f.Limit < 0 {
		fault("limit: got %d, want at least 1, or 0 for all", f.Limit)
	}
	return errors.Join(faults...)
}

func classNames() string {
	var names []string
	for _, c := range failure.Classes() {
		names = append(names, string(c))
	}
	return strings.Join(names[:len(names)-1], ", ") + " or " + names[len(names)-1]
}

// Matches tells whether the filter selects m at the time now. It does not regard Limit.
func (f Filter) Matches(m *Message, now time.Time) bool {
	age := now.Sub(m.Record.FailedAt)
	switch {
	case f.Device != "" && f.Device != m.DeviceID,
		f.Type != "" && f.Type != m.Type,
		f.Code != "" && f.Code != m.Record.Code,
		f.Class != "" && f.Class != m.Record.Class,
		f.Fingerprint != "" && f.Fingerprint != m.Record.Fingerprint,
		f.Text != "" && !strings.Contains(m.Record.Error, f.Text),
		f.OlderThan > 0 && age < f.OlderThan,
		f.NewerThan > 0 && age > f.NewerThan:
		return false
	}
	return true
}
