// Package scaffold writes what teams begin with: a repository of their own, a service, an event type. What it writes compiles,
// passes its own tests and runs as it is; nothing that is there is overwritten.
//
// A service and an event type are added to this repository or to one that [Init] wrote; [Find] tells which it is. Files are planned
// first and written by [Write], so that a caller can show them.
package scaffold

import (
	"bytes"
	"embed"
	"fmt"
	"go/format"
	"io/fs"
	"maps"
	"path"
	"slices"
	"strconv"
	"strings"
	"text/template"
)

//go:embed template
var embedded embed.FS

// templates are those that are embedded, but for a test that writes them.
var templates fs.FS = embedded

// render fills in a template, and formats what is Go.
func render(name string, data any) ([]byte, error) {
	t, err := template.ParseFS(templates, "template/"+name+".tmpl", "template/repository/requirements.tmpl")
	if err != nil {
		return nil, fmt.Errorf("scaffold: %w", err)
	}
	var out bytes.Buffer
	if err := t.Option("missingkey=error").Execute(&out, data); err != nil {
		return nil, fmt.Errorf("scaffold: %w", err)
	}
	if path.Ext(name) != ".go" {
		return out.Bytes(), nil
	}
	content, err := format.Source(out.Bytes())
	if err != nil {
		return nil, fmt.Errorf("scaffold: %s: %w", name, err)
	}
	return content, nil
}

// imports are the packages that a file imports, by their paths, and the names that it gives them; a name is empty where it is the
// package's own and the last element of its path.
type imports map[string]string

// importsOf are imports of packages under their own names.
func importsOf(paths ...string) imports {
	all := imports{}
	for _, p := range paths {
		all[p] = ""
	}
	return all
}

// add imports the package name at a path and returns what the file calls it: by its name, or with "types" at its end where
// something else in the file is called so.
func (i imports) add(at, name string) string {
	if known, ok := i[at]; ok {
		if known == "" {
			return path.Base(at)
		}
		return known
	}
	for i.taken(name) {
		name += "types"
	}
	i[at] = ""
	if name != path.Base(at) {
		i[at] = name
	}
	return name
}

// taken tells whether a name is that of an imported package, or stands for something else in the templates.
func (i imports) taken(name string) bool {
	for at, alias := range i {
		if name == alias || alias == "" && name == path.Base(at) {
			return true
		}
	}
	return slices.Contains([]string{"name", "schema", "schemaBase", "count", "tx", "data", "event", "err", "ctx", "s", "t", "first", "newest", "line", "init"}, name)
}

// block is the import declaration of a file of the module: the standard library, other modules, and its own packages.
func (i imports) block(module string) string {
	var groups [3][]string
	for _, at := range slices.Sorted(maps.Keys(i)) {
		line := strconv.Quote(at)
		if alias := i[at]; alias != "" {
			line = alias + " " + line
		}
		first, _, _ := strings.Cut(at, "/")
		group := 1
		switch {
		case !strings.Contains(first, "."):
			group = 0
		case at == module || strings.HasPrefix(at, module+"/"):
			group = 2
		}
		groups[group] = append(groups[group], line)
	}
	var blocks []string
	for _, lines := range groups {
		if len(lines) > 0 {
			blocks = append(blocks, strings.Join(lines, "\n"))
		}
	}
	return "import (\n" + strings.Join(blocks, "\n\n") + "\n)"
}
