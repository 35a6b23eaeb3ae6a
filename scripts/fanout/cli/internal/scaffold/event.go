package scaffold

import (
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode"

	"github.com/device-fanout/fanout/events"
)

// Event is what a new event type is to be.
type Event struct {
	Name  string // on the wire, such as acme.doorbell.pressed.v1
	About string // one sentence: what such an event means

	fields []field // of the payload; one to begin with, unless Init says which
}

// field is one of the payload of a new event type, as the template writes it.
type field struct{ Go, Type, Tag, Sample string }

// firstField is what a payload begins with, to be replaced.
var firstField = field{"Value", "float64", `json:"value" validate:"gte=-1e12,lte=1e12" doc:"what was measured"`, "1.5"}

// JSON is the field in the sample's JSON text.
func (f field) JSON() string {
	name, _, _ := strings.Cut(reflect.StructTag(f.Tag).Get("json"), ",")
	return strconv.Quote(name) + ":" + strings.TrimSuffix(strings.TrimPrefix(f.Sample, "new("), ")")
}

var legalEvent = regexp.MustCompile(`^[a-z][a-z0-9_]*(\.[a-z][a-z0-9_]*)+\.v[1-9][0-9]{0,3}$`)

// PlanEvent returns the files of a new event type, and writes nothing. The first word of its name is the package, below events, and
// the others are the Go type: acme.doorbell.pressed.v1 becomes DoorbellPressed in package acme. The error lists every fault of e.
func (r Repository) PlanEvent(e Event) ([]File, error) {
	var faults []error
	if !legalEvent.MatchString(e.Name) || strings.Count(e.Name, ".") < 2 {
		return nil, fmt.Errorf("scaffold: name: got %q, want small letters, digits and _ in words separated by dots: who declares it, what happened, the version, such as acme.doorbell.pressed.v1", e.Name)
	}
	if known, ok := events.Lookup(e.Name); ok {
		faults = append(faults, fmt.Errorf("scaffold: name: %s is registered already, by %T; an incompatible change is a new type, with the next version at its end", e.Name, known.Sample))
	}
	e.About = strings.TrimSuffix(e.About, ".")
	if e.About == "" || strings.ContainsAny(e.About, "\n\r") {
		faults = append(faults, fmt.Errorf("scaffold: about: got %q, want one sentence that says what such an event means", e.About))
	}
	if e.fields == nil {
		e.fields = []field{firstField}
	}
	pkg, name := goNames(e.Name)
	folder := path.Join(eventsFolder, pkg)
	there, err := readPackage(filepath.Join(r.Root, filepath.FromSlash(folder)))
	if err != nil {
		return nil, err
	}
	if why := unusable(pkg, besideEvents); why != "" && !there.exists {
		faults = append(faults, fmt.Errorf("scaffold: name: a package of Go can't be called %s here, it would be %s; begin it with another word, such as %s.%s",
			pkg, why, namespaceOf(r.Module), e.Name))
	}
	if there.exists && there.name != pkg {
		faults = append(faults, fmt.Errorf("scaffold: name: package %s of folder %s is called %s, want %s", folder, folder, there.name, pkg))
	}
	if there.declares[name] {
		faults = append(faults, fmt.Errorf("scaffold: name: package %s declares %s already; choose another name", folder, name))
	}
	if err := errors.Join(faults...); err != nil {
		return nil, err
	}
	files, err := r.eventFiles(e, there)
	if err != nil {
		return nil, err
	}
	for _, f := range files {
		if r.exists(filepath.ToSlash(f.Path)) {
			faults = append(faults, fmt.Errorf("scaffold: name: file %s is there already; choose another name, or move the file", f.Path))
		}
	}
	if err := errors.Join(faults...); err != nil {
		return nil, err
	}
	changed, err := r.edit(declarationFile, func(source []byte) ([]byte, error) {
		source, _, err := addImport(source, r.Module, path.Join(r.Module, folder), "_")
		return source, err
	})
	if err != nil {
		return nil, err
	}
	if before, err := os.ReadFile(filepath.Join(r.Root, changed.Path)); err == nil && string(before) != string(changed.Content) {
		files = append(files, changed)
	}
	return files, nil
}

