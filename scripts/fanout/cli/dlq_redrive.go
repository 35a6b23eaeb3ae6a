package cli

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"github.com/device-fanout/fanout/consumers"
	"github.com/device-fanout/fanout/consumers/deadletter"
	"github.com/device-fanout/fanout/infra/provision"
	"github.com/device-fanout/fanout/infra/topology"
	"github.com/device-fanout/fanout/scripts/fanout/cli/internal/terminal"
)

// moving is the flags of the commands that move or delete dead letters.
type moving struct {
	pick     selection
	yes      bool
	dryRun   bool
	asJSON   bool
	delivery bool
	rate     float64
	state    string
	file     string         // that dead letters are written to; "" when they are not
	services serviceOptions // where a service keeps its database, for one that parks devices
}

func (m *moving) addTo(cmd *cobra.Command, verb string) {
	m.pick.addTo(cmd)
	f := cmd.Flags()
	f.BoolVar(&m.yes, "yes", false, verb+" them")
	f.BoolVar(&m.dryRun, "dry-run", false, "only show the plan")
	f.BoolVar(&m.delivery, "delivery", false, "those that the topic could not deliver")
	f.Float64Var(&m.rate, "rate", 0, verb+" at most `N` per second (default: as fast as possible)")
	f.StringVar(&m.state, "state", "", "`FOLDER` of the journals of runs that were cut off (default ~/.local/state/fanout)")
	f.BoolVar(&m.asJSON, "json", false, "print JSON")
	cmd.MarkFlagsMutuallyExclusive("yes", "dry-run")
}

func (m *moving) check(cmd *cobra.Command) error {
	if err := m.pick.check(); err != nil {
		return err
	}
	if err := checkEmpty(cmd); err != nil {
		return err
	}
	if err := checkRate(m.rate); err != nil {
		return &exitError{exitUsage, err}
	}
	return nil
}

// result is what the commands that move dead letters print as JSON. A plan has moved nothing.
type result struct {
	deadletter.Summary
	Unseen  int     `json:"unseen,omitempty"` // dead letters that it could not see
	File    string  `json:"file,omitempty"`
	Seconds float64 `json:"seconds"`
}

func newDLQRedrive(g *globals) *cobra.Command {
	var m moving
	var native bool
	cmd := &cobra.Command{
		Use:   "redrive SERVICE",
		Short: "Send dead letters back to the queue that they came from",
		Long: `Sends the selected dead letters back to the queue that they came from, never to the topic: oldest first within a device,
and each is deleted only after its send was confirmed. It may be interrupted or killed, and run again: a journal knows
what was sent.

What names another queue as the one that it came from stays and counts as failed: whoever can write to one dead-letter
queue shall not choose where a redrive sends to.

Without a --device, what stays is set aside where it stands in front of what goes: it becomes new messages at the end of
the same dead-letter queue, in the same order.

Redriven events queue up behind newer events of their device; services keep an old one from overwriting newer state.

Of a service that parks devices the parked ones are released, each with all of its dead letters in order; its database
(--data or --database) knows which they are.

--native lets SQS itself move everything; it can't select, and the records do not count the redrive.

` + exitCodes,
		Args:              exactly(1, "a service"),
		ValidArgsFunction: g.serviceNames,
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx := cmd.Context()
			if err := m.check(cmd); err != nil {
				return err
			}
			if native && m.rate > 0 && m.rate < 1 {
				return &exitError{exitUsage, fmt.Errorf("--rate: got %v, want at least 1 with --native: SQS takes whole numbers", m.rate)}
			}
			if native && (!m.pick.everything() || m.delivery) {
				return &exitError{exitUsage, errors.New("--native moves all that a service could not handle; it takes no selection and no --delivery")}
			}
			api, d, sources, err := g.dlqs(ctx, args, kindOf(m.delivery))
			if err != nil {
				return err
			}
			from := sources[0]
			if err := g.checkNoMove(ctx, api, from); err != nil {
				return err
			}
			if s, _ := d.Service(from.Service); s.GroupPolicy == consumers.Park && !m.delivery {
				return g.redriveParking(ctx, api, d, s, from, m)
			}
			plan, err := g.plan(ctx, api, from, m, fmt.Sprintf("send %%s from %s back to %s", from.Name(), from.Queue))
			if err != nil || plan == nil {
				return err
			}
			if native {
				return g.redriveNative(ctx, api, d, from, m, plan)
			}
			return g.move(ctx, from, m, plan, "redriving", func(cfg deadletter.Config) (deadletter.Summary, error) {
				return deadletter.Redrive(ctx, api.sqs, from, cfg)
			}, "moved %d of %d selected dead letters to "+from.Queue)
		},
	}
	m.addTo(cmd, "move")
	cmd.Flags().StringVar(&m.services.data, "data", "", "`FOLDER` of the service's database, for one that parks devices")
	cmd.Flags().StringVar(&m.services.database, "database", "", "`URL`, settings or JSON of the service's database, instead of --data")
	cmd.Flags().BoolVar(&native, "native", false, "let SQS move everything, by a message move task")
	return cmd
}

