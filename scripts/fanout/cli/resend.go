package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/device-fanout/fanout/consumers/deadletter"
)

// resend sends the dead letters of an archive back to the queues of the chosen environment.
func (g *globals) resend(ctx context.Context, file string, rate float64, asJSON bool) error {
	d, err := g.deployment()
	if err != nil {
		return err
	}
	input, err := g.openInput(file)
	if err != nil {
		return err
	}
	defer input.Close()
	api, err := g.clients(ctx)
	if err != nil {
		return err
	}
	ours := map[string]bool{}
	for _, s := range d.Services {
		ours[d.QueueName(s.Name)] = true
	}
	start := time.Now()
	rejected := 0
	sent, failed, err := deadletter.Resend(ctx, api.sqs, input, deadletter.ResendConfig{
		Rate: rate,
		Allow: func(queue string) error {
			if !ours[queue] {
				return fmt.Errorf("queue %q is not of environment %s; --env names another", queue, d.Environment.Name)
			}
			return nil
		},
		Reject: func(e *deadletter.LineError) {
			if rejected++; rejected <= maxWarned {
				fmt.Fprintf(g.err, "rejected %s\n", errorLine(e))
			}
		},
	})
	took := time.Since(start).Seconds()
	if asJSON {
		_ = json.NewEncoder(g.out).Encode(struct {
			Sent    int     `json:"sent"`
			Failed  int     `json:"failed"`
			Seconds float64 `json:"seconds"`
		}{sent, failed, took})
	} else {
		fmt.Fprintf(g.out, "sent %d back to their queues, rejected %d, in %.1f s\n", sent, failed, took)
	}
	switch {
	case err != nil:
		return fmt.Errorf("%s: %w", file, err)
	case failed > 0:
		return &exitError{code: exitRejected}
	}
	return nil
}
