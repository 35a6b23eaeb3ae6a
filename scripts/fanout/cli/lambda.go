package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"time"

	awslambda "github.com/aws/aws-lambda-go/lambda"
	"github.com/spf13/cobra"

	"github.com/device-fanout/fanout/consumers"
	"github.com/device-fanout/fanout/consumers/lambda"
)

// runtimeAPI is the variable by which Lambda tells a program where it gets its invocations.
const runtimeAPI = "AWS_LAMBDA_RUNTIME_API"

func newLambda(g *globals) *cobra.Command {
	return &cobra.Command{
		Use:   "lambda SERVICE",
		Short: "Run one service as an AWS Lambda function",
		Long: `Runs a service as an AWS Lambda function whose event source is the service's queue. It is the command of the function's
image; on a machine of your own run ` + "`" + g.app.Name + ` consume SERVICE` + "`" + `.

The stack of the service sets the environment: FANOUT_QUEUE_URL and FANOUT_DLQ_URL; FANOUT_DATABASE, its database, as for
consume; FANOUT_HANDLER_TIMEOUT and FANOUT_MAX_RECEIVE_COUNT, as declared; FANOUT_ENV and FANOUT_SERVICE. What it logs is
JSON.`,
		Args:              exactly(1, "a service"),
		ValidArgsFunction: g.serviceNames,
		RunE: func(cmd *cobra.Command, args []string) error {
			if os.Getenv(runtimeAPI) == "" {
				return &hinted{errors.New("this is for AWS Lambda, which sets " + runtimeAPI), "on a machine of your own run `" + g.app.Name + " consume " + args[0] + "`"}
			}
			if !cmd.Flags().Changed("env") {
				g.env = cmp.Or(os.Getenv("FANOUT_ENV"), g.env)
			}
			logger := jsonLogger(g.err, slog.LevelInfo)
			function, stop, err := g.newFunction(cmd.Context(), args[0], logger)
			if err != nil {
				logger.Error("the function can't start", "service", args[0], "err", err)
				return &exitError{code: exitCodeOf(err)}
			}
			go awslambda.Start(function.Handle) // never returns: Lambda ends the process, or a signal does
			<-cmd.Context().Done()
			closing, cancel := context.WithTimeout(context.WithoutCancel(cmd.Context()), time.Second)
			defer cancel()
			return stop(closing)
		},
	}
}

// newFunction opens a service, once for all invocations. stop closes it.
func (g *globals) newFunction(ctx context.Context, name string, logger *slog.Logger) (_ *lambda.Function, stop func(context.Context) error, err error) {
	d, err := g.deployment()
	if err != nil {
		return nil, nil, err
	}
	s, err := d.Service(name)
	if err != nil {
		return nil, nil, &exitError{exitUsage, err}
	}
	if s.GroupPolicy == consumers.Park || s.GroupPolicy == consumers.Block { // as the topology says of those that it knows to be on Lambda
		return nil, nil, fmt.Errorf("service %q has the group policy %v, which a function can't keep: it ends, and with it what it knows of a device", name, s.GroupPolicy)
	}
	queue, cfg, err := lambda.FromEnvironment(name, os.Getenv)
	if err != nil {
		return nil, nil, err
	}
	if queue.Service != name {
		return nil, nil, fmt.Errorf("the function is that of service %q by %s, and its command names %q", queue.Service, lambda.VariableService, name)
	}
	api, err := g.clients(ctx)
	if err != nil {
		return nil, nil, err
	}
	database := os.Getenv("FANOUT_DATABASE")
	opened, err := g.openService(ctx, name, serviceOptions{database: database, pushAddr: "127.0.0.1:0", logger: logger})
	if err != nil && database == "" {
		err = fmt.Errorf("without FANOUT_DATABASE: %w", err)
	}
	if err != nil {
		return nil, nil, err
	}
	if opened.Address != "" {
		return nil, nil, errors.Join(fmt.Errorf("service %q listens, and nobody reaches a function: run it as a container", name), opened.Close(ctx))
	}
	cfg.UnknownTypes, cfg.Check, cfg.Logger = opened.UnknownTypes, opened.Check, logger
	function, err := lambda.New(api.sqs, queue, opened.Handle, cfg)
	if err != nil {
		return nil, nil, errors.Join(err, opened.Close(ctx))
	}
	return function, opened.Close, nil
}
