package compat

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"reflect"
	"slices"
	"strings"
)

// Level says how far a change is safe. The package documentation explains them.
type Level string

// The levels, from good to bad.
const (
	Compatible     Level = "compatible"
	ConsumersFirst Level = "consumers-first"
	Breaking       Level = "breaking"
)

// Change is one difference between two schemas of an event type.
type Change struct {
	Type   string `json:"type"`   // of the event
	Path   string `json:"path"`   // of the field, such as "data.percent"; empty when the type itself has come or gone
	Level  Level  `json:"level"`  // how far it is safe
	What   string `json:"what"`   // what has changed
	Reason string `json:"reason"` // why it has that level
}

// String returns the change in one line.
func (c Change) String() string {
	where := c.Type
	if c.Path != "" {
		where += ": " + c.Path
	}
	return where + ": " + string(c.Level) + ": " + c.What + ": " + c.Reason
}

// Worst returns the worst level of the changes: Compatible when there are none.
func Worst(changes []Change) Level {
	worst := Compatible
	for _, c := range changes {
		if c.Level == Breaking || worst == Compatible {
			worst = c.Level
		}
	}
	return worst
}

// Compare returns every change from the schemas in before to those in after, sorted by type and path. Both hold a file <type>.json for
// every type. The error names the file that is no JSON Schema.
func Compare(before, after fs.FS) ([]Change, error) {
	was, err := read(before, "before")
	if err != nil {
		return nil, err
	}
	is, err := read(after, "after")
	if err != nil {
		return nil, err
	}
	var all []Change
	for _, eventType := range slices.Sorted(maps.Keys(was)) {
		schema, still := is[eventType]
		if !still {
			all = append(all, Change{
				Type: eventType, Level: Breaking, What: "the type was removed",
				Reason: "gateways may still send it, and services still want it",
			})
			continue
		}
		c := comparison{eventType: eventType}
		c.schema("data", was[eventType], schema)
		slices.SortStableFunc(c.changes, func(a, b Change) int { return strings.Compare(a.Path, b.Path) })
		all = append(all, c.changes...)
	}
	for _, eventType := range slices.Sorted(maps.Keys(is)) {
		if _, known := was[eventType]; !known {
			all = append(all, Change{Type: eventType, Level: Compatible, What: "the type is new", Reason: "no one knows it yet"})
		}
	}
	slices.SortStableFunc(all, func(a, b Change) int { return strings.Compare(a.Type, b.Type) })
	return all, nil
}

// object is a JSON object.
type object = map[string]any

func read(folder fs.FS, which string) (map[string]object, error) {
	names, err := fs.Glob(folder, "*.json")
	if err != nil {
		return nil, fmt.Errorf("compat: %s: %w", which, err)
	}
	if len(names) == 0 {
		return nil, fmt.Errorf("compat: %s: there is no schema, want a file <type>.json for every event type", which)
	}
	all := map[string]object{}
	var faults []error
	for _, name := range names {
		text, err := fs.ReadFile(folder, name)
		if err != nil {
			return nil, fmt.Errorf("compat: %s: %w", which, err)
		}
		var schema object
		if err := json.Unmarshal(text, &schema); err != nil || schema == nil {
			faults = append(faults, fmt.Errorf("compat: %s: %s: want a JSON Schema, an object: %w", which, name, errors.Join(err)))
			continue
		}
		all[strings.TrimSuffix(name, ".json")] = schema
	}
	return all, errors.Join(faults...)
}

// comparison collects the changes of one type.
type comparison struct {
	eventType string
	changes   []Change
}

func (c *comparison) add(path string, level Level, reason, what string, args ...any) {
	c.changes = append(c.changes, Change{c.eventType, path, level, fmt.Sprintf(what, args...), reason})
}

