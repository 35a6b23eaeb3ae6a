package compat_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"pgregory.net/rapid"

	"github.com/device-fanout/fanout/events"
	_ "github.com/device-fanout/fanout/events/device"
	"github.com/device-fanout/fanout/events/eventstest"
	"github.com/device-fanout/fanout/schemas"
	"github.com/device-fanout/fanout/schemas/compat"
)

func one(schema string) fs.FS {
	return fstest.MapFS{"device.test.v1.json": {Data: []byte(schema)}}
}

func TestCompare_SaysWhyForEveryChange(t *testing.T) {
	t.Parallel()
	const object = `{"type":"object","properties":{"a":%s},"required":["a"]}`
	value := func(schema string) string { return fmt.Sprintf(object, schema) }
	for name, c := range map[string]struct{ before, after, want string }{
		"nothing":             {value(`{"type":"number"}`), value(`{"type":"number","description":"new words"}`), ""},
		"field removed":       {value(`{}`), `{"type":"object","properties":{}}`, `data.a: breaking: the field was removed: services`},
		"field renamed":       {value(`{}`), strings.ReplaceAll(value(`{}`), `"a"`, `"b"`), `data.a: breaking: the field was removed; data.b: breaking: the field is new and required`},
		"new required field":  {`{"type":"object"}`, value(`{}`), `data.a: breaking: the field is new and required: events of gateways`},
		"new optional field":  {`{"type":"object"}`, `{"type":"object","properties":{"a":{}}}`, `data.a: compatible: the field is new`},
		"now required":        {`{"type":"object","properties":{"a":{}}}`, value(`{}`), `data.a: breaking: an optional field is now required`},
		"now optional":        {value(`{}`), `{"type":"object","properties":{"a":{}}}`, `data.a: consumers-first: a required field is now optional: services`},
		"type changed":        {value(`{"type":"number","minimum":1}`), value(`{"type":"string"}`), `data.a: breaking: the type "number" is now "string"`},
		"integer to number":   {value(`{"type":"integer"}`), value(`{"type":"number"}`), `data.a: consumers-first: an integer is now a number`},
		"number to integer":   {value(`{"type":"number"}`), value(`{"type":"integer"}`), `data.a: breaking: a number is now an integer`},
		"maximum narrowed":    {value(`{"maximum":100}`), value(`{"maximum":90}`), `data.a: breaking: maximum 100 is now 90, which is narrower`},
		"maximum widened":     {value(`{"maximum":100}`), value(`{"maximum":110}`), `data.a: consumers-first: maximum 100 is now 110, which is wider`},
		"minimum narrowed":    {value(`{"minimum":0}`), value(`{"minimum":1}`), `data.a: breaking: minimum 0 is now 1, which is narrower`},
		"minimum widened":     {value(`{"exclusiveMinimum":0}`), value(`{"exclusiveMinimum":-1}`), `data.a: consumers-first: exclusiveMinimum 0 is now -1, which is wider`},
		"bound added":         {value(`{}`), value(`{"maxLength":9}`), `data.a: breaking: maxLength is now 9`},
		"bound removed":       {value(`{"minItems":1}`), value(`{}`), `data.a: consumers-first: minItems 1 was removed`},
		"enum value removed":  {value(`{"enum":["x","y"]}`), value(`{"enum":["x"]}`), `data.a: breaking: the value "y" was removed`},
		"enum value added":    {value(`{"enum":["x"]}`), value(`{"enum":["x","y"]}`), `data.a: consumers-first: the value "y" is new`},
		"enum added":          {value(`{}`), value(`{"enum":[1]}`), `data.a: breaking: only [1] are allowed now`},
		"enum lifted":         {value(`{"enum":[1]}`), value(`{}`), `data.a: consumers-first: more than [1] are allowed now`},
		"pattern changed":     {value(`{"pattern":"a"}`), value(`{"pattern":"b"}`), `data.a: breaking: pattern "b" is new; data.a: consumers-first: pattern "a" was removed`},
		"pattern moved":       {value(`{"pattern":"a","allOf":[{"pattern":"b"}]}`), value(`{"pattern":"b","allOf":[{"pattern":"a"}]}`), ``},
		"unique":              {value(`{}`), value(`{"uniqueItems":true}`), `data.a: breaking: elements must be unique now`},
		"not unique":          {value(`{"uniqueItems":true}`), value(`{}`), `data.a: consumers-first: elements need not be unique any more`},
		"in a list":           {value(`{"items":{"maximum":1}}`), value(`{"items":{"maximum":0}}`), `data.a[]: breaking: maximum 1 is now 0`},
		"items lost":          {value(`{"items":{"maximum":1}}`), value(`{}`), `data.a: breaking: items was {"maximum":1} and is nothing: this keyword`},
		"nested":              {value(`{"properties":{"b":{"type":"string"}}}`), value(`{"properties":{}}`), `data.a.b: breaking: the field was removed`},
		"unknown keyword":     {value(`{}`), value(`{"multipleOf":2}`), `data.a: breaking: multipleOf was nothing and is 2: this keyword is not understood`},
		"closed for the rest": {value(`{}`), `{"type":"object","properties":{"a":{}},"required":["a"],"additionalProperties":false}`, `data: breaking: additionalProperties was nothing and is false`},
	} {
		changes, err := compat.Compare(one(c.before), one(c.after))
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if c.want == "" {
			if len(changes) > 0 {
				t.Errorf("%s: got %v, want no change", name, changes)
			}
			continue
		}
		wants := strings.Split(c.want, "; ")
		if len(changes) != len(wants) {
			t.Errorf("%s: got %v, want %d changes", name, changes, len(wants))
			continue
		}
		for i, want := range wants {
			if got := changes[i].String(); !strings.HasPrefix(got, "device.test.v1: "+want) {
				t.Errorf("%s: got %q, want %q", name, got, want)
			}
		}
	}
}

