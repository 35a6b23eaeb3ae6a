package scaffold

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/device-fanout/fanout/infra/declaration"
)

// root is that of the repository.
var root = filepath.Join("..", "..", "..", "..", "..")

// here is this repository.
func here(t *testing.T) Repository {
	t.Helper()
	r, err := Find(".")
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func valid() Service {
	return Service{Name: "lights", About: "keeps lights", Events: []string{"device.power.changed.v1"}, HandlerTimeout: time.Second}
}

func TestPlanService_SaysEverythingThatIsWrong(t *testing.T) {
	t.Parallel()
	r := here(t)
	for name, test := range map[string]struct {
		change func(*Service)
		want   string
	}{
		"name":             {func(s *Service) { s.Name = "Lights" }, `name: got "Lights", want lower-case letters`},
		"empty name":       {func(s *Service) { s.Name = "" }, `name: got ""`},
		"path":             {func(s *Service) { s.Name = "../lights" }, `name: got "../lights"`},
		"declared already": {func(s *Service) { s.Name = "state" }, `"state" is declared twice`},
		"folder there":     {func(s *Service) { s.Name = "inbox" }, "folder consumers/inbox is there already"},
		"keyword":          {func(s *Service) { s.Name = "func" }, "package func would be a keyword of Go"},
		"taken import":     {func(s *Service) { s.Name = "cli" }, "package cli would be called like a package that the written code imports, choose another name, such as cli-keeper"},
		"of the tests":     {func(s *Service) { s.Name = "testing" }, "package testing would be called like a package that the written code imports"},
		"predeclared":      {func(s *Service) { s.Name = "string" }, "package string would be a predeclared name of Go"},
		"main":             {func(s *Service) { s.Name = "main" }, "package main would be one that Go can't import"},
		"vendor":           {func(s *Service) { s.Name = "ven-dor" }, "package vendor would be one that Go can't import"},
		"Windows":          {func(s *Service) { s.Name = "con" }, "package con would be a folder that not every system can have"},
		"a function":       {func(s *Service) { s.Name = "open" }, "package open would be called like something else in the written code"},
		"no events":        {func(s *Service) { s.Events = nil }, "want at least one type that the service hears"},
		"unknown event":    {func(s *Service) { s.Events = []string{"device.power.changed.v9"} }, "did you mean device.power.changed.v1?"},
		"event twice":      {func(s *Service) { s.Events = append(s.Events, s.Events...) }, "is named twice"},
		"budget":           {func(s *Service) { s.HandlerTimeout = -1 }, "handler timeout: got -1ns"},
		"about":            {func(s *Service) { s.About = "two\nlines" }, `about: got "two\nlines", want one sentence`},
	} {
		s := valid()
		test.change(&s)
		if files, err := r.PlanService(declaration.Topology(), s); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: got %d files, %v, want %q", name, len(files), err, test.want)
		}
	}
}

func TestPlanService_TellsWhenTheRepositoryLooksDifferent(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name string
		err  error
	}{
		{"topology", func() error { _, err := addEntry([]byte("package declaration"), Fanout, valid(), nil); return err }()},
		{"services", func() error {
			_, err := addOpener([]byte("package main"), Fanout, "lights", Fanout+"/consumers/lights")
			return err
		}()},
	} {
		if test.err == nil || !strings.Contains(test.err.Error(), "add it by hand") {
			t.Errorf("%s: got %v, want advice", test.name, test.err)
		}
	}
}

// The names that Go, another system or the written code has for something else are refused; nothing is written.
func TestPlan_RefusesNamesOfSomethingElse(t *testing.T) {
	t.Parallel()
	r := here(t)
	for _, name := range []string{
		"main", "internal", "vendor", "testdata", "testing", "nil", "con", "init", "time", "context", "errors", "consumers", "string", "any", "func", "topology",
	} {
		_, err := r.PlanEvent(Event{Name: name + ".power.changed.v1", About: "x"})
		if want := "begin it with another word, such as devicefanout." + name + ".power.changed.v1"; err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("event type: got %v, want %q", err, want)
		}
		s := valid()
		s.Name = name
		_, err = r.PlanService(declaration.Topology(), s)
		if want := "choose another name, such as " + name + "-keeper"; err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("service: got %v, want %q", err, want)
		}
	}
}

// What would have the name of the package's page, or one that not every system can have, gets another file.
func TestPlan_FileNames(t *testing.T) {
	t.Parallel()
	r := here(t)
	for name, want := range map[string]string{
		"device.doc.v1": "events/device/docevent.go events/device/docevent_test.go",
		"device.con.v1": "events/device/conevent.go events/device/conevent_test.go",
		"acme.doc.v1":   "events/acme/doc.go events/acme/docevent.go events/acme/docevent_test.go infra/declaration/declaration.go",
	} {
		files, err := r.PlanEvent(Event{Name: name, About: "x"})
		if got := pathsOf(files); err != nil || got != want {
			t.Errorf("%s: got %s, %v, want %s", name, got, err, want)
		}
	}
	s := valid()
	s.Name = "doc"
	files, err := r.PlanService(declaration.Topology(), s)
	if got, want := pathsOf(files), "consumers/doc/doc.go consumers/doc/docservice.go consumers/doc/docservice_test.go "; err != nil || !strings.HasPrefix(got, want) {
		t.Errorf("service doc: got %s, %v, want %s", got, err, want)
	}
}

