package main

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/device-fanout/fanout/infra/local"
	"github.com/device-fanout/fanout/infra/provision"
)

func newLocal(g *globals) *cobra.Command {
	var addr string
	var empty bool
	cmd := &cobra.Command{
		Use:   "local",
		Short: "Run the local SNS and SQS alone, with the topic and queues of an environment",
		Long: `Runs SNS and SQS on this machine, for development and tests: aws-sdk, boto3 and the AWS CLI work against it with

  AWS_ENDPOINT_URL=` + localEndpoint + `

("aws sqs" wants --endpoint-url). It takes any credentials, and keeps its messages in memory until Ctrl-C.`,
		Args: exactly(0, "none"),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if g.endpoint != "" {
				return &exitError{exitUsage, &hinted{errors.New("--endpoint: local is SNS and SQS itself"), "--addr says where it listens"}}
			}
			d, err := g.deployment()
			if err != nil {
				return err
			}
			engine := local.New(local.Options{Logger: newLogger(g.err)})
			defer engine.Close()
			endpoint, err := engine.Listen(addr)
			if err != nil {
				return portTaken(err, "--addr")
			}
			fmt.Fprintf(g.err, "SNS and SQS on %s, region %s\n", endpoint, engine.Region())
			if !empty {
				if _, err := provision.Apply(cmd.Context(), engine.SNS(), engine.SQS(), d); err != nil {
					return err
				}
				if err := d.Table(g.err); err != nil {
					return err
				}
			}
			<-cmd.Context().Done()
			return nil
		},
	}
	cmd.Flags().StringVar(&addr, "addr", localAddress, "`HOST:PORT` where to listen")
	cmd.Flags().BoolVar(&empty, "empty", false, "without topic and queues")
	return cmd
}
