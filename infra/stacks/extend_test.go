//go:build !race

package stacks

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/aws/aws-cdk-go/awscdk/v2"
	"github.com/aws/aws-cdk-go/awscdk/v2/awscloudwatch"
	"github.com/aws/aws-cdk-go/awscdk/v2/awscloudwatchactions"
	"github.com/aws/aws-cdk-go/awscdk/v2/awsdynamodb"
	"github.com/aws/aws-cdk-go/awscdk/v2/awsiam"
	"github.com/aws/aws-cdk-go/awscdk/v2/awslambda"
	"github.com/aws/aws-cdk-go/awscdk/v2/awslambdaeventsources"
	"github.com/aws/aws-cdk-go/awscdk/v2/awssns"
	"github.com/aws/aws-cdk-go/awscdk/v2/awssnssubscriptions"
	"github.com/aws/aws-cdk-go/awscdk/v2/awssqs"
	"github.com/aws/jsii-runtime-go"

	"github.com/device-fanout/fanout/infra/declaration"
	"github.com/device-fanout/fanout/infra/topology"
)

const imageTag = "image_tag=" + tag

func TestExtend_AddsToTheStacks(t *testing.T) {
	d := synthesizeApp(t, App{
		Topology: computeTopology(), Program: "shop", PermissionsBoundary: "teams/boundary",
		Tags: map[string]string{"app": "shop", "cost-center": "4711", "owner": "platform"},
		Extend: func(s *Stacks) {
			history := s.Service("history")
			table := awsdynamodb.NewTable(history.Stack, jsii.String("Table"), &awsdynamodb.TableProps{
				PartitionKey: &awsdynamodb.Attribute{Name: jsii.String("id"), Type: awsdynamodb.AttributeType_STRING},
			})
			table.GrantReadData(history.Role)
			history.AddEnvironment("TABLE", *table.TableName())
			alarm := table.MetricUserErrors(nil).CreateAlarm(history.Stack, jsii.String("TableErrors"), &awscloudwatch.CreateAlarmOptions{
				AlarmName: jsii.String(s.Deployment.Scope() + "-table-errors"), Threshold: jsii.Number(1), EvaluationPeriods: jsii.Number(1),
			})
			alarm.AddAlarmAction(awscloudwatchactions.NewSnsAction(history.AlarmTopic))
			s.Service("push").AddEnvironment("LEVEL", "debug")
			gateway := awsiam.NewRole(s.Topic.Stack, jsii.String("Gateway"), &awsiam.RoleProps{
				AssumedBy: awsiam.NewServicePrincipal(jsii.String("ec2.amazonaws.com"), nil), ManagedPolicies: &[]awsiam.IManagedPolicy{s.Topic.ProducerPolicy},
			})
			_ = gateway

			// A stack of the team's own, in which nothing is as it is in ours.
			own := s.NewStack("own", "what the team adds")
			topic := awssns.NewTopic(own, jsii.String("Topic"), nil)
			for _, id := range []string{"One", "Two"} {
				topic.AddSubscription(awssnssubscriptions.NewSqsSubscription(awssqs.NewQueue(own, &id, nil), nil))
			}
			awsiam.NewRole(own, jsii.String("Role"), &awsiam.RoleProps{AssumedBy: awsiam.NewAccountRootPrincipal()})
		},
	}, "env=prod", imageTag)
	if errs := d.errorsOf(t); len(errs) > 0 {
		t.Fatalf("checks found %q", errs)
	}

	task := d.named(t, "AWS::ECS::TaskDefinition", "Family", "prod-history")
	container := resource{properties: task.at("ContainerDefinitions").([]any)[0].(map[string]any)}
	if got := container.text("Environment"); !strings.Contains(got, "Name:TABLE") {
		t.Errorf("the container's environment is %s, want TABLE in it", got)
	}
	if got := container.list("HealthCheck", "Command"); got[1] != "/shop" {
		t.Errorf("health check: got %q, want it to call the team's program", got)
	}
	if got := d.named(t, "AWS::Lambda::Function", "FunctionName", "prod-push").text("Environment", "Variables", "LEVEL"); got != "debug" {
		t.Errorf("the function's LEVEL is %q, want debug", got)
	}
	if got := d.named(t, "AWS::CloudWatch::Alarm", "AlarmName", "prod-push-dead-letters").text("AlarmDescription"); !strings.Contains(got, "See why with shop dlq ls push --env prod,") {
		t.Errorf("the alarm says %q, want the command of the team's program", got)
	}
	if got := d.named(t, "AWS::CloudWatch::Alarm", "AlarmName", "prod-table-errors").text("AlarmActions"); !strings.HasSuffix(got, ":prod-alarms]") {
		t.Errorf("the team's alarm notifies %s, want the alarm topic", got)
	}
	if !strings.Contains(d.text["prod-history"], "dynamodb:GetItem") {
		t.Error("the tasks of history have no rights to the table")
	}
	roles := d.resources("AWS::IAM::Role")
	if !slices.ContainsFunc(roles, func(r resource) bool { return r.stack == "prod-own" }) || len(roles) < 6 {
		t.Errorf("there are %d roles, want ours and the team's", len(roles))
	}
	for _, r := range roles {
		if got := r.text("PermissionsBoundary"); !strings.HasSuffix(got, "policy/teams/boundary") || !strings.HasPrefix(got, "arn:aws:iam::") {
			t.Errorf("%s %s: the permissions boundary is %q", r.stack, r.id, got)
		}
	}
	for _, c := range []struct{ stack, kind, want string }{
		{"prod-history", "AWS::SQS::Queue", "app=shop cost-center=4711 environment=prod owner=data service=history"},
		{"prod-push", "AWS::SQS::Queue", "app=shop cost-center=4711 environment=prod owner=platform service=push"},
		{"prod-device-events", "AWS::SNS::Topic", "app=shop cost-center=4711 environment=prod owner=platform"},
		{"prod-own", "AWS::SQS::Queue", "app=shop cost-center=4711 environment=prod owner=platform"},
	} {
		for _, r := range d.resources(c.kind) {
			if got := tagsOf(r); r.stack == c.stack && got != c.want {
				t.Errorf("%s %s: tags are %s, want %s", r.stack, r.id, got, c.want)
			}
		}
	}
	// What finds queues by their tags looks for these.
	redrive := d.named(t, "AWS::IAM::ManagedPolicy", "ManagedPolicyName", "prod-redrive-operator-eu-central-1")
	if got := redrive.text("PolicyDocument"); strings.Count(got, "aws:ResourceTag/app:shop") < 2 || strings.Contains(got, "ResourceTag/app:fanout") {
		t.Errorf("got %s, want queues with the tag app=shop", got)
	}
}

