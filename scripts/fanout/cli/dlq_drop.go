package cli

import (
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/device-fanout/fanout/consumers/deadletter"
)

func newDLQDrop(g *globals) *cobra.Command {
	return archiver(g, true, &cobra.Command{
		Use:   "drop SERVICE",
		Short: "Delete dead letters, after writing them to a file",
		Long: `Deletes the selected dead letters. Each is written to a file first, and deleted after its line is on disk and was read
back; "` + g.app.Name + ` publish --redrive FILE" brings them back.

` + exitCodes,
	})
}

func newDLQExport(g *globals) *cobra.Command {
	return archiver(g, false, &cobra.Command{
		Use:   "export SERVICE",
		Short: "Write dead letters to a file, and leave them where they are",
		Long: `Writes the selected dead letters to a file, one JSON object a line, with everything that is needed to send them again by
"` + g.app.Name + ` publish --redrive FILE".

Export goes through the whole queue. Where a device has more than ten dead letters, those in front are set aside: they become
new messages at the end of the same dead-letter queue, in the same order. So it wants --yes as well.

` + exitCodes,
	})
}

func archiver(g *globals, drop bool, cmd *cobra.Command) *cobra.Command {
	var m moving
	verb, doing := "export", "exporting"
	if drop {
		verb, doing = "drop", "dropping"
	}
	cmd.Args = exactly(1, "a service")
	cmd.ValidArgsFunction = g.serviceNames
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		ctx := cmd.Context()
		if err := m.check(cmd); err != nil {
			return err
		}
		api, _, sources, err := g.dlqs(ctx, args, kindOf(m.delivery))
		if err != nil {
			return err
		}
		from := sources[0]
		if err := g.checkNoMove(ctx, api, from); err != nil {
			return err
		}
		if m.file == "" {
			m.file = fmt.Sprintf("%s-%s.ndjson", from.Name(), time.Now().UTC().Format("20060102T150405Z"))
		}
		what := fmt.Sprintf("write %%s of %s to %s", from.Name(), m.file)
		if drop {
			what += ", and delete them"
		}
		plan, err := g.plan(ctx, api, from, m, what)
		if err != nil || plan == nil {
			return err
		}
		return g.move(ctx, from, m, plan, doing, func(cfg deadletter.Config) (deadletter.Summary, error) {
			archive, err := deadletter.CreateArchive(m.file) // here, where nobody else works on the queue
			if err != nil {
				return deadletter.Summary{}, &hinted{err, "--file names another file; it must not be there yet"}
			}
			defer archive.Close()
			if drop {
				return deadletter.Drop(ctx, api.sqs, from, archive, cfg)
			}
			return deadletter.Export(ctx, api.sqs, from, archive, cfg)
		}, map[bool]string{true: "dropped", false: "exported"}[drop]+" %d of %d selected dead letters to "+m.file)
	}
	m.addTo(cmd, verb)
	cmd.Flags().StringVar(&m.file, "file", "", "`FILE` to write; it must not be there yet (default: named after the queue and the time)")
	return cmd
}
