package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/device-fanout/fanout/consumers/database"
	"github.com/device-fanout/fanout/infra/topology"
)

// migration is what was done to tables of a service, or would be, as JSON.
type migration struct {
	Service  string `json:"service"`
	Tables   string `json:"tables"` // their name in table migrations
	Database string `json:"database"`
	From     int    `json:"from"`
	To       int    `json:"to"`
}

func newMigrate(g *globals) *cobra.Command {
	var o serviceOptions
	var check, asJSON bool
	cmd := &cobra.Command{
		Use:   "migrate [SERVICE…]",
		Short: "Bring the tables of services up to date, before their new program is rolled out",
		Long: `Brings the tables of the services named, or of all that this program runs, to the version that it knows, and says
from which to which. Services of the program before may run meanwhile: they work with tables that are one version
ahead. A table that is large gets its indexes while they write. Several may be started at once.

It does not wait for a database that is down. With --check it changes nothing, and ends with code 6 if there is
something to do.

Exit codes:
  0  done, or nothing to do
  1  the tables of a service could not be brought up to date; the others were
  2  the command line is wrong
  6  with --check: there is something to do`,
		ValidArgsFunction: func(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
			return g.serviceNames(cmd, nil, "")
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			d, err := g.deployment()
			if err != nil {
				return err
			}
			services, err := servicesNamed(d, args)
			if err != nil {
				return err
			}
			if err := namedDatabase(&o); err != nil {
				return err
			}
			if o.data != "" && !check {
				if _, err := dataFolder(o.data); err != nil {
					return err
				}
			}
			o.logger = newLogger(g.err)
			done := []migration{}
			var faults []error
			for _, s := range services {
				of, err := g.migrate(cmd.Context(), s, o, check)
				done = append(done, of...)
				if errors.Is(err, errElsewhere) && len(args) == 0 {
					continue
				}
				if err != nil {
					faults = append(faults, fmt.Errorf("%s: %w", s.Name, err))
				} else if len(of) == 0 && len(args) > 0 {
					fmt.Fprintf(g.err, "%s keeps no tables\n", s.Name)
				}
			}
			if err := g.printMigrations(done, check, asJSON); err != nil || len(faults) > 0 {
				return errors.Join(append(faults, err)...)
			}
			for _, m := range done {
				if check && m.From < m.To {
					return &exitError{code: exitMigrate}
				}
			}
			return nil
		},
	}
	addDatabase(cmd, &o)
	cmd.Flags().BoolVar(&check, "check", false, "only say what would be done; code 6 if that is something")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print a JSON list")
	return cmd
}

// servicesNamed are those of a deployment that have these names, or all of it.
func servicesNamed(d topology.Deployment, names []string) (services []topology.Service, err error) {
	if len(names) == 0 {
		return d.Services, nil
	}
	for _, name := range names {
		s, err := d.Service(name)
		if err != nil {
			return nil, &exitError{exitUsage, err}
		}
		services = append(services, s)
	}
	return services, nil
}

// migrate opens what consume opens for a service, which brings the tables up to date, and closes it.
func (g *globals) migrate(ctx context.Context, s topology.Service, o serviceOptions, check bool) (done []migration, err error) {
	run := database.MigrationRun{Check: check}
	ctx = run.Context(ctx)
	opened, err := openSafely(ctx, g.app.Services[s.Name], Options{Name: s.Name, Database: o.url(s.Name), Logger: o.logger, Migrate: true})
	if err == nil && opened != nil && opened.Close != nil {
		err = opened.Close(ctx)
	}
	if err == nil || errors.Is(err, database.ErrCheckOnly) {
		var closeStore func() error
		if _, closeStore, err = openStore(ctx, s.Name, s.GroupPolicy, o); err == nil {
			err = closeStore()
		}
	}
	if errors.Is(err, database.ErrCheckOnly) {
		err = nil
	}
	for _, m := range run.Done() {
		done = append(done, migration{s.Name, m.Service, m.Database, m.From, m.To})
	}
	return done, err
}

func (g *globals) printMigrations(done []migration, check, asJSON bool) error {
	if asJSON {
		return json.NewEncoder(g.out).Encode(done)
	}
	t := tabwriter.NewWriter(g.out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "SERVICE\tTABLES\tFROM\tTO\t")
	for _, m := range done {
		word := "migrated"
		switch {
		case m.From == m.To:
			word = "up to date"
		case check:
			word = "to be migrated"
		}
		fmt.Fprintf(t, "%s\t%s\t%d\t%d\t%s\n", m.Service, m.Tables, m.From, m.To, word)
	}
	return t.Flush()
}