func TestCompare_TypesThatComeAndGo(t *testing.T) {
	t.Parallel()
	old := fstest.MapFS{"a.v1.json": {Data: []byte(`{}`)}, "b.v1.json": {Data: []byte(`{}`)}}
	now := fstest.MapFS{"b.v1.json": {Data: []byte(`{}`)}, "c.v1.json": {Data: []byte(`{}`)}}
	changes, err := compat.Compare(old, now)
	if err != nil || len(changes) != 2 || changes[0].Type != "a.v1" || changes[0].Level != compat.Breaking ||
		changes[1].Type != "c.v1" || changes[1].Level != compat.Compatible || compat.Worst(changes) != compat.Breaking {
		t.Errorf("got %v, %v, want a.v1 breaking and c.v1 compatible", changes, err)
	}
	if got := compat.Worst(nil); got != compat.Compatible {
		t.Errorf("no change: got %q", got)
	}
}

func TestCompare_NamesWhatItCannotRead(t *testing.T) {
	t.Parallel()
	for want, folder := range map[string]fs.FS{
		"before: there is no schema":          fstest.MapFS{},
		"before: device.test.v1.json: want a": one(`[]`),
		"device.test.v1.json: want a JSON":    one(`{`),
		"want a JSON Schema, an object":       one(`null`),
	} {
		if _, err := compat.Compare(folder, one(`{}`)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want an error with %q", err, want)
		}
	}
	if _, err := compat.Compare(one(`{}`), one(`{`)); err == nil || !strings.Contains(err.Error(), "after: ") {
		t.Errorf("got %v, want one about the schemas after", err)
	}
}

// Whatever is changed in a schema: when nothing is called breaking, every old payload is valid by the new schema; and when nothing is
// called consumers-first either, every new one by the old.
func TestCompare_IsRight(t *testing.T) {
	t.Parallel()
	levels := map[compat.Level]int{}
	rapid.Check(t, func(t *rapid.T) {
		kind := eventstest.Type(t)
		text, _ := schemas.Schema(kind.Name)
		var schema map[string]any
		if err := json.Unmarshal(text, &schema); err != nil {
			t.Fatal(err)
		}
		mutate(t, schema)
		changed, err := json.Marshal(schema)
		if err != nil {
			t.Fatal(err)
		}
		changes, err := compat.Compare(one(string(text)), one(string(changed)))
		if err != nil {
			t.Fatal(err)
		}
		worst := compat.Worst(changes)
		levels[worst]++
		before, after := compile(t, kind, text), compile(t, kind, changed)
		for range 5 {
			payload, err := jsonschema.UnmarshalJSON(bytes.NewReader(eventstest.Document(t, kind)))
			if err != nil {
				t.Fatal(err)
			}
			old, now := before.Validate(payload), after.Validate(payload)
			if worst != compat.Breaking && old == nil && now != nil {
				t.Fatalf("%v\nbut the old payload %v is refused: %v", changes, payload, now)
			}
			if worst == compat.Compatible && old != nil && now == nil {
				t.Fatalf("%v\nbut the new payload %v is refused: %v", changes, payload, old)
			}
		}
	})
	if len(levels) != 3 {
		t.Errorf("got %v, want changes of all three levels", levels)
	}
}

// mutate changes something in a schema.
func mutate(t *rapid.T, schema map[string]any) {
	properties := schema["properties"].(map[string]any)
	name := rapid.SampledFrom(slices.Sorted(maps.Keys(properties))).Draw(t, "field")
	field := properties[name].(map[string]any)
	required, _ := schema["required"].([]any)
	switch rapid.IntRange(0, 6).Draw(t, "change") {
	case 0:
		for _, keyword := range slices.Sorted(maps.Keys(field)) {
			n, ok := field[keyword].(float64)
			if !ok {
				continue
			}
			n += float64(rapid.IntRange(-3, 3).Draw(t, "shift"))
			if strings.HasSuffix(keyword, "Length") { // no schema may have a negative one
				n = max(n, 0)
			}
			field[keyword] = n
		}
	case 1:
		delete(field, rapid.SampledFrom([]string{"minimum", "maximum", "maxLength", "minLength", "pattern", "enum"}).Draw(t, "keyword"))
	case 2:
		if at := slices.Index(required, any(name)); at >= 0 {
			schema["required"] = slices.Delete(required, at, at+1)
		} else {
			schema["required"] = append(required, name)
		}
	case 3:
		delete(properties, name)
		schema["required"] = slices.DeleteFunc(required, func(r any) bool { return r == name })
	case 4:
		properties["extra"] = map[string]any{"type": "string"}
		if rapid.Bool().Draw(t, "must") {
			schema["required"] = append(required, "extra")
		}
	case 5:
		field["type"] = rapid.SampledFrom([]string{"integer", "number", "string", "boolean"}).Draw(t, "type")
	case 6:
		schema["description"] = "other words"
	}
}

func compile(t *rapid.T, kind events.Type, text []byte) *jsonschema.Schema {
	document, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	compiler := jsonschema.NewCompiler()
	if err := compiler.AddResource(kind.SchemaURI, document); err != nil {
		t.Fatal(err)
	}
	schema, err := compiler.Compile(kind.SchemaURI)
	if err != nil {
		t.Fatal(err)
	}
	return schema
}
