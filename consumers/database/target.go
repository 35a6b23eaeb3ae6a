package database

import (
	"errors"
	"net/url"
	"strings"
)

// Kind is a kind of database.
type Kind string

// The kinds of databases there are.
const (
	SQLite   Kind = "sqlite"
	Postgres Kind = "postgres"
)

const (
	// relaxed at the end of a sqlite: target switches off waiting for the disk; see [Open].
	relaxed = "?synchronous=normal"

	wantTarget = `want sqlite:PATH, a path, or postgres://USER:PASSWORD@HOST:PORT/DATABASE`
)

// target is what a string passed to [Open] means.
type target struct {
	kind    Kind
	name    string // for SQLite the path, for PostgreSQL the URL
	relaxed bool
}

func parseTarget(text string) (target, error) {
	scheme, after, found := strings.Cut(text, ":")
	path, isRelaxed := strings.CutSuffix(after, relaxed)
	var fault string
	switch {
	case text == "":
		fault = "no path and no URL"
	case strings.ContainsRune(text, 0):
		fault = "a zero byte in the path or URL"
	case found && (scheme == "postgres" || scheme == "postgresql") && strings.HasPrefix(after, "//"):
		return target{kind: Postgres, name: text}, nil
	case strings.HasSuffix(text, ":memory:"):
		fault = "a database in memory is not shared by the connections of a service"
	case found && scheme == "sqlite" && strings.HasPrefix(after, "//"):
		fault = "two slashes after sqlite"
	case found && scheme == "sqlite" && path == "":
		fault = "no path"
	case found && scheme == "sqlite" && strings.Contains(path, "?"):
		fault = "a setting other than " + relaxed + " (a path that holds a question mark goes without sqlite: before it)"
	case found && scheme == "sqlite":
		return target{kind: SQLite, name: path, relaxed: isRelaxed}, nil
	case strings.Contains(text, "://"):
		fault = "unknown kind of database " + scheme
	default:
		return target{kind: SQLite, name: text}, nil
	}
	return target{}, &OpenError{Target: redact(text), Hint: wantTarget, Err: errors.New(fault)}
}

// redact returns the text of a target without passwords, also when it is not a valid URL.
func redact(text string) string {
	scheme, after, found := strings.Cut(text, "://")
	if !found {
		if text == "" {
			return `""`
		}
		return text
	}
	u, err := url.Parse(text)
	if err != nil || u.User == nil && strings.Contains(after, "@") { // a password that needs escapes breaks the URL
		if at := strings.LastIndexByte(after, '@'); at >= 0 {
			after = after[at+1:]
		}
		after, _, _ = strings.Cut(after, "?")
		return scheme + "://…" + after
	}
	query := u.Query() // without what is not valid in it
	for key := range query {
		if strings.Contains(strings.ToLower(key), "password") {
			query.Set(key, "xxxxx")
		}
	}
	u.RawQuery = query.Encode()
	return u.Redacted()
}
