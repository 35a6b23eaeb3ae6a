package core

import (
	"flag"
	"os"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write the pictures of the tables into the documentation")

const statesDoc = "../../../docs/state-machines.md"

// TestPictures_AreThoseOfTheTables, in the documentation.
func TestPictures_AreThoseOfTheTables(t *testing.T) {
	t.Parallel()
	file, err := os.ReadFile(statesDoc)
	if err != nil {
		t.Fatal(err)
	}
	text := string(file)
	for heading, picture := range map[string]string{"## A message in the consumer\n": MessagePicture(), "## A lane in the consumer\n": LanePicture()} {
		before, after, found := strings.Cut(text, heading)
		intro, rest, begins := strings.Cut(after, "```mermaid\n")
		old, rest, ends := strings.Cut(rest, "```\n")
		if !found || !begins || !ends {
			t.Fatalf("%s has no picture under %q", statesDoc, heading)
		}
		if old != picture && !*update {
			t.Errorf("%s: the picture under %q is not that of the table; run go test ./consumers/internal/core -run Pictures -update", statesDoc, heading)
		}
		text = before + heading + intro + "```mermaid\n" + picture + "```\n" + rest
	}
	if *update {
		if err := os.WriteFile(statesDoc, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// TestTables_HaveEveryState: every state can be reached, and all but the last can be left.
func TestTables_HaveEveryState(t *testing.T) {
	t.Parallel()
	for s := range Gone + 1 {
		in, out := s == None, s == Gone
		for _, step := range messageSteps {
			in, out = in || step.to == s, out || step.from == s
		}
		if !in || !out {
			t.Errorf("message: %v is reached %t and left %t", s, in, out)
		}
	}
	for s := range Ended + 1 {
		in, out := s == Free, s == Ended
		for _, step := range laneSteps {
			in, out = in || step.to == s, out || step.from == s
		}
		if !in || !out {
			t.Errorf("lane: %v is reached %t and left %t", s, in, out)
		}
	}
}

// TestIllegalStep panics in tests, and is told in production.
func TestIllegalStep(t *testing.T) {
	t.Parallel()
	c := New(Config{})
	m := &Message{ID: "m"}
	c.to(m, Deleting)
	if notes := c.work.Notes; len(notes) != 1 || notes[0].Kind != NoteIllegal || !strings.Contains(notes[0].Text, "None to Deleting") {
		t.Errorf("got %+v, want the step told", notes)
	}
	defer func() {
		if recover() == nil {
			t.Error("a strict core has not panicked")
		}
	}()
	New(Config{Strict: true}).to(&Message{}, Deleting)
}
