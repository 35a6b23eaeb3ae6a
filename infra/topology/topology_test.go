package topology_test

import (
	"bytes"
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/device-fanout/fanout/consumers/failure"
	"github.com/device-fanout/fanout/events"
	"github.com/device-fanout/fanout/infra/declaration"
	"github.com/device-fanout/fanout/infra/topology"
)

func TestDefault_IsValidInEveryEnvironment(t *testing.T) {
	t.Parallel()
	for _, env := range []string{"dev", "test", "prod"} {
		d, err := declaration.Topology().In(env)
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
			if s.VisibilityTimeout() < 2*s.HandlerTimeout {
				t.Errorf("%s: visibility timeout %v, want at least twice the handler timeout of %v", s.Name, s.VisibilityTimeout(), s.HandlerTimeout)
			}
			if s.Retention >= topology.DLQRetention {
				t.Errorf("%s: retention %v, want less than the dead-letter queue's %v", s.Name, s.Retention, topology.DLQRetention)
			}
		}
	}
}

func TestDefault_PushHearsChangesOnly(t *testing.T) {
	t.Parallel()
	d, err := declaration.Topology().In("dev")
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
		change func(*topology.Topology)
		want   string
	}{
		"topology's name":    {func(t *topology.Topology) { t.Name = "My Shop" }, `topology: name: got "My Shop", want 1 to 20 lower-case letters`},
		"hyphen at the end":  {func(t *topology.Topology) { t.Name = "shop-" }, `topology: name: got "shop-"`},
		"long topology name": {func(t *topology.Topology) { t.Name = strings.Repeat("x", 21) }, `topology: name: got "xxx`},
		"prefix":             {func(t *topology.Topology) { t.Prefix = "acme" }, `topology: prefix: got "acme", want up to 16 lower-case letters, digits or hyphens, beginning with a letter and ending in a hyphen`},
		"prefix of letters":  {func(t *topology.Topology) { t.Prefix = "Acme-" }, `topology: prefix: got "Acme-"`},
		"hyphen alone":       {func(t *topology.Topology) { t.Prefix = "-" }, `topology: prefix: got "-"`},
		"long prefix":        {func(t *topology.Topology) { t.Prefix = strings.Repeat("x", 16) + "-" }, `topology: prefix: got "xxx`},
		"like a named topic": {func(t *topology.Topology) { t.Name, t.Services[0].Name = "shop", "events" }, "is the topic's name"},
		"like topic alarms":  {func(t *topology.Topology) { t.Services[0].Name = "topic" }, "is how the alarms of the topic are called"},
		"like the dashboard": {func(t *topology.Topology) { t.Services[0].Name = "fanout" }, "is the name of the dashboard of all services"},
		"long with the rest": {func(t *topology.Topology) {
			t.Name, t.Prefix, t.Services[0].Name = strings.Repeat("t", 20), strings.Repeat("p", 15)+"-", "historical"
		}, `name: the queue name "ppppppppppppppp-tttttttttttttttttttt-xxxxxxxxxxxxxxxx-historical-delivery-dlq.fifo" has 82 characters, want at most 80`},
		"no environment":     {func(t *topology.Topology) { t.Environments = nil }, "environments: there is none"},
		"environment's name": {func(t *topology.Topology) { t.Environments[0].Name = "Dev" }, `environment "Dev" (entry 1): name: got "Dev", want 1 to 16`},
		"environment twice":  {func(t *topology.Topology) { t.Environments[1].Name = "dev" }, `environment "dev" (entry 2): name: "dev" is declared twice`},
		"wait time":          {func(t *topology.Topology) { t.Environments[0].WaitTime = 1500 * time.Millisecond }, "wait time: got 1.5s, want whole seconds from 1s to 20s"},
		"service's name":     {func(t *topology.Topology) { t.Services[0].Name = "history_2" }, `service "history_2" (entry 1): name: got "history_2"`},
		"service twice":      {func(t *topology.Topology) { t.Services[1].Name = "history" }, `service "history" (entry 2): name: "history" is declared twice`},
		"like a DLQ":         {func(t *topology.Topology) { t.Services[0].Name = "history-dlq" }, "want no -dlq in it"},
		"like delivery DLQ":  {func(t *topology.Topology) { t.Services[0].Name = "x-dlq-y" }, "want no -dlq in it"},
		"like operations":    {func(t *topology.Topology) { t.Services[0].Name = "operations" }, "is the name of the stack with the alarms"},
		"like the topic":     {func(t *topology.Topology) { t.Services[0].Name = "device-events" }, "is the topic's name"},
		"long name":          {func(t *topology.Topology) { t.Services[0].Name = strings.Repeat("x", 70) }, "has 92 characters, want at most 80"},
		"budget":             {func(t *topology.Topology) { t.Services[0].HandlerTimeout = -time.Second }, "handler timeout: got -1s, want from 100ms to 1h"},
		"no budget":          {func(t *topology.Topology) { t.Services[0].HandlerTimeout = 0 }, `service "history" (entry 1): handler timeout: got 0s, want from 100ms to 1h`},
		"receive count":      {func(t *topology.Topology) { t.Services[0].MaxReceiveCount = 1 }, "max receive count: got 1, want from 5 to 1000"},
		"group policy":       {func(t *topology.Topology) { t.Services[0].GroupPolicy = "jump" }, `group policy: got "jump"`},
		"retention":          {func(t *topology.Topology) { t.Services[0].Retention = 15 * 24 * time.Hour }, "retention: got 360h0m0s, want whole seconds from 1m to less than"},
		"old age":            {func(t *topology.Topology) { t.Services[0].MaxAge = 10 * time.Second }, "max age: got 10s, want whole seconds from the visibility timeout of 30s"},
		"silence":            {func(t *topology.Topology) { t.Services[0].MaxSilence = 90 * time.Second }, "max silence: got 1m30s, want whole minutes up to 24h"},
		"compute":            {func(t *topology.Topology) { t.Services[0].Compute.Kind = "ec2" }, `compute: kind: got "ec2", want fargate or lambda`},
		"no compute":         {func(t *topology.Topology) { t.Services[0].Compute.CPU = 256 }, "compute: kind: got none with other settings"},
		"CPU":                {func(t *topology.Topology) { t.Services[0].Compute = topology.Compute{Kind: topology.Fargate, CPU: 300} }, "compute: CPU: got 300"},
		"memory": {func(t *topology.Topology) {
			t.Services[0].Compute = topology.Compute{Kind: topology.Fargate, MemoryMiB: 256}
		}, "memory: got 256 MiB, want from 512 to 2048 with 256"},
		"tasks": {func(t *topology.Topology) {
			t.Services[0].Compute = topology.Compute{Kind: topology.Fargate, MinTasks: 3, MaxTasks: 2}
		}, "tasks: got from 3 to 2"},
		"drain": {func(t *topology.Topology) {
			t.Services[0].Compute = topology.Compute{Kind: topology.Fargate, Drain: 2 * time.Minute}
		}, "drain: got 2m0s, want whole seconds from 20s to 1m40s"},
		"concurrency": {func(t *topology.Topology) {
			t.Services[0].Compute = topology.Compute{Kind: topology.Lambda, Concurrency: 1}
		}, "concurrency: got 1, want from 2 to 1000"},
		"park on Lambda": {func(t *topology.Topology) {
			t.Services[0].Compute, t.Services[0].GroupPolicy = topology.Compute{Kind: topology.Lambda}, failure.Park
		}, "compute: kind: got lambda with the group policy park, want skip: a function ends"},
		"block on Lambda": {func(t *topology.Topology) {
			t.Services[0].Compute, t.Services[0].GroupPolicy = topology.Compute{Kind: topology.Lambda}, failure.Block
		}, "compute: kind: got lambda with the group policy block, want skip: a function ends"},
		"few receives on Lambda": {func(t *topology.Topology) {
			t.Services[0].Compute, t.Services[0].MaxReceiveCount = topology.Compute{Kind: topology.Lambda}, 10
		}, "compute: kind: got lambda with a max receive count of 10, want at least 155"},
		"long for Lambda": {func(t *topology.Topology) {
			t.Services[0].Compute, t.Services[0].HandlerTimeout = topology.Compute{Kind: topology.Lambda}, 20*time.Minute
		}, "with a handler timeout of 20m0s, want at most 15m0s"},
		"standard on Fargate": {func(t *topology.Topology) {
			t.Services[0].Compute, t.Services[0].Standard = topology.Compute{Kind: topology.Fargate}, true
		}, "with a standard queue"},
		"account":           {func(t *topology.Topology) { t.Environments[0].Account = "42" }, `environment "dev" (entry 1): account: got "42", want 12 digits`},
		"region":            {func(t *topology.Topology) { t.Environments[0].Region = "Frankfurt" }, `region: got "Frankfurt", want one such as eu-central-1`},
		"encryption":        {func(t *topology.Topology) { t.Environments[0].Encryption = "none" }, `encryption: got "none", want sqs-managed or customer-key`},
		"archive":           {func(t *topology.Topology) { t.Environments[0].ArchiveDays = 366 }, "archive days: got 366, want from 0 (no archive) to 365"},
		"alarm target":      {func(t *topology.Topology) { t.Environments[0].AlarmTarget = "me" }, `alarm target: got "me", want a mail address or an https URL`},
		"silent":            {func(t *topology.Topology) { t.Environments[0].MaxSilence = 48 * time.Hour }, "max silence: got 48h0m0s"},
		"network":           {func(t *topology.Topology) { t.Environments[0].Network.Subnets = []string{"subnet-1"} }, "network: got 1 subnets in 0 availability zones"},
		"names alike":       {func(t *topology.Topology) { t.Environments[1].Name = "dev-2" }, `name: "dev-2" and "dev" begin alike`},
		"like many":         {func(t *topology.Topology) { t.Environments[1].Name = "feature" }, `name: "feature-*" and "feature" begin alike`},
		"prod for many":     {func(t *topology.Topology) { t.Environments[3].Production = true }, "production: got true for throw-away environments"},
		"kept for many":     {func(t *topology.Topology) { t.Environments[3].ArchiveDays = 1 }, "archive days: got 1 for throw-away environments"},
		"unknown event":     {func(t *topology.Topology) { t.Services[2].Events[0] = "device.teleport.v1" }, `events: "device.teleport.v1" is not a registered event type`},
		"another version":   {func(t *topology.Topology) { t.Services[2].Events[0] = "device.power.changed.v9" }, "did you mean device.power.changed.v1?"},
		"event twice":       {func(t *topology.Topology) { t.Services[2].Events[0] = t.Services[2].Events[1] }, "is named twice"},
		"too many services": {func(t *topology.Topology) { t.Services = make([]topology.Service, 101) }, "services: got 101, want at most 100"},
	} {
		top := declaration.Topology()
		c.change(&top)
		if err := top.Validate(); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v, want it to say %q", name, err, c.want)
		}
	}
	both := declaration.Topology()
	both.Environments[0].Name, both.Services[0].HandlerTimeout = "Dev", -1
	if err := both.Validate(); err == nil || strings.Count(err.Error(), "topology: ") != 2 {
		t.Errorf("two faults: got %v, want both", err)
	}
}

