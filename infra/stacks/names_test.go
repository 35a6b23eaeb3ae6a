//go:build !race

package stacks

import (
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/device-fanout/fanout/infra/topology"
)

// physicalNames are the names of all stacks and of all resources that an account or a region holds once by that name.
func (d deployed) physicalNames() []string {
	var names []string
	for stack, template := range d.templates {
		names = append(names, "stack "+stack)
		for _, output := range template.Outputs {
			if output.Export.Name != nil {
				names = append(names, fmt.Sprint("export ", output.Export.Name))
			}
		}
	}
	named := regexp.MustCompile(`(Name|^Family)$`)
	for _, r := range resolve(d.target, d.templates) {
		if r.kind == "AWS::IAM::Policy" { // belongs to its role, which CloudFormation names
			continue
		}
		for _, property := range sortedKeys(r.properties) {
			if text, ok := r.at(property).(string); ok && named.MatchString(property) && property != "MetricName" && property != "DisplayName" {
				names = append(names, r.kind+" "+text)
			}
		}
	}
	return names
}

// TestTopologies_ShareAnAccount deploys the same services under another name and a prefix beside those without.
func TestTopologies_ShareAnAccount(t *testing.T) {
	first := withCompute(t)
	top := computeTopology()
	top.Name, top.Prefix = "shop", "acme-"
	second := synthesize(t, top, "env=prod", imageTag)
	if errs := second.errorsOf(t); len(errs) > 0 {
		t.Fatalf("checks found %q", errs)
	}

	names := first.physicalNames()
	for _, kind := range []string{
		"stack", "AWS::SNS::Topic", "AWS::SQS::Queue", "AWS::KMS::Alias", "AWS::IAM::ManagedPolicy", "AWS::Logs::LogGroup", "AWS::SSM::Parameter",
		"AWS::CloudWatch::Alarm", "AWS::CloudWatch::Dashboard", "AWS::ECS::Cluster", "AWS::ECS::Service", "AWS::ECS::TaskDefinition",
		"AWS::Lambda::Function", "AWS::ApplicationAutoScaling::ScalingPolicy",
	} {
		if !slices.ContainsFunc(names, func(name string) bool { return strings.HasPrefix(name, kind+" ") }) {
			t.Errorf("no name of a %s in %q", kind, names)
		}
	}
	others := second.physicalNames()
	for _, name := range others {
		if slices.Contains(names, name) {
			t.Errorf("both have a %s", name)
		}
		kind, text, _ := strings.Cut(name, " ")
		if !regexp.MustCompile(`^(/fanout/acme-shop-prod/.+|(alias/)?acme-shop-prod-.+)$`).MatchString(text) {
			t.Errorf("%s %s: want acme-shop-prod- in front", kind, text)
		}
	}
	if len(names) != len(others) {
		t.Errorf("one has %d names, the other %d", len(names), len(others))
	}

	for _, from := range []struct {
		policies string
		of       deployed
		queue    string
	}{
		{"prod", first, "acme-shop-prod-history"},
		{"acme-shop-prod", second, "prod-history"},
	} {
		for _, policy := range []string{"-redrive-operator", "-on-call"} {
			p := from.of.named(t, "AWS::IAM::ManagedPolicy", "ManagedPolicyName", from.policies+policy+"-eu-central-1")
			for _, c := range []call{
				{action: "sqs:GetQueueAttributes", resource: "arn:aws:sqs:eu-central-1:111122223333:" + from.queue + ".fifo"},
				{action: "sqs:ReceiveMessage", resource: "arn:aws:sqs:eu-central-1:111122223333:" + from.queue + "-dlq.fifo"},
				{action: "kms:Decrypt", resource: "arn:aws:kms:eu-central-1:111122223333:key/1", alias: "alias/" + from.queue, via: "sqs.eu-central-1.amazonaws.com"},
			} {
				if allows(t, p, c) {
					t.Errorf("%s%s: %+v is allowed, want it denied: it belongs to the other topology", from.policies, policy, c)
				}
			}
		}
	}
	if body := second.named(t, "AWS::CloudWatch::Dashboard", "DashboardName", "acme-shop-prod-fanout-eu-central-1").text("DashboardBody"); !strings.Contains(body, "QueueName=acme-shop-prod ") {
		t.Errorf("the dashboard looks for other queues: %s", body)
	}
}

