package generate_test

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"pgregory.net/rapid"

	"github.com/device-fanout/fanout/events"
	_ "github.com/device-fanout/fanout/events/device"
	"github.com/device-fanout/fanout/events/eventstest"
	"github.com/device-fanout/fanout/schemas/generate"
)

// everything has a field of every kind and every rule that there is.
type everything struct {
	Flag    bool      `json:"flag" doc:"said to be so"`
	Whole   int64     `json:"whole"`
	Small   int8      `json:"small" validate:"gt=-100,lt=100"`
	Natural uint16    `json:"natural"`
	Ratio   float64   `json:"ratio" validate:"gt=0,lt=1"`
	Free    float64   `json:"free"`
	Name    string    `json:"name" validate:"min=1,max=5"`
	Choice  string    `json:"choice" validate:"oneof=one 'two words' three"`
	Level   int       `json:"level" validate:"oneof=1 2 3"`
	At      time.Time `json:"at"`
	Words   []string  `json:"words" validate:"min=1,max=3,unique,dive,min=1,max=4,printascii"`
	Inner   point     `json:"inner"`

	Nick   string    `json:"nick,omitempty" validate:"omitempty,min=2,alphanum,hexadecimal"`
	Code   *string   `json:"code,omitempty" validate:"omitempty,len=4,hexadecimal"`
	Count  *uint64   `json:"count,omitempty"`
	Other  *point    `json:"other,omitempty"`
	Points []point   `json:"points,omitempty" validate:"omitempty,min=1,max=4,dive"`
	Matrix [][]int32 `json:"matrix,omitempty" validate:"omitempty,len=2,dive,max=2,dive,gte=0,lte=9"`
}

type point struct {
	X float64  `json:"x" validate:"gte=-1,lte=1" doc:"to the right"`
	Y *float64 `json:"y,omitempty" validate:"omitempty,min=-1,max=1"`
}

func (everything) EventType() string { return "test.everything.v1" }
func (everything) SchemaURI() string { return "https://example.org/everything.json" }

func init() {
	events.Register(testSchemas, everything{
		Ratio: 0.5, Name: "x", Choice: "one", Level: 1, Words: []string{"x"}, At: time.Date(2005, 1, 8, 7, 24, 54, 0, time.UTC),
	}, "A type for tests, with every kind of field.")
}

const wantEverything = `{
  "$schema": "https://json-schema.org/draft/2020-12/schema",
  "$id": "https://example.org/everything.json",
  "properties": {
    "flag": {
      "type": "boolean",
      "description": "said to be so"
    },
    "whole": {
      "type": "integer",
      "maximum": 9223372036854775807,
      "minimum": -9223372036854775808
    },
    "small": {
      "type": "integer",
      "exclusiveMaximum": 100,
      "exclusiveMinimum": -100
    },
    "natural": {
      "type": "integer",
      "maximum": 65535,
      "minimum": 0
    },
    "ratio": {
      "type": "number",
      "exclusiveMaximum": 1,
      "exclusiveMinimum": 0
    },
    "free": {
      "type": "number"
    },
    "name": {
      "type": "string",
      "maxLength": 5,
      "minLength": 1
    },
    "choice": {
      "type": "string",
      "enum": [
        "one",
        "two words",
        "three"
      ]
    },
    "level": {
      "type": "integer",
      "enum": [
        1,
        2,
        3
      ]
    },
    "at": {
      "type": "string",
      "format": "date-time"
    },
    "words": {
      "items": {
        "type": "string",
        "maxLength": 4,
        "minLength": 1,
        "pattern": "^[\\x20-\\x7E]*$"
      },
      "type": "array",
      "maxItems": 3,
      "minItems": 1,
      "uniqueItems": true
    },
    "inner": {
      "properties": {
        "x": {
          "type": "number",
          "maximum": 1,
          "minimum": -1,
          "description": "to the right"
        },
        "y": {
          "type": "number",
          "maximum": 1,
          "minimum": -1
        }
      },
      "type": "object",
      "required": [
        "x"
      ]
    },
    "nick": {
      "allOf": [
        {
          "pattern": "^(0[xX])?[0-9a-fA-F]+$"
        }
      ],
      "type": "string",
      "minLength": 2,
      "pattern": "^[a-zA-Z0-9]+$"
    },
`