func pathsOf(files []File) string {
	var names []string
	for _, f := range files {
		names = append(names, filepath.ToSlash(f.Path))
	}
	return strings.Join(names, " ")
}

// A file that is there is an error of the plan, before anything is written.
func TestPlanEvent_WhereAFileIsThere(t *testing.T) {
	t.Parallel()
	r := Repository{Root: t.TempDir(), Module: "example.com/shop"}
	folder := filepath.Join(r.Root, "events", "shop")
	if err := os.MkdirAll(folder, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(folder, "windowopened_test.go"), []byte("package shop"), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := r.PlanEvent(Event{Name: "shop.window.opened.v1", About: "x"})
	if want := filepath.Join("events", "shop", "windowopened_test.go") + " is there already; choose another name"; err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("got %v, want %q", err, want)
	}
}

// A package that is there and is called like something in the tests is imported under another name.
func TestPlanEvent_InAPackageOfAnOddName(t *testing.T) {
	t.Parallel()
	r := Repository{Module: "example.com/shop"}
	for pkg, want := range map[string]string{"testing": "testingtypes", "event": "eventtypes", "shop": "shop"} {
		files, err := r.eventFiles(Event{Name: pkg + ".window.opened.v1", About: "x", fields: []field{firstField}}, goPackage{exists: true})
		if err != nil {
			t.Fatal(err)
		}
		if got := string(files[1].Content); !strings.Contains(got, "event.Data.("+want+".WindowOpened)") {
			t.Errorf("%s: got\n%s\nwant it called %s", pkg, got, want)
		}
	}
}

