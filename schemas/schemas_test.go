package schemas_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"pgregory.net/rapid"

	"github.com/device-fanout/fanout/events"
	_ "github.com/device-fanout/fanout/events/device"
	"github.com/device-fanout/fanout/events/eventstest"
	"github.com/device-fanout/fanout/schemas"
	"github.com/device-fanout/fanout/schemas/generate"
)

var update = flag.Bool("update", false, "write the schemas anew")

func TestFiles_AreWhatTheGoTypesSay(t *testing.T) {
	if *update {
		if err := generate.Write(".", events.Types()); err != nil {
			t.Fatal(err)
		}
		return // the files embedded in this program are still the old ones
	}
	if err := generate.Check(".", events.Types()); err != nil {
		t.Errorf("%v: run go generate ./schemas", err)
	}
	got, err := fs.Glob(schemas.FS(), "*")
	if err != nil {
		t.Fatal(err)
	}
	var want []string
	for _, kind := range events.Types() {
		want = append(want, kind.Name+".json")
	}
	if !slices.Equal(got, want) {
		t.Errorf("embedded: got %q, want %q", got, want)
	}
}

func TestSchema(t *testing.T) {
	t.Parallel()
	for _, kind := range events.Types() {
		text, ok := schemas.Schema(kind.Name)
		if !ok {
			t.Errorf("%s: got no schema, want one", kind.Name)
			continue
		}
		var got struct {
			Schema      string            `json:"$schema"`
			ID          string            `json:"$id"`
			Title       string            `json:"title"`
			Description string            `json:"description"`
			Examples    []json.RawMessage `json:"examples"`
			Additional  any               `json:"additionalProperties"`
			Properties  map[string]struct {
				Description string `json:"description"`
			} `json:"properties"`
		}
		if err := json.Unmarshal(text, &got); err != nil {
			t.Fatalf("%s: %v", kind.Name, err)
		}
		if got.Schema != "https://json-schema.org/draft/2020-12/schema" || got.ID != kind.SchemaURI || got.Title != kind.Name ||
			got.Description != kind.Summary || len(got.Examples) != 1 || got.Additional != nil {
			t.Errorf("%s: got %+v, want draft 2020-12 with the type's URI, name, summary and sample, open for more", kind.Name, got)
		}
		if _, err := events.DecodeData(kind.Name, got.Examples[0]); err != nil {
			t.Errorf("%s: example: %v", kind.Name, err)
		}
		for name, property := range got.Properties {
			if property.Description == "" {
				t.Errorf("%s: %s: got no description, want one", kind.Name, name)
			}
		}
	}
	if text, ok := schemas.Schema("device.power.changed.v9"); ok {
		t.Errorf("device.power.changed.v9: got %s, want none", text)
	}
	if text, ok := schemas.Schema("../go"); ok {
		t.Errorf("../go: got %s, want none", text)
	}
}

// An independent validator takes every sample of the events package, also those of long ago.
func TestSamples_AreValid(t *testing.T) {
	t.Parallel()
	paths, err := filepath.Glob("../events/device/testdata/samples/*.json")
	if err != nil || len(paths) < len(events.Types()) {
		t.Fatalf("got %d samples, %v, want at least %d", len(paths), err, len(events.Types()))
	}
	compiled := compileAll(t)
	for _, path := range paths {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		var sample struct {
			Data json.RawMessage `json:"data"`
		}
		if err := json.Unmarshal(text, &sample); err != nil {
			t.Fatal(err)
		}
		if err := validate(t, compiled[strings.TrimSuffix(filepath.Base(path), ".json")], sample.Data); err != nil {
			t.Errorf("%s: %v", path, err)
		}
	}
}

// For every payload, the validator tags in Go and the committed schema come to the same verdict.
func TestSchemas_AgreeWithTheValidator(t *testing.T) {
	t.Parallel()
	compiled := compileAll(t)
	valid, invalid := 0, 0
	rapid.Check(t, func(t *rapid.T) {
		kind := eventstest.Type(t)
		text := eventstest.Document(t, kind)
		_, got := events.DecodeData(kind.Name, text)
		want := validate(t, compiled[kind.Name], text)
		if (got == nil) != (want == nil) {
			t.Fatalf("%s %s:\nin Go: %v\nby the schema: %v", kind.Name, text, got, want)
		}
		if got == nil {
			valid++
		} else {
			invalid++
		}
	})
	if valid == 0 || invalid == 0 {
		t.Errorf("got %d valid and %d invalid payloads, want some of both", valid, invalid)
	}
}

func compileAll(t *testing.T) map[string]*jsonschema.Schema {
	t.Helper()
	compiled := map[string]*jsonschema.Schema{}
	for _, kind := range events.Types() {
		text, _ := schemas.Schema(kind.Name)
		compiled[kind.Name] = compile(t, kind.SchemaURI, text)
	}
	return compiled
}

func compile(t *testing.T, uri string, text []byte) *jsonschema.Schema {
	t.Helper()
	document, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	if err != nil {
		t.Fatalf("%s: %v", uri, err)
	}
	compiler := jsonschema.NewCompiler()
	compiler.AssertFormat()
	if err := compiler.AddResource(uri, document); err != nil {
		t.Fatal(err)
	}
	schema, err := compiler.Compile(uri)
	if err != nil {
		t.Fatalf("%s: %v", uri, err)
	}
	return schema
}

func validate(t interface{ Fatal(...any) }, schema *jsonschema.Schema, text []byte) error {
	document, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	return schema.Validate(document)
}
