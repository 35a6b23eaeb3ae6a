package cli

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/device-fanout/fanout/consumers"
	"github.com/device-fanout/fanout/events"
	"github.com/device-fanout/fanout/events/device"
	"github.com/device-fanout/fanout/scripts/fanout/cli/internal/scaffold"
)

func newNew(g *globals) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "new",
		Short: "Write a new service from a template",
		Args:  aCommand,
		RunE:  help,
	}
	cmd.AddCommand(newNewService(g))
	return cmd
}

func newNewService(g *globals) *cobra.Command {
	var s scaffold.Service
	var dir string
	var dryRun bool
	cmd := &cobra.Command{
		Use:   "service NAME",
		Short: "Write a service that compiles and runs: handler, test, topology entry",
		Long: `Writes a new service into this repository: a package below consumers with a handler for each type of event that it
hears, on a SQL database, once per event; its tests; a page about it; its entry in the topology; and its line in this
program, so that "fanout up" and "fanout consume" run it. Nothing that is there is overwritten.`,
		Example: `  fanout new service lights --about "keeps the lights of every room" --events device.power.changed.v1`,
		Args:    exactly(1, "the service's name"),
		RunE: func(_ *cobra.Command, args []string) error {
			s.Name = args[0]
			root, err := scaffold.FindRoot(dir)
			if err != nil {
				return &hinted{err, "run it in a checkout of the repository, or name one by --dir"}
			}
			files, err := scaffold.Plan(root, s)
			if err != nil {
				return &exitError{exitUsage, err}
			}
			if !dryRun {
				if err := scaffold.Write(root, files); err != nil {
					return err
				}
			}
			for _, f := range files {
				what := "changed"
				if f.New {
					what = "new"
				}
				fmt.Fprintf(g.out, "%-8s %s\n", what, f.Path)
			}
			if dryRun {
				fmt.Fprintln(g.err, "nothing was written")
				return nil
			}
			fmt.Fprintf(g.err, "next: go test ./%s; then see it run: go run ./scripts/fanout up\n", files[0].Path[:len(files[0].Path)-len("/doc.go")])
			fmt.Fprintln(g.err, "what is made from the topology changes too:\n  go generate ./infra/declaration\n  FANOUT_TEST_UPDATE=1 go test -run Topology ./scripts/fanout/cli")
			return nil
		},
	}
	f := cmd.Flags()
	f.StringVar(&s.About, "about", "handles the events of devices", "what it does, in one `SENTENCE`")
	f.StringSliceVar(&s.Events, "events", []string{device.PowerChanged{}.EventType()}, "`TYPES` of events that it hears")
	f.DurationVar(&s.HandlerTimeout, "handler-timeout", consumers.DefaultHandlerTimeout, "`TIME` that the handling of one event may take")
	f.StringVar(&dir, "dir", ".", "`FOLDER` in the repository")
	f.BoolVar(&dryRun, "dry-run", false, "show what would be written, and write nothing")
	_ = cmd.RegisterFlagCompletionFunc("events", func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
		var names []string
		for _, t := range events.Types() {
			names = append(names, t.Name+"\t"+t.Summary)
		}
		return names, cobra.ShellCompDirectiveNoFileComp
	})
	return cmd
}
