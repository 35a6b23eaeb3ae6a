package scaffold

import (
	"bytes"
	"errors"
	"fmt"
	"go/ast"
	"go/format"
	"go/parser"
	"go/token"
	"path"
	"strconv"
	"time"
)

// addEntry adds a service to the list of services of the declaration.
func addEntry(source []byte, s Service, types []eventType) ([]byte, error) {
	list, err := find(source, func(n ast.Node) *ast.CompositeLit {
		list, ok := n.(*ast.CompositeLit)
		if !ok {
			return nil
		}
		slice, ok := list.Type.(*ast.ArrayType)
		if !ok {
			return nil
		}
		if of, ok := slice.Elt.(*ast.SelectorExpr); !ok || of.Sel.Name != "Service" {
			return nil
		}
		return list
	})
	if err != nil {
		return nil, fmt.Errorf("the list []topology.Service: %w", err)
	}
	var entry bytes.Buffer
	fmt.Fprintf(&entry, "{\nName: %q,\nAbout: %q,\nEvents: []string{\n", s.Name, s.About)
	for _, t := range types {
		fmt.Fprintf(&entry, "device.%s{}.EventType(),\n", t.GoType)
	}
	fmt.Fprintf(&entry, "},\nHandlerTimeout: %s,\n},\n", durationText(s.HandlerTimeout))
	return insert(source, list, entry.String())
}

// addOpener adds a service to the map services, and imports its package.
func addOpener(source []byte, name, pkg string) ([]byte, error) {
	file, err := parser.ParseFile(token.NewFileSet(), "", source, parser.SkipObjectResolution)
	if err != nil {
		return nil, err
	}
	for _, imported := range file.Imports {
		if at, err := strconv.Unquote(imported.Path.Value); err == nil && path.Base(at) == pkg {
			return nil, fmt.Errorf("it imports %s, so the service's package can't be called %s; choose another name", at, pkg)
		}
	}
	ready, err := find(source, func(n ast.Node) *ast.CompositeLit {
		spec, ok := n.(*ast.ValueSpec)
		if !ok || len(spec.Names) != 1 || spec.Names[0].Name != "services" || len(spec.Values) != 1 {
			return nil
		}
		list, _ := spec.Values[0].(*ast.CompositeLit)
		return list
	})
	if err != nil {
		return nil, fmt.Errorf("the map services: %w", err)
	}
	source, err = insert(source, ready, fmt.Sprintf("%q: cli.OnDatabase(%s.Open),\n", name, pkg))
	if err != nil {
		return nil, err
	}
	const neighbour = `"github.com/device-fanout/fanout/scripts/fanout/cli"` // imported already; sorting puts the new one where it belongs
	if !bytes.Contains(source, []byte(neighbour)) {
		return nil, fmt.Errorf("no import of %s, beside which the service's package could stand", neighbour)
	}
	source = bytes.Replace(source, []byte(neighbour), fmt.Appendf(nil, "%s\n\t%q", neighbour, "github.com/device-fanout/fanout/consumers/"+pkg), 1)
	return format.Source(source)
}

var errMissing = errors.New("not found; add the service by hand")

// find returns the first composite literal that match finds.
func find(source []byte, match func(ast.Node) *ast.CompositeLit) (found *ast.CompositeLit, err error) {
	file, err := parser.ParseFile(token.NewFileSet(), "", source, parser.SkipObjectResolution|parser.ParseComments)
	if err != nil {
		return nil, err
	}
	ast.Inspect(file, func(n ast.Node) bool {
		if found == nil && n != nil {
			found = match(n)
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
