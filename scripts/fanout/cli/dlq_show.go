package cli

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/device-fanout/fanout/consumers/deadletter"
)

// shownMessage is a dead letter as show prints it.
type shownMessage struct {
	EventID    string            `json:"event_id,omitempty"`
	DeviceID   string            `json:"device_id"`
	Type       string            `json:"type,omitempty"`
	Time       *time.Time        `json:"time,omitempty"`
	TraceID    string            `json:"trace_id,omitempty"`
	MessageID  string            `json:"message_id"`
	Record     deadletter.Record `json:"deadletter"`
	Attributes map[string]string `json:"message_attributes"`
	Body       string            `json:"body"`
}

func newDLQShow(g *globals) *cobra.Command {
	var pick selection
	var asJSON, delivery bool
	cmd := &cobra.Command{
		Use:               "show SERVICE",
		Short:             "Show dead letters one by one, with payload and error",
		Args:              exactly(1, "a service"),
		ValidArgsFunction: g.serviceNames,
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx := cmd.Context()
			if err := pick.check(); err != nil {
				return err
			}
			api, _, sources, err := g.dlqs(ctx, args, kindOf(delivery))
			if err != nil {
				return err
			}
			now := time.Now()
			out := json.NewEncoder(g.out)
			s, err := deadletter.Look(ctx, api.sqs, sources[0], pick.filter, func(m *deadletter.Message) {
				if !asJSON {
					g.printMessage(now, m)
					return
				}
				s := shownMessage{
					EventID: m.EventID, DeviceID: m.DeviceID, Type: m.Type, TraceID: m.TraceID(), MessageID: m.MessageID, Record: m.Record,
					Attributes: m.Attributes(), Body: m.Body,
				}
				if !m.Time.IsZero() {
					s.Time = &m.Time
				}
				_ = out.Encode(s)
			})
			if err != nil {
				return err
			}
			fmt.Fprintf(g.err, "%d dead letters shown", s.Matched)
			if pick.filter.Limit == 0 && s.Unseen() > 0 {
				fmt.Fprintf(g.err, "; %d of %d in the queue can't be seen: they stand behind the first ten of their device, or somebody else holds them",
					s.Unseen(), s.Depth.Total())
			}
			fmt.Fprintln(g.err)
			return nil
		},
	}
	pick.addTo(cmd)
	cmd.Flags().BoolVar(&delivery, "delivery", false, "those that the topic could not deliver")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print a JSON object per line")
	return cmd
}

func (g *globals) printMessage(now time.Time, m *deadletter.Message) {
	r := m.Record
	field := func(name, format string, args ...any) {
		text := fmt.Sprintf(format, args...)
		fmt.Fprintf(g.out, "%-9s %s\n", name, strings.ReplaceAll(text, "\n", "\n          "))
	}
	field("event", "%s", cmp.Or(m.EventID, "-"))
	field("device", "%s", cmp.Or(m.DeviceID, "-"))
	field("type", "%s", cmp.Or(m.Type, "-"))
	if !m.Time.IsZero() {
		field("happened", "%s", m.Time.Format(time.RFC3339))
	}
	field("failed", "%s, %s", r.FailedAt.Format(time.RFC3339), ago(now, r.FailedAt))
	field("class", "%s, code %s, fingerprint %s", r.Class, r.Code, r.Fingerprint)
	if meaning := r.Class.Meaning(); meaning != "" {
		field("", "%s", meaning)
	}
	counts := fmt.Sprintf("%d attempts, %d receives, %d redrives", r.Attempts, r.ReceiveCount, r.Redrives)
	if !r.RedrivenAt.IsZero() {
		counts += ", the last " + ago(now, r.RedrivenAt)
	}
	field("counts", "%s", counts)
	if id := m.TraceID(); id != "" {
		field("trace", "%s", id)
	}
	attributes := m.Attributes()
	for _, name := range slices.Sorted(maps.Keys(attributes)) {
		if name != "type" && name != "traceparent" {
			field("attribute", "%s: %s", name, attributes[name])
		}
	}
	field("error", "%s", r.Error)
	field("body", "%s", m.Body)
	fmt.Fprintln(g.out)
}
