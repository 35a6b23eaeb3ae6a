package scaffold

import (
	"errors"
	"fmt"
	"go/token"
	"path"
	"path/filepath"
	"reflect"
	"strings"
	"time"
	"unicode"

	"github.com/device-fanout/fanout/events"
	"github.com/device-fanout/fanout/infra/topology"
)

// Service is what a new service is to be.
type Service struct {
	Name           string
	About          string   // one sentence, without its full stop
	Events         []string // the types that it hears; at least one
	HandlerTimeout time.Duration
}

// goType is the Go type of an event type.
type goType struct {
	Event   string // the event type on the wire
	Path    string // of the package
	Package string // its name
	Name    string
	Fields  []string
}

// handled is a type that a service's templates write a method for.
type handled struct {
	Event, Type, Method, Fields string
}

// PlanService returns the files of a new service, and writes nothing. declared is what the repository declares already. The error
// lists every fault of s.
func (r Repository) PlanService(declared topology.Topology, s Service) ([]File, error) {
	pkg := strings.ReplaceAll(s.Name, "-", "")
	s.About = strings.TrimSuffix(s.About, ".")
	var faults []error
	if s.About == "" || strings.ContainsAny(s.About, "\n\r") {
		faults = append(faults, fmt.Errorf("scaffold: about: got %q, want one sentence that says what the service does", s.About))
	}
	if len(s.Events) == 0 {
		faults = append(faults, errors.New("scaffold: events: there is none, want at least one type that the service hears"))
	}
	var types []goType
	for _, name := range s.Events {
		if kind, ok := events.Lookup(name); ok { // the topology says so if not, and what is near
			t, err := goTypeOf(kind)
			faults = append(faults, err)
			types = append(types, t)
		}
	}
	declared.Services = append(declared.Services[:len(declared.Services):len(declared.Services)],
		topology.Service{Name: s.Name, About: s.About, Events: s.Events, HandlerTimeout: s.HandlerTimeout})
	faults = append(faults, declared.Validate())
	folder := path.Join(r.services, pkg)
	if pkg != "" && r.exists(folder) {
		faults = append(faults, fmt.Errorf("scaffold: name: folder %s is there already, choose another name", filepath.FromSlash(folder)))
	}
	if why := unusable(pkg, besideService); why != "" && pkg != "" && !illegal.MatchString(pkg) {
		faults = append(faults, fmt.Errorf("scaffold: name: package %s would be %s, choose another name, such as %s-keeper", pkg, why, s.Name))
	}
	if err := errors.Join(faults...); err != nil {
		return nil, err
	}
	files, err := r.serviceFiles(s, types)
	if err != nil {
		return nil, err
	}
	entry, err := r.edit(declarationFile, func(source []byte) ([]byte, error) { return addEntry(source, r.Module, s, types) })
	if err != nil {
		return nil, err
	}
	line, err := r.edit(r.program, func(source []byte) ([]byte, error) {
		return addOpener(source, r.Module, s.Name, path.Join(r.Module, folder))
	})
	if err != nil {
		return nil, err
	}
	return append(files, entry, line), nil
}

// serviceFiles are the files of a service's package.
func (r Repository) serviceFiles(s Service, types []goType) ([]File, error) {
	pkg := strings.ReplaceAll(s.Name, "-", "")
	folder := path.Join(r.services, pkg)
	used := importsOf("context", "database/sql", "errors", "fmt",
		Fanout+"/consumers", Fanout+"/consumers/database", Fanout+"/consumers/inbox", Fanout+"/events")
	tests := importsOf("context", "errors", "testing", "time",
		Fanout+"/consumers", Fanout+"/consumers/database/databasetest", Fanout+"/events", Fanout+"/infra/local", Fanout+"/infra/provision", Fanout+"/producer",
		path.Join(r.Module, path.Dir(declarationFile)), path.Join(r.Module, folder))
	data := struct {
		Service
		Package, Imports, TestImports, Command, Declaration, Program string
		Types                                                        []handled
	}{Service: s, Package: pkg, Command: r.Command(), Declaration: declarationFile, Program: r.program}
	methods := map[string]bool{}
	for _, t := range types {
		method := []rune(t.Name)
		method[0] = unicode.ToLower(method[0])
		h := handled{Event: t.Event, Type: used.add(t.Path, t.Package) + "." + t.Name, Method: string(method), Fields: strings.Join(t.Fields, ", ")}
		if token.IsKeyword(h.Method) || methods[h.Method] || h.Method == "db" {
			h.Method = "on" + t.Package + t.Name
		}
		methods[h.Method] = true
		data.Types = append(data.Types, h)
	}
	data.Imports, data.TestImports = used.block(r.Module), tests.block(r.Module)
	var files []File
	stem := fileStem(pkg, "service")
	for _, file := range []struct{ template, name string }{
		{"doc.go", "doc.go"}, {"service.go", stem + ".go"}, {"service_test.go", stem + "_test.go"}, {"README.md", "README.md"},
	} {
		if file.name == "README.md" && !r.readme {
			continue
		}
		content, err := render("service/"+file.template, data)
		if err != nil {
			return nil, err
		}
		files = append(files, File{Path: filepath.FromSlash(path.Join(folder, file.name)), Content: content, New: true})
	}
	return files, nil
}

// goTypeOf finds the Go type of an event type, which other packages must be able to name.
func goTypeOf(kind events.Type) (goType, error) {
	t := reflect.TypeOf(kind.Sample)
	pkg, _, _ := strings.Cut(t.String(), ".")
	switch {
	case pkg == "main":
		return goType{}, fmt.Errorf("scaffold: events: %s is a type of a program's package main, which nothing can import; move it to a package of its own", kind.Name)
	case !token.IsExported(t.Name()) || !token.IsIdentifier(t.Name()):
		return goType{}, fmt.Errorf("scaffold: events: %s is type %s, which another package can't name; export it", kind.Name, t)
	}
	found := goType{Event: kind.Name, Path: t.PkgPath(), Package: pkg, Name: t.Name()}
	for field := range t.Fields() {
		found.Fields = append(found.Fields, field.Name)
	}
	return found, nil
}
