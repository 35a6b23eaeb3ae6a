package database_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/device-fanout/fanout/consumers/database"
	"github.com/device-fanout/fanout/consumers/database/databasetest"
)

func TestOpen_SaysWhatIsWrong(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	text := filepath.Join(folder, "notes.txt")
	if err := os.WriteFile(text, []byte(strings.Repeat("This is no database. ", 100)), 0o600); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(folder, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0") // a port that nobody else will listen on, once it is closed
	if err != nil {
		t.Fatal(err)
	}
	down := listener.Addr().String()
	listener.Close()

	tests := map[string]struct {
		target string
		want   []string // in the text of the error, in this order
	}{
		"nothing":           {"", []string{`""`, "no path", "want sqlite:PATH"}},
		"no path":           {"sqlite:", []string{"no path", "want sqlite:PATH"}},
		"two slashes":       {"sqlite://data/x.db", []string{"two slashes", "want sqlite:PATH"}},
		"no path, relaxed":  {"sqlite:?synchronous=normal", []string{"no path", "want sqlite:PATH"}},
		"other setting":     {"sqlite:x.db?synchronous=off", []string{"x.db?synchronous=off", "a setting other than ?synchronous=normal"}},
		"setting twice":     {"sqlite:x.db?synchronous=normal?synchronous=normal", []string{"a setting other than"}},
		"in memory":         {"sqlite::memory:", []string{"in memory"}},
		"in memory, plain":  {":memory:", []string{"in memory"}},
		"zero byte":         {"a\x00b", []string{"zero byte"}},
		"unknown kind":      {"mysql://root:secret@db/x", []string{"mysql://root:xxxxx@db/x", "unknown kind of database mysql", "postgres://"}},
		"folder missing":    {filepath.Join(folder, "no", "x.db"), []string{filepath.Join(folder, "no", "x.db"), "no such file", "create folder " + filepath.Join(folder, "no")}},
		"a folder":          {folder, []string{folder, "is a directory", "name a file in it"}},
		"folder is a file":  {filepath.Join(file, "x.db"), []string{"not a directory"}},
		"not a database":    {"sqlite:" + text, []string{text, "not a database", "name another path"}},
		"no URL":            {"postgres://a:secret%zz@db/x", []string{"postgres://…:", "not a URL"}},
		"bad port":          {"postgres://a:secret@db:x/x", []string{"postgres://…:", "not a URL"}},
		"@ in a password":   {"postgres://a:b@secret@127.0.0.1:1/x", []string{"postgres://…:", "%40"}},
		"/ in a password":   {"postgresql://a:1/secret@127.0.0.1:1/x", []string{"postgresql://…:", "%2F"}},
		"@ and / in one":    {"postgres://a:127.0.0.1:1@127.0.0.1/secret@db/x", []string{"postgres://…:", "%40"}},
		"bad setting":       {"postgres://a:secret@127.0.0.1/x?sslmode=perhaps&password=secret", []string{"sslmode=perhaps", "sslmode is invalid"}},
		"bad pool":          {"postgres://a:secret@127.0.0.1/x?pool_max_conns=none", []string{"pool_max_conns=none", "pool_max_conns is not a number from 1"}},
		"no path at all":    {"secret", []string{"not shown", "nor a path", "host=HOST"}},
		"no scheme":         {"a:secret@db/x", []string{"not shown", "nor a path"}},
		"other settings":    {"Server=db;Password=secret/x", []string{"not shown", "neither a URL, settings"}},
		"settings, broken":  {"host=db password='secret", []string{"not shown", "not settings", "unterminated quoted string"}},
		"settings, no word": {"host=db secret password=x", []string{"not shown", "not settings", "escapes: want"}},
		"settings, down":    {"host=127.0.0.1 port=1 user=a password=secret dbname=x sslmode=disable", []string{"postgres://a@127.0.0.1:1/x", "refused"}},
		"settings, commas":  {"host=127.0.0.1 port=1 sslmode=disable user=a,password=secret", []string{"postgres://a,password=xxxxx", "refused"}},
		"settings as path":  {"sqlite:host=db password=secret?x", []string{"password=xxxxx", "a setting other than"}},
		"JSON, down":        {`{"engine":"postgres","host":"127.0.0.1","port":1,"username":"a","password":"secret'\\","dbname":"x"}`, []string{"postgres://a@127.0.0.1:1/x", "refused"}},
		"JSON, port a text": {`{"host":"127.0.0.1","port":"1","username":"a","password":"secret"}`, []string{"postgres://a@127.0.0.1:1/", "refused"}},
		"JSON, broken":      {`{"host":"db","password":"secret"`, []string{"not shown", "no JSON object"}},
		"JSON, two":         {`{"host":"db","password":"secret"}{}`, []string{"not shown", "no JSON object"}},
		"JSON, no host":     {`{"username":"a","password":"secret"}`, []string{"not shown", "no host in the JSON"}},
		"JSON, other port":  {`{"host":"db","port":{"secret":1}}`, []string{"not shown", "the port in the JSON"}},
		"JSON, MySQL":       {`{"engine":"mysql","host":"db","password":"secret"}`, []string{"not shown", "the engine in the JSON"}},
		"of Java":           {"jdbc:postgresql://db/x?user=a&password=secret", []string{"jdbc:postgresql://db/x: unknown kind of database"}},
		"server down":       {"postgres://a:secret@" + down + "/x?sslmode=disable", []string{down, "refused", "whether the server runs"}},
		"host unknown":      {"postgres://a:secret@host.invalid/x?connect_timeout=5", []string{"host.invalid", "whether"}},
		"@ in the query":    {"postgres://a:secret@" + down + "/x?sslmode=disable&application_name=a@b/c", []string{"refused"}},
		"password in query": {"postgres://" + down + "/x?sslmode=disable&user=a&password=secret", []string{"password=xxxxx", "refused"}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			db, err := database.Open(t.Context(), test.target)
			if err == nil {
				db.Close()
				t.Fatal("got no error, want one")
			}
			var open *database.OpenError
			if !errors.As(err, &open) || open.Target == "" || open.Hint == "" || open.Err == nil {
				t.Errorf("error: got %#v, want a whole *OpenError", err)
			}
			rest := err.Error()
			for _, want := range append([]string{"database: open "}, test.want...) {
				_, after, found := strings.Cut(rest, want)
				if !found {
					t.Fatalf("error: got %q, want %q in it, in order", err, want)
				}
				rest = after
			}
			if strings.Contains(err.Error(), "secret") {
				t.Errorf("error: got %q, want it without the password", err)
			}
		})
	}
	if got, err := os.ReadFile(text); err != nil || !strings.HasPrefix(string(got), "This is no database.") {
		t.Errorf("file that was refused: got %.20q, %v, want it as it was", got, err)
	}
}

