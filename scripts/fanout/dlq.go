package main

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"text/tabwriter"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"github.com/device-fanout/fanout/consumers/deadletter"
	"github.com/device-fanout/fanout/infra/provision"
	"github.com/device-fanout/fanout/infra/topology"
)

func newDLQ(g *globals) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "dlq",
		Short: "Look at dead letters and bring them back",
		Long: `Looks at the dead-letter queues of an environment, and sends events back to the queues that they came from.

SQS has no way to look without touching: looking hides the messages for as long as it takes and raises their receive
count. What another reader holds at the time, and everything behind it of the same device, can't be seen. Nor can more
than the first ten of a device, because looking holds them: ls tells the true number of each queue, and redrive works
through all.`,
		Args: aCommand,
		RunE: help,
	}
	cmd.AddCommand(newDLQLs(g), newDLQShow(g), newDLQRedrive(g))
	return cmd
}

// selection is the flags that choose dead letters.
type selection struct {
	filter deadletter.Filter
	class  string
}

func (s *selection) addTo(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringVar(&s.filter.Device, "device", "", "only those of this `DEVICE`")
	f.StringVar(&s.filter.Type, "type", "", "only those of this event `TYPE`")
	f.StringVar(&s.filter.Code, "code", "", "only those with this error `CODE`")
	f.StringVar(&s.class, "class", "", "only those of this `CLASS`: known, exhausted, unknown, moved or undelivered")
	f.StringVar(&s.filter.Fingerprint, "fingerprint", "", "only those with this `FINGERPRINT`, as ls shows it")
	f.StringVar(&s.filter.Text, "text", "", "only those with this `TEXT` in the error")
	f.DurationVar(&s.filter.OlderThan, "older-than", 0, "only those that failed longer ago than this `TIME`, such as 10m")
	f.DurationVar(&s.filter.NewerThan, "newer-than", 0, "only those that failed within this `TIME`, such as 24h")
	f.IntVar(&s.filter.Limit, "limit", 0, "at most so many (default: all)")
}

func (s *selection) check() error {
	classes := append(deadletter.Classes(), "")
	s.filter.Class = deadletter.Class(s.class)
	switch {
	case !slices.Contains(classes, s.filter.Class):
		return &exitError{exitUsage, fmt.Errorf("--class: got %q, want known, exhausted, unknown, moved or undelivered", s.class)}
	case s.filter.Limit < 0:
		return &exitError{exitUsage, fmt.Errorf("--limit: got %d, want at least 1, or 0 for all", s.filter.Limit)}
	case s.filter.OlderThan < 0 || s.filter.NewerThan < 0:
		return &exitError{exitUsage, fmt.Errorf("--older-than, --newer-than: got a negative duration, want one such as 10m")}
	}
	return nil
}

// dlqs finds the dead-letter queues of the named service, or of all.
func (g *globals) dlqs(ctx context.Context, args []string) (clients, topology.Deployment, []deadletter.Source, error) {
	d, err := g.deployment()
	if err != nil {
		return clients{}, d, nil, err
	}
	chosen := d.Services
	if len(args) > 0 {
		s, err := d.Service(args[0])
		if err != nil {
			return clients{}, d, nil, &exitError{exitUsage, err}
		}
		chosen = []topology.Service{s}
	}
	api, err := g.clients(ctx)
	if err != nil {
		return clients{}, d, nil, err
	}
	var sources []deadletter.Source
	for _, s := range chosen {
		q, err := provision.FindQueues(ctx, api.sqs, d, s.Name)
		if err != nil {
			return clients{}, d, nil, err
		}
		sources = append(sources, deadletter.Source{Service: s.Name, URL: q.DLQURL, Queue: d.QueueName(s.Name)})
	}
	return api, d, sources, nil
}

// failures is one group of dead letters with the same fingerprint.
type failures struct {
	Service     string           `json:"service"`
	Fingerprint string           `json:"fingerprint"`
	Class       deadletter.Class `json:"class"`
	Code        string           `json:"code"`
	Type        string           `json:"type"`
	Count       int              `json:"count"`
	Devices     int              `json:"devices"`
	First       time.Time        `json:"first"`
	Last        time.Time        `json:"last"`
	Example     string           `json:"example"`
	devices     map[string]bool
}

