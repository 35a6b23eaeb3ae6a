package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/device-fanout/fanout/consumers"
	"github.com/device-fanout/fanout/consumers/deadletter"
	"github.com/device-fanout/fanout/infra/topology"
)

func newDLQWatch(g *globals) *cobra.Command {
	var file, state string
	var every time.Duration
	var once, asJSON bool
	cmd := &cobra.Command{
		Use:   "watch [SERVICE] --rules FILE",
		Short: "Redrive by rules, until Ctrl-C or once",
		Long: `Redrives dead letters by the rules of a file, such as

  # what is known to pass by itself
  redrive code=timeout after=10m times=3
  redrive service=history class=exhausted text="connection refused" after=1m times=5
  leave   code=invalid_data

The first rule that matches counts; conditions are service, device, type, code, class, fingerprint and text. What no rule
matches is left for a person, as is what was redriven so many times. The time doubles with each redrive. Where a redriven
event fails again within a minute, everything with its fingerprint waits as well, and is left for a person in the end.

All that it knows stands in the dead letters, so --once from a timer does the same as a process that goes on.
"` + g.app.Name + ` up --watch FILE" runs it beside the services. It leaves services alone that park devices.`,
		Args:              atMostOne("one service or none"),
		ValidArgsFunction: g.serviceNames,
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx := cmd.Context()
			if every < time.Second {
				return &exitError{exitUsage, fmt.Errorf("--every: got %v, want at least 1s", every)}
			}
			rules, err := g.readRules(file)
			if err != nil {
				return err
			}
			api, d, sources, err := g.dlqs(ctx, args, ofFailures)
			if err != nil {
				return err
			}
			sources = withoutParking(d, sources, g.err)
			w := &watcher{g: g, api: api, sources: sources, rules: rules, state: state, out: g.out, asJSON: asJSON}
			if once {
				return w.round(ctx)
			}
			return w.run(ctx, every)
		},
	}
	f := cmd.Flags()
	f.StringVar(&file, "rules", "", "`FILE` of the rules")
	f.DurationVar(&every, "every", time.Minute, "look again after this `TIME`")
	f.BoolVar(&once, "once", false, "look once and end")
	f.StringVar(&state, "state", "", "`FOLDER` of the journals (default: ~/.local/state/fanout)")
	f.BoolVar(&asJSON, "json", false, "print a JSON object for each queue and round")
	_ = cmd.MarkFlagRequired("rules")
	return cmd
}

// withoutParking leaves out the dead-letter queues of services that park devices, and says so: one redriven by itself would
// come back to the dead-letter queue, behind those that it was in front of.
func withoutParking(d topology.Deployment, sources []deadletter.Source, w io.Writer) []deadletter.Source {
	return slices.DeleteFunc(sources, func(from deadletter.Source) bool {
		s, err := d.Service(from.Service)
		parks := err == nil && s.GroupPolicy == consumers.Park
		if parks {
			fmt.Fprintf(w, "%s parks devices, which are released as a whole: the rules leave it alone\n", s.Name)
		}
		return parks
	})
}

// readRules reads a rules file. Its faults name the file, the line and the column.
func (g *globals) readRules(file string) ([]deadletter.Rule, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, fmt.Errorf("rules: %w", err)
	}
	defer f.Close()
	rules, err := deadletter.ParseRules(f)
	if err != nil {
		text := strings.ReplaceAll(err.Error(), "\n", "\n"+file+": ")
		return nil, &exitError{exitUsage, &hinted{errors.New(file + ": " + text), "see `" + g.app.Name + " dlq watch --help`; nothing was moved"}}
	}
	return rules, nil
}

// watcher redrives by rules.
type watcher struct {
	g       *globals
	api     clients
	sources []deadletter.Source
	rules   []deadletter.Rule
	state   string
	out     io.Writer
	asJSON  bool
	last    map[string]string // what was said of a queue, so that it is not said again
}

// run makes a round now and then until ctx ends. A round that fails is reported, and the next one tries again.
func (w *watcher) run(ctx context.Context, every time.Duration) error {
	tick := time.Tick(every)
	for {
		if err := w.round(ctx); err != nil && ctx.Err() == nil {
			fmt.Fprintf(w.g.err, "%s: %v\n", w.g.app.Name, err)
		}
		select {
		case <-tick:
		case <-ctx.Done():
			return nil
		}
	}
}

func (w *watcher) round(ctx context.Context) error {
	var faults []error
	for _, from := range w.sources {
		if err := w.queue(ctx, from); err != nil {
			faults = append(faults, fmt.Errorf("watch %s: %w", from.Name(), err))
		}
	}
	return errors.Join(faults...)
}

func (w *watcher) queue(ctx context.Context, from deadletter.Source) error {
	journal, err := w.g.journal(w.state, from)
	if err != nil {
		return err
	}
	r, err := deadletter.Watch(ctx, w.api.sqs, from, w.rules, deadletter.Config{Journal: journal})
	err = errors.Join(err, journal.Close())
	if w.asJSON {
		return errors.Join(err, json.NewEncoder(w.out).Encode(struct {
			Time  time.Time `json:"time"`
			Queue string    `json:"queue"`
			deadletter.Round
		}{time.Now().UTC(), from.Name(), r}))
	}
	says := fmt.Sprintf("%s: redriven %d, waiting %d, left for a person %d", from.Name(), r.Summary.Moved, r.Waiting, r.Left+r.Spent)
	if len(r.Stopped) > 0 {
		says += "; stopped, since they fail again at once: " + strings.Join(r.Stopped, ", ")
	}
	if w.last == nil {
		w.last = map[string]string{}
	}
	if r.Summary.Moved > 0 || w.last[from.URL] != says {
		fmt.Fprintf(w.out, "%s %s\n", time.Now().Format(time.TimeOnly), says)
	}
	w.last[from.URL] = says
	if r.Summary.Failed+r.Summary.Broken > 0 {
		err = errors.Join(err, fmt.Errorf("%d dead letters could not be moved", r.Summary.Failed+r.Summary.Held))
	}
	return err
}
