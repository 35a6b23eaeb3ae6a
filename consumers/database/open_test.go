package database_test

import (
	"context"
	"errors"
	"net"
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
		"no URL":            {"postgres://a:secret%zz@db/x", []string{"postgres://…db/x", "not a URL"}},
		"bad port":          {"postgres://a:secret@db:x/x", []string{"postgres://…db:x/x", "not a URL"}},
		"bad setting":       {"postgres://a:secret@127.0.0.1/x?sslmode=perhaps&password=secret", []string{"sslmode=perhaps", "sslmode is invalid"}},
		"bad pool":          {"postgres://a:secret@127.0.0.1/x?pool_max_conns=none", []string{`pool_max_conns is "none"`, "number from 1"}},
		"server down":       {"postgres://a:secret@" + down + "/x?sslmode=disable", []string{down, "refused", "whether the server runs"}},
		"host unknown":      {"postgres://a:secret@host.invalid/x?connect_timeout=5", []string{"host.invalid", "whether"}},
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
