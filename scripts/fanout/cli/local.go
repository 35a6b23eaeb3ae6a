package cli

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/device-fanout/fanout/infra/local"
	"github.com/device-fanout/fanout/infra/local/faults"
	"github.com/device-fanout/fanout/infra/provision"
)

func newLocal(g *globals) *cobra.Command {
	var addr, faultsFile string
	var empty, enforce, exposed bool
	kinds := faults.Kinds()
	cmd := &cobra.Command{
		Use:   "local",
		Short: "Run the local SNS and SQS alone, with the topic and queues of an environment",
		Long: `Runs SNS and SQS on this machine, for development and tests: aws-sdk, boto3 and the AWS CLI work against it with

  AWS_ENDPOINT_URL=` + localEndpoint + `

("aws sqs" wants --endpoint-url). It takes any credentials, and keeps its messages in memory until Ctrl-C.
What the queues hold, which groups are locked, and what was asked of it stands at /_fanout/status.

--faults injects faults by the rules of a file; the first rule that matches a request decides:

  [
    {"kind": "throttle", "action": "PublishBatch", "rate": 100, "after": "10s", "for": "1m"},
    {"kind": "fail_entry", "group": "lamp-7", "count": 3},
    {"kind": "drop_reply", "action": "sqs.DeleteMessageBatch", "probability": 0.01, "seed": 7},
    {"kind": "delay", "delay": "20ms", "delay_p99": "400ms"}
  ]

Kinds:
  ` + strings.Join(kinds[:len(kinds)/2], ", ") + `,
  ` + strings.Join(kinds[len(kinds)/2:], ", ") + `.
Conditions: action, resource (a queue's or topic's name), group, entry, entry_id, after, for, count,
probability with seed.`,
		Args: exactly(0, "none"),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if g.endpoint != "" {
				return &exitError{exitUsage, &hinted{errors.New("--endpoint: local is SNS and SQS itself"), "--addr says where it listens"}}
			}
			d, err := g.deployment()
			if err != nil {
				return err
			}
			rules, err := readFaults(faultsFile)
			if err != nil {
				return err
			}
			engine := local.New(local.Options{Logger: newLogger(g.err), EnforcePolicies: enforce, Exposed: exposed})
			defer engine.Close()
			endpoint, err := engine.Listen(addr)
			if err != nil {
				return notListening(err, "--addr")
			}
			fmt.Fprintf(g.err, "SNS and SQS on %s, region %s\n", endpoint, engine.Region())
			if !empty {
				if _, err := provision.Apply(cmd.Context(), engine.SNS(), engine.SQS(), d); err != nil {
					return err
				}
				_ = d.Table(g.err) // whoever reads it may be gone
			}
			for _, rule := range rules { // not before the topic and the queues are there
				engine.Faults().Add(rule)
			}
			if len(rules) > 0 {
				fmt.Fprintf(g.err, "injecting faults by %d rules of %s\n", len(rules), faultsFile)
			}
			<-cmd.Context().Done()
			if len(rules) > 0 {
				return printInjected(g.err, engine.Faults().Injected())
			}
			return nil
		},
	}
	cmd.Flags().StringVar(&addr, "addr", localAddress, "`HOST:PORT` where to listen")
	addExpose(cmd, &exposed, "the engine, which asks for no key")
	cmd.Flags().BoolVar(&empty, "empty", false, "without topic and queues")
	cmd.Flags().StringVar(&faultsFile, "faults", "", "`FILE` of fault rules: a JSON array, see above")
	cmd.Flags().BoolVar(&enforce, "enforce-policies", false, "deliver only to queues whose policy lets the topic send, as AWS does")
	return cmd
}

// readFaults reads a file of fault rules; "" is none.
func readFaults(name string) ([]faults.Rule, error) {
	if name == "" {
		return nil, nil
	}
	file, err := os.Open(name)
	if err != nil {
		return nil, &exitError{exitUsage, fmt.Errorf("--faults: %w", err)}
	}
	defer file.Close()
	rules, err := faults.Parse(file)
	if err != nil {
		return nil, &exitError{exitUsage, fmt.Errorf("--faults: %s: %w", name, err)}
	}
	return rules, nil
}

// printInjected prints how often each kind of fault was injected.
func printInjected(w io.Writer, injected map[faults.Kind]int64) error {
	for _, kind := range slices.Sorted(maps.Keys(injected)) {
		if _, err := fmt.Fprintf(w, "injected %s: %d\n", kind, injected[kind]); err != nil {
			return err
		}
	}
	return nil
}
