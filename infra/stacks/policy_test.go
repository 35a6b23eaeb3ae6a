//go:build !race

package stacks

import (
	"fmt"
	"path"
	"slices"
	"strings"
	"testing"
)

// call is an API call as IAM sees it.
type call struct {
	action, resource string
	alias, via       string // of the key, and through which service it is used
	others           bool   // the resource has not the tags of this environment
	passedTo         string // the service that a role is passed to
	boundary         string // a part of the ARN of the role's permissions boundary
}

// allows evaluates the statements of an identity's policy as IAM does: denied unless a statement allows, and none denies.
func allows(t *testing.T, policy resource, c call) bool {
	t.Helper()
	allowed := false
	for _, statement := range policy.at("PolicyDocument", "Statement").([]any) {
		s := resource{properties: statement.(map[string]any)}
		if !matchAny(s.at("Action"), c.action) || !matchAny(s.at("Resource"), c.resource) || !meets(t, s.at("Condition"), c) {
			continue
		}
		if s.text("Effect") == "Deny" {
			return false
		}
		allowed = true
	}
	return allowed
}

// wantCalls tells which calls a policy allows although it should not, or denies.
func wantCalls(t *testing.T, name string, policy resource, allowed, denied []call) {
	t.Helper()
	for _, c := range allowed {
		if !allows(t, policy, c) {
			t.Errorf("%s: %+v is denied, want it allowed", name, c)
		}
	}
	for _, c := range denied {
		if allows(t, policy, c) {
			t.Errorf("%s: %+v is allowed, want it denied", name, c)
		}
	}
}

func matchAny(patterns any, value string) bool {
	list, many := patterns.([]any)
	if !many {
		list = []any{patterns}
	}
	return slices.ContainsFunc(list, func(p any) bool {
		ok, _ := path.Match(strings.ReplaceAll(fmt.Sprint(p), "/", "\x00"), strings.ReplaceAll(value, "/", "\x00"))
		return ok
	})
}

func meets(t *testing.T, conditions any, c call) bool {
	t.Helper()
	object, _ := conditions.(map[string]any)
	for operator, keys := range object {
		for key, want := range keys.(map[string]any) {
			var got string
			switch key {
			case "kms:ResourceAliases":
				got = c.alias
			case "kms:ViaService":
				got = c.via
			case "iam:ResourceTag/environment":
				got = map[bool]string{false: "prod"}[c.others]
			case "iam:PassedToService":
				got = c.passedTo
			case "iam:AWSServiceName":
				got = "other.amazonaws.com"
			case "iam:PermissionsBoundary":
				if c.boundary == "" || !strings.Contains(fmt.Sprint(want), c.boundary) {
					return false
				}
				got = fmt.Sprint(want)
			case "aws:ResourceTag/app":
				got = map[bool]string{false: "fanout"}[c.others]
			case "aws:ResourceTag/environment":
				got = map[bool]string{false: "prod"}[c.others]
			default:
				t.Fatalf("no test knows the condition %s %s", operator, key)
			}
			if !matchAny(want, got) {
				return false
			}
		}
	}
	return true
}