func tagsOf(r resource) string {
	var pairs []string
	for _, tag := range r.list("Tags") {
		t := resource{properties: tag.(map[string]any)}
		pairs = append(pairs, t.text("Key")+"="+t.text("Value"))
	}
	slices.Sort(pairs)
	return strings.Join(pairs, " ")
}

// TestExtend_IsCheckedAfterwards breaks what the stacks promise, mostly from a stack of the team's own, by references to ours.
func TestExtend_IsCheckedAfterwards(t *testing.T) {
	to, err := targetOf(App{Topology: computeTopology(), Extend: func(s *Stacks) {
		own := s.NewStack("own", "what the team adds")
		history, state := s.Service("history"), s.Service("state")
		awssns.NewSubscription(own, jsii.String("Second"), &awssns.SubscriptionProps{
			Topic: s.Topic.Topic, Protocol: awssns.SubscriptionProtocol_SQS, Endpoint: history.Queue.QueueArn(),
		})
		awssns.NewCfnSubscription(own, jsii.String("Other"), &awssns.CfnSubscriptionProps{
			Protocol: jsii.String("sqs"), RawMessageDelivery: true,
			TopicArn: awscdk.Fn_Sub(jsii.String("arn:aws:sns:${AWS::Region}:${AWS::AccountId}:weather.fifo"), nil),
			Endpoint: awscdk.Fn_Sub(jsii.String("arn:aws:sqs:eu-central-1:111122223333:prod-state"), nil),
		})
		function := awslambda.NewFunction(history.Stack, jsii.String("Peek"), &awslambda.FunctionProps{
			Runtime: awslambda.Runtime_NODEJS_22_X(), Handler: jsii.String("index.handler"), Code: awslambda.Code_FromInline(jsii.String("exports.handler = () => {}")),
		})
		function.AddEventSource(awslambdaeventsources.NewSqsEventSource(history.Queue, &awslambdaeventsources.SqsEventSourceProps{BatchSize: jsii.Number(1)}))
		s.Service("push").Queue.GrantSendMessages(awsiam.NewServicePrincipal(jsii.String("s3.amazonaws.com"), nil))
		awssqs.NewCfnQueuePolicy(own, jsii.String("Policy"), &awssqs.CfnQueuePolicyProps{
			Queues: jsii.Strings(*state.Queue.QueueUrl()),
			PolicyDocument: map[string]any{"Statement": map[string]any{
				"Effect": "Allow", "Principal": "*", "Action": "sqs:SendMessage", "Resource": "*",
			}},
		})
	}}, contextOf("env=prod", imageTag))
	if err != nil {
		t.Fatal(err)
	}
	app := newApp(t)
	if err := build(app, to); err != nil {
		t.Fatal(err)
	}
	if _, err := synth(app, to); err == nil || !strings.Contains(err.Error(), "Validation failed") {
		t.Fatalf("got %v, want a failed validation", err)
	}
	report, err := os.ReadFile(filepath.Join(*app.Outdir(), "validation-report.json"))
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"prod-own/Second",
		"it wraps events in SNS's own JSON; set RawMessageDelivery",
		"prod-history.fifo is subscribed twice, here and in prod-history",
		"it subscribes to arn:aws:sns:eu-central-1:111122223333:weather.fifo, want prod-device-events.fifo",
		"prod-history.fifo has a second consumer: a function would take events away from the tasks of history",
		"the policy of prod-push.fifo allows more than the topic to use it",
		"prod-state has two policies, here and in prod-own",
		"the policy of prod-state allows more than the topic to use it",
	} {
		if !strings.Contains(string(report), want) {
			t.Errorf("the report does not say %q but %q", want, regexp.MustCompile(`"description": .*`).FindAllString(string(report), -1))
		}
	}
}

