package scaffold

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/mod/modfile"
	"golang.org/x/mod/module"
)

// Init is what a new repository is to be.
type Init struct {
	Module string // its module path, such as example.com/acme/platform
	// Version is the version of this module that it requires; empty with Replace.
	Version string
	// Replace is a checkout of this module that stands in its place, as go.mod has it: absolute, or relative to the new repository.
	// Empty means none.
	Replace string
}

// repositoryData is what the templates of a repository know.
type repositoryData struct {
	Init
	Name      string // of the program: the last element of the module path
	Topology  string // name of the topology
	Namespace string // the first word of its event types, and their package
	Event     string // its first event type
	Type      string // the Go type of that
	Service   string // its first service
	Base      string // of its schemas
}

// Replacement is Replace as go.mod has it.
func (d repositoryData) Replacement() string { return modfile.AutoQuote(filepath.ToSlash(d.Replace)) }

// maxTopologyName is the longest name of a topology.
const maxTopologyName = 20

// newRepositoryData derives all names from the module path.
func newRepositoryData(i Init) (repositoryData, error) {
	d := repositoryData{Init: i, Service: "chime", Type: "DoorbellPressed"}
	fault := func(why string) (repositoryData, error) {
		return d, fmt.Errorf("scaffold: module: got %q: %s; want a module path such as example.com/acme/platform", i.Module, why)
	}
	if err := module.CheckPath(i.Module); err != nil {
		if invalid, ok := errors.AsType[*module.InvalidPathError](err); ok {
			err = invalid.Err
		}
		return fault(err.Error())
	}
	if i.Module == Fanout || strings.HasPrefix(i.Module, Fanout+"/") {
		return fault("that is this module's own")
	}
	prefix, _, _ := module.SplitPathVersion(i.Module)
	elements := strings.Split(prefix, "/")
	if len(elements) < 2 {
		return fault("it has one element only")
	}
	if i := slices.IndexFunc(elements, ignored); i >= 0 {
		return fault(fmt.Sprintf("its element %q is the name of a folder that the Go command ignores, as all that are called vendor or testdata or begin with _ or .", elements[i]))
	}
	d.Name = strings.TrimSuffix(elements[len(elements)-1], ".go") // go run takes a folder x.go for a file
	d.Topology = strings.Trim(illegal.ReplaceAllString(strings.ToLower(d.Name), "-"), "-")
	d.Topology = strings.Trim(d.Topology[:min(len(d.Topology), maxTopologyName)], "-")
	if d.Topology == "" || d.Topology[0] < 'a' {
		return fault("its last element is the name of the program and of the topology, which begins with a letter")
	}
	d.Namespace = namespaceOf(prefix)
	d.Event = d.Namespace + ".doorbell.pressed.v1"
	d.Base = "https://" + i.Module + "/schemas/"
	return d, nil
}

// PlanInit returns the files of a new repository, and writes nothing.
func PlanInit(i Init) ([]File, error) {
	d, err := newRepositoryData(i)
	if err != nil {
		return nil, err
	}
	program := path.Join("cmd", d.Name, "main.go")
	var files []File
	for _, file := range []struct{ template, path string }{
		{"go.mod", "go.mod"},
		{"go.sum", "go.sum"},
		{"README.md", "README.md"},
		{"gitignore", ".gitignore"},
		{"dockerignore", ".dockerignore"},
		{"Dockerfile", "Dockerfile"},
		{"ci.yml", ".github/workflows/ci.yml"},
		{"script", "scripts/deploy"},
		{"script", "scripts/destroy"},
		{"script", "scripts/image"},
		{"cdk.json", "cdk.json"},
		{"package.json", "package.json"},
		{"package-lock.json", "package-lock.json"},
		{"main.go", program},
		{"infra.go", "infra/main.go"},
		{"declaration.go", declarationFile},
		{"declaration_test.go", "infra/declaration/declaration_test.go"},
		{"environments.json", "infra/declaration/environments.json"},
		{"schemas.go", "schemas/schemas.go"},
		{"schema.json", path.Join("schemas", d.Event+".json")},
	} {
		content, err := render("repository/"+file.template, d)
		if err != nil {
			return nil, err
		}
		files = append(files, File{Path: filepath.FromSlash(file.path), Content: content, New: true})
	}
	r := Repository{Module: d.Module, program: program, services: "services"}
	eventFiles, err := r.eventFiles(Event{Name: d.Event, About: "Somebody pressed a doorbell", fields: []field{
		{"Button", "string", `json:"button" validate:"oneof=front back" doc:"which button"`, `"front"`},
		{"Seconds", "*float64", `json:"seconds,omitempty" validate:"omitempty,gte=0,lte=60" doc:"for how long, in seconds"`, "new(1.5)"},
	}}, goPackage{})
	if err != nil {
		return nil, err
	}
	serviceFiles, err := r.serviceFiles(
		Service{Name: d.Service, About: "rings when somebody presses a doorbell", HandlerTimeout: 5 * time.Second},
		[]goType{{Event: d.Event, Path: path.Join(d.Module, eventsFolder, d.Namespace), Package: d.Namespace, Name: d.Type, Fields: []string{"Button", "Seconds"}}})
	if err != nil {
		return nil, err
	}
	return append(append(files, eventFiles...), serviceFiles...), nil
}

// CheckEmpty reports a folder that a repository can't be written into: one that is not empty, but for what git keeps there. One that is
// not there yet is fine, unless it is behind a symbolic link that leads nowhere.
func CheckEmpty(dir string) error {
	if dir == "" {
		return errors.New(`scaffold: folder: got "", want the folder of the new repository, such as platform; . is the one you are in`)
	}
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return checkLinks(dir)
	}
	if err != nil {
		return fmt.Errorf("scaffold: %w", err)
	}
	for _, e := range entries {
		if e.Name() != ".git" {
			return fmt.Errorf("scaffold: folder %s is not empty, it has %s; name a new folder, or empty it", dir, e.Name())
		}
	}
	return nil
}

// checkLinks reports a symbolic link that leads nowhere, where a folder or one above it is to be made.
func checkLinks(dir string) error {
	for ; ; dir = filepath.Dir(dir) {
		if _, err := os.Stat(dir); err == nil || dir == filepath.Dir(dir) {
			return nil
		}
		if target, err := os.Readlink(dir); err == nil {
			return fmt.Errorf("scaffold: folder %s is a symbolic link to %s, which is not there; make that folder, or name another", dir, target)
		}
	}
}

// Checkout returns the root of the checkout of this module that the folder from is in, or "" if it is in none.
func Checkout(from string) (string, error) {
	start, err := filepath.Abs(from)
	if err != nil {
		return "", fmt.Errorf("scaffold: %w", err)
	}
	for dir := start; ; dir = filepath.Dir(dir) {
		if IsCheckout(dir) {
			return dir, nil
		}
		if dir == filepath.Dir(dir) {
			return "", nil
		}
	}
}

// IsCheckout tells whether a folder is the root of a checkout of this module.
func IsCheckout(dir string) bool {
	text, err := os.ReadFile(filepath.Join(dir, "go.mod"))
	return err == nil && modfile.ModulePath(text) == Fanout
}

// CommandOf is the package of the program among the files of a new repository, as go run takes it in its root.
func CommandOf(files []File) string {
	for _, f := range files {
		if name := filepath.ToSlash(f.Path); strings.HasPrefix(name, "cmd/") {
			return "./" + path.Dir(name)
		}
	}
	return ""
}
