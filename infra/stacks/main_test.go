//go:build !race

// The race detector reports races inside jsii's own Close, which no test here can mend.

package stacks

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-cdk-go/awscdk/v2"
	"github.com/aws/aws-cdk-go/awscdk/v2/cxapi"
	"github.com/aws/jsii-runtime-go"

	"github.com/device-fanout/fanout/infra/declaration"
	"github.com/device-fanout/fanout/infra/topology"
)

// assemblies is the folder of what is synthesized.
var assemblies string

var update = flag.Bool("update", false, "write the golden files")

func TestMain(m *testing.M) {
	flag.Parse()
	os.Setenv("JSII_SILENCE_WARNING_END_OF_LIFE_NODE_VERSION", "20")
	os.Setenv("NODE_NO_WARNINGS", "1")
	var err error
	if assemblies, err = os.MkdirTemp("", "stacks-"); err != nil {
		panic(err)
	}
	code := m.Run()
	os.RemoveAll(assemblies)
	jsii.Close() // once: a second app in the same process would find its server gone
	os.Exit(code)
}

func skipShort(t testing.TB) {
	t.Helper()
	if testing.Short() {
		t.Skip("the CDK runs in Node.js, which is slow to start; run without -short")
	}
}

// newApp makes an app with the flags of cdk.json, which only the cdk command passes by itself: without them other templates would be
// tested than are deployed.
func newApp(t testing.TB) awscdk.App {
	t.Helper()
	skipShort(t)
	text, err := os.ReadFile("../../cdk.json")
	if err != nil {
		t.Fatal(err)
	}
	var file struct{ Context map[string]any }
	if err := json.Unmarshal(text, &file); err != nil || len(file.Context) < 50 {
		t.Fatalf("cdk.json: %v, and %d flags", err, len(file.Context))
	}
	// Not one of this test alone: another may read what it has synthesized.
	dir, err := os.MkdirTemp(assemblies, "")
	if err != nil {
		t.Fatal(err)
	}
	file.Context["aws:cdk:enable-path-metadata"] = true // as the cdk command sets it
	return awscdk.NewApp(&awscdk.AppProps{Context: &file.Context, Outdir: jsii.String(dir), AnalyticsReporting: jsii.Bool(false)})
}

// contextOf is a command line's context.
func contextOf(pairs ...string) func(string) any {
	return func(key string) any {
		for _, pair := range pairs {
			if name, value, _ := strings.Cut(pair, "="); name == key {
				return value
			}
		}
		return nil
	}
}

// deployed is a synthesized target.
type deployed struct {
	target
	assembly  cxapi.CloudAssembly
	templates map[string]rawTemplate
	text      map[string]string // the templates as they are
}

func synthesize(t *testing.T, top topology.Topology, context ...string) deployed {
	t.Helper()
	return synthesizeApp(t, App{Topology: top}, context...)
}

func synthesizeApp(t *testing.T, a App, context ...string) deployed {
	t.Helper()
	to, err := targetOf(a, contextOf(context...))
	if err != nil {
		t.Fatal(err)
	}
	to.today = time.Date(2026, 1, 31, 12, 0, 0, 0, time.UTC)
	app := newApp(t)
	if err := build(app, to); err != nil {
		t.Fatal(err)
	}
	return finish(t, app, to)
}

func finish(t *testing.T, app awscdk.App, to target) deployed {
	t.Helper()
	assembly, err := synth(app, to)
	if err != nil {
		t.Fatal(err)
	}
	return read(t, assembly, to)
}

// read is what an assembly holds.
func read(t *testing.T, assembly cxapi.CloudAssembly, to target) deployed {
	t.Helper()
	templates, err := readTemplates(assembly)
	if err != nil {
		t.Fatal(err)
	}
	d := deployed{target: to, assembly: assembly, templates: templates, text: map[string]string{}}
	for _, stack := range *assembly.Stacks() {
		text, err := os.ReadFile(*stack.TemplateFullPath())
		if err != nil {
			t.Fatal(err)
		}
		d.text[*stack.StackName()] = string(text)
	}
	return d
}

var (
	synthesized = map[string]deployed{}
	mutex       sync.Mutex
)

// environment is the default topology in an environment, synthesized once.
func environment(t *testing.T, name string) deployed {
	t.Helper()
	return once(t, name, declaration.Topology, "env="+name)
}

// once is what a topology is synthesized to, the first time that it is asked for by this name.
func once(t *testing.T, name string, top func() topology.Topology, context ...string) deployed {
	t.Helper()
	mutex.Lock()
	defer mutex.Unlock()
	if _, ok := synthesized[name]; !ok {
		synthesized[name] = synthesize(t, top(), context...)
	}
	return synthesized[name]
}

// environments are those that tests look at: every declared one, and a throw-away one.
var environments = []string{"dev", "test", "prod", "feature-x"}

// resources are all resources of a kind.
func (d deployed) resources(kind string) []resource {
	var found []resource
	for _, r := range resolve(d.target, d.templates) {
		if r.kind == kind {
			found = append(found, r)
		}
	}
	return found
}

// named gives the resource of a kind that has this text at a property.
func (d deployed) named(t *testing.T, kind, property, text string) resource {
	t.Helper()
	for _, r := range d.resources(kind) {
		if r.text(property) == text {
			return r
		}
	}
	t.Fatalf("no %s has the %s %q", kind, property, text)
	return resource{}
}

// errorsOf are the error annotations of all stacks, as the cdk command reads them: by construct, what it would refuse to deploy for.
func (d deployed) errorsOf(t *testing.T) []string {
	t.Helper()
	var texts []string
	files, _ := filepath.Glob(filepath.Join(*d.assembly.Directory(), "*.metadata.json"))
	if len(files) == 0 {
		t.Fatal("the assembly has no metadata")
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		var byPath map[string][]struct {
			Type string
			Data any
		}
		if err := json.Unmarshal(text, &byPath); err != nil {
			t.Fatal(err)
		}
		for path, entries := range byPath {
			for _, e := range entries {
				if e.Type == "aws:cdk:error" {
					texts = append(texts, fmt.Sprintf("%s: %v", path, e.Data))
				}
			}
		}
	}
	return texts
}
