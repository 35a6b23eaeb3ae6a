package cli

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io"

	"github.com/aws/aws-sdk-go-v2/service/cloudformation"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatch"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/spf13/cobra"

	"github.com/device-fanout/fanout/infra/doctor"
	"github.com/device-fanout/fanout/scripts/fanout/cli/internal/terminal"
)

func newDoctor(g *globals) *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "doctor",
		Short: "Find out what is wrong with a deployed environment, and what to do about it",
		Long: `Compares what is deployed with the declaration: credentials, account and region, what the caller may do, every attribute
and policy of the topic, the queues and the subscriptions, stacks that are missing or failed, queues and stacks of services
that were removed or renamed, what waits in the queues and how long, and what the dead-letter queues hold.

It only reads, and receives no message. What can't be looked at is named, and does not stop the rest. Each finding is an
error (events are lost or stand still, or will), a warning or a note, with what to do about it and commands that do it.

Exit codes:
  0  nothing was found, but perhaps notes
  1  there are errors or warnings
  2  the command line is wrong
  7  nothing was found, but a part could not be looked at, or the whole`,
		Example: `  ` + g.app.Name + ` doctor --env prod
  ` + g.app.Name + ` doctor --env feature-x --json
  ` + g.app.Name + ` doctor --local`,
		Args: exactly(0, "none"),
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx := cmd.Context()
			d, err := g.deployment()
			if err != nil {
				return err
			}
			api, err := g.clients(ctx)
			if err != nil {
				if exitCodeOf(err) == exitUsage {
					return err
				}
				return &exitError{exitUnseen, err}
			}
			seen, err := doctor.Look(ctx, api.all(), d, api.config.Region)
			if err != nil {
				return &exitError{exitUnseen, fmt.Errorf("the look was cut off: %w", err)}
			}
			report := doctor.Judge(d, seen, doctor.Words{Program: g.app.Name, Endpoint: api.asked})
			if asJSON {
				err = json.NewEncoder(g.out).Encode(report)
			} else {
				err = printReport(g.out, report)
			}
			if err != nil {
				return fmt.Errorf("write the report: %w", err)
			}
			switch {
			case !report.Well():
				return &exitError{code: exitFailed}
			case !report.Complete():
				return &exitError{code: exitUnseen}
			}
			return nil
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

// all are the clients of every service that doctor asks.
func (c clients) all() doctor.Clients {
	cfg := c.config.Copy()
	cfg.BaseEndpoint = cmp.Or(ptr(c.endpoint), cfg.BaseEndpoint)
	cfg.HTTPClient = fromMemory{cfg.HTTPClient}
	return doctor.Clients{
		SNS: c.sns, SQS: c.sqs, STS: sts.NewFromConfig(cfg), IAM: iam.NewFromConfig(cfg),
		CloudFormation: cloudformation.NewFromConfig(cfg), CloudWatch: cloudwatch.NewFromConfig(cfg),
	}
}

func printReport(w io.Writer, r doctor.Report) error {
	where := r.Region
	if r.Account != "" {
		where = fmt.Sprintf("account %s, %s, as %s", r.Account, r.Region, terminal.Line(r.Caller))
	}
	fmt.Fprintf(w, "environment %s: %s\n\n", r.Environment, where)
	for _, f := range r.Findings {
		fmt.Fprintf(w, "%-8s %s: %s\n", f.Severity, terminal.Line(f.Resource), terminal.Line(told(f)))
		if f.Advice != "" {
			fmt.Fprintf(w, "         to do: %s\n", terminal.Line(f.Advice))
		}
		for _, command := range f.Commands {
			fmt.Fprintf(w, "           %s\n", terminal.Line(command))
		}
	}
	for _, u := range r.Unseen {
		fmt.Fprintf(w, "%-8s %s could not be looked at: %s\n", "unseen", u.Part, terminal.Line(u.Reason))
		if u.Advice != "" {
			fmt.Fprintf(w, "         to do: %s\n", terminal.Line(u.Advice))
		}
	}
	if len(r.Findings)+len(r.Unseen) > 0 {
		fmt.Fprintln(w)
	}
	result := "nothing is wrong"
	switch c := r.Counts; {
	case !r.Well():
		result = fmt.Sprintf("%s, %s", plural(c.Errors, "error"), plural(c.Warnings, "warning"))
	case !r.Complete():
		result = "nothing is wrong in what could be looked at"
	}
	if n := len(r.Unseen); n > 0 {
		result += fmt.Sprintf("; %s could not be looked at", plural(n, "part"))
	}
	_, err := fmt.Fprintln(w, result)
	return err
}

// told is what a finding says of its resource: with what is and what is wanted, where it is about an attribute that has both.
func told(f doctor.Finding) string {
	switch {
	case f.Attribute == "Policy" && f.Is != "":
		return f.Text + ": " + f.Is
	case f.Attribute == "Policy", f.Attribute == "", f.Is == "" && f.Want == "":
		return f.Text
	}
	text := f.Attribute + " is " + cmp.Or(f.Is, "not set")
	if f.Want != "" {
		text += ", want " + f.Want
	}
	return text + ": " + f.Text
}

func plural(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}
