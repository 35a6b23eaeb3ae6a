package cli

import (
	"fmt"
	"path"
	"path/filepath"
	"runtime/debug"
	"strings"

	"github.com/spf13/cobra"

	"github.com/device-fanout/fanout/consumers"
	"github.com/device-fanout/fanout/events"
	"github.com/device-fanout/fanout/scripts/fanout/cli/internal/scaffold"
)

func newNew(g *globals) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "new",
		Short: "Write a new service or event type from a template",
		Args:  aCommand,
		RunE:  help,
	}
	cmd.AddCommand(newNewService(g), newNewEvent(g))
	return cmd
}

// writing are the flags of commands that add to a repository.
type writing struct {
	dir    string
	dryRun bool
}

func (w *writing) flags(cmd *cobra.Command) {
	cmd.Flags().StringVar(&w.dir, "dir", ".", "`FOLDER` in the repository")
	cmd.Flags().BoolVar(&w.dryRun, "dry-run", false, "show what would be written, and write nothing")
}

// repository is the one that --dir is in. It must be that of this program, which knows no other one's event types and services.
func (w *writing) repository() (scaffold.Repository, error) {
	r, err := scaffold.Find(w.dir)
	if err != nil {
		return r, &hinted{err, "run it in the repository of this program, or name a folder in it by --dir"}
	}
	if build, ok := debug.ReadBuildInfo(); ok && build.Main.Path != "" && build.Main.Path != r.Module {
		return r, &hinted{
			fmt.Errorf("this program is of module %s, and %s is a repository of module %s, whose event types and services it does not know", build.Main.Path, r.Root, r.Module),
			"there, run `go run " + r.Command() + " new …`",
		}
	}
	return r, nil
}

// write writes the files of a plan unless only asked what they are, and lists them. It tells whether they were written.
func (w *writing) write(g *globals, root string, files []scaffold.File) (bool, error) {
	if !w.dryRun {
		if err := scaffold.Write(root, files); err != nil {
			return false, err
		}
	}
	for _, f := range files {
		what := "changed"
		if f.New {
			what = "new"
		}
		fmt.Fprintf(g.out, "%-8s %s\n", what, f.Path)
	}
	if w.dryRun {
		fmt.Fprintln(g.err, "nothing was written")
	}
	return !w.dryRun, nil
}

func newNewService(g *globals) *cobra.Command {
	var s scaffold.Service
	var w writing
	cmd := &cobra.Command{
		Use:   "service NAME",
		Short: "Write a service that compiles and runs: handler, test, topology entry",
		Long: `Writes a new service into the repository of this program: a package with a handler for each type of event that it hears,
on a SQL database, once per event; its tests; its entry in infra/declaration; and its line in this program, so that
"` + g.app.Name + ` up" and "` + g.app.Name + ` consume" run it. Nothing that is there is overwritten.`,
		Example: `  ` + g.app.Name + ` new service lights --about "keeps the lights of every room" --events ` + exampleType(),
		Args:    exactly(1, "the service's name"),
		RunE: func(_ *cobra.Command, args []string) error {
			s.Name = args[0]
			r, err := w.repository()
			if err != nil {
				return err
			}
			files, err := r.PlanService(g.app.Topology, s)
			if err != nil {
				return &exitError{exitUsage, err}
			}
			written, err := w.write(g, r.Root, files)
			if err != nil || !written {
				return err
			}
			fmt.Fprintf(g.err, "next: go test ./%s; then see it run: go run %s up\n", path.Dir(filepath.ToSlash(files[0].Path)), r.Command())
			if r.Module == modulePath {
				fmt.Fprintln(g.err, "what is made from the topology changes too:\n  go generate ./infra/declaration\n  go test ./infra/stacks -run AsReviewed -update")
			}
			return nil
		},
	}
	f := cmd.Flags()
	f.StringVar(&s.About, "about", "handles the events of devices", "what it does, in one `SENTENCE`")
	f.StringSliceVar(&s.Events, "events", nil, "`TYPES` of events that it hears, separated by commas")
	f.DurationVar(&s.HandlerTimeout, "handler-timeout", consumers.DefaultHandlerTimeout, "`TIME` that the handling of one event may take")
	w.flags(cmd)
	_ = cmd.MarkFlagRequired("events")
	complete(cmd, "events", typeNames)
	return cmd
}

func newNewEvent(g *globals) *cobra.Command {
	var e scaffold.Event
	var w writing
	cmd := &cobra.Command{
		Use:   "event NAME",
		Short: "Write an event type: payload, registration, sample, test",
		Long: `Writes a new event type into the repository of this program: one Go file with the payload and its registration, and a test
that keeps an event as it was first sent. The first word of the name is the package, below events; the others are the Go type:
acme.doorbell.pressed.v1 is DoorbellPressed in events/acme. The payload begins with one field; replace it by your own.
Nothing that is there is overwritten.`,
		Example: `  ` + g.app.Name + ` new event acme.doorbell.pressed.v1 --about "Somebody pressed a doorbell"`,
		Args:    exactly(1, "the event type's name"),
		RunE: func(_ *cobra.Command, args []string) error {
			e.Name = args[0]
			r, err := w.repository()
			if err != nil {
				return err
			}
			files, err := r.PlanEvent(e)
			if err != nil {
				return &exitError{exitUsage, err}
			}
			written, err := w.write(g, r.Root, files)
			if err != nil || !written {
				return err
			}
			var source string
			for _, f := range files {
				if name := filepath.ToSlash(f.Path); f.New && !strings.HasSuffix(name, "_test.go") && path.Base(name) != "doc.go" {
					source = f.Path
				}
			}
			fmt.Fprintf(g.err, "next: write its fields into %s and its test, then its schema: go generate ./schemas\n", source)
			if r.Module == modulePath {
				fmt.Fprintln(g.err, "its sample and the AsyncAPI document are made by\n  go test ./events -run Samples -update\n  go generate ./infra/declaration")
			}
			return nil
		},
	}
	cmd.Flags().StringVar(&e.About, "about", "", "what such an event means, in one `SENTENCE`")
	w.flags(cmd)
	_ = cmd.MarkFlagRequired("about")
	return cmd
}

// exampleType is the name of an event type that the program knows, for help texts.
func exampleType() string {
	const lamp = "device.power.changed.v1"
	if _, ok := events.Lookup(lamp); ok {
		return lamp
	}
	for _, kind := range events.Types() {
		return kind.Name
	}
	return lamp
}
