package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/device-fanout/fanout/consumers/database"
	"github.com/device-fanout/fanout/consumers/state"
	"github.com/device-fanout/fanout/scripts/fanout/cli/internal/terminal"
)

func newState(g *globals) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "state",
		Short: "Look at the last state of a device, and mend it",
		Long: `Works on the database of the service state, which may run meanwhile.

That service lets no event overwrite a newer one. A device whose clock was ahead, by less than a day, keeps the state of
that time until then: forget deletes it, and the device's next event makes it anew.`,
		Args: aCommand,
		RunE: help,
	}
	cmd.AddCommand(newStateShow(g), newStateForget(g))
	return cmd
}

func newStateShow(g *globals) *cobra.Command {
	var o serviceOptions
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "show DEVICE",
		Short: "Show the last event of each type of a device",
		Args:  exactly(1, "a device"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return onState(cmd.Context(), o, func(s *state.Service) error {
				rows, err := s.Device(cmd.Context(), args[0])
				if err != nil {
					return err
				}
				return g.printState(args[0], rows, asJSON)
			})
		},
	}
	addDatabase(cmd, &o)
	cmd.Flags().BoolVar(&asJSON, "json", false, "print a JSON list")
	return cmd
}

func newStateForget(g *globals) *cobra.Command {
	var o serviceOptions
	var types []string
	var yes, dryRun bool
	cmd := &cobra.Command{
		Use:   "forget DEVICE",
		Short: "Delete the state of a device, so that its next event makes it anew",
		Long: `Deletes what the service state knows of a device, or of some types of its events. It shows what that is, and deletes it
with --yes only. Which events were handled is not forgotten: those that come again change nothing.`,
		Args: exactly(1, "a device"),
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx := cmd.Context()
			return onState(ctx, o, func(s *state.Service) error {
				rows, err := s.Device(ctx, args[0])
				if err != nil {
					return err
				}
				if len(types) > 0 {
					rows = slices.DeleteFunc(rows, func(row state.Row) bool { return !slices.Contains(types, row.Type) })
				}
				if err := g.printState(args[0], rows, false); err != nil || len(rows) == 0 {
					return err
				}
				if dryRun {
					return nil
				}
				if !yes {
					return &exitError{exitUsage, &hinted{errors.New("nothing was deleted"), "add --yes to do it"}}
				}
				n, err := s.Forget(ctx, args[0], types...)
				if err != nil {
					return err
				}
				fmt.Fprintf(g.out, "deleted %d rows\n", n)
				return nil
			})
		},
	}
	addDatabase(cmd, &o)
	f := cmd.Flags()
	f.StringArrayVar(&types, "type", nil, "only of this `TYPE` of event; may be given several times")
	f.BoolVar(&yes, "yes", false, "do it; without, only show what would be deleted")
	f.BoolVar(&dryRun, "dry-run", false, "only show what would be deleted, and end with code 0")
	cmd.MarkFlagsMutuallyExclusive("yes", "dry-run")
	return cmd
}

func addDatabase(cmd *cobra.Command, o *serviceOptions) {
	f := cmd.Flags()
	f.StringVar(&o.data, "data", "", "`FOLDER` of the service's SQLite database")
	f.StringVar(&o.database, "database", "", "`URL`, settings or JSON of its database, not --data (default: $FANOUT_DATABASE)")
	cmd.MarkFlagsMutuallyExclusive("data", "database")
}

// namedDatabase completes o with FANOUT_DATABASE. It is an error if no database is named at all.
func namedDatabase(o *serviceOptions) error {
	if o.data == "" && o.database == "" {
		if o.database = os.Getenv("FANOUT_DATABASE"); o.database == "" {
			return &exitError{exitUsage, errors.New("which database? --data names the folder of a SQLite one, --database or FANOUT_DATABASE another")}
		}
	}
	return nil
}

// onState calls work with the service state on the database that o names, which must be there.
func onState(ctx context.Context, o serviceOptions, work func(*state.Service) error) (err error) {
	const service = "state"
	if err := namedDatabase(&o); err != nil {
		return err
	}
	if err := database.Existing(o.url(service)); err != nil {
		return err
	}
	s, err := state.Open(ctx, o.url(service), state.Config{})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	return work(s)
}

// stateRow is a row of the state as JSON.
type stateRow struct {
	DeviceID string          `json:"device_id"`
	Type     string          `json:"type"`
	EventID  string          `json:"event_id"`
	Time     time.Time       `json:"time"`
	Sequence string          `json:"sequence"`
	Data     json.RawMessage `json:"data"`
}

func (g *globals) printState(deviceID string, rows []state.Row, asJSON bool) error {
	if asJSON {
		list := []stateRow{}
		for _, row := range rows {
			list = append(list, stateRow{row.DeviceID, row.Type, row.EventID, row.Time, row.Sequence, row.Data})
		}
		return json.NewEncoder(g.out).Encode(list)
	}
	if len(rows) == 0 {
		fmt.Fprintf(g.err, "there is no such state of device %s\n", terminal.Line(deviceID))
		return nil
	}
	t := tabwriter.NewWriter(g.out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "TYPE\tTIME\tSEQUENCE\tEVENT\tDATA")
	for _, row := range rows {
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\n", terminal.Line(row.Type), row.Time.Format(time.RFC3339Nano), terminal.Line(row.Sequence),
			terminal.Line(row.EventID), terminal.Shorten(terminal.Line(string(row.Data)), 60))
	}
	return t.Flush()
}
