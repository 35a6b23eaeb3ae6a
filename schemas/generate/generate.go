// Package generate makes the JSON Schema of an event type from its Go type. This project's own schemas are made with it;
// whoever registers types elsewhere keeps a folder of schemas by a test like this:
//
//	func TestSchemas(t *testing.T) {
//		types := slices.DeleteFunc(events.Types(), func(kind events.Type) bool { return !strings.HasPrefix(kind.Name, "acme.") })
//		if *update {
//			if err := generate.Write("schemas", types); err != nil {
//				t.Fatal(err)
//			}
//		}
//		if err := generate.Check("schemas", types); err != nil {
//			t.Error(err)
//		}
//	}
//
// The bounds come from the same [events.Rule] values that the validator's tags were read into, so a schema and the
// validator cannot say different things. A rule that has no keyword in JSON Schema is an error.
package generate

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"

	"github.com/invopop/jsonschema"

	"github.com/device-fanout/fanout/events"
)

// FileName returns the name of the file that holds the schema of an event type.
func FileName(eventType string) string { return eventType + ".json" }

// Schema returns the JSON Schema, draft 2020-12, of the payload of a registered type: indented, with a line end.
func Schema(kind events.Type) ([]byte, error) {
	reflector := jsonschema.Reflector{Anonymous: true, AllowAdditionalProperties: true, DoNotReference: true, ExpandedStruct: true}
	schema := reflector.Reflect(kind.Sample)
	sample, err := events.EncodeData(kind.Sample)
	if err != nil {
		return nil, fmt.Errorf("generate: sample of %s: %w", kind.Name, err)
	}
	schema.ID = jsonschema.ID(kind.SchemaURI)
	schema.Title, schema.Description = kind.Name, kind.Summary
	schema.Examples = []any{json.RawMessage(sample)}
	if err := describeObject(schema, kind.Fields); err != nil {
		return nil, fmt.Errorf("generate: %s: %w", kind.Name, err)
	}
	text, err := json.MarshalIndent(schema, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("generate: %s: %w", kind.Name, err)
	}
	return append(text, '\n'), nil
}

// Write writes the schemas of the types into the folder dir, and removes every other .json file there.
func Write(dir string, types []events.Type) error {
	wanted := map[string]bool{}
	for _, kind := range types {
		text, err := Schema(kind)
		if err != nil {
			return err
		}
		wanted[FileName(kind.Name)] = true
		if err := os.WriteFile(filepath.Join(dir, FileName(kind.Name)), text, 0o644); err != nil {
			return fmt.Errorf("generate: %w", err)
		}
	}
	present, err := filepath.Glob(filepath.Join(dir, "*.json"))
	if err != nil {
		return fmt.Errorf("generate: %w", err)
	}
	for _, path := range present {
		if !wanted[filepath.Base(path)] {
			if err := os.Remove(path); err != nil {
				return fmt.Errorf("generate: %w", err)
			}
		}
	}
	return nil
}

// Check reports every difference between the .json files in dir and the schemas of the types: a file that is missing,
// one that is not what the Go type says, and one that belongs to none of the types.
func Check(dir string, types []events.Type) error {
	var differences []error
	wanted := map[string]bool{}
	for _, kind := range types {
		want, err := Schema(kind)
		if err != nil {
			return err
		}
		wanted[FileName(kind.Name)] = true
		got, err := os.ReadFile(filepath.Join(dir, FileName(kind.Name)))
		switch {
		case errors.Is(err, fs.ErrNotExist):
			differences = append(differences, fmt.Errorf("generate: %s: missing", FileName(kind.Name)))
		case err != nil:
			differences = append(differences, fmt.Errorf("generate: %w", err))
		case !bytes.Equal(got, want):
			differences = append(differences, fmt.Errorf("generate: %s: not what the Go type says", FileName(kind.Name)))
		}
	}
	present, err := filepath.Glob(filepath.Join(dir, "*.json"))
	if err != nil {
		return fmt.Errorf("generate: %w", err)
	}
	for _, path := range present {
		if name := filepath.Base(path); !wanted[name] {
			differences = append(differences, fmt.Errorf("generate: %s: left over, no such type", name))
		}
	}
	return errors.Join(differences...)
}