func TestPolicies_AllowWhatIsNeededAndNoMore(t *testing.T) {
	d := environment(t, "prod")
	queue := func(name string) string { return "arn:aws:sqs:eu-central-1:111122223333:" + name }
	topic := "arn:aws:sns:eu-central-1:111122223333:prod-device-events.fifo"
	keyOf := func(stack string) string {
		for _, r := range d.resources("AWS::KMS::Key") {
			if r.stack == stack {
				return "arn:aws:kms:eu-central-1:111122223333:key/" + r.stack + "." + r.id
			}
		}
		t.Fatalf("no key in %s", stack)
		return ""
	}
	const anyKey, viaSQS = "arn:aws:kms:eu-central-1:111122223333:key/1234", "sqs.eu-central-1.amazonaws.com"
	for _, c := range []struct {
		policy  string
		allowed []call
		denied  []call
	}{
		{
			"prod-producer",
			[]call{{action: "sns:Publish", resource: topic}, {action: "kms:GenerateDataKey", resource: keyOf("prod-device-events")}, {action: "kms:Decrypt", resource: keyOf("prod-device-events")}},
			[]call{
				{action: "sns:Publish", resource: strings.Replace(topic, "prod", "test", 1)},
				{action: "sns:Subscribe", resource: topic},
				{action: "sns:DeleteTopic", resource: topic},
				{action: "sqs:SendMessage", resource: queue("prod-history.fifo")},
				{action: "kms:Decrypt", resource: keyOf("prod-history")},
				{action: "kms:ScheduleKeyDeletion", resource: keyOf("prod-device-events")},
			},
		},
		{
			"prod-history-consumer",
			[]call{
				{action: "sqs:ReceiveMessage", resource: queue("prod-history.fifo")},
				{action: "sqs:DeleteMessage", resource: queue("prod-history.fifo")},
				{action: "sqs:ChangeMessageVisibility", resource: queue("prod-history.fifo")},
				{action: "sqs:GetQueueAttributes", resource: queue("prod-history.fifo")},
				{action: "sqs:GetQueueUrl", resource: queue("prod-history.fifo")},
				{action: "sqs:SendMessage", resource: queue("prod-history-dlq.fifo")},
				{action: "sqs:GetQueueAttributes", resource: queue("prod-history-dlq.fifo")},
				{action: "sqs:GetQueueUrl", resource: queue("prod-history-dlq.fifo")},
				{action: "kms:Decrypt", resource: keyOf("prod-history")},
				{action: "kms:GenerateDataKey", resource: keyOf("prod-history")},
			},
			[]call{
				{action: "sqs:ReceiveMessage", resource: queue("prod-push.fifo")},
				{action: "sqs:ReceiveMessage", resource: queue("prod-history-dlq.fifo")},
				{action: "sqs:DeleteMessage", resource: queue("prod-history-dlq.fifo")},
				{action: "sqs:SendMessage", resource: queue("prod-history.fifo")},
				{action: "sqs:PurgeQueue", resource: queue("prod-history.fifo")},
				{action: "sqs:SendMessage", resource: queue("prod-push-dlq.fifo")},
				{action: "sns:Publish", resource: topic},
				{action: "kms:Decrypt", resource: keyOf("prod-push")},
			},
		},
		{
			"prod-redrive-operator",
			[]call{
				{action: "sqs:ReceiveMessage", resource: queue("prod-history-dlq.fifo")},
				{action: "sqs:DeleteMessage", resource: queue("prod-push-dlq.fifo")},
				{action: "sqs:DeleteMessage", resource: queue("prod-push-delivery-dlq.fifo")},
				{action: "sqs:StartMessageMoveTask", resource: queue("prod-push-dlq.fifo")},
				{action: "sqs:SendMessage", resource: queue("prod-push.fifo")},
				{action: "sqs:SendMessage", resource: queue("prod-state.fifo")},
				{action: "sqs:ReceiveMessage", resource: queue("prod-state-delivery-dlq.fifo")},
				{action: "kms:Decrypt", resource: anyKey, alias: "alias/prod-push", via: viaSQS},
			},
			[]call{
				{action: "sqs:ReceiveMessage", resource: queue("prod-history.fifo")},
				{action: "sqs:DeleteMessage", resource: queue("prod-history.fifo")},
				{action: "sqs:PurgeQueue", resource: queue("prod-history-dlq.fifo")},
				{action: "sqs:ReceiveMessage", resource: queue("test-history-dlq.fifo")},
				{action: "sqs:SendMessage", resource: queue("test-history.fifo")},
				{action: "sqs:SendMessage", resource: queue("prod-billing.fifo"), others: true}, // of another product
				{action: "sqs:SendMessage", resource: queue("prod-history")},
				{action: "sqs:SendMessage", resource: queue("prod-history.fifo-2")},
				{action: "sqs:ReceiveMessage", resource: queue("prod-billing-dlq.fifo"), others: true},
				{action: "sns:Publish", resource: topic},
				{action: "kms:Decrypt", resource: anyKey, alias: "alias/test-push", via: viaSQS},
				{action: "kms:Decrypt", resource: anyKey, alias: "alias/prod-billing", via: viaSQS, others: true},
				{action: "kms:Decrypt", resource: anyKey, alias: "alias/prod-push", via: "s3.eu-central-1.amazonaws.com"},
			},
		},
		{
			"prod-on-call",
			[]call{
				{action: "cloudwatch:DescribeAlarms", resource: "x"},
				{action: "sqs:GetQueueAttributes", resource: queue("prod-history.fifo")},
				{action: "sqs:GetQueueAttributes", resource: queue("prod-push-delivery-dlq.fifo")},
				{action: "sqs:ListMessageMoveTasks", resource: queue("prod-history-dlq.fifo")},
				{action: "logs:FilterLogEvents", resource: "arn:aws:logs:eu-central-1:111122223333:log-group:/fanout/prod/history:*"},
				{action: "ecs:DescribeServices", resource: "arn:aws:ecs:eu-central-1:111122223333:service/prod-gateway/prod-gateway-mqtt"},
			},
			[]call{
				{action: "logs:FilterLogEvents", resource: "arn:aws:logs:eu-central-1:111122223333:log-group:/fanout/test/history:*"},
				{action: "ecs:DescribeServices", resource: "arn:aws:ecs:eu-central-1:111122223333:service/test-history/test-history"},
				{action: "ecs:UpdateService", resource: "arn:aws:ecs:eu-central-1:111122223333:service/prod-history/prod-history"},
				{action: "sqs:ReceiveMessage", resource: queue("prod-history-dlq.fifo")},
				{action: "sqs:ChangeMessageVisibility", resource: queue("prod-history-dlq.fifo")},
				{action: "kms:Decrypt", resource: anyKey, alias: "alias/prod-push", via: viaSQS},
				{action: "sqs:GetQueueAttributes", resource: queue("prod-billing.fifo"), others: true},
				{action: "sqs:DeleteMessage", resource: queue("prod-history-dlq.fifo")},
				{action: "sqs:SendMessage", resource: queue("prod-history.fifo")},
				{action: "sqs:ReceiveMessage", resource: queue("prod-history.fifo")},
				{action: "sqs:StartMessageMoveTask", resource: queue("prod-history-dlq.fifo")},
				{action: "sns:Publish", resource: topic},
				{action: "cloudwatch:DeleteAlarms", resource: "x"},
				{action: "kms:GenerateDataKey", resource: anyKey, alias: "alias/prod-push", via: viaSQS},
				{action: "sqs:GetQueueAttributes", resource: queue("test-history.fifo")},
			},
		},
	} {
		policy := d.named(t, "AWS::IAM::ManagedPolicy", "ManagedPolicyName", c.policy+"-eu-central-1")
		for _, call := range c.allowed {
			if !allows(t, policy, call) {
				t.Errorf("%s: %+v is denied, want it allowed", c.policy, call)
			}
		}
		for _, call := range c.denied {
			if allows(t, policy, call) {
				t.Errorf("%s: %+v is allowed, want it denied", c.policy, call)
			}
		}
	}
}