func TestIn_ListsWhatThereIs(t *testing.T) {
	t.Parallel()
	if _, err := declaration.Topology().In("staging"); err == nil || !strings.Contains(err.Error(), `no environment "staging"; there are dev, test, prod, feature-*`) {
		t.Errorf("got %v", err)
	}
	d, _ := declaration.Topology().In("dev")
	if _, err := d.Service("billing"); err == nil || !strings.Contains(err.Error(), `no service "billing" in dev; there are history, state, push`) {
		t.Errorf("got %v", err)
	}
}

func TestRender_ShowsEveryQueue(t *testing.T) {
	t.Parallel()
	d, err := declaration.Topology().In("prod")
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

func TestIn_ThrowAwayEnvironments(t *testing.T) {
	t.Parallel()
	d, err := declaration.Topology().In("feature-x")
	if err != nil {
		t.Fatal(err)
	}
	if !d.Environment.ThrowAway() || d.TopicName() != "feature-x-device-events.fifo" || d.Environment.WaitTime != 2*time.Second {
		t.Errorf("got %+v, want a throw-away copy called feature-x", d.Environment)
	}
	for _, name := range []string{"feature-", "feature-*", "feature-GW", "feature-a-b", "feature-123456789", "feature-ä", "feature"} {
		if d, err := declaration.Topology().In(name); err == nil {
			t.Errorf("%s: got %+v, want it refused", name, d.Environment)
		}
	}
	if _, err := declaration.Topology().In("feature-a-b"); err == nil || !strings.Contains(err.Error(), `environment "feature-a-b": got "a-b" after "feature-", want 1 to 8 lower-case letters or digits`) {
		t.Errorf("got %v", err)
	}
	if prod, _ := declaration.Topology().In("prod"); prod.Environment.ThrowAway() {
		t.Error("prod is a throw-away environment")
	}
}

func TestParseEnvironments_NamesTheEntryAndTheRule(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ text, want string }{
		"unknown key":   {`[{"name":"dev"},{"name":"prod","acount":"111122223333"}]`, `environment "prod" (entry 2): unknown field "acount"; the keys are name, production, account,`},
		"below network": {`[{"name":"dev","network":{"vpcs":"x"}}]`, `environment "dev" (entry 1): network: unknown field "vpcs"; the keys are vpc, availability_zones,`},
		"below mqtt":    {`[{"name":"dev","gateway":{"keys_secret":"k","mqtt":{"url":"x"}}}]`, `environment "dev" (entry 1): gateway: mqtt: unknown field "url"; the keys are broker,`},
		"form below":    {`[{"name":"dev","network":{"subnets":"x"}}]`, `environment "dev" (entry 1): network: subnets: got "x", want a list of texts, in brackets`},
		"no object":     {`[{"name":"dev","tasks":2}]`, `environment "dev" (entry 1): tasks: got 2, want an object, in braces`},
		"account":       {`[{"name":"dev","account":111122223333}]`, `environment "dev" (entry 1): account: got 111122223333, want text in quotes`},
		"syntax":        {"[\n {\"name\":\"dev\",}\n]", `line 2: invalid character '}'`},
		"duration":      {`[{"name":"dev","wait_time":"2 sec"}]`, `environment "dev" (entry 1): wait_time: got "2 sec", want a duration such as "15m"`},
		"number":        {`[{"name":"dev","wait_time":2}]`, `wait_time: got 2, want a duration such as "15m"`},
		"kind":          {`[{"name":"dev","production":"yes"}]`, `environment "dev" (entry 1): production: got "yes", want true or false`},
		"no list":       {`{"dev":{}}`, "want a JSON list of environments"},
	} {
		if _, err := topology.ParseEnvironments([]byte(c.text)); err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), "environments.json") {
			t.Errorf("%s: got %v, want it to name the file and say %q", name, err, c.want)
		}
	}
	// What is wrong with the file is what is wrong with the topology.
	file := []byte(`[{"name":"dev","x":1}]`)
	_, err := topology.ParseEnvironments(file)
	if got := topology.New(file, nil).Validate(); got == nil || got.Error() != err.Error() {
		t.Errorf("the topology says %v, want %v", got, err)
	}
}