// Why a change has its level.
const (
	refusesOld = "events of gateways that have the old schema, and those in the queues, would be refused"
	refusesNew = "services that have the old schema would refuse new events"
	missesOld  = "services that have the old schema rely on it"
	bothWays   = "neither side would understand the other"
	notKnown   = "this keyword is not understood here"
)

// forReaders are keywords that decide on no event.
var forReaders = []string{"$schema", "$id", "title", "description", "examples", "$comment"}

// schema compares the schemas of one value.
func (c *comparison) schema(path string, was, is object) {
	if c.types(path, was["type"], is["type"]) {
		return // the rest says nothing any more
	}
	c.properties(path, was, is)
	c.required(path, was, is)
	for _, b := range bounds {
		c.bound(path, b, was[b.keyword], is[b.keyword])
	}
	c.enum(path, was["enum"], is["enum"])
	c.restrictions(path, "pattern", patterns(was), patterns(is))
	c.restrictions(path, "format", texts(was["format"]), texts(is["format"]))
	c.unique(path, was["uniqueItems"] == true, is["uniqueItems"] == true)
	before, hadItems := was["items"].(object)
	after, hasItems := is["items"].(object)
	if hadItems && hasItems {
		c.schema(path+"[]", before, after)
	}
	known := append(slices.Clone(forReaders), "type", "properties", "required", "enum", "pattern", "format", "uniqueItems")
	if hadItems == hasItems {
		known = append(known, "items")
	}
	for _, b := range bounds {
		known = append(known, b.keyword)
	}
	if onlyPatterns(was["allOf"]) && onlyPatterns(is["allOf"]) {
		known = append(known, "allOf")
	}
	both := maps.Clone(was)
	maps.Copy(both, is)
	for _, keyword := range slices.Sorted(maps.Keys(both)) {
		if !slices.Contains(known, keyword) && !reflect.DeepEqual(was[keyword], is[keyword]) {
			c.add(path, Breaking, notKnown, "%s was %s and is %s", keyword, text(was[keyword]), text(is[keyword]))
		}
	}
}

// types compares the types, and tells whether they have nothing in common.
func (c *comparison) types(path string, was, is any) (different bool) {
	switch {
	case reflect.DeepEqual(was, is):
		return false
	case was == "integer" && is == "number":
		c.add(path, ConsumersFirst, refusesNew, "an integer is now a number")
		return false
	case was == "number" && is == "integer":
		c.add(path, Breaking, refusesOld, "a number is now an integer")
		return false
	}
	c.add(path, Breaking, bothWays, "the type %s is now %s", text(was), text(is))
	return true
}

func (c *comparison) properties(path string, was, is object) {
	before, _ := was["properties"].(object)
	after, _ := is["properties"].(object)
	for _, name := range slices.Sorted(maps.Keys(before)) {
		at := path + "." + name
		old, _ := before[name].(object)
		now, still := after[name].(object)
		if !still {
			c.add(at, Breaking, missesOld, "the field was removed")
			continue
		}
		c.schema(at, old, now)
	}
	required := texts(is["required"])
	for _, name := range slices.Sorted(maps.Keys(after)) {
		if _, known := before[name]; known {
			continue
		}
		if slices.Contains(required, name) {
			c.add(path+"."+name, Breaking, refusesOld, "the field is new and required")
		} else {
			c.add(path+"."+name, Compatible, "services that do not know it ignore it", "the field is new")
		}
	}
}

// required compares which of the fields that are in both must be there.
func (c *comparison) required(path string, was, is object) {
	before, after := texts(was["required"]), texts(is["required"])
	old, _ := was["properties"].(object)
	now, _ := is["properties"].(object)
	for _, name := range slices.Sorted(maps.Keys(old)) {
		if _, still := now[name]; !still {
			continue
		}
		switch must, had := slices.Contains(after, name), slices.Contains(before, name); {
		case must && !had:
			c.add(path+"."+name, Breaking, refusesOld, "an optional field is now required")
		case had && !must:
			c.add(path+"."+name, ConsumersFirst, refusesNew, "a required field is now optional")
		}
	}
}

