package cli

import (
	"cmp"
	"encoding/json"
	"fmt"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/device-fanout/fanout/consumers/deadletter"
	"github.com/device-fanout/fanout/consumers/failure"
	"github.com/device-fanout/fanout/scripts/fanout/cli/internal/terminal"
)

func newDLQLs(g *globals) *cobra.Command {
	var pick selection
	var asJSON, queues bool
	cmd := &cobra.Command{
		Use:   "ls [SERVICE]",
		Short: "List the dead-letter queues and what failed, grouped",
		Long: `Lists the dead-letter queues of a service, or of all, and groups what failed by fingerprint: service, event type, error
code and cause. The cause is the error's type, the place of a panic, or the text without numbers, IDs and addresses.
--json prints the groups, with --queues the queues and the groups in them.

The class says how an event came to be a dead letter:

` + classMeanings() + `
In a group with several it is that of the last to fail.`,
		Args:              atMostOne("one service or none"),
		ValidArgsFunction: g.serviceNames,
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx := cmd.Context()
			if err := pick.check(); err != nil {
				return err
			}
			api, _, sources, err := g.dlqs(ctx, args, ofBoth)
			if err != nil {
				return err
			}
			surveys := []*deadletter.Survey{}
			groups := []*deadletter.Group{}
			for _, from := range sources {
				s, err := deadletter.Look(ctx, api.sqs, from, pick.filter, nil)
				if err != nil {
					return err
				}
				surveys, groups = append(surveys, s), append(groups, s.Groups...)
			}
			switch {
			case asJSON && queues:
				return json.NewEncoder(g.out).Encode(surveys)
			case asJSON:
				return json.NewEncoder(g.out).Encode(groups)
			}
			return g.printSurveys(surveys, groups, pick)
		},
	}
	pick.addTo(cmd)
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	cmd.Flags().BoolVar(&queues, "queues", false, "with --json: the queues, with their groups")
	return cmd
}

func (g *globals) printSurveys(surveys []*deadletter.Survey, groups []*deadletter.Group, pick selection) error {
	now := time.Now()
	t := tabwriter.NewWriter(g.out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "DEAD-LETTER QUEUE\tDEPTH\tIN FLIGHT\tOLDEST\tLAST HOUR\tSELECTED\t")
	hidden := 0
	for _, s := range surveys {
		if s.Delivery && s.Depth.Total() == 0 {
			continue // mostly they are empty
		}
		oldest, selected := "-", "-"
		if !s.Oldest.IsZero() {
			oldest = age(now.Sub(s.Oldest))
		}
		if s.Matched > 0 || !pick.everything() {
			selected = fmt.Sprint(s.Matched)
		}
		note := ""
		if pick.filter.Limit == 0 && s.Unseen() > 0 {
			note = fmt.Sprintf("%d can't be seen", s.Unseen())
			hidden += s.Unseen()
		}
		fmt.Fprintf(t, "%s\t%d\t%d\t%s\t%d\t%s\t%s\n", s.Queue, s.Depth.Total(), s.Depth.InFlight, oldest, s.LastHour, selected, note)
	}
	if err := t.Flush(); err != nil {
		return err
	}
	if hidden > 0 {
		fmt.Fprintln(g.out, "\nWhat can't be seen stands behind the first ten of its device, or somebody else holds it at the moment.")
	}
	if len(groups) == 0 {
		return nil
	}
	fmt.Fprintln(g.out)
	fmt.Fprintln(t, "SERVICE\tFINGERPRINT\tCLASS\tCODE\tTYPE\tCOUNT\tDEVICES\tFIRST\tLAST\tEXAMPLE")
	for _, f := range groups {
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%d\t%d\t%s\t%s\t%s\n", f.Service, f.Fingerprint, f.Class, terminal.Line(f.Code), cmp.Or(terminal.Line(f.Type), "-"),
			f.Count, f.Devices, ago(now, f.First), ago(now, f.Last), terminal.Shorten(terminal.Line(f.Example), 80))
	}
	return t.Flush()
}

// classMeanings lists all classes with what they mean, a line each.
func classMeanings() string {
	var text strings.Builder
	for _, c := range failure.Classes() {
		fmt.Fprintf(&text, "  %-12s %s\n", c, c.Meaning())
	}
	return text.String()
}