func newDLQLs(g *globals) *cobra.Command {
	var pick selection
	var asJSON bool
	cmd := &cobra.Command{
		Use:               "ls [SERVICE]",
		Short:             "List dead letters, grouped by what failed",
		Args:              atMostOne("one service or none"),
		ValidArgsFunction: serviceNames,
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx := cmd.Context()
			if err := pick.check(); err != nil {
				return err
			}
			api, d, sources, err := g.dlqs(ctx, args)
			if err != nil {
				return err
			}
			groups := []*failures{}
			now := time.Now()
			depths, counts, seen := map[string]int{}, map[string]int{}, map[string]int{}
			for _, from := range sources {
				if depths[from.Service], err = queueDepth(ctx, api.sqs, from.URL); err != nil {
					return err
				}
				byPrint := map[string]*failures{}
				err := deadletter.Scan(ctx, api.sqs, from, func(l *deadletter.Letter) bool {
					seen[from.Service]++
					if !pick.filter.Matches(l, now) {
						return true
					}
					counts[from.Service]++
					f := byPrint[l.Record.Fingerprint]
					if f == nil {
						f = &failures{
							Service: from.Service, Fingerprint: l.Record.Fingerprint, Class: l.Record.Class, Code: l.Record.Code,
							Type: l.Type, First: l.Record.FailedAt, Example: firstLine(l.Record.Error), devices: map[string]bool{},
						}
						byPrint[l.Record.Fingerprint] = f
						groups = append(groups, f)
					}
					f.Count++
					f.devices[l.DeviceID] = true
					f.Devices = len(f.devices)
					if l.Record.FailedAt.Before(f.First) {
						f.First = l.Record.FailedAt
					}
					if l.Record.FailedAt.After(f.Last) {
						f.Last = l.Record.FailedAt
					}
					return pick.filter.Limit == 0 || counts[from.Service] < pick.filter.Limit
				})
				if err != nil {
					return err
				}
			}
			if asJSON {
				return json.NewEncoder(g.out).Encode(groups)
			}
			for _, from := range sources {
				fmt.Fprintf(g.out, "%s: %d dead letters", d.DLQName(from.Service), depths[from.Service])
				if n := counts[from.Service]; n != depths[from.Service] {
					fmt.Fprintf(g.out, ", %d of them below", n)
				}
				if pick.filter.Limit == 0 && seen[from.Service] < depths[from.Service] {
					fmt.Fprint(g.out, " (SQS shows no more than the first ten of a device)")
				}
				fmt.Fprintln(g.out)
			}
			if len(groups) == 0 {
				return nil
			}
			fmt.Fprintln(g.out)
			t := tabwriter.NewWriter(g.out, 0, 0, 2, ' ', 0)
			fmt.Fprintln(t, "SERVICE\tFINGERPRINT\tCLASS\tCODE\tTYPE\tCOUNT\tDEVICES\tFIRST\tLAST\tEXAMPLE")
			for _, f := range groups {
				fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%d\t%d\t%s\t%s\t%s\n", f.Service, f.Fingerprint, f.Class, f.Code, orDash(printable(f.Type)),
					f.Count, f.Devices, ago(now, f.First), ago(now, f.Last), shorten(printable(f.Example), 80))
			}
			return t.Flush()
		},
	}
	pick.addTo(cmd)
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

// ago is an age for people.
func ago(now, t time.Time) string {
	if t.IsZero() {
		return "-"
	}
	return now.Sub(t).Round(time.Second).String() + " ago"
}

func orDash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

func firstLine(s string) string {
	line, _, _ := strings.Cut(s, "\n")
	return line
}

func shorten(s string, n int) string {
	if r := []rune(s); len(r) > n {
		return string(r[:n-1]) + "…"
	}
	return s
}

// printable replaces what a terminal would obey instead of showing it; bodies come from anywhere.
func printable(s string) string {
	return strings.Map(func(c rune) rune {
		if unicode.IsControl(c) && c != '\n' && c != '\t' {
			return utf8.RuneError
		}
		return c
	}, s)
}
