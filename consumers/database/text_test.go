package database

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"testing"
	"time"
	"unicode/utf8"
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

// Whatever a target holds, what is none of SQLite's is never taken for a file, and its password never gets into an error or a log.
func FuzzTarget(f *testing.F) {
	for _, seed := range []string{
		"secret", "a@b", "a/b.db", "a?b", "a#b", "%zz", "a b", "it's", `a\`, `"`, "`: x", ":5432", "[::1", "x=y z", "\n", "{}", "a\x00b", "\xff", "sqlite:x.db", "",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if _, err := parseTarget(text); err != nil {
			var open *OpenError
			if !errors.As(err, &open) || open.Target == "" || open.Hint != wantTarget {
				t.Errorf("parseTarget(%q): got %#v, want a whole *OpenError", text, err)
			}
			shown := strings.HasPrefix(text, "sqlite:") || strings.Contains(text, "://")
			if fresh := strings.Replace(err.Error(), wantTarget, "", 1); !shown && len(text) > 20 && strings.Contains(fresh, text) {
				t.Errorf("parseTarget(%q): got %q, want it without what could not be parsed", text, err)
			}
		}
		const marker = "MARKER"
		password := marker + text + marker
		escaped := strings.ReplaceAll(url.QueryEscape(password), "+", "%20")
		quoted := "'" + strings.NewReplacer(`\`, `\\`, `'`, `\'`).Replace(password) + "'"
		secret, err := json.Marshal(map[string]any{"engine": "postgres", "host": "db", "port": 5432, "username": "a", "password": password, "dbname": "x"})
		if err != nil {
			t.Fatal(err)
		}
		kept := password
		if !utf8.ValidString(password) { // JSON does not keep what is not UTF-8
			kept = ""
		}
		for target, want := range map[string]string{ // the password that is understood, if it is one
			"postgres://a:" + escaped + "@db/x":                        password,
			"postgres://a:" + password + "@db/x":                       "",
			"postgres://db/x?user=a&password=" + escaped:               password,
			"host=db password=" + password + " user=a":                 "",
			"host=db user=a dbname=x password=" + quoted:               password,
			"  host = db user=a password=" + quoted:                    password,
			string(secret):                                             kept,
			"\n" + string(secret) + "\n":                               kept,
			string(secret[:len(secret)-1]):                             "",
			"Server=db;User Id=a;Password=" + password + ";Database=x": "",
			"a:" + password + "@db/x":                                  "",
			"jdbc:postgresql://db/x?user=a&password=" + password:       "",
			"mysql://a:" + password + "@db/x":                          "",
		} {
			got, err := parseTarget(target)
			shown := got.name
			if err != nil {
				shown = err.Error()
			}
			if strings.Contains(shown, marker) {
				t.Errorf("parseTarget(%q): got %q, want it without the password", target, shown)
			}
			if err != nil {
				continue
			}
			if got.kind != Postgres {
				t.Errorf("parseTarget(%q): got kind %q, want %q or an error", target, got.kind, Postgres)
				continue
			}
			config, _, err := parsePostgres(got.source)
			if err != nil || want != "" && config.Password != want {
				t.Errorf("parseTarget(%q): got %v and another password, want it as it was", target, err)
			}
		}
	})
}
