package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/device-fanout/fanout/events"
)

// summary is what up prints at its end.
type summary struct {
	In              int64            `json:"in"`
	Rejected        int64            `json:"rejected"`
	Rejections      []rejection      `json:"rejections,omitempty"`
	Published       int64            `json:"published"`
	Failed          int64            `json:"failed"`
	Handled         map[string]int64 `json:"handled"`       // distinct events, by service
	DeadLettered    map[string]int64 `json:"dead_lettered"` // messages in the dead-letter queue, by service
	Redelivered     int64            `json:"redelivered"`
	Reused          int64            `json:"reused"` // events with the identity of an earlier one and another type or payload, counted once for each service
	OrderViolations int64            `json:"order_violations"`
	Lost            int64            `json:"lost"`
	LostEvents      []string         `json:"lost_events,omitempty"`
	Seconds         float64          `json:"seconds"` // from the start until the last event was handled
	EventsPerSecond float64          `json:"events_per_second"`
	BatchFill       float64          `json:"batch_fill"`
	Requests        map[string]int64 `json:"requests"` // by action
	LatencyMS       struct {
		P50 float64 `json:"p50"`
		P99 float64 `json:"p99"`
	} `json:"latency_ms"`
	MemoryBytes int64  `json:"memory_bytes,omitempty"` // of the process at its peak, on Linux
	Data        string `json:"data"`
	// Waiting is the events that services had still to handle when up was interrupted, counted once for each service.
	Waiting int64 `json:"waiting,omitempty"`

	lastError error
}

// summary counts after everything has stopped. Lost is an event that the topic has confirmed and that a service
// should have, but has neither handled nor dead-lettered.
func (env *localEnvironment) summary() summary {
	took := 0.0 // until the last event was handled: waiting for idleness and draining do not count
	if last := env.audit.lastHandled(); !last.IsZero() {
		took = last.Sub(env.start).Seconds()
	}
	s := summary{
		In: env.publisher.in.Load(), Rejected: env.publisher.rejected.Load(), Rejections: env.publisher.rejections,
		Published: env.publisher.published.Load(), Failed: env.publisher.failed.Load(), lastError: env.publisher.failure(),
		Handled: map[string]int64{}, DeadLettered: map[string]int64{},
		Seconds: took, Requests: env.engine.Requests(), BatchFill: env.producer.Stats().BatchFill(), Data: env.dataDir,
		MemoryBytes: peakMemory(),
	}
	s.EventsPerSecond = float64(s.Published) / max(took, 1e-9)
	s.LatencyMS.P50 = env.audit.quantile(0.50).Seconds() * 1000
	s.LatencyMS.P99 = env.audit.quantile(0.99).Seconds() * 1000
	waiting := map[string]int64{}
	for _, q := range env.engine.Queues() {
		waiting[q.Name] = int64(q.Visible + q.Delayed + q.InFlight)
	}
	findings := env.audit.findings()
	for _, svc := range env.services {
		found := findings[svc.name]
		s.Handled[svc.name] = found.handled
		s.OrderViolations += found.violations
		stats := svc.consumer.Stats()
		s.Redelivered += stats.Redelivered
		s.Reused += stats.Reused
		dead, count, err := env.deadLetters(context.Background(), svc.name)
		if err != nil {
			s.lastError = err
		}
		s.DeadLettered[svc.name] = count
		missing := slices.DeleteFunc(found.missing, func(id events.Identity) bool { return dead[id] })
		// What still waits in its queue after an interruption is not lost.
		waits := min(int64(len(missing)), waiting[env.deployment.QueueName(svc.name)])
		s.Waiting += waits
		if lost := int64(len(missing)) - waits; lost > 0 {
			s.Lost += lost
			for _, id := range missing[:min(len(missing), maxReported)] {
				s.LostEvents = append(s.LostEvents, id.ID)
			}
		}
	}
	return s
}

// peakMemory is the most memory that this process has held so far, in bytes, and 0 where that can't be told.
func peakMemory() int64 {
	text, _ := os.ReadFile("/proc/self/status")
	_, after, _ := strings.Cut(string(text), "\nVmHWM:")
	var kib int64
	_, _ = fmt.Sscan(after, &kib)
	return kib << 10
}

// failure is the error that up ends with, with its exit code; nil if everything went well.
func (s summary) failure() error {
	switch {
	case s.Lost > 0 || s.OrderViolations > 0:
		return &exitError{exitLost, fmt.Errorf("%d events were lost, %d came out of order", s.Lost, s.OrderViolations)}
	case s.Failed > 0:
		return &exitError{exitLost, fmt.Errorf("%d events were not confirmed, the last because of: %w", s.Failed, s.lastError)}
	case s.lastError != nil:
		return s.lastError
	case s.Waiting > 0:
		return fmt.Errorf("interrupted while %d events waited in their queues, which end with this process; publish the input again", s.Waiting)
	case s.Rejected > 0:
		return &exitError{code: exitRejected}
	}
	return nil
}

func (s summary) print(g *globals, asJSON bool) error {
	if asJSON {
		return json.NewEncoder(g.out).Encode(s)
	}
	fmt.Fprintf(g.out, "in %d, rejected %d, published %d, in %.1f s (%.0f events/s, %.1f events a batch)\n",
		s.In, s.Rejected, s.Published, s.Seconds, s.EventsPerSecond, s.BatchFill)
	t := tabwriter.NewWriter(g.out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "SERVICE\tHANDLED\tDEAD-LETTERED")
	for _, name := range slices.Sorted(maps.Keys(s.Handled)) {
		fmt.Fprintf(t, "%s\t%d\t%d\n", name, s.Handled[name], s.DeadLettered[name])
	}
	if err := t.Flush(); err != nil {
		return err
	}
	fmt.Fprintf(g.out, "lost %d, order violations %d, redelivered %d, latency p50 %.1f ms, p99 %.1f ms\n",
		s.Lost, s.OrderViolations, s.Redelivered, s.LatencyMS.P50, s.LatencyMS.P99)
	if s.Reused > 0 {
		fmt.Fprintf(g.out, "reused identities %d: events that said something else than an earlier one of the same source, device and ID\n", s.Reused)
	}
	fmt.Fprintf(g.out, "databases in %s\n", s.Data)
	return nil
}
