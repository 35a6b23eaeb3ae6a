//go:build !race

package stacks

import (
	"slices"
	"strings"
	"testing"

	"github.com/device-fanout/fanout/infra/declaration"
	"github.com/device-fanout/fanout/infra/topology"
)

func TestStacks_ProductionIsKeptAndThrowAwayIsNot(t *testing.T) {
	for name, want := range map[string]string{"prod": "RetainExceptOnCreate", "dev": "Delete", "feature-x": "Delete"} {
		d := environment(t, name)
		for stack, template := range d.templates {
			if got := strings.Contains(d.text[stack], `"expires"`); got != (name == "feature-x") {
				t.Errorf("%s: has a day on which it expires: %t", stack, got)
			}
			for id, r := range template.Resources {
				held := r.Type == "AWS::SQS::Queue" || r.Type == "AWS::KMS::Key" || (r.Type == "AWS::SNS::Topic" && id != "Alarms" && stack == d.TopicStack())
				if held && r.DeletionPolicy != want {
					t.Errorf("%s: %s %s: deletion policy %q, want %s", stack, r.Type, id, r.DeletionPolicy, want)
				}
			}
		}
		for _, stack := range *d.assembly.Stacks() {
			if got := *stack.TerminationProtection(); got != (name == "prod") {
				t.Errorf("%s: termination protection %v", *stack.StackName(), got)
			}
		}
	}
}

func TestStacks_KnowEachOtherByNamesAlone(t *testing.T) {
	for _, name := range environments {
		for stack, text := range environment(t, name).text {
			if strings.Contains(text, "Fn::ImportValue") || strings.Contains(text, "Fn::GetStackOutput") || strings.Contains(text, `"Export"`) {
				t.Errorf("%s takes from or gives to another stack", stack)
			}
		}
	}
}

// TestStacks_ANewServiceChangesNoOther is what a service team counts on.
func TestStacks_ANewServiceChangesNoOther(t *testing.T) {
	before := environment(t, "prod")
	top := declaration.Topology()
	top.Services = append(top.Services, topology.Service{Name: "billing", Events: []string{"device.telemetry.reported.v1"}, HandlerTimeout: top.Services[0].HandlerTimeout})
	after := synthesize(t, top, "env=prod")
	for stack, text := range after.text {
		old, existed := before.text[stack]
		if existed == (stack == "prod-billing") || (existed && old != text) {
			t.Errorf("%s: existed %v, changed %v", stack, existed, old != text)
		}
	}
}

func TestTopic_KeepsEventsInProductionAndTakesThemByTLSOnly(t *testing.T) {
	prod, dev := environment(t, "prod"), environment(t, "dev")
	if got := prod.named(t, "AWS::SNS::Topic", "TopicName", prod.TopicName()).text("ArchivePolicy", "MessageRetentionPeriod"); got != "14" {
		t.Errorf("archive: got %q days, want 14", got)
	}
	if got := dev.named(t, "AWS::SNS::Topic", "TopicName", dev.TopicName()).at("ArchivePolicy"); got != nil {
		t.Errorf("archive in dev: got %v, want none", got)
	}
	for _, d := range []deployed{prod, dev} {
		secured := map[string]bool{}
		for _, p := range append(d.resources("AWS::SQS::QueuePolicy"), d.resources("AWS::SNS::TopicPolicy")...) {
			targets, _ := p.at("Queues").([]any)
			topics, _ := p.at("Topics").([]any)
			for _, s := range p.at("PolicyDocument", "Statement").([]any) {
				r := resource{properties: s.(map[string]any)}
				if r.text("Effect") == "Deny" && r.text("Condition", "Bool", "aws:SecureTransport") == "false" {
					for _, to := range slices.Concat(targets, topics) {
						secured[to.(string)[strings.LastIndexAny(to.(string), ":/")+1:]] = true
					}
				}
			}
		}
		for _, r := range append(d.resources("AWS::SQS::Queue"), d.resources("AWS::SNS::Topic")...) {
			if !secured[r.name()] {
				t.Errorf("%s takes messages without TLS", r.name())
			}
		}
		topic := d.named(t, "AWS::SNS::Topic", "TopicName", d.TopicName())
		if logging := topic.text("DeliveryStatusLogging"); !strings.Contains(logging, "FailureFeedbackRoleArn") {
			t.Errorf("failed deliveries are not logged: %s", logging)
		}
	}
}

func TestQueues_AreEncrypted(t *testing.T) {
	for _, q := range environment(t, "dev").resources("AWS::SQS::Queue") {
		if q.text("SqsManagedSseEnabled") != "true" {
			t.Errorf("%s: not encrypted by SQS", q.name())
		}
	}
	for _, q := range environment(t, "prod").resources("AWS::SQS::Queue") {
		if q.at("KmsMasterKeyId") == nil {
			t.Errorf("%s: no key", q.name())
		}
	}
}

func TestDashboards_ShowTopicQueueAndDeadLettersSideBySide(t *testing.T) {
	d := environment(t, "prod")
	if got, want := len(d.resources("AWS::CloudWatch::Dashboard")), len(d.Services)+1; got != want {
		t.Errorf("got %d dashboards, want one for each service and one for all", got)
	}
	body := d.named(t, "AWS::CloudWatch::Dashboard", "DashboardName", "prod-history-eu-central-1").text("DashboardBody")
	at := -1
	for _, title := range []string{"Topic prod-device-events.fifo", "Queue prod-history.fifo", "prod-history-dlq.fifo", "prod-history-delivery-dlq.fifo"} {
		next := strings.Index(body, title)
		if next <= at {
			t.Errorf("%q stands at %d, want it after %d in %s", title, next, at, body)
		}
		at = next
	}
}

func TestParameters_TellWhereThingsAre(t *testing.T) {
	d := environment(t, "dev")
	var got []string
	for _, p := range d.resources("AWS::SSM::Parameter") {
		got = append(got, p.text("Name"))
	}
	for _, want := range []string{"/fanout/dev/topic-arn", "/fanout/dev/alarm-topic-arn", "/fanout/dev/history/queue-url", "/fanout/dev/push/dlq-arn", "/fanout/dev/state/delivery-dlq-url"} {
		if !slices.Contains(got, want) {
			t.Errorf("there is no %s in %q", want, got)
		}
	}
}
