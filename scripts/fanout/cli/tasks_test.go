package cli

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestTasks_CommandsAreOurs: every command that the stacks give a task or a function is one of this program, with flags that it takes. The templates
// are those that TestTemplates_AreAsReviewed compares with what is synthesized.
func TestTasks_CommandsAreOurs(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("../../../infra/stacks/testdata/*/*.json")
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	seen := map[string]int{}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		var template struct {
			Resources map[string]struct {
				Type       string
				Properties struct {
					ContainerDefinitions []struct {
						Command     []any
						HealthCheck struct{ Command []string }
					}
					ImageConfig struct{ Command []any }
				}
			}
		}
		// Other types have members of the same names and another form.
		if err := json.Unmarshal(text, &template); err != nil && !strings.Contains(err.Error(), "cannot unmarshal") {
			t.Fatal(err)
		}
		for id, r := range template.Resources {
			var commands [][]any
			for _, c := range r.Properties.ContainerDefinitions {
				commands = append(commands, c.Command)
				if check := c.HealthCheck.Command; len(check) > 2 {
					if check[0] != "CMD" || check[1] != "/fanout" {
						t.Errorf("%s: %s: health check %q, want this program", file, id, check)
					}
					var args []any
					for _, arg := range check[2:] {
						args = append(args, arg)
					}
					commands = append(commands, args)
				}
			}
			if r.Type == "AWS::Lambda::Function" {
				commands = append(commands, r.Properties.ImageConfig.Command)
			}
			for _, command := range commands {
				var args []string
				for _, arg := range command {
					text, isText := arg.(string)
					if !isText { // made of references, such as an ARN
						text = "arn:aws:sns:eu-central-1:111122223333:x.fifo"
					}
					args = append(args, text)
				}
				root := newRoot(testApp(), streams{strings.NewReader(""), &bytes.Buffer{}, &bytes.Buffer{}})
				cmd, rest, err := root.Find(args)
				if err == nil && cmd == root {
					err = os.ErrNotExist
				}
				if err == nil {
					err = cmd.ParseFlags(rest)
				}
				if err == nil {
					err = cmd.ValidateFlagGroups()
				}
				if err == nil {
					err = cmd.ValidateRequiredFlags()
				}
				if err == nil && cmd.Args != nil {
					err = cmd.Args(cmd, cmd.Flags().Args())
				}
				if err != nil {
					t.Errorf("%s: %s: %q: %v", file, id, args, err)
					continue
				}
				seen[cmd.Name()]++
			}
		}
	}
	for _, name := range []string{"consume", "gateway", "lambda", "migrate", "ready"} {
		if seen[name] == 0 {
			t.Errorf("no task runs %s: got %v", name, seen)
		}
	}
}