func TestDeployment_Names(t *testing.T) {
	t.Parallel()
	top := declaration.Topology()
	top.Services[1].Standard = true
	d, err := top.In("test")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range [][2]string{
		{d.QueueName("history"), "test-history.fifo"},
		{d.DeliveryDLQName("history"), "test-history-delivery-dlq.fifo"},
		{d.QueueName("state"), "test-state"},
		{d.DLQName("state"), "test-state-dlq"},
		{d.DeliveryDLQName("state"), "test-state-delivery-dlq"},
		{d.ServiceStack("state"), "test-state"},
		{d.TopicStack(), "test-device-events"},
		{d.OperationsStack(), "test-operations"},
		{d.AlarmTopicName(), "test-alarms"},
	} {
		if c[0] != c[1] {
			t.Errorf("got %q, want %q", c[0], c[1])
		}
	}
}

// TestDeployment_NamesOfTopologiesDiffer is why several topologies fit into one account: no name of one begins like those of another.
func TestDeployment_NamesOfTopologiesDiffer(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ name, prefix, scope, topic string }{
		{"", "", "dev", "dev-device-events.fifo"},
		{topology.DefaultName, "", "dev", "dev-device-events.fifo"},
		{"", "acme-", "acme-dev", "acme-dev-device-events.fifo"},
		{"shop", "", "shop-dev", "shop-dev-events.fifo"},
		{"shop-floor", "", "shop-floor-dev", "shop-floor-dev-events.fifo"},
		{"shop", "acme-", "acme-shop-dev", "acme-shop-dev-events.fifo"},
	} {
		top := declaration.Topology()
		top.Name, top.Prefix = c.name, c.prefix
		d, err := top.In("dev")
		if err != nil {
			t.Fatal(err)
		}
		if d.Scope() != c.scope || d.TopicName() != c.topic {
			t.Errorf("%q with prefix %q: got scope %q and topic %q, want %q and %q", c.name, c.prefix, d.Scope(), d.TopicName(), c.scope, c.topic)
		}
		for _, name := range []string{
			d.QueueName("history"), d.DLQName("history"), d.DeliveryDLQName("history"), d.TopicName(), d.AlarmTopicName(),
			d.ServiceStack("history"), d.TopicStack(), d.OperationsStack(),
		} {
			if !strings.HasPrefix(name, c.scope+"-") {
				t.Errorf("got %q, want it to begin with %s-", name, c.scope)
			}
		}
	}
}

