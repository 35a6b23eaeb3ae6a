package scaffold

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// root is that of the repository.
var root = filepath.Join("..", "..", "..", "..", "..")

func valid() Service {
	return Service{Name: "lights", About: "keeps lights", Events: []string{"device.power.changed.v1"}, HandlerTimeout: time.Second}
}

func TestPlan_SaysEverythingThatIsWrong(t *testing.T) {
	t.Parallel()
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
		"taken import":     {func(s *Service) { s.Name = "cli" }, "can't be called cli; choose another name"},
		"no events":        {func(s *Service) { s.Events = nil }, "want at least one type that the service hears"},
		"unknown event":    {func(s *Service) { s.Events = []string{"device.power.changed.v9"} }, "did you mean device.power.changed.v1?"},
		"event twice":      {func(s *Service) { s.Events = append(s.Events, s.Events...) }, "is named twice"},
		"budget":           {func(s *Service) { s.HandlerTimeout = -1 }, "handler timeout: got -1ns"},
		"about":            {func(s *Service) { s.About = "two\nlines" }, `about: got "two\nlines", want one sentence`},
	} {
		s := valid()
		test.change(&s)
		if files, err := Plan(root, s); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: got %d files, %v, want %q", name, len(files), err, test.want)
		}
	}
}

func TestPlan_TellsWhenTheRepositoryLooksDifferent(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name string
		err  error
	}{
		{"topology", func() error { _, err := addEntry([]byte("package declaration"), valid(), nil); return err }()},
		{"services", func() error { _, err := addOpener([]byte("package main"), "lights", "lights"); return err }()},
	} {
		if test.err == nil || !strings.Contains(test.err.Error(), "add the service by hand") {
			t.Errorf("%s: got %v, want advice", test.name, test.err)
		}
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

// The comments of the file stay, and what is added can be read.
func TestAddEntry(t *testing.T) {
	t.Parallel()
	source := `package declaration

// Topology is it.
func Topology() topology.Topology {
	return topology.New(environments, []topology.Service{ // all of them
		{Name: "a"},
	})
}
`
	s := valid()
	s.HandlerTimeout = 90 * time.Second
	got, err := addEntry([]byte(source), s, []eventType{{GoType: "PowerChanged"}})
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"// Topology is it.", "// all of them", `{Name: "a"},`, "device.PowerChanged{}.EventType(),", "HandlerTimeout: 90 * time.Second,"} {
		if !strings.Contains(string(got), want) {
			t.Errorf("file: got\n%s\nwant %q in it", got, want)
		}
	}
}