func TestExtend_SaysWhatIsWrong(t *testing.T) {
	cases := map[string]struct {
		extend func(*Stacks)
		want   string
	}{
		"no such service": {func(s *Stacks) { s.Service("histry").AddEnvironment("A", "b") }, `no service "histry" in prod; there are history, state, push`},
		"no compute":      {func(s *Stacks) { s.Service("state").AddEnvironment("A", "b") }, `service "state": environment variable A: its consumer does not run here; declare its Compute`},
		"bad name":        {func(s *Stacks) { s.Service("history").AddEnvironment("A-B", "b") }, `service "history": environment variable: got the name "A-B"`},
		"name in a task":  {func(s *Stacks) { s.Service("history").AddEnvironment("FANOUT_DATABASE", "b") }, `service "history": environment variable FANOUT_DATABASE: the stack sets it already`},
		"in a function":   {func(s *Stacks) { s.Service("push").AddEnvironment("FANOUT_QUEUE_URL", "b") }, `service "push": environment variable FANOUT_QUEUE_URL: the stack sets it already`},
		"of the CDK":      {func(s *Stacks) { awscdk.NewStack(s.App, jsii.String("prod-history"), nil) }, "There is already a Construct with name 'prod-history'"},
	}
	try := func(f func()) (err error) {
		defer recovered(&err)
		f()
		return nil
	}
	to, err := targetOf(App{Topology: computeTopology(), Extend: func(s *Stacks) {
		for name, c := range cases {
			if err := try(func() { c.extend(s) }); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%s: got %v, want it to say %q", name, err, c.want)
			}
		}
		var none *ServiceStack
		none.AddEnvironment("A", "b")
	}}, contextOf("env=prod", imageTag))
	if err != nil {
		t.Fatal(err)
	}
	// A bug needs its stack.
	if err := build(newApp(t), to); err == nil || !strings.HasPrefix(err.Error(), "stacks: runtime error: ") || !strings.Contains(err.Error(), "extend_test.go") {
		t.Errorf("got %v, want the error with its stack", err)
	}
}