func TestSchema_SaysWhatTheTagsSay(t *testing.T) {
	t.Parallel()
	kind, _ := events.Lookup("test.everything.v1")
	got, err := generate.Schema(kind)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(string(got), wantEverything) {
		t.Errorf("got %s\nwant it to begin with %s", got, wantEverything)
	}
}

// For every payload the tags in Go and the schema come to the same verdict, whatever the kinds and rules.
func TestSchema_AgreesWithTheValidator(t *testing.T) {
	t.Parallel()
	kind, _ := events.Lookup("test.everything.v1")
	text, err := generate.Schema(kind)
	if err != nil {
		t.Fatal(err)
	}
	document, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	compiler := jsonschema.NewCompiler()
	compiler.AssertFormat()
	if err := compiler.AddResource(kind.SchemaURI, document); err != nil {
		t.Fatal(err)
	}
	schema, err := compiler.Compile(kind.SchemaURI)
	if err != nil {
		t.Fatal(err)
	}
	valid, invalid := 0, 0
	rapid.Check(t, func(t *rapid.T) {
		payload := eventstest.Document(t, kind)
		_, got := events.DecodeData(kind.Name, payload)
		value, err := jsonschema.UnmarshalJSON(bytes.NewReader(payload))
		if err != nil {
			t.Fatal(err)
		}
		want := schema.Validate(value)
		if (got == nil) != (want == nil) {
			t.Fatalf("%s:\nin Go: %v\nby the schema: %v", payload, got, want)
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

func TestSchema_RefusesARuleThatItDoesNotKnow(t *testing.T) {
	t.Parallel()
	kind, _ := events.Lookup("device.power.changed.v1")
	for want, change := range map[string]func(*events.Field){
		`field on: rule "even": no keyword`:               func(f *events.Field) { f.Rules = []events.Rule{{Name: "even"}} },
		`rule max=x: want a whole number`:                 func(f *events.Field) { f.Rules = []events.Rule{{Name: "max", Param: "x"}} },
		`field on: got type "boolean" for a number`:       func(f *events.Field) { f.Kind = events.KindNumber },
		`device.power.changed.v1: field off: the Go type`: func(f *events.Field) { f.Name = "off" },
	} {
		changed := kind
		changed.Fields = slices.Clone(kind.Fields)
		change(&changed.Fields[0])
		if _, err := generate.Schema(changed); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want an error with %q", err, want)
		}
	}
}

func TestCheck_FindsEveryDifference(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	types := events.Types()
	if err := os.WriteFile(filepath.Join(dir, "old.json"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := generate.Write(dir, types); err != nil {
		t.Fatal(err)
	}
	if err := generate.Check(dir, types); err != nil {
		t.Errorf("after Write: got %v, want no difference", err)
	}
	stale := filepath.Join(dir, generate.FileName(types[0].Name))
	if err := os.WriteFile(stale, []byte("{}"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(filepath.Join(dir, generate.FileName(types[1].Name))); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "left.json"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	got := generate.Check(dir, types)
	for _, want := range []string{types[0].Name + ".json: not what", types[1].Name + ".json: missing", "left.json: left over"} {
		if got == nil || !strings.Contains(got.Error(), want) {
			t.Errorf("got %v, want an error with %q", got, want)
		}
	}
	if err := generate.Check(filepath.Join(dir, "none"), types); err == nil {
		t.Error("a folder that is not there: got no error, want one")
	}
	if err := generate.Write(filepath.Join(dir, "none"), types); err == nil {
		t.Error("writing into a folder that is not there: got no error, want one")
	}
}

// testSchemas is where the schemas of the tests' types would be published.
const testSchemas events.SchemaBase = "https://test.example/schemas/"
