package database

import (
	"cmp"
	"encoding/json"
	"errors"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode"

	"github.com/device-fanout/fanout/internal/redact"
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

	wantTarget = `want sqlite:PATH, a path such as data/x.db, postgres://USER@HOST:5432/DATABASE, settings such as host=HOST dbname=DATABASE, ` +
		`or the JSON that Secrets Manager keeps for RDS`

	// unshown stands for a target that could not be parsed: it may hold a password.
	unshown = "(not shown, it may hold a password)"
)

// target is what a string passed to [Open] means.
type target struct {
	kind    Kind
	name    string // to be shown: without a password
	source  string // for SQLite the path, for PostgreSQL a URL or settings, with the password
	relaxed bool
	secret  *secret // where user and password come from, with source empty until it is read; nil for most
}

// setting is how settings for PostgreSQL begin: with one of these words. They may go on with others, which the server judges.
var setting = regexp.MustCompile(`^\s*(host|port|user|password|passfile|dbname|database|service|servicefile|connect_timeout|application_name|` +
	`target_session_attrs|sslmode|sslcert|sslkey|sslrootcert|sslpassword|pool_max_conns)\s*=`)

// KindOf returns the kind of database that target names, and an [*OpenError] if it names none. It opens nothing.
func KindOf(target string) (Kind, error) {
	t, err := parseTarget(target)
	return t.kind, err
}

func parseTarget(text string) (target, error) {
	scheme, after, found := strings.Cut(text, ":")
	path, isRelaxed := strings.CutSuffix(after, relaxed)
	isSQLite, isURL := found && scheme == "sqlite", strings.Contains(text, "://")
	shown, fault := unshown, ""
	if isSQLite || isURL {
		shown = redact.Text(redact.URL(text)) // settings may stand behind sqlite:
	}
	switch {
	case text == "":
		shown, fault = `""`, "no path and no URL"
	case strings.ContainsRune(text, 0):
		shown, fault = unshown, "a zero byte in the path or URL"
	case found && (scheme == "postgres" || scheme == "postgresql") && strings.HasPrefix(after, "//"):
		if !dividesPassword(after[len("//"):]) {
			return postgresTarget(text, shown)
		}
		shown, fault = scheme+"://…", "a password with an @ or a / needs escapes, %40 or %2F"
	case strings.HasPrefix(strings.TrimSpace(text), "{"):
		settings, err := secretSettings(text, true)
		if err != nil {
			return target{}, &OpenError{Target: unshown, Hint: wantTarget, Err: err}
		}
		return postgresTarget(settings, "")
	case found && secretReader(scheme) != nil:
		if secretName.MatchString(after) {
			return target{kind: Postgres, name: text, secret: newSecret(after, secretReader(scheme))}, nil
		}
		shown, fault = scheme+":…", "want the name or ARN of a secret after "+scheme+":"
	case found && scheme == "secretsmanager":
		shown, fault = scheme+":…", "this program reads no secrets of AWS, import consumers/database/awssecret in it"
	case !isSQLite && text == ":memory:", isSQLite && strings.HasSuffix(text, ":memory:"):
		shown, fault = text, "a database in memory is not shared by the connections of a service"
	case isSQLite && strings.HasPrefix(after, "//"):
		fault = "two slashes after sqlite"
	case isSQLite && path == "":
		fault = "no path"
	case isSQLite && strings.Contains(path, "?"):
		fault = "a setting other than " + relaxed + " (a path that holds a question mark goes without sqlite: before it)"
	case isSQLite:
		return target{kind: SQLite, name: path, source: path, relaxed: isRelaxed}, nil
	case setting.MatchString(text):
		return postgresTarget(text, "")
	case isURL:
		shown, _, _ = strings.Cut(shown, "?")
		if fault = "unknown kind of database"; !strings.Contains(shown, "…") {
			fault += " " + scheme
		}
	case looksLikePath(text):
		return target{kind: SQLite, name: text, source: text}, nil
	default:
		fault = "neither a URL, settings or JSON, nor a path with a folder or an ending such as .db"
	}
	return target{}, &OpenError{Target: shown, Hint: wantTarget, Err: errors.New(fault)}
}

