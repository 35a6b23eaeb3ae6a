package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"text/tabwriter"
	"time"

	"github.com/device-fanout/fanout/consumers/database"
	"github.com/device-fanout/fanout/consumers/deadletter"
	"github.com/device-fanout/fanout/consumers/parking"
	"github.com/device-fanout/fanout/infra/provision"
	"github.com/device-fanout/fanout/infra/topology"
	"github.com/device-fanout/fanout/scripts/fanout/cli/internal/terminal"
)

// redriveParking brings back the dead letters of a service that parks devices: it releases the devices that are parked, each as a
// whole and in order, and redrives what else there is. A dead letter of a parked device that was redriven by itself would follow to the
// dead-letter queue again.
func (g *globals) redriveParking(ctx context.Context, api clients, d topology.Deployment, s topology.Service, from deadletter.Source, m moving) error {
	only := m.pick.filter
	only.Device = ""
	if only != (deadletter.Filter{}) || m.rate > 0 {
		return &exitError{exitUsage, fmt.Errorf("%s parks devices, which are released as a whole: of the selection only --device can be used, and no --rate", s.Name)}
	}
	if m.services.data == "" && m.services.database == "" {
		return &exitError{exitUsage, &hinted{
			fmt.Errorf("%s parks devices, and its database knows which", s.Name), "add --data or --database as `" + g.app.Name + " consume " + s.Name + "` has it",
		}}
	}
	if err := database.Existing(m.services.url(s.Name + "-parking")); err != nil { // a new one would know of no device
		return err
	}
	store, closeStore, err := openStore(ctx, s.Name, s.GroupPolicy, m.services)
	if err != nil {
		return err
	}
	q, err := provision.FindQueues(ctx, api.sqs, d, s.Name)
	if err != nil {
		return errors.Join(err, closeStore())
	}
	return errors.Join(g.release(ctx, api, store, q, from, m), closeStore())
}

// release shows the plan, and does it if told to.
func (g *globals) release(ctx context.Context, api clients, store parking.Store, queues parking.Queues, from deadletter.Source, m moving) error {
	var chosen []string
	if m.pick.filter.Device != "" {
		chosen = []string{m.pick.filter.Device}
	}
	parked, err := store.Find(ctx, queues.Service, chosen...)
	if err != nil {
		return err
	}
	out := g.out
	if m.asJSON {
		out = g.err
	}
	t := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintf(t, "PARKED DEVICE\tSTATE\tFIRST FAILURE\n")
	for _, device := range parked {
		fmt.Fprintf(t, "%s\t%s\t%s\n", terminal.Line(device.ID), device.State, terminal.Shorten(terminal.Line(device.Cause.Error), 80))
	}
	if err := t.Flush(); err != nil {
		return err
	}
	if !m.yes {
		fmt.Fprintf(out, "environment %s: would release %d devices, each with all of its dead letters in order\n", g.env, len(parked))
		if m.dryRun || len(parked) == 0 {
			return nil
		}
		return &exitError{exitUsage, &hinted{errors.New("nothing was moved"), "add --yes to do it"}}
	}
	start := time.Now()
	bar := g.progress("releasing", len(parked))
	var sum struct {
		Released int     `json:"released"` // devices
		Sent     int     `json:"letters"`
		Failed   int     `json:"failed"`
		Seconds  float64 `json:"seconds"`
	}
	var failure error
	for _, device := range parked {
		if ctx.Err() != nil {
			break
		}
		n, err := parking.Release(ctx, store, api.sqs, queues, device.ID)
		sum.Sent += n
		switch {
		case errors.Is(err, parking.ErrNotParked): // somebody else has released it
		case err != nil:
			sum.Failed++
			failure = err
			bar.warn("%s: %s", g.app.Name, errorLine(err))
		default:
			sum.Released++
		}
		bar.step()
	}
	bar.done()
	var rest deadletter.Summary
	if ctx.Err() == nil {
		rest, err = g.redriveUnparked(ctx, api, store, queues.Service, from, m)
		sum.Sent, sum.Failed, failure = sum.Sent+rest.Moved, sum.Failed+rest.Failed, errors.Join(failure, err)
	}
	sum.Seconds = time.Since(start).Seconds()
	if m.asJSON {
		_ = json.NewEncoder(g.out).Encode(sum)
	} else {
		fmt.Fprintf(g.out, "released %d of %d devices and sent %d dead letters to %s in all; %d failed; %.1f s\n", sum.Released, len(parked), sum.Sent, from.Queue, sum.Failed, sum.Seconds)
	}
	switch {
	case ctx.Err() != nil:
		return &hinted{fmt.Errorf("interrupted after %d devices", sum.Released), "run the same command again to go on"}
	case failure != nil:
		return fmt.Errorf("not everything was released: %w", failure)
	case rest.Broken > 0:
		return fmt.Errorf("the dead letters of %d devices are not in order yet; run the same command again", rest.Broken)
	case sum.Failed > 0:
		return fmt.Errorf("%d dead letters were not moved", sum.Failed)
	}
	return nil
}

// redriveUnparked redrives the dead letters of devices that are not recorded: SQS itself may have moved them, or they are older than the
// service's group policy.
func (g *globals) redriveUnparked(ctx context.Context, api clients, store parking.Store, service string, from deadletter.Source, m moving) (deadletter.Summary, error) {
	journal, err := g.journal(m.state, from)
	if err != nil {
		return deadletter.Summary{}, err
	}
	sum, err := deadletter.Redrive(ctx, api.sqs, from, deadletter.Config{
		Filter: m.pick.filter, Journal: journal,
		Select: parking.Unparked(ctx, store, service),
		Report: func(o deadletter.Outcome) {
			if o.Err != nil {
				fmt.Fprintf(g.err, "%s: %s\n", g.app.Name, errorLine(o.Err))
			}
		},
	})
	return sum, errors.Join(err, journal.Close())
}
