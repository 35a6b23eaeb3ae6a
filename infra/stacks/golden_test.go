//go:build !race

package stacks

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"testing"
)

// TestTemplates_AreAsReviewed compares every template with its golden file, without what is the same in all of them. After a change
// that is meant: go test ./infra/stacks -run AsReviewed -update, and read the diff.
func TestTemplates_AreAsReviewed(t *testing.T) {
	for _, name := range environments {
		compare(t, name, environment(t, name))
	}
	compare(t, "compute", withCompute(t))
	compare(t, "everything", withEverything(t))
	compare(t, "functions", synthesize(t, functions(), "env=prod", "images=fanout@"+digestOfImage))
}

func compare(t *testing.T, folder string, d deployed) {
	t.Helper()
	folder = filepath.Join("testdata", folder)
	if *update {
		if err := os.RemoveAll(folder); err != nil {
			t.Fatal(err)
		}
		if err := os.MkdirAll(folder, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	golden, _ := filepath.Glob(filepath.Join(folder, "*.json"))
	if !*update && len(golden) != len(d.text) {
		t.Errorf("%s: there are %d golden files and %d stacks", folder, len(golden), len(d.text))
	}
	for stack, text := range d.text {
		path, got := filepath.Join(folder, stack+".json"), reviewed(t, text)
		if *update {
			if err := os.WriteFile(path, got, 0o644); err != nil {
				t.Fatal(err)
			}
			continue
		}
		want, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got, want) {
			t.Errorf("%s differs from what was reviewed; see with go test ./infra/stacks -run AsReviewed -update && git diff", path)
		}
	}
}

// reviewed is a template without the paths of constructs and what every template has.
func reviewed(t *testing.T, text string) []byte {
	t.Helper()
	var template map[string]any
	if err := json.Unmarshal([]byte(text), &template); err != nil {
		t.Fatal(err)
	}
	if parameters, ok := template["Parameters"].(map[string]any); ok {
		delete(parameters, "BootstrapVersion")
		if len(parameters) == 0 {
			delete(template, "Parameters")
		}
	}
	delete(template, "Rules")
	for _, r := range template["Resources"].(map[string]any) {
		delete(r.(map[string]any), "Metadata")
	}
	var out bytes.Buffer
	encoder := json.NewEncoder(&out)
	encoder.SetIndent("", " ")
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(template); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}
