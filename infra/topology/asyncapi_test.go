package topology_test

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"os"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/device-fanout/fanout/events"
	"github.com/device-fanout/fanout/infra/declaration"
	"github.com/device-fanout/fanout/infra/topology"
)

func asyncAPI(t *testing.T) []byte {
	t.Helper()
	var text bytes.Buffer
	if err := declaration.Topology().AsyncAPI(&text); err != nil {
		t.Fatal(err)
	}
	return text.Bytes()
}

// officialSchema is the JSON Schema of AsyncAPI 3.0.0 as the AsyncAPI initiative publishes it.
func officialSchema(t *testing.T) *jsonschema.Schema {
	t.Helper()
	file, err := os.Open("testdata/asyncapi-3.0.0.schema.json.gz")
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	plain, err := gzip.NewReader(file)
	if err != nil {
		t.Fatal(err)
	}
	document, err := jsonschema.UnmarshalJSON(plain)
	if err != nil {
		t.Fatal(err)
	}
	return compileAt(t, "asyncapi.schema.json", document, "")
}

func compileAt(t *testing.T, name string, document any, at string) *jsonschema.Schema {
	t.Helper()
	compiler := jsonschema.NewCompiler()
	compiler.DefaultDraft(jsonschema.Draft7)
	compiler.AssertFormat()
	if err := compiler.AddResource("file:///"+name, document); err != nil {
		t.Fatal(err)
	}
	schema, err := compiler.Compile("file:///" + name + at)
	if err != nil {
		t.Fatal(err)
	}
	return schema
}

func TestAsyncAPI_IsValidByTheOfficialSchema(t *testing.T) {
	t.Parallel()
	schema := officialSchema(t)
	valid := string(asyncAPI(t))
	check := func(text string) error {
		document, err := jsonschema.UnmarshalJSON(strings.NewReader(text))
		if err != nil {
			t.Fatal(err)
		}
		return schema.Validate(document)
	}
	if err := check(valid); err != nil {
		t.Errorf("%v", err)
	}
	// What would be wrong is found.
	for _, change := range [][2]string{
		{`"asyncapi": "3.0.0"`, `"asyncapi": "2.6.0"`},
		{`"action": "send"`, `"action": "shout"`},
		{`"type": "FIFO"`, `"type": "LIFO"`},
		{`"fifoQueue": true`, `"fifoQueue": "yes"`},
		{`"minimum": 0`, `"minimum": "none"`},
	} {
		broken := strings.Replace(valid, change[0], change[1], 1)
		if broken == valid {
			t.Errorf("the document has no %s", change[0])
		} else if check(broken) == nil {
			t.Errorf("with %s: got no error, want one", change[1])
		}
	}
}

// Title and license are what the topology says: a foreign one has neither this repository's name nor its license.
func TestAsyncAPI_TitleAndLicenseAreTheTopologys(t *testing.T) {
	t.Parallel()
	schema := officialSchema(t)
	own := declaration.Topology()
	for name, test := range map[string]struct {
		change func(*topology.Topology)
		want   string
	}{
		"own":              {func(*topology.Topology) {}, `{"title":"Fanout device events","license":{"name":"Apache-2.0","url":"https://www.apache.org/licenses/LICENSE-2.0"}}`},
		"without a name":   {func(other *topology.Topology) { *other = foreign(own, "") }, `{"title":"Device events"}`},
		"with a name":      {func(other *topology.Topology) { *other = foreign(own, "shop") }, `{"title":"Device events of shop"}`},
		"title":            {func(other *topology.Topology) { *other = foreign(own, "shop"); other.Title = "Shop" }, `{"title":"Shop"}`},
		"license, no text": {func(other *topology.Topology) { *other = foreign(own, ""); other.License.Name = "proprietary" }, `{"title":"Device events","license":{"name":"proprietary"}}`},
	} {
		declared := own
		test.change(&declared)
		var text bytes.Buffer
		if err := declared.AsyncAPI(&text); err != nil {
			t.Fatal(err)
		}
		var document struct {
			Info struct {
				Title   string            `json:"title"`
				License map[string]string `json:"license,omitempty"`
			}
		}
		if err := json.Unmarshal(text.Bytes(), &document); err != nil {
			t.Fatal(err)
		}
		if got, err := json.Marshal(document.Info); err != nil || string(got) != test.want {
			t.Errorf("%s: got %s, %v, want %s", name, got, err, test.want)
		}
		whole, err := jsonschema.UnmarshalJSON(&text)
		if err != nil {
			t.Fatal(err)
		}
		if err := schema.Validate(whole); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// foreign is a topology as another module declares it.
func foreign(own topology.Topology, name string) topology.Topology {
	return topology.Topology{Name: name, Environments: own.Environments, Services: own.Services}
}

// The documented messages are those that go over the wire.
func TestAsyncAPI_PayloadsAreWhatIsEncoded(t *testing.T) {
	t.Parallel()
	text := asyncAPI(t)
	document, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	var parsed struct {
		Channels map[string]struct {
			Address  string
			Messages map[string]any
		}
		Components struct {
			Messages map[string]struct {
				Examples []struct{ Payload json.RawMessage }
			}
		}
	}
	if err := json.Unmarshal(text, &parsed); err != nil {
		t.Fatal(err)
	}
	for _, kind := range events.Types() {
		schema := compileAt(t, "asyncapi.json", document, "#/components/messages/"+kind.Name+"/payload")
		examples := parsed.Components.Messages[kind.Name].Examples
		if len(examples) != 1 {
			t.Fatalf("%s: got %d examples, want 1", kind.Name, len(examples))
		}
		payload, err := jsonschema.UnmarshalJSON(bytes.NewReader(examples[0].Payload))
		if err != nil {
			t.Fatal(err)
		}
		if err := schema.Validate(payload); err != nil {
			t.Errorf("%s: %v", kind.Name, err)
		}
		if _, err := events.Decode(examples[0].Payload); err != nil {
			t.Errorf("%s: %v", kind.Name, err)
		}
		payload.(map[string]any)["data"] = map[string]any{}
		if schema.Validate(payload) == nil {
			t.Errorf("%s without data: got no error, want one", kind.Name)
		}
	}
	push := parsed.Channels["push"]
	if push.Address != "{environment}-push.fifo" || len(push.Messages) != 4 {
		t.Errorf("push: got %+v, want its queue and the 4 types that it hears", push)
	}
}
