package cli

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/device-fanout/fanout/consumers"
	"github.com/device-fanout/fanout/consumers/database"
	"github.com/device-fanout/fanout/consumers/database/databasetest"
	"github.com/device-fanout/fanout/consumers/history"
)

// versions are what a migration said, or is said, in words.
func versions(t *testing.T, done finished) string {
	t.Helper()
	var list []migration
	done.decode(t, &list)
	var words []string
	for _, m := range list {
		words = append(words, fmt.Sprintf("%s/%s:%d-%d", m.Service, m.Tables, m.From, m.To))
	}
	return strings.Join(words, " ")
}

func TestMigrate_BringsAllTablesUpToDate(t *testing.T) {
	t.Parallel()
	databasetest.Each(t, func(t *testing.T, target string) {
		// Processes of push share a table in PostgreSQL.
		made, found := " push/push:0-1", " push/push:1-1"
		if strings.HasPrefix(target, "sqlite:") {
			made, found = "", ""
		}
		for _, step := range []struct {
			args []string
			code int
			want string
		}{
			{[]string{"--check"}, exitMigrate, "history/history:0-2 state/state:0-1" + made},
			{[]string{"history", "push"}, exitOK, "history/history:0-2" + made},
			{[]string{"--check"}, exitMigrate, "history/history:2-2 state/state:0-1" + found},
			{nil, exitOK, "history/history:2-2 state/state:0-1" + found},
			{[]string{"--check"}, exitOK, "history/history:2-2 state/state:1-1" + found},
		} {
			done := invoke(t, "", append([]string{"migrate", "--json", "--database", target}, step.args...)...).want(t, step.code)
			if got := versions(t, done); got != step.want {
				t.Errorf("%v: got %s, want %s", step.args, got, step.want)
			}
			if strings.Contains(done.stderr, "push keeps no tables") != (len(step.args) == 2 && made == "") {
				t.Errorf("%v: got %q", step.args, done.stderr)
			}
		}
		s, err := history.Open(t.Context(), target, history.Config{})
		if err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(s.Check(t.Context()), s.Close()); err != nil {
			t.Error(err)
		}
		table := invoke(t, "", "migrate", "--check", "--database", target).want(t, exitOK).stdout
		if !strings.Contains(table, "up to date") || !strings.Contains(table, "SERVICE") {
			t.Errorf("table: got %s", table)
		}
	})
}

// Several are started at once, in a folder that has yet to be made, for a service that parks devices, too.
func TestMigrate_SeveralAtOnce(t *testing.T) {
	t.Parallel()
	app := testApp()
	for i := range app.Topology.Services {
		if app.Topology.Services[i].Name == "state" {
			app.Topology.Services[i].GroupPolicy = consumers.Park
		}
	}
	run := func(args ...string) finished {
		out, errs := newOutput(), newOutput()
		code := Run(t.Context(), app, append([]string{"migrate", "--json"}, args...), strings.NewReader(""), out, errs)
		return finished{code, out.String(), errs.String()}
	}
	folder := filepath.Join(t.TempDir(), "new")
	check := run("--check", "--data", folder).want(t, exitMigrate)
	if got, want := versions(t, check), "history/history:0-2 state/state:0-1 state/parking:0-1"; got != want {
		t.Errorf("check: got %s, want %s", got, want)
	}
	if _, err := os.Stat(folder); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a check made the folder: got %v", err)
	}
	var group sync.WaitGroup
	for range 4 {
		group.Go(func() {
			if done := run("--data", folder); done.code != exitOK {
				t.Errorf("got code %d: %s", done.code, done.stderr)
			}
		})
	}
	group.Wait()
	done := run("--check", "--data", folder).want(t, exitOK)
	if got, want := versions(t, done), "history/history:2-2 state/state:1-1 state/parking:1-1"; got != want {
		t.Errorf("afterwards: got %s, want %s", got, want)
	}
}

// One service fails and the others are brought up to date; tables that are too far ahead say so.
func TestMigrate_OneFails(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	db, err := database.Open(t.Context(), filepath.Join(folder, "history.db"))
	if err != nil {
		t.Fatal(err)
	}
	empty := `CREATE TABLE x (n INTEGER); DROP TABLE x`
	if err := errors.Join(db.Migrate(t.Context(), "history", empty, empty, empty, empty), db.Close()); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{{"--check"}, nil} {
		done := invoke(t, "", append([]string{"migrate", "--json", "--data", folder}, args...)...).want(t, exitFailed)
		if got := versions(t, done); got != "state/state:0-1" || !strings.Contains(done.stderr, "version 4 and this program knows 2") {
			t.Errorf("%v: got %s and %s", args, got, done.stderr)
		}
	}
}

func TestMigrate_WantsServicesAndADatabase(t *testing.T) {
	t.Setenv("FANOUT_DATABASE", "")
	for text, args := range map[string][]string{
		"which database?":      {"migrate"},
		`no service "nothing"`: {"migrate", "nothing", "--data", t.TempDir()},
	} {
		if done := invoke(t, "", args...).want(t, exitUsage); !strings.Contains(done.stderr, text) {
			t.Errorf("%v: got %q, want %q", args, done.stderr, text)
		}
	}
	app := testApp()
	app.Services["history"] = Elsewhere
	for code, args := range map[int][]string{exitOK: nil, exitFailed: {"history"}} {
		out, errs := newOutput(), newOutput()
		got := Run(context.Background(), app, append([]string{"migrate", "--data", t.TempDir()}, args...), strings.NewReader(""), out, errs)
		if got != code {
			t.Errorf("%v, where another program runs history: got %d and %s, want %d", args, got, errs.String(), code)
		}
	}
	invoke(t, "", "migrate", "state", "--database", "postgres://x@127.0.0.1:1/x?sslmode=disable").want(t, exitFailed)
}