// TestPolicies_FitNoOtherQueue: what names a queue names it whole, or has a pattern that ends in .fifo and holds for what has the tags of
// the environment.
func TestPolicies_FitNoOtherQueue(t *testing.T) {
	for _, name := range environments {
		d := environment(t, name)
		queues := map[string]bool{}
		for _, q := range d.resources("AWS::SQS::Queue") {
			queues[q.text("QueueName")] = true
			tags := map[string]string{}
			for _, tag := range q.at("Tags").([]any) {
				r := resource{properties: tag.(map[string]any)}
				tags[r.text("Key")] = r.text("Value")
			}
			if tags["app"] != "fanout" || tags["environment"] != name {
				t.Errorf("%s: %s: got tags %v, want those that policies ask for", name, q.text("QueueName"), tags)
			}
		}
		for _, kind := range []string{"AWS::IAM::ManagedPolicy", "AWS::IAM::Policy"} {
			for _, policy := range d.resources(kind) {
				for _, statement := range policy.at("PolicyDocument", "Statement").([]any) {
					s := resource{properties: statement.(map[string]any)}
					list, many := s.at("Resource").([]any)
					if !many {
						list = []any{s.at("Resource")}
					}
					tagged := s.text("Condition", "StringEquals", "aws:ResourceTag/app") == "fanout" &&
						s.text("Condition", "StringEquals", "aws:ResourceTag/environment") == name
					for i := range list {
						r := resource{properties: map[string]any{"Resource": list[i]}}.text("Resource")
						_, queue, isQueue := strings.Cut(r, ":sqs:")
						queue = queue[strings.LastIndexByte(queue, ':')+1:]
						fits := tagged && strings.HasPrefix(queue, name+"-*") && strings.HasSuffix(queue, ".fifo")
						if isQueue && !queues[queue] && !fits {
							t.Errorf("%s: %s: %s: got %s, want the name of one of %s's queues", name, policy.id, s.text("Sid"), r, name)
						}
					}
				}
			}
		}
	}
}

// TestRoles_AreForThisAccountOnly: a service of AWS uses a role for whoever the role's account is, and for nobody else.
func TestRoles_AreForThisAccountOnly(t *testing.T) {
	roles := 0
	all := []deployed{withCompute(t)}
	for _, name := range environments {
		all = append(all, environment(t, name))
	}
	for _, d := range all {
		for _, role := range d.resources("AWS::IAM::Role") {
			for _, statement := range role.at("AssumeRolePolicyDocument", "Statement").([]any) {
				s := resource{properties: statement.(map[string]any)}
				if s.text("Principal", "Service") == "" {
					continue
				}
				roles++
				if got := s.text("Condition", "StringEquals", "aws:SourceAccount"); got == "" || strings.Contains(got, "*") {
					t.Errorf("%s: %s: got account %q, want the role's own", role.stack, role.id, got)
				}
			}
		}
	}
	if roles < 7 {
		t.Errorf("got %d roles of services, want those of tasks, functions and delivery logs", roles)
	}
}