// TestResolve_FollowsReferences reads templates as a team's own code may write them.
func TestResolve_FollowsReferences(t *testing.T) {
	templates := map[string]rawTemplate{}
	for stack, text := range map[string]string{
		"a": `{"Resources": {
			"Q": {"Type": "AWS::SQS::Queue", "Properties": {"QueueName": {"Fn::Join": ["", ["dev-", "x"]]}}},
			"One": {"Type": "AWS::SQS::Queue"},
			"Two": {"Type": "AWS::SQS::Queue"},
			"T": {"Type": "AWS::SNS::Topic", "Properties": {"TopicName": "t"}}
		}, "Outputs": {"Arn": {"Value": {"Fn::GetAtt": ["Q", "Arn"]}, "Export": {"Name": {"Fn::Sub": "${AWS::StackName}:Arn"}}}}}`,
		"b": `{"Resources": {"S": {"Type": "X", "Properties": {
			"import": {"Fn::ImportValue": "a:Arn"},
			"output": {"Fn::GetStackOutput": {"StackName": "a", "OutputName": "Arn"}},
			"sub": {"Fn::Sub": ["${T}/${AWS::Region}/${!Kept}", {"T": "of"}]},
			"list": {"Fn::Join": [",", {"Ref": "Parameter"}]},
			"unknown": {"Fn::ImportValue": "elsewhere"},
			"odd": [{"Fn::GetAtt": []}, {"Fn::Join": []}, {"Fn::Sub": []}, {"Fn::GetStackOutput": {}}, {"Fn::Sub": 7}]
		}}}}`,
	} {
		var parsed rawTemplate
		if err := json.Unmarshal([]byte(text), &parsed); err != nil {
			t.Fatal(err)
		}
		templates[stack] = parsed
	}
	to := target{Deployment: topology.Deployment{}}
	all := resolve(to, templates)
	arns := map[string]bool{}
	for _, r := range all[:4] {
		arns[r.arn()] = true
	}
	if len(arns) != 4 || !arns["arn:aws:sqs:eu-central-1:123456789012:dev-x"] || !arns["arn:aws:sns:eu-central-1:123456789012:t"] {
		t.Errorf("got the ARNs %v, want four, those of names among them", arns)
	}
	for property, want := range map[string]string{
		"import": "arn:aws:sqs:eu-central-1:123456789012:dev-x", "output": "arn:aws:sqs:eu-central-1:123456789012:dev-x",
		"sub": "of/eu-central-1/${!Kept}", "unknown": "map[Fn::ImportValue:elsewhere]",
	} {
		if got := all[4].text(property); got != want {
			t.Errorf("%s: got %q, want %q", property, got, want)
		}
	}
}

// TestRegions_ShareNoGlobalName deploys the same environment in two regions of one account. What an account has once, whatever the region, must
// not be called the same.
func TestRegions_ShareNoGlobalName(t *testing.T) {
	global := []string{"AWS::IAM::ManagedPolicy", "AWS::IAM::Role", "AWS::IAM::User", "AWS::IAM::Group", "AWS::CloudWatch::Dashboard", "AWS::S3::Bucket"}
	in := func(region string) map[string]bool {
		top := everything()
		top.Environments[2].Region, top.Environments[2].Certificate = region, strings.ReplaceAll(certificate, "eu-central-1", region)
		names := map[string]bool{}
		for _, name := range synthesize(t, top, "env=prod", imageTag).physicalNames() {
			if kind, _, _ := strings.Cut(name, " "); slices.Contains(global, kind) {
				names[name] = true
			}
		}
		return names
	}
	here, there := in("eu-central-1"), in("us-east-1")
	if len(here) < 10 || len(here) != len(there) {
		t.Errorf("got %d and %d global names", len(here), len(there))
	}
	for name := range here {
		if there[name] {
			t.Errorf("both regions have a %s", name)
		}
	}
}
