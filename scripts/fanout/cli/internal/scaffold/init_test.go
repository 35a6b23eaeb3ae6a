package scaffold

import (
	"bytes"
	"flag"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write examples/acme anew, with its module's requirements as go mod tidy has them")

// acme is what examples/acme is made from: fanout init examples/acme --module example.com/acme/platform --from ../..
var acme = Init{Module: "example.com/acme/platform", Replace: "../.."}

// requirements are those lines of go.mod that say which versions everything else has.
var requirements = regexp.MustCompile(`(?s)\nrequire \(\n.*?\n\)\n`)

// TestInit_WritesTheExample compares file by file. go.mod and go.sum hold what the module's packages need, which go mod tidy finds out
// with -update; a template keeps it.
func TestInit_WritesTheExample(t *testing.T) {
	t.Parallel()
	example := filepath.Join(root, "examples", "acme")
	if *update {
		updateExample(t, example)
	}
	files, err := PlanInit(acme)
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]bool{}
	for _, f := range files {
		want[f.Path] = true
		got, err := os.ReadFile(filepath.Join(example, f.Path))
		if err != nil || !bytes.Equal(got, f.Content) {
			t.Errorf("%s is not what init writes (%v): run go test ./scripts/fanout/cli/internal/scaffold -run Example -update", f.Path, err)
		}
	}
	left := []string{"node_modules", "cdk.out", "data", "bin"}
	err = filepath.WalkDir(example, func(path string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case entry.IsDir() && slices.Contains(left, entry.Name()):
			return filepath.SkipDir
		case entry.IsDir():
			return nil
		}
		if name, err := filepath.Rel(example, path); err != nil || !want[name] {
			t.Errorf("%s: init does not write it (%v)", path, err)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func updateExample(t *testing.T, example string) {
	t.Helper()
	templates = os.DirFS(".") // from now on, so that one run is enough
	files, err := PlanInit(acme)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(example); err != nil {
		t.Fatal(err)
	}
	if err := Write(example, files); err != nil {
		t.Fatal(err)
	}
	tidy := exec.Command("go", "mod", "tidy")
	tidy.Dir = example
	if text, err := tidy.CombinedOutput(); err != nil {
		t.Fatalf("go mod tidy: %v\n%s", err, text)
	}
	mod, err := os.ReadFile(filepath.Join(example, "go.mod"))
	if err != nil {
		t.Fatal(err)
	}
	sum, err := os.ReadFile(filepath.Join(example, "go.sum"))
	if err != nil {
		t.Fatal(err)
	}
	for name, content := range map[string][]byte{"requirements": requirements.Find(mod), "go.sum": sum} {
		if err := os.WriteFile(filepath.Join("template", "repository", name+".tmpl"), content, 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// What is the same in this repository stays the same: the feature flags of the CDK, and the version of its command line.
func TestInit_DeploysAsThisRepositoryDoes(t *testing.T) {
	t.Parallel()
	files, err := PlanInit(acme)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		if !slices.Contains([]string{"cdk.json", "package.json", "package-lock.json"}, f.Path) {
			continue
		}
		own, err := os.ReadFile(filepath.Join(root, f.Path))
		if err != nil {
			t.Fatal(err)
		}
		if got, want := strings.ReplaceAll(string(f.Content), `"platform-infra"`, `"fanout-infra"`), string(own); got != want {
			t.Errorf("%s: got\n%s\nwant, but for the name, this repository's\n%s", f.Path, got, want)
		}
	}
}

func TestInit_NamesComeFromTheModulePath(t *testing.T) {
	t.Parallel()
	for path, want := range map[string][3]string{
		"example.com/acme/platform":                  {"platform", "platform", "acme.doorbell.pressed.v1"},
		"example.com/shop":                           {"shop", "shop", "shop.doorbell.pressed.v1"},
		"github.com/Big-Corp/My_Events/v2":           {"My_Events", "my-events", "bigcorp.doorbell.pressed.v1"},
		"example.com/func/home-events-of-all-houses": {"home-events-of-all-houses", "home-events-of-all-h", "home.doorbell.pressed.v1"},
		"example.com/9/events":                       {"events", "events", "home.doorbell.pressed.v1"},
		"example.com/testing/x":                      {"x", "x", "home.doorbell.pressed.v1"},
		"example.com/nil/internal":                   {"internal", "internal", "home.doorbell.pressed.v1"},
		"example.com/go/main":                        {"main", "main", "home.doorbell.pressed.v1"},
		"example.com/environments/shop.go":           {"shop", "shop", "home.doorbell.pressed.v1"},
		"example.com/event/x":                        {"x", "x", "event.doorbell.pressed.v1"},
	} {
		got, err := newRepositoryData(Init{Module: path})
		if err != nil || [3]string{got.Name, got.Topology, got.Event} != want {
			t.Errorf("%s: got %s, %s, %s, %v, want %s", path, got.Name, got.Topology, got.Event, err, want)
		}
		if files, err := PlanInit(Init{Module: path, Version: "v1.2.3"}); err != nil || CommandOf(files) != "./cmd/"+want[0] {
			t.Errorf("%s: %d files, %v, want a program %s", path, len(files), err, want[0])
		}
	}
	files, err := PlanInit(Init{Module: "example.com/shop", Version: "v1.2.3"})
	if err != nil {
		t.Fatal(err)
	}
	if mod := string(files[0].Content); !strings.Contains(mod, "\nrequire github.com/device-fanout/fanout v1.2.3\n") || strings.Contains(mod, "replace ") {
		t.Errorf("go.mod with a released version: got\n%s", mod)
	}
	for _, path := range []string{
		"", "shop", "/shop", "../shop", "https://example.com/shop", "example.com/a shop", "example.com/shop/", "example.com/9",
		"example.com", "github.com/device-fanout/fanout", "github.com/device-fanout/fanout/x",
		"example.com/acme/vendor", "example.com/vendor/shop", "example.com/testdata/shop", "example.com/acme/_shop", "example.com/_acme/shop/v2",
		"example.com/.acme/shop",
	} {
		if files, err := PlanInit(Init{Module: path}); err == nil || !strings.Contains(err.Error(), "want a module path such as example.com/acme/platform") {
			t.Errorf("%q: got %d files, %v, want an error that says what is wanted", path, len(files), err)
		}
	}
}

// A module whose packages the Go command ignores would build nothing, and say nothing.
func TestInit_RefusesFoldersThatTheGoCommandIgnores(t *testing.T) {
	t.Parallel()
	_, err := PlanInit(Init{Module: "example.com/acme/testdata/shop"})
	if want := `its element "testdata" is the name of a folder that the Go command ignores`; err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("got %v, want %q", err, want)
	}
}

// No name that the written code uses is free for a package that is imported beside it.
func TestUnusable_KnowsWhatTheTemplatesImport(t *testing.T) {
	t.Parallel()
	files, err := PlanInit(acme)
	if err != nil {
		t.Fatal(err)
	}
	own := []string{"acme", "chime", "platform"} // the team's
	checked := 0
	for _, f := range files {
		if filepath.Ext(f.Path) != ".go" {
			continue
		}
		file, err := parser.ParseFile(token.NewFileSet(), f.Path, f.Content, parser.ImportsOnly)
		if err != nil {
			t.Fatal(err)
		}
		for _, spec := range file.Imports {
			name := path.Base(strings.Trim(spec.Path.Value, `"`))
			if slices.Contains(own, name) {
				continue
			}
			if checked++; unusable(name, nil) == "" {
				t.Errorf("%s imports %s: a package can be called so", f.Path, name)
			}
		}
	}
	if checked < 20 {
		t.Errorf("imports: got %d, want those of all files", checked)
	}
}

func TestCheckEmpty_NoFolderAndLinksToNowhere(t *testing.T) {
	t.Parallel()
	if err := CheckEmpty(""); err == nil || !strings.Contains(err.Error(), `got "", want the folder of the new repository`) {
		t.Errorf("no name: got %v", err)
	}
	link := filepath.Join(t.TempDir(), "link")
	if err := os.Symlink("gone", link); err != nil {
		t.Skip("no symbolic links here: ", err)
	}
	for _, folder := range []string{link, filepath.Join(link, "shop")} {
		if err := CheckEmpty(folder); err == nil || !strings.Contains(err.Error(), link+" is a symbolic link to gone, which is not there") {
			t.Errorf("%s: got %v", folder, err)
		}
	}
}

func TestCheckEmpty(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	for _, step := range []struct {
		add  string
		want string
	}{{"", ""}, {".git", ""}, {"README.md", "it has README.md; name a new folder, or empty it"}} {
		if err := os.MkdirAll(filepath.Join(folder, step.add), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := CheckEmpty(folder); err == nil && step.want != "" || err != nil && (step.want == "" || !strings.Contains(err.Error(), step.want)) {
			t.Errorf("with %q: got %v, want %q", step.add, err, step.want)
		}
	}
	if err := CheckEmpty(filepath.Join(folder, "new")); err != nil {
		t.Errorf("a new folder: got %v", err)
	}
}
