//go:build !race

package stacks

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/aws/aws-cdk-go/awscdk/v2"
	"github.com/aws/aws-cdk-go/awscdk/v2/awssqs"
	"github.com/aws/jsii-runtime-go"

	"github.com/device-fanout/fanout/infra/declaration"
	"github.com/device-fanout/fanout/infra/topology"
)

// prodResources are prod's resources, fresh, so that a test can spoil them.
func prodResources(t *testing.T) (target, []resource) {
	t.Helper()
	d := environment(t, "prod")
	all := resolve(d.target, d.templates)
	for i := range all {
		text, err := json.Marshal(all[i].properties)
		if err != nil {
			t.Fatal(err)
		}
		all[i].properties = nil
		if err := json.Unmarshal(text, &all[i].properties); err != nil {
			t.Fatal(err)
		}
	}
	return d.target, all
}

func texts(findings []finding) []string {
	var all []string
	for _, f := range findings {
		all = append(all, f.stack+": "+f.text)
	}
	return all
}

func TestCheck_FindsNothingInWhatIsDeclared(t *testing.T) {
	for _, name := range environments {
		d := environment(t, name)
		if found := check(d.target, topology.Attributes(), resolve(d.target, d.templates)); len(found) > 0 {
			t.Errorf("%s: %q", name, texts(found))
		}
	}
}

func TestCheck_FindsWhatLosesOrStallsEvents(t *testing.T) {
	set := func(kind, property, name string, change func(r resource)) func([]resource) []resource {
		return func(all []resource) []resource {
			for _, r := range all {
				if r.kind == kind && (name == "" || r.text(property) == name) {
					change(r)
					return all
				}
			}
			panic("no " + kind + " " + name)
		}
	}
	queue := func(name string, change func(p map[string]any)) func([]resource) []resource {
		return set("AWS::SQS::Queue", "QueueName", name, func(r resource) { change(r.properties) })
	}
	sub := func(change func(p map[string]any)) func([]resource) []resource {
		return set("AWS::SNS::Subscription", "Endpoint", "arn:aws:sqs:eu-central-1:111122223333:prod-push.fifo", func(r resource) { change(r.properties) })
	}
	topic := func(change func(p map[string]any)) func([]resource) []resource {
		return set("AWS::SNS::Topic", "TopicName", "prod-device-events.fifo", func(r resource) { change(r.properties) })
	}
	for name, c := range map[string]struct {
		spoil func([]resource) []resource
		want  string
	}{
		"DLQ of another type": {queue("prod-push-dlq.fifo", func(p map[string]any) { delete(p, "FifoQueue") }), "prod-push: prod-push-dlq.fifo: FifoQueue is false, want true, as its source prod-push.fifo"},
		"DLQ's retention":     {queue("prod-push-dlq.fifo", func(p map[string]any) { p["MessageRetentionPeriod"] = 86400.0 }), "prod-push: prod-push-dlq.fifo keeps dead letters for 24h0m0s, want 336h0m0s"},
		"DLQ for anyone":      {queue("prod-push-dlq.fifo", func(p map[string]any) { delete(p, "RedriveAllowPolicy") }), "prod-push-dlq.fifo may be used by other queues than prod-push.fifo"},
		"no DLQ":              {queue("prod-push.fifo", func(p map[string]any) { delete(p, "RedrivePolicy") }), "prod-push.fifo has no dead-letter queue in this environment; set RedrivePolicy"},
		"no delivery DLQ":     {sub(func(p map[string]any) { delete(p, "RedrivePolicy") }), "prod-push: it has no dead-letter queue in this environment; set RedrivePolicy"},
		"delivery DLQ's type": {queue("prod-push-delivery-dlq.fifo", func(p map[string]any) { delete(p, "FifoQueue") }), "prod-push-delivery-dlq.fifo: FifoQueue is false, want true"},
		"visibility":          {queue("prod-history.fifo", func(p map[string]any) { p["VisibilityTimeout"] = 10.0 }), "prod-history.fifo: VisibilityTimeout is 10 s, want at least 30 s: the handling of one event may take 10s with its retries"},
		"receive count": {queue("prod-push.fifo", func(p map[string]any) {
			p["RedrivePolicy"].(map[string]any)["maxReceiveCount"] = 4.0
		}), "prod-push.fifo: maxReceiveCount is 4, want at least 5: consumers try an event 4 times themselves"},
		"queue's scope":    {queue("prod-push.fifo", func(p map[string]any) { delete(p, "DeduplicationScope") }), "prod-push.fifo deduplicates over the whole queue"},
		"topic's scope":    {topic(func(p map[string]any) { p["FifoThroughputScope"] = "Topic" }), "prod-device-events.fifo deduplicates over the whole topic"},
		"topic by content": {topic(func(p map[string]any) { p["ContentBasedDeduplication"] = true }), "prod-device-events.fifo deduplicates by content"},
		"queue by content": {queue("prod-push.fifo", func(p map[string]any) { p["ContentBasedDeduplication"] = true }), "prod-push.fifo deduplicates by content"},
		"standard topic":   {topic(func(p map[string]any) { delete(p, "FifoTopic") }), "is no FIFO topic"},
		"standard queue":   {queue("prod-push.fifo", func(p map[string]any) { delete(p, "FifoQueue") }), "prod-push.fifo: FifoQueue is false, but the topology says Standard: false"},
		"filter key":       {sub(func(p map[string]any) { p["FilterPolicy"] = map[string]any{"room": []any{"hall"}} }), `it filters by the attribute "room", which producers never set`},
		"wrapped":          {sub(func(p map[string]any) { delete(p, "RawMessageDelivery") }), "it wraps events in SNS's own JSON"},
		"another's queue":  {sub(func(p map[string]any) { p["Endpoint"] = "arn:aws:sqs:eu-central-1:999999999999:x.fifo" }), "which is no queue of this environment"},
		"another topic":    {sub(func(p map[string]any) { p["TopicArn"] = "arn:aws:sns:eu-central-1:999999999999:x.fifo" }), "want prod-device-events.fifo"},
		"nobody's queue":   {queue("prod-push.fifo", func(p map[string]any) { p["QueueName"] = "prod-pull.fifo" }), "which is no queue of this environment"},
		"two of one name":  {queue("prod-state.fifo", func(p map[string]any) { p["QueueName"] = "prod-push.fifo" }), "the queue prod-push.fifo is declared twice"},
		"key without SNS":  {set("AWS::KMS::Key", "Description", "messages of prod-push", func(r resource) { r.properties["KeyPolicy"] = map[string]any{"Statement": []any{}} }), "prod-push.fifo is encrypted with a key that does not let SNS use it"},
		"topic's key":      {set("AWS::KMS::Key", "Description", "messages of prod-device-events", func(r resource) { r.properties["KeyPolicy"] = map[string]any{"Statement": []any{}} }), "prod-device-events: prod-device-events.fifo is encrypted with a key that does not let SNS"},
		"unknown key":      {queue("prod-push.fifo", func(p map[string]any) { p["KmsMasterKeyId"] = "alias/other" }), "a key that is not declared here"},
		"no policy": {func(all []resource) []resource {
			return slices.DeleteFunc(all, func(r resource) bool { return r.kind == "AWS::SQS::QueuePolicy" && r.stack == "prod-push" })
		}, "the policy of prod-push.fifo does not let"},
		"open policy": {set("AWS::SQS::QueuePolicy", "", "", func(r resource) {
			doc := r.properties["PolicyDocument"].(map[string]any)
			doc["Statement"] = append(doc["Statement"].([]any), map[string]any{"Effect": "Allow", "Principal": map[string]any{"AWS": "*"}, "Action": "sqs:SendMessage"})
			r.properties["Queues"] = []any{"https://sqs/prod-push.fifo"}
		}), "the policy of prod-push.fifo allows more than the topic to use it"},
		"no alarm target": {func(all []resource) []resource {
			return slices.DeleteFunc(all, func(r resource) bool { return r.kind == "AWS::SNS::Subscription" && r.stack == "prod-operations" })
		}, `nobody is notified of alarms in production; declare an alarm_target for "prod"`},
		"101 subscriptions": {func(all []resource) []resource {
			i := slices.IndexFunc(all, func(r resource) bool { return r.kind == "AWS::SNS::Subscription" && r.stack == "prod-push" })
			return append(all, slices.Repeat(all[i:i+1], 98)...)
		}, "has more than 100 subscriptions"},
	} {
		to, all := prodResources(t)
		if found := texts(check(to, topology.Attributes(), c.spoil(all))); !slices.ContainsFunc(found, func(s string) bool { return strings.Contains(s, c.want) }) {
			t.Errorf("%s: found %q, want %q", name, found, c.want)
		}
	}
}

