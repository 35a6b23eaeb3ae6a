package scaffold

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"go/ast"
	"go/format"
	"go/parser"
	"go/token"
	"go/types"
	"path"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// addEntry adds a service to the list of services of the declaration, and imports the packages of its event types.
func addEntry(source []byte, module string, s Service, eventTypes []goType) ([]byte, error) {
	var entry bytes.Buffer
	fmt.Fprintf(&entry, "{\nName: %q,\nAbout: %q,\nEvents: []string{\n", s.Name, s.About)
	for _, t := range eventTypes {
		changed, name, err := addImport(source, module, t.Path, t.Package)
		if err != nil {
			return nil, err
		}
		source = changed
		fmt.Fprintf(&entry, "%s.%s{}.EventType(),\n", name, t.Name)
	}
	fmt.Fprintf(&entry, "},\nHandlerTimeout: %s,\n},\n", durationText(s.HandlerTimeout))
	list, err := find(source, serviceList)
	if err != nil {
		return nil, fmt.Errorf("the list []topology.Service: %w", err)
	}
	return insert(source, list, entry.String())
}

// addOpener adds a service, whose package is at a path, to the map of services, and imports the package.
func addOpener(source []byte, module, service, at string) ([]byte, error) {
	pkg := path.Base(at)
	source, name, err := addImport(source, module, at, pkg)
	if err != nil {
		return nil, err
	}
	if name != pkg {
		return nil, fmt.Errorf("it has something else called %s, so the service's package can't be called %s; choose another name", pkg, pkg)
	}
	openers, err := find(source, openerMap)
	if err != nil {
		return nil, fmt.Errorf("the map cli.Services: %w", err)
	}
	return insert(source, openers, fmt.Sprintf("%q: cli.OnDatabase(%s.Open),\n", service, pkg))
}

// addImport makes a file of the module import the package pkg at a path, and returns what the file calls it: by its name, or with
// "types" at its end where another one has that. pkg "_" imports it for its effect alone, if it is not imported.
func addImport(source []byte, module, at, pkg string) (changed []byte, name string, err error) {
	files := token.NewFileSet()
	file, err := parser.ParseFile(files, "", source, parser.SkipObjectResolution|parser.ParseComments)
	if err != nil {
		return nil, "", err
	}
	used := imports{}
	for _, spec := range file.Imports {
		there, err := strconv.Unquote(spec.Path.Value)
		if err != nil {
			return nil, "", err
		}
		alias := ""
		if spec.Name != nil {
			alias = spec.Name.Name
		}
		if there == at {
			switch {
			case pkg == "_":
				return source, cmp.Or(alias, path.Base(at)), nil
			case alias == "_": // for its types alone, until now
				from, to := int(spec.Name.Pos())-1, int(spec.Path.Pos())-1
				source = append(source[:from:from], source[to:]...)
				return source, pkg, nil
			}
			return source, cmp.Or(alias, pkg), nil
		}
		used[there] = alias
	}
	names := namesOf(file)
	line := fmt.Sprintf("_ %q", at)
	if name = pkg; pkg != "_" {
		free := pkg
		for names[free] {
			free += "types"
		}
		name, line = used.add(at, free), strconv.Quote(at)
		if name != path.Base(at) {
			line = name + " " + line
		}
	}
	position, text := placeOfImport(file, module, line)
	out := append(append(append([]byte{}, source[:position]...), text...), source[position:]...)
	changed, err = format.Source(out)
	return changed, name, err
}

// namesOf are the names that a file declares for its whole package, which no import can have.
func namesOf(file *ast.File) map[string]bool {
	names := map[string]bool{}
	for _, decl := range file.Decls {
		switch decl := decl.(type) {
		case *ast.FuncDecl:
			names[decl.Name.Name] = names[decl.Name.Name] || decl.Recv == nil
		case *ast.GenDecl:
			for _, spec := range decl.Specs {
				switch spec := spec.(type) {
				case *ast.TypeSpec:
					names[spec.Name.Name] = true
				case *ast.ValueSpec:
					for _, id := range spec.Names {
						names[id.Name] = true
					}
				}
			}
		}
	}
	return names
}

// placeOfImport says where in a file an import of one of the module's own packages goes, and with what around it: to others of
// the module's, or as a group of its own after the last import.
func placeOfImport(file *ast.File, module, line string) (position int, text string) {
	if len(file.Imports) == 0 {
		return int(file.Name.End()) - 1, "\n\nimport " + line + "\n"
	}
	last, text := file.Imports[len(file.Imports)-1], "\n\n"+line
	for _, spec := range file.Imports {
		if strings.HasPrefix(spec.Path.Value, strconv.Quote(module)[:len(module)+1]) {
			last, text = spec, "\n"+line
		}
	}
	end := last.End()
	if last.Comment != nil {
		end = last.Comment.End()
	}
	for _, decl := range file.Decls {
		if group, ok := decl.(*ast.GenDecl); ok && group.Tok == token.IMPORT && !group.Lparen.IsValid() && group.Pos() <= last.Pos() && last.End() <= group.End() {
			text = "\nimport " + line // an import without parentheses
		}
	}
	return int(end) - 1, text
}

var errMissing = errors.New("not found; add it by hand")

// The types of the composite literals that services are added to.
var (
	serviceList = regexp.MustCompile(`^\[\]\w+\.Service$`)
	openerMap   = regexp.MustCompile(`^\w+\.Services$`)
)

// find returns the first composite literal whose type matches.
func find(source []byte, ofType *regexp.Regexp) (found *ast.CompositeLit, err error) {
	file, err := parser.ParseFile(token.NewFileSet(), "", source, parser.SkipObjectResolution|parser.ParseComments)
	if err != nil {
		return nil, err
	}
	ast.Inspect(file, func(n ast.Node) bool {
		if list, ok := n.(*ast.CompositeLit); ok && found == nil && list.Type != nil && ofType.MatchString(types.ExprString(list.Type)) {
			found = list
		}
		return found == nil
	})
	if found == nil {
		return nil, errMissing
	}
	return found, nil
}

// insert puts text before the closing brace of list, and formats.
func insert(source []byte, list *ast.CompositeLit, text string) ([]byte, error) {
	at := int(list.Rbrace) - 1 // positions of a file of its own begin at 1
	if n := len(list.Elts); n > 0 && !bytes.Contains(source[int(list.Elts[n-1].End())-1:at], []byte(",")) {
		text = ",\n" + text // the list stands on one line
	}
	out := append(append(append([]byte{}, source[:at]...), text...), source[at:]...)
	return format.Source(out)
}

// durationText is a duration as Go code has it.
func durationText(d time.Duration) string {
	for _, unit := range []struct {
		size time.Duration
		name string
	}{{time.Hour, "time.Hour"}, {time.Minute, "time.Minute"}, {time.Second, "time.Second"}, {time.Millisecond, "time.Millisecond"}} {
		if d%unit.size == 0 {
			return fmt.Sprintf("%d * %s", d/unit.size, unit.name)
		}
	}
	return fmt.Sprintf("%d", int64(d))
}