// describeObject adds to an object's schema what only the tags of its fields know.
func describeObject(schema *jsonschema.Schema, fields []events.Field) error {
	schema.Required = nil
	for _, field := range fields {
		property, ok := schema.Properties.Get(field.Name)
		if !ok {
			return fmt.Errorf("field %s: the Go type has none", field.Name)
		}
		if field.Required {
			schema.Required = append(schema.Required, field.Name)
		}
		property.Description = field.Doc
		if err := describe(property, field); err != nil {
			return fmt.Errorf("field %s: %w", field.Name, err)
		}
	}
	return nil
}

// jsonType says what each kind is called in JSON Schema.
var jsonType = map[events.Kind]string{
	events.KindBoolean: "boolean", events.KindInteger: "integer", events.KindNumber: "number", events.KindString: "string",
	events.KindTime: "string", events.KindList: "array", events.KindObject: "object",
}

func describe(schema *jsonschema.Schema, field events.Field) error {
	if schema.Type != jsonType[field.Kind] {
		return fmt.Errorf("got type %q for a %s, want %q", schema.Type, field.Kind, jsonType[field.Kind])
	}
	for _, rule := range field.Rules {
		if err := apply(schema, field.Kind, rule); err != nil {
			return err
		}
	}
	switch field.Kind {
	case events.KindList:
		return describe(schema.Items, *field.Element)
	case events.KindObject:
		return describeObject(schema, field.Fields)
	default:
		return nil
	}
}

// apply adds the keyword that says what the rule says.
func apply(schema *jsonschema.Schema, kind events.Kind, rule events.Rule) error {
	switch rule.Name {
	case "gte":
		schema.Minimum = json.Number(rule.Param)
	case "lte":
		schema.Maximum = json.Number(rule.Param)
	case "gt":
		schema.ExclusiveMinimum = json.Number(rule.Param)
	case "lt":
		schema.ExclusiveMaximum = json.Number(rule.Param)
	case "min", "max", "len":
		return applyCount(schema, kind, rule)
	case "unique":
		schema.UniqueItems = true
	case "oneof":
		for _, value := range rule.Values() {
			if kind == events.KindInteger {
				schema.Enum = append(schema.Enum, json.Number(value))
			} else {
				schema.Enum = append(schema.Enum, value)
			}
		}
	case "printascii":
		addPattern(schema, `^[\x20-\x7E]*$`)
	case "alphanum":
		addPattern(schema, `^[a-zA-Z0-9]+$`)
	case "hexadecimal":
		addPattern(schema, `^(0[xX])?[0-9a-fA-F]+$`)
	default:
		return fmt.Errorf("rule %q: no keyword of JSON Schema says so", rule.Name)
	}
	return nil
}

// applyCount sets how many characters or elements there may be.
func applyCount(schema *jsonschema.Schema, kind events.Kind, rule events.Rule) error {
	low, high := &schema.MinLength, &schema.MaxLength
	if kind == events.KindList {
		low, high = &schema.MinItems, &schema.MaxItems
	}
	n, err := strconv.ParseUint(rule.Param, 10, 64)
	if err != nil {
		return fmt.Errorf("rule %s=%s: want a whole number", rule.Name, rule.Param)
	}
	if slices.Contains([]string{"min", "len"}, rule.Name) {
		*low = &n
	}
	if slices.Contains([]string{"max", "len"}, rule.Name) {
		*high = &n
	}
	return nil
}

// addPattern adds a pattern beside those that are there.
func addPattern(schema *jsonschema.Schema, pattern string) {
	if schema.Pattern == "" {
		schema.Pattern = pattern
		return
	}
	schema.AllOf = append(schema.AllOf, &jsonschema.Schema{Pattern: pattern})
}