// eventFiles are the files of an event type, in a package of which there may be something already.
func (r Repository) eventFiles(e Event, there goPackage) ([]File, error) {
	pkg, name := goNames(e.Name)
	folder := path.Join(eventsFolder, pkg)
	tests := importsOf("reflect", "testing", Fanout+"/events")
	data := struct {
		Event
		Package, Type, Base, NewBase, JSON, Imported, TestImports string
		Fields                                                    []field
	}{
		Event: e, Package: pkg, Type: name, Base: "schemaBase", NewBase: r.schemaBase(), Fields: e.fields,
		Imported: tests.add(path.Join(r.Module, folder), pkg),
	}
	data.TestImports = tests.block(r.Module)
	var values []string
	for _, f := range e.fields {
		values = append(values, f.JSON())
	}
	data.JSON = "{" + strings.Join(values, ",") + "}"
	// No underscore: Go would take doors_windows.go for a file of that operating system.
	stem := fileStem(strings.ToLower(name), "event")
	names := map[string]string{"event.go": stem + ".go", "event_test.go": stem + "_test.go"}
	switch {
	case !there.exists:
		names["doc.go"] = "doc.go"
	case !there.declares["schemaBase"]:
		data.Base = data.NewBase
	}
	var files []File
	for _, template := range slices.Sorted(maps.Keys(names)) {
		content, err := render("event/"+template, data)
		if err != nil {
			return nil, err
		}
		files = append(files, File{Path: filepath.FromSlash(path.Join(folder, names[template])), Content: content, New: true})
	}
	return files, nil
}

// goNames are the package and the Go type of an event type.
func goNames(event string) (pkg, name string) {
	words := strings.Split(event, ".")
	pkg = strings.ReplaceAll(words[0], "_", "")
	for word := range strings.FieldsFuncSeq(strings.Join(words[1:len(words)-1], "_"), func(r rune) bool { return r == '_' }) {
		letters := []rune(word)
		letters[0] = unicode.ToUpper(letters[0])
		name += string(letters)
	}
	if version := words[len(words)-1]; version != "v1" {
		name += strings.ToUpper(version)
	}
	return pkg, name
}

// schemaBase is where the module's schemas are published: as its other types say or, if it has none yet, at its own address.
func (r Repository) schemaBase() string {
	for _, kind := range events.Types() {
		if strings.HasPrefix(reflect.TypeOf(kind.Sample).PkgPath(), r.Module+"/") {
			return strconv.Quote(strings.TrimSuffix(kind.SchemaURI, kind.Name+".json"))
		}
	}
	return strconv.Quote("https://" + r.Module + "/schemas/")
}

// goPackage is what there is of a package.
type goPackage struct {
	exists   bool
	name     string
	declares map[string]bool
}

// readPackage reads the declarations of the package in a folder.
func readPackage(folder string) (goPackage, error) {
	found := goPackage{declares: map[string]bool{}}
	files, err := fs.Glob(os.DirFS(folder), "*.go")
	if err != nil {
		return found, fmt.Errorf("scaffold: %w", err)
	}
	for _, name := range files {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		file, err := parser.ParseFile(token.NewFileSet(), filepath.Join(folder, name), nil, parser.SkipObjectResolution)
		if err != nil {
			return found, fmt.Errorf("scaffold: %w", err)
		}
		found.exists, found.name = true, file.Name.Name
		ast.Inspect(file, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.FuncDecl:
				return false
			case *ast.TypeSpec:
				found.declares[n.Name.Name] = true
			case *ast.ValueSpec:
				for _, id := range n.Names {
					found.declares[id.Name] = true
				}
			}
			return true
		})
	}
	return found, nil
}