func TestOpen_SaysWhenPermissionIsMissing(t *testing.T) {
	t.Parallel()
	if os.Geteuid() == 0 {
		t.Skip("root may do everything: run as another user")
	}
	folder := t.TempDir()
	closed := filepath.Join(folder, "closed.db")
	if err := os.WriteFile(closed, nil, 0o400); err != nil {
		t.Fatal(err)
	}
	locked := filepath.Join(folder, "locked")
	if err := os.Mkdir(locked, 0o500); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{closed, filepath.Join(locked, "x.db")} {
		_, err := database.Open(t.Context(), path)
		if err == nil || !strings.Contains(err.Error(), path+": permission denied: this user needs") {
			t.Errorf("error: got %v, want that permission for %s is missing", err, path)
		}
	}
}

func TestOpen_PostgresSaysWhatTheServerRefused(t *testing.T) {
	t.Parallel()
	target := databasetest.Postgres(t)
	before, _, _ := strings.Cut(target, "?")
	nowhere := before[:strings.LastIndexByte(before, '/')] + "/nowhere"
	_, err := database.Open(t.Context(), nowhere)
	if err == nil || !strings.Contains(err.Error(), "create the database or name another one") {
		t.Errorf("error: got %v, want a hint to create the database", err)
	}
}

func TestOpen_PostgresTakesSettingsAndJSON(t *testing.T) {
	t.Parallel()
	target, err := url.Parse(databasetest.Postgres(t))
	if err != nil {
		t.Fatal(err)
	}
	password, _ := target.User.Password()
	settings := fmt.Sprintf("host='%s' port='%s' user='%s' password='%s' dbname='%s' sslmode=disable pool_max_conns=2", target.Hostname(), target.Port(),
		target.User.Username(), password, strings.TrimPrefix(target.Path, "/"))
	secret, err := json.Marshal(map[string]any{
		"engine": "postgres", "host": target.Hostname(), "port": target.Port(), "username": target.User.Username(), "password": password,
		"dbname": strings.TrimPrefix(target.Path, "/"), "dbInstanceIdentifier": "one",
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, target := range []string{settings, string(secret)} {
		db, err := database.Open(t.Context(), target)
		if err != nil {
			t.Fatal(err)
		}
		defer db.Close()
		var one int
		if err := db.QueryRowContext(t.Context(), "SELECT 1").Scan(&one); err != nil || one != 1 {
			t.Errorf("query: got %d, %v, want 1", one, err)
		}
		if got := db.String(); db.Kind() != database.Postgres || !strings.HasPrefix(got, "postgres://") {
			t.Errorf("database: got %s, %q, want %s, postgres://…", db.Kind(), got, database.Postgres)
		}
	}
}

// What looks like no path makes no file, and its password is not told.
func TestOpen_MakesNoFileOfSettings(t *testing.T) {
	t.Chdir(t.TempDir())
	for _, target := range []string{
		"host=127.0.0.1 port=1 password=secret", `{"engine":"postgres","host":"127.0.0.1","port":1,"password":"secret"}`,
		`{"username":"a","password":"secret"}`, "Server=db;Password=secret", "a:secret@db", "secret", "a:secret/x@db/x", "HOST=db PASSWORD=secret/x.db",
	} {
		db, err := database.Open(t.Context(), target)
		if err == nil {
			db.Close()
			t.Errorf("%s: got no error, want one", target)
		} else if strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: got %q, want it without the password", target, err)
		}
	}
	if files, err := os.ReadDir("."); err != nil || len(files) > 0 {
		t.Errorf("files: got %v, %v, want none", files, err)
	}
}

// A database and its companions are their owner's alone, whatever the umask is; the mode of one that is there stays.
func TestOpen_MakesFilesForTheirOwnerAlone(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	for name, want := range map[string]os.FileMode{"new.db": 0o600, "old.db": 0o640} {
		path := filepath.Join(folder, name)
		if want != 0o600 {
			if err := os.WriteFile(path, nil, want); err != nil {
				t.Fatal(err)
			}
		}
		db := open(t, path)
		if err := db.Write(t.Context(), insert("hall")); err != nil {
			t.Fatal(err)
		}
		for _, companion := range []string{"", "-wal", "-shm"} {
			info, err := os.Stat(path + companion)
			if err != nil || info.Mode().Perm() != want {
				t.Errorf("%s: got %v, %v, want mode %v", name+companion, info, err, want)
			}
		}
	}
}

// A server that takes the connection and then says nothing must not hold Open up for ever.
func TestOpen_GivesUpOnASilentServer(t *testing.T) {
	t.Parallel()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	_, err = database.Open(ctx, "postgres://a:secret@"+listener.Addr().String()+"/x?sslmode=disable")
	if err == nil || !strings.Contains(err.Error(), "whether the server runs") {
		t.Errorf("error: got %v, want that the server does not answer", err)
	}
}

func TestOpen_TakesOddPaths(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	for _, name := range []string{"a b.db", "what?.db", "what?synchronous=normal", "100%.db", "%41.db", "c#1.db", "ü.db", "a&b=c;d.db", "x:y.db"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			path := filepath.Join(folder, name)
			if strings.Contains(name, "?") {
				open(t, path) // after sqlite: a question mark starts a setting
			} else {
				open(t, "sqlite:"+path)
			}
			if info, err := os.Stat(path); err != nil || info.Size() == 0 {
				t.Errorf("file: got %v, %v, want one with something in it", info, err)
			}
		})
	}
}

func TestOpen_TakesAPlainPathAndNamesItself(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "plain.db")
	db := open(t, path)
	if got := db.String(); got != path {
		t.Errorf("String: got %q, want %q", got, path)
	}
	if got, want := db.Kind(), database.SQLite; got != want {
		t.Errorf("Kind: got %q, want %q", got, want)
	}
}

func TestOpen_EmptiesTheLogOnClose(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "one.db")
	db := open(t, path)
	if err := db.Write(t.Context(), insert("hall")); err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	for _, companion := range []string{"-wal", "-shm"} {
		if _, err := os.Stat(path + companion); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s after Close: got %v, want none: the file is then whole by itself", companion, err)
		}
	}
}
