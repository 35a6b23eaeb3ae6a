package cli

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/device-fanout/fanout/schemas"
)

func TestSchemaCheck_CommittedSchemasAreCurrent(t *testing.T) {
	t.Parallel()
	done := invoke(t, "", "schema", "check").want(t, exitOK)
	contains(t, "standard output", done.stdout, "10 event types; the committed schemas are what the code says\n")
}

// What was published once stays compatible: no event type of the last commit may be broken by what is in the working tree.
func TestSchemaCheck_AgainstTheLastCommit(t *testing.T) {
	t.Parallel()
	if err := exec.Command("git", "rev-parse", "--verify", "HEAD").Run(); err != nil {
		t.Skip("no git, or no repository of it around")
	}
	var got struct {
		Level   string
		Changes []struct{ Type, Path, Level string }
	}
	invoke(t, "", "schema", "check", "--against", "HEAD", "--json").want(t, exitOK).decode(t, &got)
	if got.Level == "" || got.Changes == nil {
		t.Errorf("got %+v, want a level and a list", got)
	}
}

func TestSchemaCheck_BreakingAgainstAFolderAndARevision(t *testing.T) {
	t.Parallel()
	if _, err := exec.LookPath("git"); err != nil {
		t.Skip("no git")
	}
	repository := t.TempDir()
	folder := filepath.Join(repository, "contract", "schemas")
	if err := os.CopyFS(folder, schemas.FS()); err != nil {
		t.Fatal(err)
	}
	name := filepath.Join(folder, "device.humidity.measured.v1.json")
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	// As if the code had narrowed the bound since.
	if err := os.WriteFile(name, []byte(strings.Replace(string(text), `"maximum": 100`, `"maximum": 120`, 1)), 0o600); err != nil {
		t.Fatal(err)
	}
	const want = "device.humidity.measured.v1: data.percent: breaking: maximum 120 is now 100, which is narrower"
	done := invoke(t, "", "schema", "check", "--against", folder).want(t, exitBreaking)
	contains(t, "standard output", done.stdout, want, "1 changes against")
	contains(t, "standard error", done.stderr, "1 breaking changes against", "hint: ")

	for _, args := range [][]string{
		{"init", "-q"},
		{"add", "."},
		{"-c", "user.name=test", "-c", "user.email=test@localhost", "commit", "-q", "-m", "contract"},
	} {
		git := exec.Command("git", args...)
		git.Dir = repository
		if out, err := git.CombinedOutput(); err != nil {
			t.Fatalf("git %v: %v\n%s", args, err, out)
		}
	}
	check := exec.Command("fanout", "schema", "check", "--against", "HEAD", "--folder", "contract/schemas")
	check.Dir = filepath.Join(repository, "contract") // anywhere in it
	out, err := check.CombinedOutput()
	if code := check.ProcessState.ExitCode(); code != exitBreaking || !strings.Contains(string(out), want) {
		t.Errorf("got exit code %d (%v) and %s, want %d and %q", code, err, out, exitBreaking, want)
	}
}

func TestSchemaCheck_WhatItCannotCompareWith(t *testing.T) {
	t.Parallel()
	empty := t.TempDir()
	for against, want := range map[string]string{
		"no-such-revision": `"no-such-revision" is no folder, and git says`,
		empty:              "there is no schema",
	} {
		done := invoke(t, "", "schema", "check", "--against", against).want(t, exitFailed)
		contains(t, "standard error", done.stderr, want)
	}
	invoke(t, "", "schema", "check", "--against=-x").want(t, exitUsage)
}
