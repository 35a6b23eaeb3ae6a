package main

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/device-fanout/fanout/consumers/deadletter"
)

// shownLetter is a dead letter as show prints it.
type shownLetter struct {
	EventID   string            `json:"event_id,omitempty"`
	DeviceID  string            `json:"device_id"`
	Type      string            `json:"type,omitempty"`
	Time      *time.Time        `json:"time,omitempty"`
	MessageID string            `json:"message_id"`
	Record    deadletter.Record `json:"deadletter"`
	Body      string            `json:"body"`
}

func newDLQShow(g *globals) *cobra.Command {
	var pick selection
	var asJSON bool
	cmd := &cobra.Command{
		Use:               "show SERVICE",
		Short:             "Show dead letters one by one, with payload and error",
		Args:              exactly(1, "a service"),
		ValidArgsFunction: serviceNames,
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx := cmd.Context()
			if err := pick.check(); err != nil {
				return err
			}
			api, _, sources, err := g.dlqs(ctx, args)
			if err != nil {
				return err
			}
			shown := 0
			now := time.Now()
			out := json.NewEncoder(g.out)
			err = deadletter.Scan(ctx, api.sqs, sources[0], func(l *deadletter.Letter) bool {
				if !pick.filter.Matches(l, now) {
					return true
				}
				shown++
				if asJSON {
					s := shownLetter{EventID: l.EventID, DeviceID: l.DeviceID, Type: l.Type, MessageID: l.MessageID, Record: l.Record, Body: l.Body}
					if !l.Time.IsZero() {
						s.Time = &l.Time
					}
					_ = out.Encode(s)
				} else {
					g.printLetter(now, l)
				}
				return pick.filter.Limit == 0 || shown < pick.filter.Limit
			})
			if err != nil {
				return err
			}
			fmt.Fprintf(g.err, "%d dead letters shown\n", shown)
			return nil
		},
	}
	pick.addTo(cmd)
	cmd.Flags().BoolVar(&asJSON, "json", false, "print a JSON object per line")
	return cmd
}

func (g *globals) printLetter(now time.Time, l *deadletter.Letter) {
	r := l.Record
	field := func(name, format string, args ...any) {
		text := printable(fmt.Sprintf(format, args...))
		fmt.Fprintf(g.out, "%-9s %s\n", name, strings.ReplaceAll(text, "\n", "\n          "))
	}
	field("event", "%s", orDash(l.EventID))
	field("device", "%s", l.DeviceID)
	field("type", "%s", orDash(l.Type))
	field("failed", "%s, %s", r.FailedAt.Format(time.RFC3339), ago(now, r.FailedAt))
	field("class", "%s, code %s, fingerprint %s", r.Class, r.Code, r.Fingerprint)
	field("counts", "%d attempts, %d receives, %d redrives", r.Attempts, r.ReceiveCount, r.Redrives)
	field("error", "%s", r.Error)
	field("body", "%s", l.Body)
	fmt.Fprintln(g.out)
}
