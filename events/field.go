package events

import (
	"encoding"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Kind is what a field of a payload is in JSON.
type Kind string

// The kinds of fields. Times are strings in JSON; all else is called what JSON Schema calls it, but for lists.
const (
	KindBoolean Kind = "boolean"
	KindInteger Kind = "integer"
	KindNumber  Kind = "number"
	KindString  Kind = "string"
	KindTime    Kind = "time"
	KindList    Kind = "list"
	KindObject  Kind = "object"
)

func (k Kind) article() string {
	switch k {
	case KindInteger:
		return "a whole number"
	case KindObject:
		return "an object"
	default:
		return "a " + string(k)
	}
}

// Field describes one field of a payload, as its Go type and tags declare it. It is what schemas and documentation are
// made from. It is shared and must not be changed.
type Field struct {
	// Name is the field's name in JSON. It is empty for the elements of a list.
	Name string
	// Kind is what it is in JSON.
	Kind Kind
	// Required is true when the field must be there and must not be null.
	Required bool
	// Doc is the text of the tag doc.
	Doc string
	// Want says in words what the field takes, such as "a number from 0 to 100".
	Want string
	// Rules are the bounds of its validate tag.
	Rules []Rule
	// Element describes the elements of a list. It is nil for all other kinds.
	Element *Field
	// Fields are the fields of an object, in the order of the Go type. It is nil for all other kinds.
	Fields []Field
}

// maxFields bounds the fields of one object: what has been seen of them while decoding is kept in the bits of a uint64.
const maxFields = 64

// node is a [Field] together with what it takes to read and write it in Go.
type node struct {
	Field
	goType  reflect.Type // without the pointer of an optional field
	index   int          // in the struct that holds it
	pointer bool         // whether the Go field is a pointer
	key     string       // its name in quotes, with the colon
	element *node
	members []*node
	walk    bool // whether it or something in it needs more checks than the validator makes
	filled  bool // whether it may be left out but, when it is there, not be empty
}

var (
	timeType        = reflect.TypeFor[time.Time]()
	ownForms        = []reflect.Type{reflect.TypeFor[json.Marshaler](), reflect.TypeFor[json.Unmarshaler](), reflect.TypeFor[encoding.TextMarshaler](), reflect.TypeFor[encoding.TextUnmarshaler]()}
	legalFieldName  = regexp.MustCompile(`^[a-z][a-z0-9_]*$`)
	errNeedsPointer = errors.New("an optional boolean, number, time or object must be a pointer, or its zero value could not be told from a missing one")
)

// newNode derives how to read and write values of goType. parts are those parts of the validate tag that are for it;
// within are the types that it stands in.
func newNode(goType reflect.Type, parts []string, within []reflect.Type) (*node, error) {
	n := &node{goType: goType}
	if goType == timeType {
		n.Kind, n.walk = KindTime, true
		return n, n.setRules(parts)
	}
	for _, form := range ownForms {
		if goType.Implements(form) || reflect.PointerTo(goType).Implements(form) {
			return nil, fmt.Errorf("%s has a JSON or text form of its own, want a plain type", goType)
		}
	}
	if slices.Contains(within, goType) {
		return nil, fmt.Errorf("%s holds itself, want a payload of bounded depth", goType)
	}
	within = append(slices.Clone(within), goType)
	switch goType.Kind() {
	case reflect.Bool:
		n.Kind = KindBoolean
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64,
		reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		n.Kind = KindInteger
	case reflect.Float64:
		n.Kind = KindNumber
	case reflect.Float32:
		return nil, errors.New("a float32 would round a value over its bounds, want a float64")
	case reflect.String:
		n.Kind, n.walk = KindString, true
	case reflect.Slice:
		return n, n.setList(parts, within)
	case reflect.Struct:
		return n, n.setObject(parts, within)
	default:
		return nil, fmt.Errorf("%s is not supported, want a bool, number, string, time.Time, struct or a slice of these", goType)
	}
	return n, n.setRules(parts)
}

func (n *node) setRules(parts []string) (err error) {
	if n.Rules, err = parseRules(n.Kind, parts); err != nil {
		return err
	}
	if n.Kind == KindNumber { // the validator lets no NaN and no infinity pass between two bounds
		n.walk = !hasRule(n.Rules, "gte", "gt") || !hasRule(n.Rules, "lte", "lt")
	}
	switch bits := n.goType.Bits; n.goType.Kind() {
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		n.Rules = limits(n.Rules, strconv.FormatInt(-1<<(bits()-1), 10), strconv.FormatInt(1<<(bits()-1)-1, 10))
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		n.Rules = limits(n.Rules, "0", strconv.FormatUint(1<<bits()-1, 10))
	}
	n.Want = want(n.Kind, n.Rules)
	return nil
}

func (n *node) setList(parts []string, within []reflect.Type) (err error) {
	n.Kind = KindList
	if n.goType.Elem().Kind() == reflect.Uint8 {
		return fmt.Errorf("%s would be base64 in JSON, want a string", n.goType)
	}
	dive := slices.Index(parts, "dive")
	own, elements := parts, []string(nil)
	if dive >= 0 {
		own, elements = parts[:dive], parts[dive+1:]
	}
	if n.element, err = newNode(n.goType.Elem(), elements, within); err != nil {
		return fmt.Errorf("its elements: %w", err)
	}
	n.element.Required = true
	if dive < 0 && (n.element.Kind == KindObject || n.element.Kind == KindList) {
		return errors.New("a list of objects or lists needs dive in its validate tag, or they would not be validated")
	}
	if err := n.setRules(own); err != nil {
		return err
	}
	if n.element.Kind == KindObject || n.element.Kind == KindList || n.element.Kind == KindTime {
		if hasRule(n.Rules, "unique") {
			return fmt.Errorf("validate rule unique: not known for a list of %ss", n.element.Kind)
		}
	}
	n.Element, n.walk = &n.element.Field, n.element.walk
	return nil
}

func (n *node) setObject(parts []string, within []reflect.Type) error {
	n.Kind = KindObject
	if n.goType.NumField() > maxFields {
		return fmt.Errorf("%s has %d fields, want at most %d", n.goType, n.goType.NumField(), maxFields)
	}
	for i := range n.goType.NumField() {
		member, err := newMember(n.goType.Field(i), within)
		if err != nil {
			return fmt.Errorf("field %s: %w", n.goType.Field(i).Name, err)
		}
		if slices.ContainsFunc(n.members, func(m *node) bool { return m.Name == member.Name }) {
			return fmt.Errorf("field %s: a second field named %q", n.goType.Field(i).Name, member.Name)
		}
		member.index = i
		n.members, n.Fields = append(n.members, member), append(n.Fields, member.Field)
		n.walk = n.walk || member.walk
	}
	return n.setRules(parts)
}

// newMember derives a field of a struct from its Go type and its tags.
func newMember(field reflect.StructField, within []reflect.Type) (*node, error) {
	if field.Anonymous || !field.IsExported() {
		return nil, errors.New("want only exported fields, and none embedded")
	}
	name, options, _ := strings.Cut(field.Tag.Get("json"), ",")
	if !legalFieldName.MatchString(name) {
		return nil, fmt.Errorf("json name %q: want small letters, digits and _, beginning with a letter", name)
	}
	optional := options == "omitempty" || options == "omitzero"
	if options != "" && !optional {
		return nil, fmt.Errorf("json option %q: want omitempty or none", options)
	}
	var parts []string
	if tag, ok := field.Tag.Lookup("validate"); ok {
		parts = strings.Split(tag, ",")
	}
	if optional && len(parts) > 0 {
		if parts[0] != "omitempty" {
			return nil, errors.New("the validate tag of an optional field must begin with omitempty")
		}
		parts = parts[1:]
	}
	goType, pointer := field.Type, field.Type.Kind() == reflect.Pointer
	if pointer {
		goType = goType.Elem()
	}
	n, err := newNode(goType, parts, within)
	if err != nil {
		return nil, err
	}
	plain := n.Kind == KindString || n.Kind == KindList
	switch {
	case pointer && !optional:
		return nil, errors.New("a required field must not be a pointer; write omitempty into its json tag if it is optional")
	case pointer && n.Kind == KindList:
		return nil, errors.New("want a slice, not a pointer to one")
	case optional && !pointer && !plain:
		return nil, errNeedsPointer
	}
	n.Name, n.Required, n.pointer = name, !optional, pointer
	n.Doc, n.key = field.Tag.Get("doc"), `"`+name+`":`
	n.filled = optional && !pointer && tags.Var(reflect.New(goType).Elem().Interface(), strings.Join(parts, ",")) != nil
	return n, nil
}

// depth returns how many steps lead from n to what is deepest in it.
func (n *node) depth() int {
	deepest := 0
	for _, member := range n.members {
		deepest = max(deepest, 1+member.depth())
	}
	if n.element != nil {
		deepest = 1 + n.element.depth()
	}
	return deepest
}

// find returns the node at a path such as "points[3].celsius", or nil.
func (n *node) find(path string) *node {
	for path != "" {
		if path[0] == '[' {
			end := strings.IndexByte(path, ']')
			if n.element == nil || end < 0 {
				return nil
			}
			n, path = n.element, strings.TrimPrefix(path[end+1:], ".")
			continue
		}
		end := strings.IndexAny(path, ".[")
		if end < 0 {
			end = len(path)
		}
		i := slices.IndexFunc(n.members, func(m *node) bool { return m.Name == path[:end] })
		if i < 0 {
			return nil
		}
		n, path = n.members[i], strings.TrimPrefix(path[end:], ".")
	}
	return n
}
