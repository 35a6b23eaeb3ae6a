package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing/fstest"

	"github.com/spf13/cobra"

	"github.com/device-fanout/fanout/events"
	"github.com/device-fanout/fanout/schemas/compat"
	generator "github.com/device-fanout/fanout/schemas/generate"
)

func newSchema(g *globals) *cobra.Command {
	cmd := &cobra.Command{Use: "schema", Short: "Look after the published schemas of the events", Args: aCommand, RunE: help}
	cmd.AddCommand(newSchemaCheck(g), newSchemaWrite(g))
	return cmd
}

func newSchemaCheck(g *globals) *cobra.Command {
	var against, folder string
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "check",
		Short: "Tell whether the event types in the code are compatible with published schemas",
		Long: `Compares the event types of this program with the schemas that it carries, which must be the same, and with those of a git
revision or of a folder. Every change is listed with what it means:

  compatible       old and new events are understood by all
  consumers-first  new events may be refused by services that have the old schema: deploy these before the gateways
  breaking         old events would be refused, or services miss what they rely on: make it a new type, with the next version

Exit codes:
  0  nothing is breaking
  1  the command could not do its work, or the committed schemas are not what the code says
  2  the command line is wrong
  5  a change is breaking`,
		Example: `  ` + g.app.Name + ` schema check --against main
  ` + g.app.Name + ` schema check --against v1.4.0 --json
  ` + g.app.Name + ` schema check --against ../deployed/schemas`,
		Args: exactly(0, "none"),
		RunE: func(cmd *cobra.Command, _ []string) error {
			inCode, err := schemasInCode()
			if err != nil {
				return err
			}
			if g.app.Schemas != nil {
				if err := sameSchemas(inCode, g.app.Schemas); err != nil {
					return &hinted{err, "run `go generate ./schemas`"}
				}
			}
			var changes []compat.Change
			if against != "" {
				published, err := publishedSchemas(cmd.Context(), against, folder)
				if err != nil {
					return err
				}
				if changes, err = compat.Compare(published, inCode); err != nil {
					return fmt.Errorf("compare with %s: %w", against, err)
				}
			}
			return printChanges(g, len(inCode), against, changes, asJSON)
		},
	}
	f := cmd.Flags()
	f.StringVar(&against, "against", "", "`REVISION` of git, or folder, to compare with (default: only the committed schemas)")
	f.StringVar(&folder, "folder", "schemas", "`FOLDER` of the schemas in that revision, from the top of the repository")
	f.BoolVar(&asJSON, "json", false, "print the changes as JSON")
	return cmd
}

func newSchemaWrite(g *globals) *cobra.Command {
	return &cobra.Command{
		Use:   "write [FOLDER]",
		Short: "Write the schemas of the event types in the code",
		Long: `Writes the JSON Schema of every event type of this program into a folder, a file <type>.json each, and says which were new or
have changed. A file there that belongs to no type is named and left alone. Without FOLDER it is schemas.`,
		Example: `  ` + g.app.Name + ` schema write schemas`,
		Args:    atMostOne("a folder or none"),
		RunE: func(_ *cobra.Command, args []string) error {
			folder := "schemas"
			if len(args) > 0 {
				folder = args[0]
			}
			return g.writeSchemas(folder)
		},
	}
}

func (g *globals) writeSchemas(folder string) error {
	inCode, err := schemasInCode()
	if err != nil {
		return err
	}
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return fmt.Errorf("schemas: %w", err)
	}
	for _, name := range slices.Sorted(maps.Keys(inCode)) {
		path, what := filepath.Join(folder, name), "changed"
		before, err := os.ReadFile(path)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			what = "new"
		case err != nil:
			return fmt.Errorf("schemas: %w", err)
		case bytes.Equal(before, inCode[name].Data):
			continue
		}
		if err := os.WriteFile(path, inCode[name].Data, 0o644); err != nil {
			return fmt.Errorf("schemas: %w", err)
		}
		fmt.Fprintf(g.out, "%-8s %s\n", what, path)
	}
	present, err := filepath.Glob(filepath.Join(folder, "*.json"))
	if err != nil {
		return fmt.Errorf("schemas: %w", err)
	}
	for _, path := range present {
		if inCode[filepath.Base(path)] == nil {
			fmt.Fprintf(g.err, "%s: %s belongs to no event type of this program; delete it if its type is gone\n", g.app.Name, path)
		}
	}
	return nil
}