// checkNoMove fails if a message move task of SQS is emptying the queue. Without the permission to ask, it finds none.
func (g *globals) checkNoMove(ctx context.Context, api clients, from deadletter.Source) error {
	if from.Delivery {
		return nil
	}
	task, err := deadletter.LastMove(ctx, api.sqs, from)
	if err == nil && task.Running() {
		return fmt.Errorf("%w on %s: %d of about %d messages moved; nothing was moved here", deadletter.ErrMoving, from.Name(), task.Moved, task.ToMove)
	}
	return nil
}

// plan shows what would be done; what says it, with a %s for the number. It returns nil if nothing is to be done: for a dry run, for an
// empty selection and, with an error, without --yes.
func (g *globals) plan(ctx context.Context, api clients, from deadletter.Source, m moving, what string) (*deadletter.Survey, error) {
	s, err := deadletter.Look(ctx, api.sqs, from, m.pick.filter, nil)
	if err != nil {
		return nil, err
	}
	unseen := s.Unseen()
	if m.pick.filter.Limit > 0 && s.Matched >= m.pick.filter.Limit {
		unseen = 0
	}
	out := g.out
	if m.yes || m.asJSON {
		out = g.err
	}
	going, stay := s.Matched, 0
	if m.file == "" { // to an archive all go
		stay = s.Foreign
		going -= stay
	}
	number := fmt.Sprintf("%d dead letters of %d devices", going, s.Devices)
	if unseen > 0 {
		number = "at least " + number
	}
	will := "would "
	if m.yes {
		will = "will "
	}
	fmt.Fprintf(out, "environment %s: %s%s\n", g.env, will, fmt.Sprintf(what, number))
	fmt.Fprintf(out, "selected: %s\n", m.pick.String())
	for _, f := range s.Groups {
		fmt.Fprintf(out, "  %6d  %s  %s %s %s\n", f.Count, f.Fingerprint, f.Class, terminal.Line(f.Code), cmp.Or(terminal.Line(f.Type), "-"))
	}
	if unseen > 0 {
		fmt.Fprintf(out, "%d more stand behind the first ten of their device, or are held by somebody else at the moment; those that are selected go too\n", unseen)
	}
	if stay > 0 {
		fmt.Fprintf(out, "%d more are selected and stay, since they name another queue than %s; drop and export take them\n", stay, from.Queue)
	}
	if s.Depth.InFlight > 0 {
		fmt.Fprintf(out, "%d are in flight: somebody else is reading this queue, or a run was killed less than a minute ago\n", s.Depth.InFlight)
	}
	if m.asJSON && !m.yes {
		_ = json.NewEncoder(g.out).Encode(result{Summary: deadletter.Summary{Seen: s.Seen, Matched: s.Matched, Foreign: stay}, Unseen: unseen})
	}
	switch {
	case m.yes && (s.Matched+unseen > 0 || g.cutOff(m.state, from)):
		return s, nil
	case m.yes && m.asJSON:
		return nil, json.NewEncoder(g.out).Encode(result{})
	case m.yes:
		fmt.Fprintln(g.out, "nothing is selected; nothing was done")
		return nil, nil
	case m.dryRun || s.Matched+unseen == 0:
		return nil, nil
	}
	return nil, &exitError{exitUsage, &hinted{errors.New("nothing was moved"), "add --yes to do it"}}
}

