package events

import (
	"fmt"
	"maps"
	"net/url"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
)

// Type is one registered event type.
type Type struct {
	// Name is the type on the wire, such as "device.power.changed.v1".
	Name string
	// Summary says in one sentence what such an event means.
	Summary string
	// Sample is a valid payload.
	Sample Data
	// SchemaURI is the URI of the type's JSON Schema, and the attribute dataschema of every such event.
	SchemaURI string
	// Fields are the fields of the payload, in the order of the Go type. They are shared and must not be changed.
	Fields []Field
}

// SchemaBase is the absolute URI, with a slash at its end, below which whoever declares event types publishes their JSON Schemas:
// that of acme.doorbell.pressed.v1 at https://acme.example/schemas/ is https://acme.example/schemas/acme.doorbell.pressed.v1.json.
type SchemaBase string

func (b SchemaBase) uri(typeName string) string { return string(b) + typeName + ".json" }

// entry is a registered type with what it takes to read and write its payload.
type entry struct {
	Type
	goType reflect.Type
	root   *node
}

// registry is never changed: registering replaces it, so that readers need no lock.
type registry struct {
	byName   map[string]*entry
	byGoType map[reflect.Type]*entry
}

var (
	registered    atomic.Pointer[registry]
	registerMutex sync.Mutex // held while registered is replaced

	noTypes = &registry{byName: map[string]*entry{}, byGoType: map[reflect.Type]*entry{}}

	legalTypeName = regexp.MustCompile(`^[a-z][a-z0-9_]*(\.[a-z][a-z0-9_]*)+\.v[1-9][0-9]{0,3}$`)
)

// current is the registry as it is now.
func current() *registry {
	if now := registered.Load(); now != nil {
		return now
	}
	return noTypes
}

// Register makes the payload type T known, so that its events can be encoded, decoded and validated. sample is a valid
// payload, for documentation and tests; summary says in one sentence what such an event means.
//
// T is a struct, and sample a value of it, not a pointer. Its fields are exported, have a json tag in snake case and
// may have a validate tag with the rules of [Rule] and a doc tag with a sentence for readers. A field without omitempty
// is required. A field with omitempty is a pointer, a string or a slice.
// The type's schema is published below base. A T whose schema has another address has a method SchemaURI() string.
//
// Call it from an init function of the file that declares T. It panics when T cannot be used or is registered already,
// because that is a bug that no program should start with. It is safe for concurrent use.
func Register[T Data](base SchemaBase, sample T, summary string) {
	goType := reflect.TypeFor[T]()
	e, err := newEntry(goType, base, sample, summary)
	if err != nil {
		panic(fmt.Sprintf("events: Register of %s: %v", goType, err))
	}
	registerMutex.Lock()
	defer registerMutex.Unlock()
	old := current()
	next := &registry{byName: maps.Clone(old.byName), byGoType: maps.Clone(old.byGoType)}
	if other := next.byName[e.Name]; other != nil {
		advice := "give one of them another name or, where it replaces the other, the next version"
		if other.goType == goType {
			advice = "register it once, in an init function of the file that declares it"
		}
		panic(fmt.Sprintf("events: Register of %s: type %q is already that of %s; %s", goType, e.Name, other.goType, advice))
	}
	next.byName[e.Name], next.byGoType[goType] = e, e
	registered.Store(next)
}

func newEntry(goType reflect.Type, base SchemaBase, sample Data, summary string) (*entry, error) {
	if goType.Kind() != reflect.Struct {
		return nil, fmt.Errorf("got a %s, want a struct and a value of it", goType.Kind())
	}
	zero := reflect.Zero(goType).Interface().(Data)
	name := sample.EventType()
	switch {
	case name != zero.EventType():
		return nil, fmt.Errorf("EventType gives %q and %q, want a constant of the Go type", name, zero.EventType())
	case !legalTypeName.MatchString(name) || !legalID(name):
		return nil, fmt.Errorf("EventType %q: want words of small letters, digits and _, separated by dots, with the version at the end, such as device.power.changed.v1", name)
	case strings.TrimSpace(summary) == "":
		return nil, fmt.Errorf("summary: missing, want a sentence that says what such an event means")
	}
	uri := base.uri(name)
	if own, ok := sample.(interface{ SchemaURI() string }); ok {
		uri = own.SchemaURI()
	}
	if parsed, err := url.Parse(uri); err != nil || !parsed.IsAbs() || !legalSource(uri) {
		return nil, fmt.Errorf("schema URI %q: want an absolute URI; the base is where its schema is published, such as https://acme.example/schemas/", uri)
	} else if !strings.HasSuffix(string(base), "/") && uri == base.uri(name) {
		return nil, fmt.Errorf("schema base %q: want a slash at its end", base)
	}
	root, err := newNode(goType, nil, nil)
	if err != nil {
		return nil, err
	}
	if depth := root.depth(); depth > maxDepth {
		return nil, fmt.Errorf("its fields nest %d deep, want at most %d", depth, maxDepth)
	}
	e := &entry{
		Type:   Type{Name: name, Summary: summary, Sample: sample, SchemaURI: uri, Fields: root.Fields},
		goType: goType,
		root:   root,
	}
	var bad faults
	if e.checkData(&bad, sample); len(bad.data) > 0 {
		return nil, fmt.Errorf("sample: %v", bad.data[0])
	}
	return e, nil
}

// Types returns all registered types, sorted by name. It is safe for concurrent use.
func Types() []Type {
	var types []Type
	now := current()
	for _, name := range slices.Sorted(maps.Keys(now.byName)) {
		types = append(types, now.byName[name].Type)
	}
	return types
}

// Lookup returns the registered type of that name. It is safe for concurrent use.
func Lookup(name string) (Type, bool) {
	if e := current().byName[name]; e != nil {
		return e.Type, true
	}
	return Type{}, false
}
