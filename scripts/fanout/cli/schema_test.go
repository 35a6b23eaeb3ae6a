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

// What is given to git is never an option of it, and names are read as they are.
func TestSchemaCheck_AgainstOddNames(t *testing.T) {
	t.Parallel()
	if _, err := exec.LookPath("git"); err != nil {
		t.Skip("no git")
	}
	repository := t.TempDir()
	run := func(args ...string) {
		t.Helper()
		git := exec.Command("git", args...)
		git.Dir = repository
		if out, err := git.CombinedOutput(); err != nil {
			t.Fatalf("git %v: %v\n%s", args, err, out)
		}
	}
	folders := []string{"-output=x", "with space", "two\nlines", `quo"ted`, "ümlaut", ":(top)", "*", "a:b"}
	for _, folder := range folders {
		if err := os.CopyFS(filepath.Join(repository, folder), schemas.FS()); err != nil {
			t.Fatal(err)
		}
		// A schema of a type that is gone, under a name that git would quote.
		text := `{"$id":"device.gone.v1.json","type":"object","properties":{"type":{"const":"device.gone.v1"}}}`
		for _, name := range []string{`gone " ü.json`, "gone\nagain.json", "-gone.json", "gone 2.json"} {
			if err := os.WriteFile(filepath.Join(repository, folder, name), []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	run("init", "-q")
	run("add", ".")
	run("-c", "user.name=test", "-c", "user.email=test@localhost", "commit", "-q", "-m", "contract")
	run("update-ref", "refs/heads/-d", "HEAD")
	run("update-ref", "refs/heads/--help", "HEAD")
	check := func(args ...string) (int, string) {
		check := exec.Command("fanout", append([]string{"schema", "check"}, args...)...)
		check.Dir = repository
		out, _ := check.CombinedOutput() // the exit code says it
		return check.ProcessState.ExitCode(), string(out)
	}
	for _, folder := range folders {
		code, out := check("--against", "HEAD", "--folder", folder)
		if code != exitBreaking || strings.Count(out, ": breaking: ") != 4 {
			t.Errorf("folder %q: got exit code %d and\n%s\nwant %d, and four types that are gone", folder, code, out, exitBreaking)
		}
	}
	for _, revision := range []string{"-d", "--help", "--output=made", "-", "--", "--end-of-options", "--git-dir"} {
		if code, out := check("--against=" + revision); code != exitUsage || !strings.Contains(out, "--against wants a folder, or a revision") {
			t.Errorf("revision %q: got exit code %d and\n%s\nwant %d, and what it wants", revision, code, out, exitUsage)
		}
	}
	for _, revision := range []string{"^HEAD", "HEAD..HEAD", ":/contract --help", "HEAD --output=made", "heads/--help"} {
		if code, out := check("--against", revision, "--folder=--output=made"); code != exitFailed {
			t.Errorf("revision %q: got exit code %d and\n%s\nwant %d", revision, code, out, exitFailed)
		}
	}
	if _, err := os.Stat(filepath.Join(repository, "made")); err == nil {
		t.Error("file made: got one, want none")
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
