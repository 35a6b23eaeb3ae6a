// Package scaffold writes a new service into this repository: a package with a handler, its tests and a page about it, its entry
// in the topology, and its line in the program that runs services. It compiles, passes its tests and runs as it is.
package scaffold

import (
	"bytes"
	"embed"
	"errors"
	"fmt"
	"go/format"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"text/template"
	"time"
	"unicode"

	"github.com/device-fanout/fanout/events"
	"github.com/device-fanout/fanout/events/device"
	"github.com/device-fanout/fanout/infra/declaration"
	"github.com/device-fanout/fanout/infra/topology"
)

//go:embed template
var templates embed.FS

// Service is what a new service is to be.
type Service struct {
	Name           string
	About          string   // one sentence, without its full stop
	Events         []string // the types that it hears; at least one
	HandlerTimeout time.Duration
}

// Where things are in the repository.
const (
	topologyFile = "infra/declaration/declaration.go"
	servicesFile = "scripts/fanout/services.go"
)

// File is one that is written.
type File struct {
	Path    string // from the root of the repository
	Content []byte
	New     bool // it is not there yet
}

// eventType is an event type as the templates want it.
type eventType struct{ Name, GoType, Method, Fields string }

// Plan returns the files of a new service in the repository at root, and writes nothing. The error lists every fault of s.
func Plan(root string, s Service) ([]File, error) {
	data := struct {
		Service
		Package string
		Types   []eventType
	}{Service: s, Package: strings.ReplaceAll(s.Name, "-", "")}
	data.About = strings.TrimSuffix(data.About, ".")
	var faults []error
	if data.About == "" || strings.ContainsAny(data.About, "\n\r") {
		faults = append(faults, fmt.Errorf("scaffold: about: got %q, want one sentence that says what the service does", s.About))
	}
	if len(s.Events) == 0 {
		faults = append(faults, errors.New("scaffold: events: there is none, want at least one type that the service hears"))
	}
	for _, name := range s.Events {
		t, err := newEventType(name)
		faults = append(faults, err)
		data.Types = append(data.Types, t)
	}
	top := declaration.Topology()
	top.Services = append(top.Services, topology.Service{Name: s.Name, About: data.About, Events: s.Events, HandlerTimeout: s.HandlerTimeout})
	faults = append(faults, top.Validate())
	folder := filepath.Join("consumers", data.Package)
	if _, err := os.Stat(filepath.Join(root, folder)); err == nil && data.Package != "" {
		faults = append(faults, fmt.Errorf("scaffold: name: folder %s is there already, choose another name", folder))
	}
	if token.IsKeyword(data.Package) {
		faults = append(faults, fmt.Errorf("scaffold: name: package %s would be a keyword of Go, choose another name", data.Package))
	}
	if err := errors.Join(faults...); err != nil {
		return nil, err
	}

	var files []File
	for _, file := range []struct{ template, name string }{
		{"doc.go", "doc.go"}, {"service.go", data.Package + ".go"}, {"service_test.go", data.Package + "_test.go"}, {"README.md", "README.md"},
	} {
		content, err := render(file.template, data)
		if err != nil {
			return nil, err
		}
		files = append(files, File{Path: filepath.Join(folder, file.name), Content: content, New: true})
	}
	entry, err := edit(root, topologyFile, func(source []byte) ([]byte, error) { return addEntry(source, data.Service, data.Types) })
	if err != nil {
		return nil, err
	}
	line, err := edit(root, servicesFile, func(source []byte) ([]byte, error) { return addOpener(source, s.Name, data.Package) })
	if err != nil {
		return nil, err
	}
	return append(files, entry, line), nil
}

// Write writes the files of a plan. New ones are never put in the place of others.
func Write(root string, files []File) error {
	for _, f := range files {
		path := filepath.Join(root, f.Path)
		flags := os.O_WRONLY | os.O_TRUNC
		if f.New {
			if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
				return fmt.Errorf("scaffold: %w", err)
			}
			flags = os.O_WRONLY | os.O_CREATE | os.O_EXCL
		}
		file, err := os.OpenFile(path, flags, 0o644)
		if err != nil {
			return fmt.Errorf("scaffold: %w", err)
		}
		_, err = file.Write(f.Content)
		if err := errors.Join(err, file.Close()); err != nil {
			return fmt.Errorf("scaffold: %w", err)
		}
	}
	return nil
}

// FindRoot returns the root of this repository, above the folder from.
func FindRoot(from string) (string, error) {
	start, err := filepath.Abs(from)
	if err != nil {
		return "", fmt.Errorf("scaffold: %w", err)
	}
	for dir := start; ; dir = filepath.Dir(dir) {
		if _, err := os.Stat(filepath.Join(dir, filepath.FromSlash(topologyFile))); err == nil {
			return dir, nil
		}
		if dir == filepath.Dir(dir) {
			return "", fmt.Errorf("scaffold: no %s in %s or above, want a checkout of this repository", topologyFile, start)
		}
	}
}

// render fills in a template, and formats what is Go.
func render(name string, data any) ([]byte, error) {
	t, err := template.ParseFS(templates, "template/"+name+".tmpl")
	if err != nil {
		return nil, fmt.Errorf("scaffold: %w", err)
	}
	var out bytes.Buffer
	if err := t.Execute(&out, data); err != nil {
		return nil, fmt.Errorf("scaffold: %w", err)
	}
	if filepath.Ext(name) != ".go" {
		return out.Bytes(), nil
	}
	content, err := format.Source(out.Bytes())
	if err != nil {
		return nil, fmt.Errorf("scaffold: %s: %w", name, err)
	}
	return content, nil
}

// edit reads a file and changes it.
func edit(root, path string, change func([]byte) ([]byte, error)) (File, error) {
	source, err := fs.ReadFile(os.DirFS(root), path)
	if err != nil {
		return File{}, fmt.Errorf("scaffold: %w", err)
	}
	content, err := change(source)
	if err != nil {
		return File{}, fmt.Errorf("scaffold: %s: %w", path, err)
	}
	return File{Path: filepath.FromSlash(path), Content: content}, nil
}

// newEventType finds the Go type of an event type.
func newEventType(name string) (eventType, error) {
	t, ok := events.Lookup(name)
	if !ok {
		return eventType{}, nil // the topology says so, and what is near
	}
	goType := reflect.TypeOf(t.Sample)
	if own := reflect.TypeFor[device.PowerChanged]().PkgPath(); goType.PkgPath() != own {
		return eventType{}, fmt.Errorf("scaffold: events: %s is a type of package %s, want one of package device; add its handler by hand", name, goType.PkgPath())
	}
	fields := make([]string, goType.NumField())
	for i := range fields {
		fields[i] = goType.Field(i).Name
	}
	method := []rune(goType.Name())
	method[0] = unicode.ToLower(method[0])
	return eventType{Name: name, GoType: goType.Name(), Method: string(method), Fields: strings.Join(fields, ", ")}, nil
}
