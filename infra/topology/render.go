package topology

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
)

// Table writes the deployment as a table for people.
func (d Deployment) Table(w io.Writer) error {
	fmt.Fprintf(w, "environment  %s\ntopic        %s\n\n", d.Environment.Name, d.TopicName())
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "SERVICE\tQUEUE\tDEAD-LETTER QUEUE\tFAILED DELIVERIES\tEVENTS\tTIMEOUT\tVISIBILITY\tRECEIVES\tPOLICY")
	for _, s := range d.Services {
		hears := "all"
		if len(s.Events) > 0 {
			hears = fmt.Sprintf("%d types", len(s.Events))
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%v\t%v\t%d\t%s\n", s.Name, d.QueueName(s.Name), d.DLQName(s.Name),
			d.DeliveryDLQName(s.Name), hears, s.HandlerTimeout, s.VisibilityTimeout(), s.MaxReceiveCount, s.GroupPolicy)
	}
	if err := t.Flush(); err != nil {
		return err
	}
	for _, s := range d.Services {
		if len(s.Events) > 0 {
			fmt.Fprintf(w, "\n%s hears %s\n", s.Name, strings.Join(s.Events, ", "))
		}
	}
	return nil
}

// Mermaid writes the deployment as a Mermaid flowchart.
func (d Deployment) Mermaid(w io.Writer) error {
	fmt.Fprintf(w, "flowchart LR\n  gateway([device gateways]) --> topic[[%s]]\n", d.TopicName())
	for i, s := range d.Services {
		edge := "-->"
		if len(s.Events) > 0 {
			edge = fmt.Sprintf(`-- "%d types" -->`, len(s.Events))
		}
		fmt.Fprintf(w, "  topic %s q%d[(%s)] --> s%d([%s])\n", edge, i, d.QueueName(s.Name), i, s.Name)
		fmt.Fprintf(w, "  s%d -. dead letters .-> d%d[(%s)]\n  d%d -. redrive .-> q%d\n", i, i, d.DLQName(s.Name), i, i)
		fmt.Fprintf(w, "  topic -. failed deliveries .-> f%d[(%s)]\n", i, d.DeliveryDLQName(s.Name))
	}
	return nil
}

// JSON writes the deployment for machines. Durations are in seconds.
func (d Deployment) JSON(w io.Writer) error {
	type service struct {
		Name              string   `json:"name"`
		About             string   `json:"about,omitempty"`
		Queue             string   `json:"queue"`
		DLQ               string   `json:"dlq"`
		DeliveryDLQ       string   `json:"delivery_dlq"`
		Standard          bool     `json:"standard,omitempty"`
		Events            []string `json:"events,omitempty"`
		HandlerTimeout    float64  `json:"budget_seconds"`
		VisibilityTimeout float64  `json:"visibility_timeout_seconds"`
		MaxReceiveCount   int      `json:"max_receive_count"`
		Retention         float64  `json:"retention_seconds"`
		MaxAge            float64  `json:"max_age_seconds"`
		GroupPolicy       string   `json:"group_policy"`
		Compute           string   `json:"compute,omitempty"`
	}
	out := struct {
		Environment string    `json:"environment"`
		Topic       string    `json:"topic"`
		WaitTime    float64   `json:"wait_time_seconds"`
		Services    []service `json:"services"`
	}{Environment: d.Environment.Name, Topic: d.TopicName(), WaitTime: d.Environment.WaitTime.Seconds()}
	for _, s := range d.Services {
		out.Services = append(out.Services, service{
			Name: s.Name, About: s.About, Queue: d.QueueName(s.Name), DLQ: d.DLQName(s.Name),
			DeliveryDLQ: d.DeliveryDLQName(s.Name), Standard: s.Standard, Events: s.Events, MaxAge: s.MaxAge.Seconds(), Compute: string(s.Compute.Kind),
			HandlerTimeout: s.HandlerTimeout.Seconds(), VisibilityTimeout: s.VisibilityTimeout().Seconds(), MaxReceiveCount: s.MaxReceiveCount,
			Retention: s.Retention.Seconds(), GroupPolicy: string(s.GroupPolicy),
		})
	}
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	return e.Encode(out)
}
