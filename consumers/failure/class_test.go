package failure

import (
	"os"
	"strings"
	"testing"
)

// Every class is explained where a user meets it: to the command line and the console, which have Meaning, and to whoever is on call.
func TestClasses_AreExplained(t *testing.T) {
	t.Parallel()
	guide, err := os.ReadFile("../../docs/guides/on-call.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range Classes() {
		if c.Meaning() == "" {
			t.Errorf("%s: got no meaning", c)
		}
		if !strings.Contains(string(guide), "`"+string(c)+"`") {
			t.Errorf("%s: the guide for whoever is on call does not have it", c)
		}
	}
	if got := Class("lost").Meaning(); got != "" {
		t.Errorf("no class: got %q, want nothing", got)
	}
}
