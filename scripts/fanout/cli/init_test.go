package cli

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestInit_BadInput(t *testing.T) {
	t.Parallel()
	taken := t.TempDir()
	if err := os.WriteFile(filepath.Join(taken, "notes.txt"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	fresh := filepath.Join(t.TempDir(), "shop")
	for name, test := range map[string]struct {
		args []string
		want string
	}{
		"no module":          {[]string{fresh}, `required flag(s) "module" not set`},
		"no folder":          {[]string{"--module", "example.com/shop"}, "want the folder of the new repository"},
		"no module path":     {[]string{fresh, "--module", "https://example.com/shop"}, "want a module path such as example.com/acme/platform"},
		"a folder in use":    {[]string{taken, "--module", "example.com/shop"}, "is not empty, it has notes.txt; name a new folder, or empty it"},
		"an unset variable":  {[]string{"", "--module", "example.com/shop"}, `folder: got "", want the folder of the new repository`},
		"an ignored folder":  {[]string{fresh, "--module", "example.com/vendor/shop"}, "a folder that the Go command ignores"},
		"no checkout":        {[]string{fresh, "--module", "example.com/shop", "--from", taken}, "is no checkout of github.com/device-fanout/fanout; name the folder with its go.mod"},
		"everything at once": {[]string{taken, "--module", "shop", "--from", taken}, "notes.txt"},
	} {
		done := invoke(t, "", append([]string{"init"}, test.args...)...).want(t, exitUsage)
		contains(t, name, done.stderr, test.want)
	}
	if _, err := os.Stat(fresh); err == nil {
		t.Error("something was written in spite of a mistake")
	}
}

// A path in go.mod holds where the new repository is, not where the command was run.
func TestInit_ReplacesByACheckout(t *testing.T) {
	t.Parallel()
	root, err := filepath.Abs(filepath.Join("..", "..", ".."))
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct{ folder, from, want string }{
		{filepath.Join(root, "examples", "acme"), "", filepath.Join("..", "..")}, // in the checkout
		{filepath.Join(root, "examples", "acme"), "../..", filepath.Join("..", "..")},
		{filepath.Join("..", "..", "..", "examples", "acme"), "../../..", filepath.Join("..", "..")},
		{filepath.Join(filepath.Dir(root), "shop"), "../../..", filepath.Join("..", filepath.Base(root))},
		{filepath.Join(filepath.Dir(root), "shop"), "", root},
		{filepath.Join(filepath.Dir(root), "shop"), root, root},
	} {
		if got, err := replacement(test.folder, test.from); err != nil || got != test.want {
			t.Errorf("%s from %q: got %q, %v, want %q", test.folder, test.from, got, err, test.want)
		}
	}
}

func TestSchemaWrite(t *testing.T) {
	t.Parallel()
	folder := filepath.Join(t.TempDir(), "schemas")
	done := invoke(t, "", "schema", "write", folder).want(t, exitOK)
	if n := strings.Count(done.stdout, "new "); n != 10 {
		t.Errorf("first time: got %d new files, want 10:\n%s", n, done.stdout)
	}
	changed, gone := filepath.Join(folder, "device.power.changed.v1.json"), filepath.Join(folder, "device.gone.v1.json")
	for _, name := range []string{changed, gone} {
		if err := os.WriteFile(name, []byte("{}"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	done = invoke(t, "", "schema", "write", folder).want(t, exitOK)
	if done.stdout != "changed  "+changed+"\n" {
		t.Errorf("second time: got %q, want only what has changed", done.stdout)
	}
	contains(t, "standard error", done.stderr, gone+" belongs to no event type of this program")
	if _, err := os.Stat(gone); err != nil {
		t.Errorf("a file of no type: %v, want it left alone", err)
	}
}