func TestService_TimesFollowFromTheHandlerTimeout(t *testing.T) {
	t.Parallel()
	top := declaration.Topology()
	top.Services[0].Compute = topology.Compute{Kind: topology.Lambda}
	top.Services[1].HandlerTimeout = time.Hour
	d, err := top.In("prod")
	if err != nil {
		t.Fatal(err)
	}
	byLambda, slow, push := d.Services[0], d.Services[1], d.Services[2]
	if byLambda.LambdaTimeout() != 100*time.Second || byLambda.VisibilityTimeout() != 10*time.Minute || byLambda.Compute.Concurrency != 10 {
		t.Errorf("Lambda: timeout %v, visibility %v, concurrency %d; want 100 s for a batch of ten, six times that, and 10",
			byLambda.LambdaTimeout(), byLambda.VisibilityTimeout(), byLambda.Compute.Concurrency)
	}
	if byLambda.MaxReceiveCount != 288 || push.MaxReceiveCount != 10 {
		t.Errorf("max receive count: got %d on Lambda and %d elsewhere, want 288 for the pauses of an outage, and 10", byLambda.MaxReceiveCount, push.MaxReceiveCount)
	}
	if slow.VisibilityTimeout() != 2*time.Hour || slow.MaxAge != 4*time.Hour {
		t.Errorf("got visibility %v and age %v, want 2 h and 4 h", slow.VisibilityTimeout(), slow.MaxAge)
	}
}

// The count on Lambda lasts for the pauses of four hours, for those of the whole retention where deliveries are cheap, and gets an event
// that ends its function every time into the dead-letter queue before it expires, wherever four hours leave room for that.
func TestService_MaxReceiveCountOnLambda(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		handler, retention time.Duration
		want               int
	}{
		{100 * time.Millisecond, 0, 533}, // 4 days of pauses, and 10
		{time.Second, 0, 533},
		{10 * time.Second, 0, 288}, // 2 days of crashes, 10 min each
		{15 * time.Minute, 0, 155}, // 4 hours of pauses
		{time.Second, 13 * 24 * time.Hour, 1000},
		{time.Second, time.Hour, 155},
	} {
		top := declaration.Topology()
		s := &top.Services[0]
		s.Compute, s.HandlerTimeout, s.Retention = topology.Compute{Kind: topology.Lambda}, row.handler, row.retention
		d, err := top.In("prod")
		if err != nil {
			t.Errorf("%v, %v: %v", row.handler, row.retention, err)
			continue
		}
		if got := d.Services[0].MaxReceiveCount; got != row.want {
			t.Errorf("handler timeout %v, retention %v: got %d, want %d", row.handler, row.retention, got, row.want)
		}
	}
}
