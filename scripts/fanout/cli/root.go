package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/device-fanout/fanout/events"
	"github.com/device-fanout/fanout/infra/topology"
	"github.com/device-fanout/fanout/producer/gateway"
)

// defaultEnvironment is the one that commands work on unless told otherwise.
const defaultEnvironment = "dev"

// globals are the flags that every command takes.
type globals struct {
	streams
	app      App
	env      string
	endpoint string
	local    bool
}

// deployment is the topology in the chosen environment.
func (g *globals) deployment() (topology.Deployment, error) {
	d, err := g.app.Topology.In(g.env)
	if err != nil {
		return d, &exitError{exitUsage, fmt.Errorf("--env: %w", err)}
	}
	return d, nil
}

func newRoot(app App, s streams) *cobra.Command {
	g := &globals{streams: s, app: app}
	root := &cobra.Command{
		Use:   app.Name,
		Short: "Distribute device events to services over Amazon SNS and SQS",
		Long: `Fanout distributes device events to services: gateways publish each event once to an SNS FIFO topic,
every service has an SQS FIFO queue of its own, and the events of a device stay in order.

Start with

  ` + g.app.Name + ` up

which runs all of it on this machine, with no account. The other commands work on that with --local, from
another terminal, and on AWS with the AWS environment variables (AWS_REGION, AWS_PROFILE, AWS_ENDPOINT_URL, …).

` + exitCodes + `
  5  a change of the event types is breaking
  6  tables are to be migrated
  7  doctor found nothing, but could not look at a part`,
		SilenceErrors: true,
		SilenceUsage:  true,
		Args:          aCommand,
		RunE:          help,
	}
	root.Version = g.version().String()
	root.SetVersionTemplate("{{.Version}}\n")
	root.SetIn(s.in)
	root.SetOut(s.out)
	root.SetErr(s.err)
	// A command that only groups others is not shown as one to run.
	root.SetUsageTemplate(strings.Replace(root.UsageTemplate(), "{{if .Runnable}}", "{{if and .Runnable (not .HasAvailableSubCommands)}}", 1))
	flags := root.PersistentFlags()
	flags.StringVar(&g.env, "env", defaultEnvironment, "`NAME` of the environment")
	flags.StringVar(&g.endpoint, "endpoint", "", "`URL` of SNS and SQS (default: $AWS_ENDPOINT_URL, else AWS)")
	flags.BoolVar(&g.local, "local", false, "use the local environment at "+localEndpoint)
	root.MarkFlagsMutuallyExclusive("endpoint", "local")
	_ = root.RegisterFlagCompletionFunc("env", func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
		var names []string
		for _, e := range g.app.Topology.Environments {
			if !e.ThrowAway() {
				names = append(names, e.Name)
			}
		}
		return names, cobra.ShellCompDirectiveNoFileComp
	})
	root.AddCommand(
		outlivesReaders(newUp(g)),
		outlivesReaders(newLocal(g)),
		newPublish(g),
		outlivesReaders(newGateway(g)),
		outlivesReaders(newConsume(g)),
		newMigrate(g),
		outlivesReaders(newLambda(g)),
		newDLQ(g),
		newDoctor(g),
		newState(g),
		outlivesReaders(newConsole(g)),
		newTopology(g),
		newSchema(g),
		newInit(g),
		newNew(g),
		newReady(g),
		newVersion(g),
	)
	markWork(root)
	return root
}

// workError is what a command has returned. Every other error is of the command line.
type workError struct{ error }

func (e workError) Unwrap() error { return e.error }

// markWork makes the errors of cmd and of all commands below it workErrors.
func markWork(cmd *cobra.Command) {
	if work := cmd.RunE; work != nil {
		cmd.RunE = func(cmd *cobra.Command, args []string) error {
			if err := work(cmd, args); err != nil {
				return workError{err}
			}
			return nil
		}
	}
	for _, sub := range cmd.Commands() {
		markWork(sub)
	}
}

// execute runs the command that args name.
func execute(root *cobra.Command) error {
	cmd, err := root.ExecuteC()
	if _, worked := errors.AsType[workError](err); err != nil && !worked && exitCodeOf(err) != exitUsage {
		return usage(cmd, err)
	}
	return err
}

// serviceNames completes the name of a service.
func (g *globals) serviceNames(_ *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	var names []string
	if len(args) == 0 {
		for _, s := range g.app.Topology.Services {
			names = append(names, s.Name+"\t"+s.About)
		}
	}
	return names, cobra.ShellCompDirectiveNoFileComp
}

// complete completes the values of a flag.
func complete(cmd *cobra.Command, flag string, values func() []string) {
	_ = cmd.RegisterFlagCompletionFunc(flag, func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
		return values(), cobra.ShellCompDirectiveNoFileComp
	})
}

// typeNames completes the name of an event type.
func typeNames() (names []string) {
	for _, t := range events.Types() {
		names = append(names, t.Name+"\t"+t.Summary)
	}
	return names
}

// inBackground runs work on a goroutine until the returned func is called, which waits for its end.
func inBackground(ctx context.Context, work func(context.Context)) (stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	var running sync.WaitGroup
	running.Go(func() { work(ctx) })
	return func() {
		cancel()
		running.Wait()
	}
}

// help is what a command does that only groups others.
func help(cmd *cobra.Command, _ []string) error { return cmd.Help() }

// aCommand takes no argument, for a command that only groups others: an argument is then the name of none of them.
func aCommand(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	err := fmt.Errorf("unknown command %q for %q", args[0], cmd.CommandPath())
	cmd.SuggestionsMinimumDistance = 2 // letters
	if near := cmd.SuggestionsFor(args[0]); len(near) > 0 {
		return &exitError{exitUsage, &hinted{err, "did you mean " + strings.Join(near, " or ") + "?"}}
	}
	return usage(cmd, err)
}

// exactly is cobra.ExactArgs with a word for what is wanted.
func exactly(n int, want string) cobra.PositionalArgs {
	return func(_ *cobra.Command, args []string) error {
		if len(args) != n {
			return fmt.Errorf("got %d arguments, want %s", len(args), want)
		}
		return nil
	}
}

// atMostOne takes one optional argument.
func atMostOne(want string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) > 1 {
			return exactly(1, want)(cmd, args)
		}
		return nil
	}
}

func checkRate(perSecond float64) error {
	if !(perSecond >= 0 && perSecond <= 1e9) {
		return fmt.Errorf("--rate: got %v, want events per second, or 0 for as fast as possible", perSecond)
	}
	return nil
}

// maxFutureFlag adds the flag that bounds how far ahead an event's time may be.
func maxFutureFlag(cmd *cobra.Command, d *time.Duration) {
	cmd.Flags().DurationVar(d, "max-future", gateway.DefaultMaxFuture, "refuse events dated more than this `TIME` ahead; 0 refuses none")
}

func checkMaxFuture(d time.Duration) error {
	if d < 0 {
		return fmt.Errorf("--max-future: got %v, want a time such as 24h, or 0 to refuse none", d)
	}
	return nil
}

// maxFuture is the flag's value for a gateway, whose own zero is a default.
func maxFuture(d time.Duration) time.Duration { return cmp.Or(d, -1) }

func checkSlots(n int) error {
	if n < 0 || n > 10_000 {
		return fmt.Errorf("--slots: got %d, want from 1 to 10000, or 0 for the default", n)
	}
	return nil
}

func checkIdle(d time.Duration) error {
	if d < 0 {
		return fmt.Errorf("--until-idle: got %v, want a duration such as 3s", d)
	}
	return nil
}
