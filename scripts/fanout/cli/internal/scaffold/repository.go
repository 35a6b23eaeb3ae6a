package scaffold

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"

	"golang.org/x/mod/modfile"

	"github.com/device-fanout/fanout/internal/files"
)

// Fanout is the path of the module that everything is built on.
const Fanout = "github.com/device-fanout/fanout"

// Repository is where services and event types are added: this one, or one that "fanout init" wrote.
type Repository struct {
	// Root is its folder.
	Root string
	// Module is the path of its module.
	Module string

	program  string // the Go file with the map of services, from the root
	services string // the folder of the services' packages
	readme   bool   // whether a service has a page of its own
}

// declarationFile has the list of services, from the root.
const declarationFile = "infra/declaration/declaration.go"

// eventsFolder has a folder for each package of event types.
const eventsFolder = "events"

// Find returns the repository that the folder from is in.
func Find(from string) (Repository, error) {
	start, err := filepath.Abs(from)
	if err != nil {
		return Repository{}, fmt.Errorf("scaffold: %w", err)
	}
	for dir := start; ; dir = filepath.Dir(dir) {
		if _, err := os.Stat(filepath.Join(dir, filepath.FromSlash(declarationFile))); err == nil {
			return open(dir)
		}
		if dir == filepath.Dir(dir) {
			return Repository{}, fmt.Errorf("scaffold: no %s in %s or above, want a folder in a repository that has one", declarationFile, start)
		}
	}
}

func open(root string) (Repository, error) {
	text, err := os.ReadFile(filepath.Join(root, "go.mod"))
	if err != nil {
		return Repository{}, fmt.Errorf("scaffold: %w", err)
	}
	r := Repository{Root: root, Module: modfile.ModulePath(text)}
	switch r.Module {
	case "":
		return r, fmt.Errorf("scaffold: %s names no module", filepath.Join(root, "go.mod"))
	case Fanout:
		r.program, r.services, r.readme = "scripts/fanout/services.go", "consumers", true
		return r, nil
	}
	r.services = "services"
	programs, err := fs.Glob(os.DirFS(root), "cmd/*/*.go")
	if err != nil {
		return r, fmt.Errorf("scaffold: %w", err)
	}
	for _, file := range programs {
		source, err := os.ReadFile(filepath.Join(root, filepath.FromSlash(file)))
		if err != nil {
			return r, fmt.Errorf("scaffold: %w", err)
		}
		if bytes.Contains(source, []byte("cli.Services{")) {
			r.program = file
			return r, nil
		}
	}
	return r, fmt.Errorf("scaffold: no file of %s has a map cli.Services{…}, want one that opens every service", filepath.Join(root, "cmd"))
}

// Command is the package of the repository's own program, as go run takes it in the root.
func (r Repository) Command() string { return "./" + path.Dir(r.program) }

// exists tells whether there is a file or folder at a path from the root.
func (r Repository) exists(name string) bool {
	_, err := os.Stat(filepath.Join(r.Root, filepath.FromSlash(name)))
	return err == nil
}

// edit reads a file of the repository and changes it; nothing is written.
func (r Repository) edit(file string, change func([]byte) ([]byte, error)) (File, error) {
	source, err := os.ReadFile(filepath.Join(r.Root, filepath.FromSlash(file)))
	if err != nil {
		return File{}, fmt.Errorf("scaffold: %w", err)
	}
	content, err := change(source)
	if err != nil {
		return File{}, fmt.Errorf("scaffold: %s: %w", file, err)
	}
	return File{Path: filepath.FromSlash(file), Content: content}, nil
}

// File is one that is written.
type File struct {
	Path    string // from the root of the repository
	Content []byte
	New     bool // it is not there yet
}

// Write writes the files of a plan. New ones are never put in the place of others, and one that is there is changed as a whole or not at
// all, with the permissions that it has.
func Write(root string, plan []File) error {
	for _, f := range plan {
		var err error
		if path := filepath.Join(root, f.Path); f.New {
			err = createFile(path, f.Content)
		} else if _, err = os.Stat(path); err == nil {
			err = files.Replace(path, f.Content, 0o644)
		}
		if err != nil {
			return fmt.Errorf("scaffold: %w", err)
		}
	}
	return nil
}

// createFile writes a file that is not there yet, and its folder; a script can be executed.
func createFile(path string, content []byte) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	mode := os.FileMode(0o644)
	if bytes.HasPrefix(content, []byte("#!")) {
		mode = 0o755
	}
	file, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode)
	if err != nil {
		return err
	}
	_, err = file.Write(content)
	if err := errors.Join(err, file.Close()); err != nil {
		return errors.Join(err, os.Remove(path))
	}
	return nil
}