func TestCheck_CountsAttributes(t *testing.T) {
	to, all := prodResources(t)
	many := topology.Attributes()
	for len(many) < 10 {
		many = append(many, fmt.Sprintf("extra_%d", len(many)))
	}
	if found := texts(check(to, many[:9], all)); len(found) > 0 {
		t.Errorf("nine and that of dead letters: found %q, want nothing", found)
	}
	if found := texts(check(to, many, all)); len(found) != len(to.Services) || !strings.Contains(found[0], "producers set 10 and a dead letter one more") {
		t.Errorf("ten and that of dead letters: found %q", found)
	}
}

// TestSynth_TurnsFindingsIntoErrors uses an escape hatch, which no construct would notice.
func TestSynth_TurnsFindingsIntoErrors(t *testing.T) {
	to, err := targetOf(App{Topology: declaration.Topology()}, contextOf("env=dev"))
	if err != nil {
		t.Fatal(err)
	}
	app := newApp(t)
	if err := build(app, to); err != nil {
		t.Fatal(err)
	}
	stack := app.Node().FindChild(jsii.String("dev-history")).(awscdk.Stack)
	queue := stack.Node().FindChild(jsii.String("Queue")).Node().DefaultChild().(awssqs.CfnQueue)
	queue.AddPropertyOverride(jsii.String("VisibilityTimeout"), 7)
	_, err = synth(app, to)
	if err == nil || !strings.Contains(err.Error(), "Validation failed") {
		t.Fatalf("got %v, want a failed validation", err)
	}
	report, err := os.ReadFile(filepath.Join(*app.Outdir(), "validation-report.json"))
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"dev-history/Queue/Resource", "dev-history.fifo: VisibilityTimeout is 7 s, want at least 30 s"} {
		if !strings.Contains(string(report), want) {
			t.Errorf("the report does not say %q:\n%s", want, report)
		}
	}
}