// schemasInCode are the schemas of the types registered in this program.
func schemasInCode() (fstest.MapFS, error) {
	all := fstest.MapFS{}
	for _, kind := range events.Types() {
		text, err := generator.Schema(kind)
		if err != nil {
			return nil, err
		}
		all[generator.FileName(kind.Name)] = &fstest.MapFile{Data: text}
	}
	return all, nil
}

// sameSchemas reports every committed schema that is not what the code says.
func sameSchemas(inCode fstest.MapFS, committed fs.FS) error {
	var differences []error
	for name, file := range inCode {
		if text, err := fs.ReadFile(committed, name); err != nil || !bytes.Equal(text, file.Data) {
			differences = append(differences, fmt.Errorf("%s: the committed schema is not what the Go type says", name))
		}
	}
	names, err := fs.Glob(committed, "*.json")
	if err != nil {
		return err
	}
	for _, name := range names {
		if inCode[name] == nil {
			differences = append(differences, fmt.Errorf("%s: there is no such type any more", name))
		}
	}
	return errors.Join(differences...)
}

// publishedSchemas are those in a folder, or in a revision of the repository that the command runs in.
func publishedSchemas(ctx context.Context, against, folder string) (fs.FS, error) {
	if info, err := os.Stat(against); err == nil && info.IsDir() {
		return os.DirFS(against), nil
	}
	const hint = "--against wants a folder, or a revision of the git repository that this is run in, such as main"
	if strings.HasPrefix(against, "-") {
		return nil, &exitError{exitUsage, &hinted{fmt.Errorf("--against: got %q", against), hint}}
	}
	// Once it is an object's ID, no command of git can take it for an option or a range.
	tree, err := git(ctx, "rev-parse", "--verify", "--end-of-options", against+"^{tree}")
	if err != nil {
		return nil, &hinted{fmt.Errorf("--against: %q is no folder, and git says: %w", against, err), hint}
	}
	tree = strings.TrimSpace(tree)
	if folder = path.Clean(folder); folder == "." {
		folder = ""
	}
	list, err := git(ctx, "ls-tree", "-z", "--name-only", "--full-tree", tree+":"+folder)
	if err != nil {
		return nil, &hinted{fmt.Errorf("revision %q has no folder %q, and git says: %w", against, folder, err), "--folder names another one"}
	}
	all := fstest.MapFS{}
	for name := range strings.SplitSeq(list, "\x00") { // by -z names are as they are, whatever is in them
		if path.Ext(name) != ".json" {
			continue
		}
		text, err := git(ctx, "cat-file", "blob", tree+":"+path.Join(folder, name))
		if err != nil {
			return nil, err
		}
		all[name] = &fstest.MapFile{Data: []byte(text)}
	}
	if len(all) == 0 {
		return nil, &hinted{fmt.Errorf("revision %q has no schemas in folder %q", against, folder), "--folder names another one"}
	}
	return all, nil
}

func git(ctx context.Context, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, "git", args...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		if said := strings.TrimSpace(stderr.String()); said != "" {
			return "", errors.New(said)
		}
		return "", fmt.Errorf("git: %w", err)
	}
	return string(out), nil
}

func printChanges(g *globals, types int, against string, changes []compat.Change, asJSON bool) error {
	worst := compat.Worst(changes)
	if asJSON {
		if changes == nil {
			changes = []compat.Change{}
		}
		e := json.NewEncoder(g.out)
		e.SetIndent("", "  ")
		if err := e.Encode(map[string]any{"types": types, "against": against, "level": worst, "changes": changes}); err != nil {
			return err
		}
	} else {
		for _, c := range changes {
			fmt.Fprintln(g.out, c)
		}
		compared := "the committed schemas are what the code says"
		if against != "" {
			compared = fmt.Sprintf("%d changes against %s, %s", len(changes), against, worst)
		}
		fmt.Fprintf(g.out, "%d event types; %s\n", types, compared)
	}
	if worst != compat.Breaking {
		return nil
	}
	breaking := 0
	for _, c := range changes {
		if c.Level == compat.Breaking {
			breaking++
		}
	}
	return &exitError{exitBreaking, &hinted{
		fmt.Errorf("%d breaking changes against %s", breaking, against),
		"leave the type as it was, and add a new one with the next version at its end",
	}}
}