// bound is a keyword that bounds a number, a length or a count.
type bound struct {
	keyword string
	upper   bool
}

var bounds = []bound{
	{"minimum", false},
	{"exclusiveMinimum", false},
	{"minLength", false},
	{"minItems", false},
	{"maximum", true},
	{"exclusiveMaximum", true},
	{"maxLength", true},
	{"maxItems", true},
}

func (c *comparison) bound(path string, b bound, was, is any) {
	before, had := was.(float64)
	after, has := is.(float64)
	switch {
	case !had && !has || had && has && before == after:
	case !had:
		c.add(path, Breaking, refusesOld, "%s is now %v", b.keyword, after)
	case !has:
		c.add(path, ConsumersFirst, refusesNew, "%s %v was removed", b.keyword, before)
	case b.upper == (after < before):
		c.add(path, Breaking, refusesOld, "%s %v is now %v, which is narrower", b.keyword, before, after)
	default:
		c.add(path, ConsumersFirst, refusesNew, "%s %v is now %v, which is wider", b.keyword, before, after)
	}
}

func (c *comparison) enum(path string, was, is any) {
	before, had := was.([]any)
	after, has := is.([]any)
	switch {
	case !had && !has:
		return
	case !had:
		c.add(path, Breaking, refusesOld, "only %s are allowed now", text(after))
		return
	case !has:
		c.add(path, ConsumersFirst, refusesNew, "more than %s are allowed now", text(before))
		return
	}
	holds := func(values []any, value any) bool {
		return slices.ContainsFunc(values, func(v any) bool { return reflect.DeepEqual(v, value) })
	}
	for _, value := range before {
		if !holds(after, value) {
			c.add(path, Breaking, refusesOld, "the value %s was removed", text(value))
		}
	}
	for _, value := range after {
		if !holds(before, value) {
			c.add(path, ConsumersFirst, refusesNew, "the value %s is new", text(value))
		}
	}
}

// restrictions compares texts each of which restricts a value by itself.
func (c *comparison) restrictions(path, keyword string, was, is []string) {
	for _, r := range is {
		if !slices.Contains(was, r) {
			c.add(path, Breaking, refusesOld, "%s %q is new", keyword, r)
		}
	}
	for _, r := range was {
		if !slices.Contains(is, r) {
			c.add(path, ConsumersFirst, refusesNew, "%s %q was removed", keyword, r)
		}
	}
}

func (c *comparison) unique(path string, was, is bool) {
	switch {
	case is && !was:
		c.add(path, Breaking, refusesOld, "elements must be unique now")
	case was && !is:
		c.add(path, ConsumersFirst, refusesNew, "elements need not be unique any more")
	}
}

// patterns are all patterns of a schema, those within allOf too.
func patterns(schema object) []string {
	all := texts(schema["pattern"])
	parts, _ := schema["allOf"].([]any)
	for _, part := range parts {
		if p, ok := part.(object); ok {
			all = append(all, texts(p["pattern"])...)
		}
	}
	return all
}

// onlyPatterns tells whether an allOf has nothing but patterns.
func onlyPatterns(allOf any) bool {
	parts, _ := allOf.([]any)
	for _, part := range parts {
		p, ok := part.(object)
		if _, pattern := p["pattern"].(string); !ok || !pattern || len(p) != 1 {
			return false
		}
	}
	return true
}

// texts are the strings that a value is or holds.
func texts(value any) []string {
	switch v := value.(type) {
	case string:
		return []string{v}
	case []any:
		var all []string
		for _, element := range v {
			if s, ok := element.(string); ok {
				all = append(all, s)
			}
		}
		return all
	}
	return nil
}

func text(value any) string {
	if value == nil {
		return "nothing"
	}
	s, err := json.Marshal(value)
	if err != nil {
		return fmt.Sprint(value)
	}
	return string(s)
}
