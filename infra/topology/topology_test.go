package topology

import (
	"bytes"
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/device-fanout/fanout/events"
)

func TestDefault_IsValidInEveryEnvironment(t *testing.T) {
	t.Parallel()
	for _, env := range []string{"dev", "test", "prod"} {
		d, err := Default().In(env)
		if err != nil {
			t.Fatal(err)
		}
		if got, want := d.TopicName(), env+"-device-events.fifo"; got != want {
			t.Errorf("topic: got %q, want %q", got, want)
		}
		if got, want := d.DLQName("history"), env+"-history-dlq.fifo"; got != want {
			t.Errorf("dead-letter queue: got %q, want %q", got, want)
		}
		for _, s := range d.Services {
			if s.VisibilityTimeout() < 2*s.Budget {
				t.Errorf("%s: visibility timeout %v, want at least twice the budget of %v", s.Name, s.VisibilityTimeout(), s.Budget)
			}
			if s.Retention >= DLQRetention {
				t.Errorf("%s: retention %v, want less than the dead-letter queue's %v", s.Name, s.Retention, DLQRetention)
			}
		}
	}
}

func TestDefault_PushHearsChangesOnly(t *testing.T) {
	t.Parallel()
	d, err := Default().In("dev")
	if err != nil {
		t.Fatal(err)
	}
	push, err := d.Service("push")
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"device.connectivity.changed.v1", "device.contact.changed.v1", "device.motion.changed.v1", "device.power.changed.v1"}
	var got []string
	for _, e := range events.Types() {
		if push.Wants(e.Name) {
			got = append(got, e.Name)
		}
	}
	if !slices.Equal(got, want) {
		t.Errorf("push hears %q, want %q", got, want)
	}
	if filter := push.FilterPolicy()["type"]; !slices.Equal(slices.Sorted(slices.Values(filter)), want) {
		t.Errorf("its filter policy has %q, want %q", filter, want)
	}
	history, _ := d.Service("history")
	if history.FilterPolicy() != nil || !history.Wants("device.setpoint.changed.v1") {
		t.Error("history does not hear everything")
	}
}

func TestValidate_NamesTheEntryAndTheRule(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		change func(*Topology)
		want   string
	}{
		"no environment":     {func(t *Topology) { t.Environments = nil }, "environments: there is none"},
		"environment's name": {func(t *Topology) { t.Environments[0].Name = "Dev" }, `environment "Dev" (entry 1): name: got "Dev", want 1 to 16`},
		"environment twice":  {func(t *Topology) { t.Environments[1].Name = "dev" }, `environment "dev" (entry 2): name: "dev" is declared twice`},
		"wait time":          {func(t *Topology) { t.Environments[0].WaitTime = 1500 * time.Millisecond }, "wait time: got 1.5s, want whole seconds from 1s to 20s"},
		"service's name":     {func(t *Topology) { t.Services[0].Name = "history_2" }, `service "history_2" (entry 1): name: got "history_2"`},
		"service twice":      {func(t *Topology) { t.Services[1].Name = "history" }, `service "history" (entry 2): name: "history" is declared twice`},
		"like a DLQ":         {func(t *Topology) { t.Services[0].Name = "history-dlq" }, "want no -dlq at the end"},
		"like the topic":     {func(t *Topology) { t.Services[0].Name = "device-events" }, "is the topic's name"},
		"long name":          {func(t *Topology) { t.Services[0].Name = strings.Repeat("x", 70) }, "has 83 characters, want at most 80"},
		"budget":             {func(t *Topology) { t.Services[0].Budget = -time.Second }, "budget: got -1s, want from 100ms to 1h"},
		"receive count":      {func(t *Topology) { t.Services[0].MaxReceiveCount = 1 }, "max receive count: got 1, want from 5 to 1000"},
		"group policy":       {func(t *Topology) { t.Services[0].GroupPolicy = "jump" }, `group policy: got "jump"`},
		"retention":          {func(t *Topology) { t.Services[0].Retention = 15 * 24 * time.Hour }, "retention: got 360h0m0s, want whole seconds from 1m to less than"},
		"unknown event":      {func(t *Topology) { t.Services[2].Events[0] = "device.teleport.v1" }, `events: "device.teleport.v1" is not a registered event type`},
		"another version":    {func(t *Topology) { t.Services[2].Events[0] = "device.power.changed.v9" }, "did you mean device.power.changed.v1?"},
		"event twice":        {func(t *Topology) { t.Services[2].Events[0] = t.Services[2].Events[1] }, "is named twice"},
		"too many services":  {func(t *Topology) { t.Services = make([]Service, 101) }, "services: got 101, want at most 100"},
	} {
		top := Default()
		c.change(&top)
		if err := top.Validate(); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v, want it to say %q", name, err, c.want)
		}
	}
	both := Default()
	both.Environments[0].Name, both.Services[0].Budget = "Dev", -1
	if err := both.Validate(); err == nil || strings.Count(err.Error(), "topology: ") != 2 {
		t.Errorf("two faults: got %v, want both", err)
	}
}

func TestIn_ListsWhatThereIs(t *testing.T) {
	t.Parallel()
	if _, err := Default().In("staging"); err == nil || !strings.Contains(err.Error(), `no environment "staging"; there are dev, test, prod`) {
		t.Errorf("got %v", err)
	}
	d, _ := Default().In("dev")
	if _, err := d.Service("billing"); err == nil || !strings.Contains(err.Error(), `no service "billing" in dev; there are history, state, push`) {
		t.Errorf("got %v", err)
	}
}

func TestRender_ShowsEveryQueue(t *testing.T) {
	t.Parallel()
	d, err := Default().In("prod")
	if err != nil {
		t.Fatal(err)
	}
	var table, mermaid, text bytes.Buffer
	for _, err := range []error{d.Table(&table), d.Mermaid(&mermaid), d.JSON(&text)} {
		if err != nil {
			t.Fatal(err)
		}
	}
	if !json.Valid(text.Bytes()) {
		t.Errorf("no JSON: %s", text.String())
	}
	for _, out := range []string{table.String(), mermaid.String(), text.String()} {
		for _, want := range []string{"prod-device-events.fifo", "prod-history.fifo", "prod-state-dlq.fifo", "prod-push.fifo"} {
			if !strings.Contains(out, want) {
				t.Errorf("%q is missing in:\n%s", want, out)
			}
		}
	}
}
