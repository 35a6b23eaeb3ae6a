package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/device-fanout/fanout/infra/topology"
)

// globals are the flags that every command takes.
type globals struct {
	streams
	env      string
	endpoint string
	local    bool
}

// deployment is the topology in the chosen environment.
func (g *globals) deployment() (topology.Deployment, error) {
	return topology.Default().In(g.env)
}

func newRoot(s streams) *cobra.Command {
	g := &globals{streams: s}
	root := &cobra.Command{
		Use:   "fanout",
		Short: "Distribute device events to services over Amazon SNS and SQS",
		Long: `Fanout distributes device events to services: gateways publish each event once to an SNS FIFO topic,
every service has an SQS FIFO queue of its own, and the events of a device stay in order.

Start with:  fanout up

All commands take the AWS environment variables (AWS_REGION, AWS_PROFILE, AWS_ENDPOINT_URL, …).

` + exitCodes,
		SilenceErrors: true,
		SilenceUsage:  true,
	}
	root.SetIn(s.in)
	root.SetOut(s.out)
	root.SetErr(s.err)
	flags := root.PersistentFlags()
	flags.StringVar(&g.env, "env", "dev", "environment")
	flags.StringVar(&g.endpoint, "endpoint", "", "endpoint of SNS and SQS (default $AWS_ENDPOINT_URL, else AWS)")
	flags.BoolVar(&g.local, "local", false, "use the local environment at "+localEndpoint)
	root.MarkFlagsMutuallyExclusive("endpoint", "local")
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return &exitError{exitUsage, &hinted{err, fmt.Sprintf("see `%s --help`", cmd.CommandPath())}}
	})
	_ = root.RegisterFlagCompletionFunc("env", func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
		var names []string
		for _, e := range topology.Default().Environments {
			names = append(names, e.Name)
		}
		return names, cobra.ShellCompDirectiveNoFileComp
	})
	root.AddCommand(
		newUp(g),
		newLocal(g),
		newPublish(g),
		newConsume(g),
		newDLQ(g),
		newTopology(g),
	)
	return root
}

// serviceNames completes the name of a service.
func serviceNames(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
	var names []string
	for _, s := range topology.Default().Services {
		names = append(names, s.Name+"\t"+s.About)
	}
	return names, cobra.ShellCompDirectiveNoFileComp
}

// exactly is cobra.ExactArgs with a usage exit code and a word for what is wanted.
func exactly(n int, want string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) != n {
			return &exitError{exitUsage, &hinted{
				fmt.Errorf("%s: got %d arguments, want %s", cmd.CommandPath(), len(args), want),
				fmt.Sprintf("see `%s --help`", cmd.CommandPath()),
			}}
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
