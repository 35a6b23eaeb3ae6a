package cli

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/device-fanout/fanout/consumers/deadletter"
	"github.com/device-fanout/fanout/consumers/failure"
	"github.com/device-fanout/fanout/infra/provision"
	"github.com/device-fanout/fanout/infra/topology"
)

func newDLQ(g *globals) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "dlq",
		Short: "Look at dead letters and bring them back",
		Long: `Looks at the dead-letter queues of an environment, and sends events back to the queues that they came from.

SQS has no way to look without touching: looking hides the messages for as long as it takes and raises their receive
count. What another reader holds at the time, and everything behind it of the same device, can't be seen. Nor can more
than the first ten of a device, because looking holds them: ls tells the true number of each queue, and redrive, drop
and export work through all.

Every service has two: one for events that it could not handle, and one (--delivery) for events that the topic could not
deliver to its queue.`,
		Args: aCommand,
		RunE: help,
	}
	cmd.AddCommand(newDLQLs(g), newDLQShow(g), newDLQRedrive(g), newDLQDrop(g), newDLQExport(g), newDLQWatch(g))
	return cmd
}

// selection is the flags that choose dead letters.
type selection struct {
	filter deadletter.Filter
	class  string
}

func (s *selection) addTo(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringVar(&s.filter.Device, "device", "", "only those of this `DEVICE`")
	f.StringVar(&s.filter.Type, "type", "", "only those of this event `TYPE`")
	f.StringVar(&s.filter.Code, "code", "", "only those with this error `CODE`")
	f.StringVar(&s.class, "class", "", "only those of this `CLASS`: "+oneOf(failure.Classes()))
	f.StringVar(&s.filter.Fingerprint, "fingerprint", "", "only those with this `FINGERPRINT`, as ls shows it")
	f.StringVar(&s.filter.Text, "text", "", "only those with this `TEXT` in the error")
	f.DurationVar(&s.filter.OlderThan, "older-than", 0, "only those that failed longer ago than this `TIME`, such as 10m")
	f.DurationVar(&s.filter.NewerThan, "newer-than", 0, "only those that failed within this `TIME`, such as 24h")
	f.IntVar(&s.filter.Limit, "limit", 0, "at most so many (default: all)")
	complete(cmd, "class", func() (names []string) {
		for _, c := range failure.Classes() {
			names = append(names, string(c))
		}
		return names
	})
	complete(cmd, "type", typeNames)
}

func (s *selection) check() error {
	s.filter.Class = deadletter.Class(s.class)
	if err := s.filter.Validate(); err != nil {
		first, _, _ := strings.Cut(err.Error(), "\n")
		return &exitError{exitUsage, errors.New("--" + first)}
	}
	return nil
}

// checkEmpty refuses a condition that is given but empty, as by an unset variable of a script: it would select everything.
func checkEmpty(cmd *cobra.Command) error {
	for _, name := range []string{"device", "type", "code", "class", "fingerprint", "text"} {
		if f := cmd.Flags().Lookup(name); f.Changed && f.Value.String() == "" {
			return &exitError{exitUsage, fmt.Errorf("--%s: got nothing, want a condition; leave the flag out to select all", name)}
		}
	}
	return nil
}

// everything tells whether the selection has no condition.
func (s *selection) everything() bool { return s.filter == deadletter.Filter{} }

// String is the selection as the plan shows it.
func (s *selection) String() string {
	f := s.filter
	var parts []string
	add := func(set bool, format string, value any) {
		if set {
			parts = append(parts, fmt.Sprintf(format, value))
		}
	}
	add(f.Device != "", "device %s", f.Device)
	add(f.Type != "", "type %s", f.Type)
	add(f.Code != "", "code %s", f.Code)
	add(f.Class != "", "class %s", f.Class)
	add(f.Fingerprint != "", "fingerprint %s", f.Fingerprint)
	add(f.Text != "", "%q in the error", f.Text)
	add(f.OlderThan > 0, "older than %v", f.OlderThan)
	add(f.NewerThan > 0, "newer than %v", f.NewerThan)
	add(f.Limit > 0, "at most %d", f.Limit)
	if len(parts) == 0 {
		return "all"
	}
	return strings.Join(parts, ", ")
}

func oneOf[T ~string](values []T) string {
	var b strings.Builder
	for i, v := range values {
		switch i {
		case 0:
		case len(values) - 1:
			b.WriteString(" or ")
		default:
			b.WriteString(", ")
		}
		b.WriteString(string(v))
	}
	return b.String()
}

// dlqs finds the dead-letter queues of the named service, or of all: of deliveries only, of failures only, or both.
func (g *globals) dlqs(ctx context.Context, args []string, which kind) (clients, topology.Deployment, []deadletter.Source, error) {
	d, err := g.deployment()
	if err != nil {
		return clients{}, d, nil, err
	}
	chosen := d.Services
	if len(args) > 0 {
		s, err := d.Service(args[0])
		if err != nil {
			return clients{}, d, nil, &exitError{exitUsage, err}
		}
		chosen = []topology.Service{s}
	}
	api, err := g.clients(ctx)
	if err != nil {
		return clients{}, d, nil, err
	}
	var sources []deadletter.Source
	for _, s := range chosen {
		found, err := findDLQs(ctx, api, d, s.Name)
		if err != nil {
			return clients{}, d, nil, err
		}
		for _, from := range found {
			if which == ofBoth || from.Delivery == (which == ofDeliveries) {
				sources = append(sources, from)
			}
		}
	}
	if len(sources) == 0 {
		return clients{}, d, nil, fmt.Errorf("%s has no dead-letter queue for deliveries in %s", args[0], d.Environment.Name)
	}
	return api, d, sources, nil
}

// kind says which dead-letter queues a command works on.
type kind int

const (
	ofFailures kind = iota
	ofDeliveries
	ofBoth
)

// kindOf is the kind for a command that works on one queue.
func kindOf(delivery bool) kind {
	if delivery {
		return ofDeliveries
	}
	return ofFailures
}

// findDLQs finds the dead-letter queues of a service. An environment that was deployed before there were queues for deliveries has none.
func findDLQs(ctx context.Context, api clients, d topology.Deployment, service string) ([]deadletter.Source, error) {
	q, err := provision.FindQueues(ctx, api.sqs, d, service)
	if err != nil {
		return nil, err
	}
	home := d.QueueName(service)
	sources := []deadletter.Source{{Service: service, URL: q.DLQURL, Queue: home}}
	url, err := provision.FindDeliveryDLQ(ctx, api.sqs, d, service)
	if _, missing := errors.AsType[*provision.NotFoundError](err); missing {
		return sources, nil
	}
	if err != nil {
		return nil, err
	}
	return append(sources, deadletter.Source{Service: service, URL: url, Queue: home, Delivery: true}), nil
}

// ago is an age for people.
func ago(now, t time.Time) string {
	if t.IsZero() {
		return "-"
	}
	return age(now.Sub(t)) + " ago"
}

// age is a duration in its two largest units.
func age(d time.Duration) string {
	switch {
	case d < time.Minute:
		return d.Round(time.Second).String()
	case d < time.Hour:
		return strings.TrimSuffix(d.Round(time.Second).String(), "0s")
	case d < 24*time.Hour:
		return strings.TrimSuffix(d.Round(time.Minute).String(), "0s")
	}
	return fmt.Sprintf("%dd%dh", d/(24*time.Hour), d%(24*time.Hour)/time.Hour)
}