func TestApp_SaysWhatIsWrong(t *testing.T) {
	tags := func(pairs ...string) App {
		a := App{Tags: map[string]string{}}
		for i := 0; i < len(pairs); i += 2 {
			a.Tags[pairs[i]] = pairs[i+1]
		}
		return a
	}
	many := map[string]string{}
	for _, a := range "abcdefg" {
		for _, b := range "abcdefg" {
			many[string([]rune{a, b})] = "x"
		}
	}
	for name, c := range map[string]struct {
		app  App
		want string // of the error; empty wants none
	}{
		"boundary's name":        {App{PermissionsBoundary: "boundary"}, ""},
		"boundary's path":        {App{PermissionsBoundary: "teams/iot/boundary"}, ""},
		"boundary's ARN":         {App{PermissionsBoundary: "arn:aws:iam::111122223333:policy/teams/boundary"}, ""},
		"boundary of AWS":        {App{PermissionsBoundary: "arn:aws-cn:iam::aws:policy/PowerUserAccess"}, ""},
		"boundary's form":        {App{PermissionsBoundary: "my boundary"}, `permissions boundary: got "my boundary", want the ARN or the name of a managed policy`},
		"boundary is a role":     {App{PermissionsBoundary: "arn:aws:iam::111122223333:role/admin"}, `permissions boundary: got "arn:aws:iam::111122223333:role/admin", want`},
		"boundary elsewhere":     {App{PermissionsBoundary: "arn:aws:iam::999999999999:policy/b"}, "permissions boundary: it is a policy of account 999999999999, but environment prod is in account 111122223333"},
		"program":                {App{Program: "shop v2"}, `program: got "shop v2", want the name of an executable`},
		"program's path":         {App{Program: "/shop"}, `program: got "/shop"`},
		"good tags":              {tags("Cost Center", "4711", "owner", "pläne", "a:b/c=d+e-f@g.h", "x"), ""},
		"tag's key":              {tags("cost*center", "4711"), `tags: got the key "cost*center", want 1 to 128 letters, digits, spaces or any of`},
		"tag without a key":      {tags("", "4711"), `tags: got the key ""`},
		"long key":               {tags(strings.Repeat("x", 129), "y"), "want 1 to 128"},
		"key of AWS":             {tags("AWS:x", "y"), `tags: got the key "AWS:x", want none that begins with aws:`},
		"our key":                {tags("environment", "x"), `tags: "environment" is set by the stacks themselves; choose another key`},
		"our key in other case":  {tags("Service", "x"), `tags: "service" and "Service" differ in case only, which IAM refuses`},
		"keys in different case": {tags("Team", "x", "team", "y"), `tags: "Team" and "team" differ in case only`},
		"tag's value":            {tags("team", "a;b"), `tags: team: got the value "a;b", want 1 to 256 letters`},
		"tag without a value":    {tags("team", ""), `tags: team: got the value ""`},
		"too many":               {App{Tags: many}, "tags: got 49, want at most 45"},
	} {
		c.app.Topology = declaration.Topology()
		_, err := targetOf(c.app, contextOf("env=prod"))
		if (c.want == "" && err != nil) || (c.want != "" && (err == nil || !strings.HasPrefix(err.Error(), "stacks: ") || !strings.Contains(err.Error(), c.want))) {
			t.Errorf("%s: got %v, want it to say %q", name, err, c.want)
		}
	}
	// Everything is said at once.
	_, err := targetOf(App{Program: "/", Topology: topology.Topology{Name: "X", Prefix: "Y"}}, contextOf("env=dev"))
	for _, want := range []string{"stacks: program", "topology: name", "topology: prefix"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want it to say %q", err, want)
		}
	}
}