// policiesOf are the statements of a role's own policies, and of the managed ones that are attached to it, as allows reads them.
func (d deployed) policiesOf(t *testing.T, role resource) resource {
	t.Helper()
	var statements []any
	for _, p := range d.resources("AWS::IAM::Policy") {
		for _, of := range p.list("Roles") {
			if text, _ := of.(string); p.stack == role.stack && strings.Contains(text, "."+role.id+".") {
				statements = append(statements, p.list("PolicyDocument", "Statement")...)
			}
		}
	}
	for _, p := range d.resources("AWS::IAM::ManagedPolicy") {
		for _, attached := range role.list("ManagedPolicyArns") {
			if text := fmt.Sprint(attached); strings.HasSuffix(text, ":policy/"+p.text("ManagedPolicyName")) || strings.Contains(text, p.stack+"."+p.id+".") {
				statements = append(statements, p.list("PolicyDocument", "Statement")...)
			}
		}
	}
	if len(statements) == 0 {
		t.Fatalf("%s: %s has no policy", role.stack, role.id)
	}
	return resource{properties: map[string]any{"PolicyDocument": map[string]any{"Statement": statements}}}
}

// TestPolicies_OfPrograms: what runs in AWS may do what it is for, and nothing that others are for.
func TestPolicies_OfPrograms(t *testing.T) {
	d := withEverything(t)
	const at = ":eu-central-1:111122223333:"
	topic, queue := "arn:aws:sns"+at+"prod-device-events.fifo", "arn:aws:sqs"+at
	secret := func(name string) string { return "arn:aws:secretsmanager" + at + "secret:" + name + "-a1B2c3" }
	database := ""
	for _, p := range d.resources("AWS::SSM::Parameter") {
		if p.text("Name") == "/fanout/prod/database/secret-arn" {
			database = p.text("Value")
		}
	}
	if database == "" {
		t.Fatal("the database's secret is not published")
	}
	// Other stacks know it by the parameter alone.
	known := func(stack string) string {
		for id := range d.templates[stack].Parameters {
			if strings.Contains(id, "databasesecretarn") {
				return stack + "." + id + ".Arn"
			}
		}
		t.Fatalf("%s does not read the database's secret", stack)
		return ""
	}
	for name, c := range map[string]struct {
		stack, role     string
		allowed, denied []call
	}{
		"the gateway": {
			"prod-gateway", "TaskRole",
			[]call{{action: "sns:Publish", resource: topic}, {action: "secretsmanager:GetSecretValue", resource: secret("prod/gateway-keys")}},
			[]call{
				{action: "sns:Publish", resource: strings.Replace(topic, "prod", "test", 1)},
				{action: "sns:Subscribe", resource: topic},
				{action: "sqs:ReceiveMessage", resource: queue + "prod-history.fifo"},
				{action: "sqs:SendMessage", resource: queue + "prod-history.fifo"},
				{action: "secretsmanager:GetSecretValue", resource: secret("prod/mqtt")},
				{action: "secretsmanager:PutSecretValue", resource: secret("prod/gateway-keys")},
			},
		},
		"its subscription to the broker": {
			"prod-gateway", "MQTTTaskRole",
			[]call{{action: "sns:Publish", resource: topic}},
			[]call{{action: "secretsmanager:GetSecretValue", resource: secret("prod/gateway-keys")}, {action: "sqs:SendMessage", resource: queue + "prod-history.fifo"}},
		},
		"history": {
			"prod-history", "TaskRole",
			[]call{{action: "sqs:ReceiveMessage", resource: queue + "prod-history.fifo"}, {action: "secretsmanager:GetSecretValue", resource: known("prod-history")}},
			[]call{
				{action: "sqs:ReceiveMessage", resource: queue + "prod-push.fifo"},
				{action: "sns:Publish", resource: topic},
				{action: "secretsmanager:GetSecretValue", resource: secret("prod/gateway-keys")},
			},
		},
		"state": {
			"prod-state", "Role",
			[]call{{action: "sqs:ReceiveMessage", resource: queue + "prod-state.fifo"}, {action: "secretsmanager:GetSecretValue", resource: known("prod-state")}},
			[]call{{action: "sqs:ReceiveMessage", resource: queue + "prod-push.fifo"}, {action: "sns:Publish", resource: topic}},
		},
		"a migration": {
			"prod-database", "MigratefanoutTaskRole",
			[]call{{action: "secretsmanager:GetSecretValue", resource: database}},
			[]call{{action: "sqs:ReceiveMessage", resource: queue + "prod-history.fifo"}, {action: "sns:Publish", resource: topic}},
		},
	} {
		var role resource
		for _, r := range d.resources("AWS::IAM::Role") {
			if r.stack == c.stack && strings.HasPrefix(r.id, c.role) && len(r.id) == len(c.role)+8 {
				role = r
			}
		}
		if role.id == "" {
			t.Errorf("%s has no role", name)
			continue
		}
		wantCalls(t, name, d.policiesOf(t, role), c.allowed, c.denied)
	}
}