// dividesPassword tells whether the end of a URL has an @ where none belongs: pgx takes what stands before it for the rest of a password, of a
// host or of a database, and connects to a host whose name is a part of the password.
func dividesPassword(rest string) bool {
	rest, _, _ = strings.Cut(rest, "?")
	user, host, _ := strings.Cut(rest, "@")
	return strings.Contains(host, "@") || host != "" && strings.Contains(user, "/")
}

// looksLikePath tells whether a text is a path and nothing else. One that begins like a path may hold anything.
func looksLikePath(text string) bool {
	separator := string(os.PathSeparator)
	for _, start := range []string{"./", "../", "." + separator, ".." + separator} {
		if strings.HasPrefix(text, start) {
			return true
		}
	}
	switch {
	case filepath.IsAbs(text):
		return true
	case strings.ContainsAny(text, `:@={"';,`) || strings.ContainsFunc(text, unicode.IsControl):
		return false
	}
	return strings.ContainsAny(text, "/"+separator) || slices.Contains([]string{".db", ".sqlite", ".sqlite3"}, filepath.Ext(text))
}

// postgresTarget is the target of a URL or of settings for PostgreSQL. An empty name makes one of what they say.
func postgresTarget(source, name string) (target, error) {
	config, _, err := parsePostgres(source)
	if err != nil {
		return target{}, &OpenError{Target: cmp.Or(name, unshown), Hint: wantTarget, Err: err}
	}
	if name == "" {
		host := net.JoinHostPort(config.Host, strconv.Itoa(int(config.Port)))
		name = (&url.URL{Scheme: "postgres", User: url.User(config.User), Host: host, Path: "/" + config.Database}).String()
		name = redact.Text(name) // settings with commas between them are all one value
	}
	return target{kind: Postgres, name: name, source: source}, nil
}

// secretSettings are the settings for PostgreSQL of a secret as RDS keeps it in Secrets Manager. Unless all of it is there, what is missing comes
// from the environment.
func secretSettings(text string, whole bool) (string, error) {
	var s struct {
		Engine, Username, Password, Host, DBName string
		Port                                     any // a number, or a text of one
	}
	fault := ""
	decoder := json.NewDecoder(strings.NewReader(text))
	decoder.UseNumber()
	if err := decoder.Decode(&s); err != nil || decoder.More() {
		fault = "no JSON object, or one with other than texts in it"
	}
	port, isText := s.Port.(string)
	if number, ok := s.Port.(json.Number); ok {
		port, isText = number.String(), true
	}
	_, err := strconv.ParseUint(port, 10, 16)
	switch {
	case fault != "":
	case s.Engine != "" && s.Engine != "postgres" && s.Engine != "postgresql" && s.Engine != "aurora-postgresql":
		fault = "the engine in the JSON is not postgres"
	case s.Host == "" && whole:
		fault = "no host in the JSON (RDS may keep user and password only; keep a URL of your own then, or have the program read it, by its ARN)"
	case s.Host == "" && os.Getenv("PGHOST") == "":
		fault = "no host: neither the JSON nor PGHOST names one"
	case s.Port != nil && (!isText || err != nil):
		fault = "the port in the JSON is no number"
	case !whole && (s.Username == "" || s.Password == ""):
		fault = "no username or no password in the JSON"
	}
	if fault != "" {
		return "", errors.New(fault)
	}
	quote := strings.NewReplacer(`\`, `\\`, `'`, `\'`)
	settings := ""
	for _, pair := range [][2]string{{"host", s.Host}, {"port", port}, {"user", s.Username}, {"password", s.Password}, {"dbname", s.DBName}} {
		if pair[1] != "" {
			settings += pair[0] + "='" + quote.Replace(pair[1]) + "' "
		}
	}
	return settings, nil
}
