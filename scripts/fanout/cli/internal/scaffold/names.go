package scaffold

import (
	"go/token"
	"go/types"
	"path"
	"regexp"
	"slices"
	"strings"

	"golang.org/x/mod/module"
)

// imported are the names of the packages that the templates import. A package of a team that is called so could not be imported beside
// them, or only under another name.
var imported = []string{
	"cli", "consumers", "context", "database", "databasetest", "declaration", "embed", "errors", "events", "fmt", "fs", "inbox", "io",
	"local", "producer", "provision", "reflect", "schemas", "sql", "stacks", "testing", "time", "topology",
}

// Other names that the templates give to something where they import the package of a team's event types, or of its service.
var (
	besideEvents  = []string{"environments"}
	besideService = []string{"open", "samples", "services", "t", "target"}
)

// unusable says why a package can't be called name, as it would be …, or returns "" if it can. beside are names of other things.
func unusable(name string, beside []string) string {
	switch {
	case token.IsKeyword(name):
		return "a keyword of Go"
	case types.Universe.Lookup(name) != nil:
		return "a predeclared name of Go"
	case slices.Contains([]string{"main", "init", "internal", ignoredVendor, ignoredTestdata}, name):
		return "one that Go can't import"
	case slices.Contains(imported, name):
		return "called like a package that the written code imports"
	case slices.Contains(beside, name):
		return "called like something else in the written code"
	case module.CheckImportPath("events/"+name) != nil:
		return "a folder that not every system can have"
	}
	return ""
}

// Folders that the Go command ignores, as it does those that begin with a dot or an underscore.
const (
	ignoredVendor   = "vendor"
	ignoredTestdata = "testdata"
)

// ignored tells whether the Go command ignores folders of that name, and packages with it in their paths.
func ignored(name string) bool {
	return name == ignoredVendor || name == ignoredTestdata || strings.HasPrefix(name, "_") || strings.HasPrefix(name, ".")
}

var illegal = regexp.MustCompile(`[^a-z0-9]+`)

// fallbackNamespace is for modules whose paths have no word that could be one.
const fallbackNamespace = "home"

// namespaceOf is the first word of the event types of a module, and their package: from the element after the host, if it can be one.
func namespaceOf(modulePath string) string {
	elements := strings.Split(modulePath, "/")
	if len(elements) < 2 {
		return fallbackNamespace
	}
	name := illegal.ReplaceAllString(strings.ToLower(elements[1]), "")
	if name == "" || name[0] < 'a' || unusable(name, besideEvents) != "" {
		return fallbackNamespace
	}
	return name
}

// fileStem is the name, without .go, of the file for what is called name: with kind at its end if the package's page has that name, or
// if not every system can have such a file.
func fileStem(name, kind string) string {
	if name == "doc" || module.CheckFilePath(path.Join("events", name+".go")) != nil {
		return name + kind
	}
	return name
}
