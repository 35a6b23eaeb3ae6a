package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/device-fanout/fanout/consumers/deadletter"
	"github.com/device-fanout/fanout/infra/topology"
)

func newDLQRedrive(g *globals) *cobra.Command {
	var pick selection
	var yes, dryRun, asJSON bool
	cmd := &cobra.Command{
		Use:   "redrive SERVICE",
		Short: "Send dead letters back to the queue that they came from",
		Long: `Sends the selected dead letters back to the queue that they came from, never to the topic: oldest first within a device,
and each is deleted only after its send was confirmed. Running it again is safe.

Redriven events queue up behind newer events of their device.`,
		Args:              exactly(1, "a service"),
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
			from, to := sources[0], d.QueueName(args[0])
			if dryRun || !yes {
				return g.planRedrive(ctx, api, d, from, pick.filter, dryRun, asJSON)
			}
			sum, err := deadletter.Redrive(ctx, api.sqs, from, deadletter.Config{Filter: pick.filter, Report: func(o deadletter.Outcome) {
				if o.Err != nil {
					fmt.Fprintf(g.err, "fanout: %v\n", o.Err)
				}
			}})
			if asJSON {
				_ = json.NewEncoder(g.out).Encode(redriveResult{sum.Matched, sum.Moved, sum.Failed, sum.Held})
			} else {
				fmt.Fprintf(g.out, "moved %d of %d selected dead letters to %s; %d failed, %d left behind a failed one of their device\n",
					sum.Moved, sum.Matched, to, sum.Failed, sum.Held)
			}
			switch {
			case err != nil:
				return err
			case sum.Failed > 0:
				return fmt.Errorf("%d dead letters were not moved", sum.Failed+sum.Held)
			case ctx.Err() != nil:
				return fmt.Errorf("interrupted; what was not moved is where it was")
			}
			return nil
		},
	}
	pick.addTo(cmd)
	f := cmd.Flags()
	f.BoolVar(&yes, "yes", false, "move them")
	f.BoolVar(&dryRun, "dry-run", false, "only show how many would be moved")
	f.BoolVar(&asJSON, "json", false, "print JSON")
	cmd.MarkFlagsMutuallyExclusive("yes", "dry-run")
	return cmd
}

// redriveResult is what redrive prints as JSON. A plan has moved nothing.
type redriveResult struct {
	Matched int `json:"matched"`
	Moved   int `json:"moved"`
	Failed  int `json:"failed"`
	Held    int `json:"held"` // left alone because an earlier one of their device failed
}

// planRedrive shows what a redrive would do. That is an error unless a dry run was asked for or there is nothing to do.
func (g *globals) planRedrive(ctx context.Context, api clients, d topology.Deployment, from deadletter.Source, pick deadletter.Filter, dryRun, asJSON bool) error {
	matched, devices, now := 0, map[string]bool{}, time.Now()
	err := deadletter.Scan(ctx, api.sqs, from, func(l *deadletter.Letter) bool {
		if pick.Matches(l, now) {
			matched++
			devices[l.DeviceID] = true
		}
		return pick.Limit == 0 || matched < pick.Limit
	})
	if err != nil {
		return err
	}
	if asJSON {
		_ = json.NewEncoder(g.out).Encode(redriveResult{Matched: matched})
	} else {
		fmt.Fprintf(g.out, "would send %d dead letters of %d devices from %s back to %s\n",
			matched, len(devices), d.DLQName(from.Service), d.QueueName(from.Service))
	}
	if dryRun || matched == 0 {
		return nil
	}
	return &exitError{exitUsage, &hinted{errors.New("nothing was moved"), "add --yes to move them"}}
}