// What is there is replaced as a whole: never truncated and then written, so that a full disk or a kill leaves it as it was.
func TestWrite_ReplacesAFileAsAWhole(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	path := filepath.Join(folder, "main.go")
	if err := os.WriteFile(path, []byte("mine"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, 0o640); err != nil {
		t.Fatal(err)
	}
	before, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := Write(folder, []File{{Path: "main.go", Content: []byte("ours")}}); err != nil {
		t.Fatal(err)
	}
	after, err := os.Stat(path)
	if err != nil || os.SameFile(before, after) || before.Mode() != after.Mode() {
		t.Errorf("the file: %v, the same one or with other permissions: want another in its place, with %s", err, before.Mode())
	}
	if got, err := os.ReadFile(path); err != nil || string(got) != "ours" {
		t.Errorf("the file: got %q, %v, want what was written", got, err)
	}
	if err := Write(folder, []File{{Path: "other.go", Content: []byte("ours")}}); err == nil {
		t.Error("a file to change that is not there: got no error")
	}
	if entries, err := os.ReadDir(folder); err != nil || len(entries) != 1 {
		t.Errorf("the folder: got %v, %v, want the file alone", entries, err)
	}
}

func TestWrite_LeavesALinkALink(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	if err := os.WriteFile(filepath.Join(folder, "real.go"), []byte("mine"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("real.go", filepath.Join(folder, "main.go")); err != nil {
		t.Skip("no symbolic links here: ", err)
	}
	if err := Write(folder, []File{{Path: "main.go", Content: []byte("ours")}}); err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(filepath.Join(folder, "real.go"))
	if target, linkErr := os.Readlink(filepath.Join(folder, "main.go")); err != nil || linkErr != nil || target != "real.go" || string(got) != "ours" {
		t.Errorf("got a link to %q, %v, and %q, %v", target, linkErr, got, err)
	}
}

func TestWrite_OverwritesNothing(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	path := filepath.Join(folder, "lights.go")
	if err := os.WriteFile(path, []byte("mine"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := Write(folder, []File{{Path: "lights.go", Content: []byte("theirs"), New: true}}); err == nil {
		t.Error("a new file that is there: got no error")
	}
	if got, err := os.ReadFile(path); err != nil || string(got) != "mine" {
		t.Errorf("the file: got %q, %v, want it left alone", got, err)
	}
}

// The comments of the file stay, what is added can be read, and the event types' packages are imported once.
func TestAddEntry(t *testing.T) {
	t.Parallel()
	const source = `package declaration

import (
	_ "embed"

	"github.com/device-fanout/fanout/infra/topology"

	_ "example.com/acme/platform/events/acme" // for its types
)

// Topology is it.
func Topology() topology.Topology {
	return topology.New(environments, []topology.Service{ // all of them
		{Name: "a"},
	})
}
`
	s := valid()
	s.HandlerTimeout = 90 * time.Second
	got, err := addEntry([]byte(source), "example.com/acme/platform", s, []goType{
		{Path: "example.com/acme/platform/events/acme", Package: "acme", Name: "DoorbellPressed"},
		{Path: "example.com/acme/platform/events/topology", Package: "topology", Name: "LoopFound"},
	})
	if err != nil {
		t.Fatal(err)
	}
	const want = `package declaration

import (
	_ "embed"

	"github.com/device-fanout/fanout/infra/topology"

	"example.com/acme/platform/events/acme" // for its types
	topologytypes "example.com/acme/platform/events/topology"
)

// Topology is it.
func Topology() topology.Topology {
	return topology.New(environments, []topology.Service{ // all of them
		{Name: "a"},
		{
			Name:  "lights",
			About: "keeps lights",
			Events: []string{
				acme.DoorbellPressed{}.EventType(),
				topologytypes.LoopFound{}.EventType(),
			},
			HandlerTimeout: 90 * time.Second,
		},
	})
}
`
	if string(got) != want {
		t.Errorf("file: got\n%s\nwant\n%s", got, want)
	}
}

// A service can't be called like what the program has already.
func TestAddOpener_TakenNames(t *testing.T) {
	t.Parallel()
	const source = "package main\n\nimport \"x/cli\"\n\nvar services = cli.Services{}\n\nfunc lights() {}\n"
	for _, name := range []string{"cli", "services", "lights"} {
		_, err := addOpener([]byte(source), "example.com/shop", name, "example.com/shop/services/"+name)
		if want := "can't be called " + name + "; choose another name"; err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %q", name, err, want)
		}
	}
}

func TestAddOpener_WhateverTheFileLooksLike(t *testing.T) {
	t.Parallel()
	for source, want := range map[string]string{
		"package main\n\nvar services = cli.Services{\"a\": cli.History}\n":                            "import \"example.com/shop/services/lights\"\n",
		"package main\n\nimport \"x/cli\"\n\nvar services = cli.Services{}\n":                          "import \"x/cli\"\nimport \"example.com/shop/services/lights\"\n",
		"package main\n\nimport (\n\t\"x/cli\"\n)\n\nfunc f() { _ = App{Services: cli.Services{}} }\n": "\t\"x/cli\"\n\n\t\"example.com/shop/services/lights\"\n",
	} {
		got, err := addOpener([]byte(source), "example.com/shop", "lights", "example.com/shop/services/lights")
		if err != nil {
			t.Fatalf("%s: %v", source, err)
		}
		for _, part := range []string{want, `"lights": cli.OnDatabase(lights.Open)`} {
			if !strings.Contains(string(got), part) {
				t.Errorf("got\n%s\nwant %q in it", got, part)
			}
		}
	}
}

func TestPlanEvent(t *testing.T) {
	t.Parallel()
	r := here(t)
	files, err := r.PlanEvent(Event{Name: "device.smoke_alarm.went_off.v2", About: "A smoke alarm went off."})
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, f := range files {
		names = append(names, filepath.ToSlash(f.Path))
	}
	if got, want := strings.Join(names, " "), "events/device/smokealarmwentoffv2.go events/device/smokealarmwentoffv2_test.go"; got != want {
		t.Errorf("files: got %s, want %s: the package is there and is imported", got, want)
	}
	if got := string(files[0].Content); !strings.Contains(got, "events.Register(schemaBase, SmokeAlarmWentOffV2{Value: 1.5}, \"A smoke alarm went off.\")") {
		t.Errorf("file: got\n%s\nwant its registration", got)
	}
	files, err = r.PlanEvent(Event{Name: "acme.doorbell.pressed.v1", About: "Somebody pressed a doorbell"})
	if err != nil {
		t.Fatal(err)
	}
	if last := files[len(files)-1]; len(files) != 4 || last.New || !strings.Contains(string(last.Content), "\t_ \"github.com/device-fanout/fanout/events/acme\"\n") {
		t.Errorf("a new package: got %d files, want a page about the package, and the declaration to import it", len(files))
	}
}

func TestPlanEvent_SaysEverythingThatIsWrong(t *testing.T) {
	t.Parallel()
	r := here(t)
	for _, test := range []struct {
		event Event
		want  string
	}{
		{Event{Name: "doorbell", About: "x"}, `name: got "doorbell", want small letters`},
		{Event{Name: "acme.v1", About: "x"}, `name: got "acme.v1"`},
		{Event{Name: "acme.Doorbell.pressed.v1", About: "x"}, `name: got "acme.Doorbell.pressed.v1"`},
		{Event{Name: "device.power.changed.v1", About: "x"}, "is registered already, by device.PowerChanged"},
		{Event{Name: "device.power_changed.v1", About: "x"}, "package events/device declares PowerChanged already"},
		{Event{Name: "func.power.changed.v1", About: "x"}, "can't be called func here, it would be a keyword of Go; begin it with another word, such as devicefanout.func.power.changed.v1"},
		{Event{Name: "acme.doorbell.pressed.v1"}, `about: got "", want one sentence`},
		{Event{Name: "eventstest.doorbell.pressed.v1", About: "a\nb"}, `about: got "a\nb"`},
	} {
		if files, err := r.PlanEvent(test.event); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%+v: got %d files, %v, want %q", test.event, len(files), err, test.want)
		}
	}
}
