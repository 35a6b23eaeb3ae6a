package database

import (
	"fmt"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"
)

func TestFormatTime_SortsAsTimesDo(t *testing.T) {
	t.Parallel()
	zone := time.FixedZone("east", 2*60*60)
	ascending := []struct {
		time time.Time
		want string
	}{
		{time.Time{}, "0001-01-01T00:00:00.000000000Z"},
		{time.Date(2005, 1, 29, 23, 59, 59, 999_999_999, time.UTC), "2005-01-29T23:59:59.999999999Z"},
		{time.Date(2005, 1, 30, 2, 0, 0, 0, zone), "2005-01-30T00:00:00.000000000Z"},
		{time.Date(2005, 1, 30, 0, 0, 0, 1, time.UTC), "2005-01-30T00:00:00.000000001Z"},
		{time.Date(2005, 1, 30, 0, 0, 0, 100, time.UTC), "2005-01-30T00:00:00.000000100Z"},
		{time.Date(2005, 1, 30, 0, 0, 1, 0, time.UTC), "2005-01-30T00:00:01.000000000Z"},
		{time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC), "9999-12-31T23:59:59.000000000Z"},
	}
	before := ""
	for _, test := range ascending {
		got, err := FormatTime(test.time)
		if err != nil || got != test.want {
			t.Errorf("FormatTime(%v): got %q, %v, want %q", test.time, got, err, test.want)
		}
		if got <= before {
			t.Errorf("FormatTime(%v): got %q, want text greater than %q", test.time, got, before)
		}
		before = got
	}
}

func TestFormatTime_RefusesOddYears(t *testing.T) {
	t.Parallel()
	for _, year := range []int{-1, 0, 10_000} {
		if got, err := FormatTime(time.Date(year, 6, 1, 0, 0, 0, 0, time.UTC)); err == nil {
			t.Errorf("year %d: got %q, want an error", year, got)
		}
	}
}

func TestKind_TimeArgumentsAreCutAndNotRounded(t *testing.T) {
	t.Parallel()
	at := time.Date(2005, 1, 29, 23, 59, 59, 999_999_999, time.UTC)
	for kind, want := range map[Kind]string{
		SQLite:   "[2005-01-29T23:59:59.999999999Z]",
		Postgres: "[2005-01-29T23:59:59.999999000Z 999]",
	} {
		arguments, err := kind.TimeArguments(at)
		if got := fmt.Sprint(arguments); err != nil || got != want {
			t.Errorf("arguments on %s: got %s, %v, want %s", kind, got, err, want)
		}
	}
}

// Whatever stands in a URL, its password must not get into an error or a log.
func FuzzRedact(f *testing.F) {
	for _, seed := range []string{
		"postgres://user:secret@host:5432/db?sslmode=disable", "postgres://user:secret%zz@host/db",
		"postgres://user:secret@host:port/db", "postgresql://host/db?user=a&password=secret", "mysql://a:secret@b",
		"postgres://user:sec?ret@host/db", "postgres://user:secret@[::1/db", "sqlite:x.db", "x.db", "", "://", "postgres://",
		"postgres://host/db?password=secret;x", "postgres://host/%zz?password=secret",
		"postgres://user:1/secret@host/db",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, target string) {
		got := redact(target)
		if _, err := parseTarget(target); err != nil && !strings.HasPrefix(err.Error(), "database: open ") {
			t.Errorf("parseTarget(%q): got %q, want the prefix of the package", target, err)
		}
		if !strings.Contains(target, "://") {
			return // a path
		}
		if strings.Contains(got, "secret") && passwordIsSecret(target) {
			t.Errorf("redact(%q): got %q, want it without the password", target, got)
		}
	})
}

var inQuery = regexp.MustCompile(`^[a-z]+://[a-z.:0-9]*/[a-z]*\?password=secret[^@#]*$`)

// passwordIsSecret tells whether "secret" stands in target as a password and nowhere else.
func passwordIsSecret(target string) bool {
	if strings.Count(target, "secret") != 1 {
		return false
	}
	_, after, _ := strings.Cut(target, "://")
	if inQuery.MatchString(target) {
		return true
	}
	if u, err := url.Parse(target); err == nil {
		password, _ := u.User.Password()
		return strings.Contains(password, "secret")
	}
	userinfo, _, found := strings.Cut(after, "@")
	return found && strings.Contains(userinfo, "secret")
}