// move carries out a plan by work, and prints the result; says is its text, with places for the numbers moved and selected.
func (g *globals) move(ctx context.Context, from deadletter.Source, m moving, plan *deadletter.Survey, doing string,
	work func(deadletter.Config) (deadletter.Summary, error), says string,
) error {
	journal, err := g.journal(m.state, from)
	if err != nil {
		return err
	}
	bar := g.progress(doing, plan.Matched)
	start := time.Now()
	failed := 0
	sum, err := work(deadletter.Config{
		Filter: m.pick.filter, Rate: m.rate, Lanes: 2 * deadletter.DefaultLanes, Journal: journal,
		Report: func(o deadletter.Outcome) {
			if o.Err == nil {
				bar.step()
			} else if failed++; failed <= maxWarned {
				bar.warn("%s: %s", g.app.Name, errorLine(o.Err))
			}
		},
	})
	bar.done()
	err = errors.Join(err, journal.Close())
	took := time.Since(start)
	unseen := 0
	if err == nil && ctx.Err() == nil && m.pick.filter.Limit == 0 {
		unseen = max(0, plan.Depth.Total()-sum.Seen-sum.Cleared)
	}
	if m.asJSON {
		_ = json.NewEncoder(g.out).Encode(result{Summary: sum, Unseen: unseen, File: m.file, Seconds: took.Seconds()})
	} else {
		fmt.Fprintf(g.out, says+"; %d failed, %d left behind a failed one of their device; %.1f s, %.0f/s\n",
			sum.Moved, sum.Matched, sum.Failed, sum.Held, took.Seconds(), float64(sum.Moved)/max(took.Seconds(), 1e-3))
		if sum.Returned > 0 {
			fmt.Fprintf(g.out, "%d came back at once: the cause is not mended\n", sum.Returned)
		}
		if sum.Foreign > 0 {
			fmt.Fprintf(g.out, "%d of the failed name another queue than %s and stay; drop writes them to a file\n", sum.Foreign, from.Queue)
		}
		if unseen > 0 {
			fmt.Fprintf(g.out, "%d could not be received: another reader or a killed run holds them, or messages before them; run it again in a minute\n", unseen)
		}
	}
	switch {
	case ctx.Err() != nil:
		return &hinted{fmt.Errorf("interrupted after %d; what was not moved is where it was", sum.Moved), "run the same command again to go on"}
	case err != nil:
		return err
	case sum.Broken > 0:
		return fmt.Errorf("the dead letters of %d devices are not in order yet; run the same command again", sum.Broken)
	case sum.Failed > 0:
		return fmt.Errorf("%d dead letters were not moved", sum.Failed+sum.Held)
	}
	return nil
}

// openJournal opens the journal of a dead-letter queue.
func openJournal(folder string, from deadletter.Source) (*deadletter.Journal, error) {
	if folder == "" {
		var err error
		if folder, err = stateFolder(); err != nil {
			return nil, err
		}
	}
	name := deadletter.FingerprintOf(from.URL, "", "", "") // endpoints and accounts have queues of the same name
	return deadletter.OpenJournal(filepath.Join(folder, "dlq", from.Name()+"-"+name+".journal"), from.URL)
}

// cutOff tells whether a run on this queue was cut off, so that there is something to do where nothing is selected.
func (g *globals) cutOff(folder string, from deadletter.Source) bool {
	j, err := openJournal(folder, from)
	if err != nil {
		return true // whoever opens it next says why
	}
	open, devices := j.Open()
	return j.Close() != nil || open+devices > 0
}

// journal opens the journal of a dead-letter queue, and tells what it has open.
func (g *globals) journal(folder string, from deadletter.Source) (*deadletter.Journal, error) {
	j, err := openJournal(folder, from)
	if err != nil {
		return nil, &hinted{err, "--state names another folder for journals"}
	}
	if open, devices := j.Open(); open+devices > 0 {
		fmt.Fprintf(g.err, "going on with a run that was cut off: %d dead letters to delete, %d devices to put in order\n", open, devices)
	}
	return j, nil
}

// stateFolder is the default folder of journals.
func stateFolder() (string, error) {
	if folder := os.Getenv("XDG_STATE_HOME"); folder != "" {
		return filepath.Join(folder, "fanout"), nil
	}
	home, err := os.UserHomeDir()
	if err != nil {
		return "", &hinted{fmt.Errorf("journal: %w", err), "--state names a folder for journals"}
	}
	return filepath.Join(home, ".local", "state", "fanout"), nil
}

// redriveNative starts a message move task of SQS and waits for its end.
func (g *globals) redriveNative(ctx context.Context, api clients, d topology.Deployment, from deadletter.Source, m moving, plan *deadletter.Survey) error {
	q, err := provision.FindQueues(ctx, api.sqs, d, from.Service)
	if err != nil {
		return err
	}
	journal, err := g.journal(m.state, from) // nothing else works on the queue meanwhile
	if err != nil {
		return err
	}
	defer journal.Close()
	if open, devices := journal.Open(); open+devices > 0 {
		return &hinted{
			errors.New("nothing was moved: a run on this queue was cut off, and SQS would send again what it has sent"),
			"run the same command once without --native",
		}
	}
	start := time.Now()
	bar := g.progress("message move task", plan.Depth.Visible)
	task, err := deadletter.RedriveNative(ctx, api.sqs, from, q.URL, int(m.rate), func(t deadletter.MoveTask) { bar.set(int(t.Moved)) })
	bar.done()
	if m.asJSON {
		_ = json.NewEncoder(g.out).Encode(task)
	} else if err == nil {
		fmt.Fprintf(g.out, "SQS moved about %d messages to %s in %.1f s\n", task.Moved, from.Queue, time.Since(start).Seconds())
	}
	return err
}
