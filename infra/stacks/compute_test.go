//go:build !race

package stacks

import (
	"strings"
	"testing"
	"time"

	"github.com/device-fanout/fanout/infra/declaration"
	"github.com/device-fanout/fanout/infra/topology"
)

const tag = "0123abc"

// prodAlone is the declaration, of which something runs in prod only.
func prodAlone() topology.Topology {
	top := declaration.Topology()
	for i := range top.Environments {
		top.Environments[i].Compute = topology.NoCompute
	}
	top.Environments[2].Compute = topology.Declared
	return top
}

// computeTopology has history on Fargate, push on Lambda, and state with a standard queue.
func computeTopology() topology.Topology {
	top := prodAlone()
	top.Environments[2].Network = topology.Network{
		WayOut: topology.ByNAT,
		VPC:    "vpc-0a1b2c3d4e5f67890", AvailabilityZones: []string{"eu-central-1a", "eu-central-1b"},
		Subnets: []string{"subnet-0a1b2c3d4e5f67891", "subnet-0a1b2c3d4e5f67892"},
	}
	top.Services[0].Compute = topology.Compute{Kind: topology.Fargate, DatabaseSecret: "prod/history", Drain: 40 * time.Second, MaxTasks: 6}
	top.Services[0].Owner = "data"
	top.Services[1].Standard = true
	top.Services[2].Compute = topology.Compute{Kind: topology.Lambda, Concurrency: 5, Repository: "push", DatabaseSecret: "prod/push"}
	return top
}

func withCompute(t *testing.T) deployed {
	t.Helper()
	return once(t, "compute", computeTopology, "env=prod", "image_tag="+tag)
}

func TestFargate_StopsCleanlyAndRollsBack(t *testing.T) {
	d := withCompute(t)
	if errs := d.errorsOf(t); len(errs) > 0 {
		t.Fatalf("checks found %q", errs)
	}
	service := d.named(t, "AWS::ECS::Service", "ServiceName", "prod-history")
	breaker := []string{"DeploymentConfiguration", "DeploymentCircuitBreaker"}
	if service.text(append(breaker, "Enable")...) != "true" || service.text(append(breaker, "Rollback")...) != "true" {
		t.Errorf("circuit breaker: got %v, want it on, with rollback", service.at("DeploymentConfiguration"))
	}
	if service.at("DesiredCount") != nil {
		t.Errorf("desired count: got %v, want none: scaling owns it", service.at("DesiredCount"))
	}
	if service.text("NetworkConfiguration", "AwsvpcConfiguration", "AssignPublicIp") != "DISABLED" {
		t.Error("tasks have public addresses")
	}
	task := d.named(t, "AWS::ECS::TaskDefinition", "Family", "prod-history")
	container := resource{properties: task.at("ContainerDefinitions").([]any)[0].(map[string]any)}
	if image := container.text("Image"); !strings.HasSuffix(image, "/fanout:"+tag) {
		t.Errorf("image: got %q, want fanout at the commit", image)
	}
	if stop := container.seconds("StopTimeout", 0); stop <= 40 || stop > 120 {
		t.Errorf("stop timeout: got %v s, want more than the drain of 40 s and no more than Fargate's 120 s", stop)
	}
	// A task whose database is down must not be replaced for it, neither while it runs nor while it is deployed.
	if health := container.text("HealthCheck", "Command"); !strings.Contains(health, "/livez") || strings.Contains(health, "/readyz") {
		t.Errorf("health check: got %s, want /livez", health)
	}
	if container.text("ReadonlyRootFilesystem") != "true" || container.text("User") == "" {
		t.Error("the container may write to its image, or is root")
	}
	if secret := container.text("Secrets"); !strings.Contains(secret, "FANOUT_DATABASE") || !strings.Contains(secret, "prod/history") {
		t.Errorf("secrets: got %s, want the database's URL", secret)
	}
}

func TestFargate_ScalesOnBacklogPerTask(t *testing.T) {
	d := withCompute(t)
	scaling := d.named(t, "AWS::ApplicationAutoScaling::ScalingPolicy", "PolicyName", "prod-history-backlog-per-task")
	tracking := resource{properties: scaling.at("TargetTrackingScalingPolicyConfiguration").(map[string]any)}
	if tracking.text("TargetValue") != "500" {
		t.Errorf("target: got %s, want 500 messages per task", tracking.text("TargetValue"))
	}
	metrics := tracking.text("CustomizedMetricSpecification", "Metrics")
	for _, want := range []string{"ApproximateNumberOfMessagesVisible", "prod-history.fifo", "RunningTaskCount", "visible / IF(tasks > 0, tasks, 1)"} {
		if !strings.Contains(metrics, want) {
			t.Errorf("the metric %s has no %s", metrics, want)
		}
	}
	capacity := d.resources("AWS::ApplicationAutoScaling::ScalableTarget")[0]
	if capacity.text("MinCapacity") != "1" || capacity.text("MaxCapacity") != "6" {
		t.Errorf("capacity: got %s to %s, want 1 to 6", capacity.text("MinCapacity"), capacity.text("MaxCapacity"))
	}
	absent := d.named(t, "AWS::CloudWatch::Alarm", "AlarmName", "prod-history-absent")
	if absent.text("TreatMissingData") != "breaching" {
		t.Error("no alarm when no task runs")
	}
}

func TestLambda_ReportsEveryEventAndIsBounded(t *testing.T) {
	d := withCompute(t)
	source := d.resources("AWS::Lambda::EventSourceMapping")[0]
	if types := source.text("FunctionResponseTypes"); types != "[ReportBatchItemFailures]" {
		t.Errorf("response types: got %s", types)
	}
	if source.text("ScalingConfig", "MaximumConcurrency") != "5" || source.text("BatchSize") != "10" {
		t.Errorf("got concurrency %s and batches of %s, want 5 and 10", source.text("ScalingConfig", "MaximumConcurrency"), source.text("BatchSize"))
	}
	function := d.named(t, "AWS::Lambda::Function", "FunctionName", "prod-push")
	for _, name := range []string{"FANOUT_QUEUE_URL", "FANOUT_DLQ_URL", "FANOUT_DATABASE"} { // what the command lambda wants
		if function.text("Environment", "Variables", name) == "" {
			t.Errorf("the function's environment has no %s", name)
		}
	}
	if timeout, count := function.text("Environment", "Variables", "FANOUT_HANDLER_TIMEOUT"), function.text("Environment", "Variables", "FANOUT_MAX_RECEIVE_COUNT"); timeout != "2s" || count != "533" {
		t.Errorf("the function is told of a handler timeout of %s and a maxReceiveCount of %s, want 2s and 533, as declared", timeout, count)
	}
	if got := function.text("Environment", "Variables", "FANOUT_DATABASE"); !strings.Contains(got, "resolve:secretsmanager:prod/push") {
		t.Errorf("FANOUT_DATABASE is %s, want a reference to the secret", got)
	}
	if !strings.HasSuffix(source.text("EventSourceArn"), ":prod-push.fifo") {
		t.Errorf("event source: got %s", source.text("EventSourceArn"))
	}
	if image := function.text("Code", "ImageUri"); !strings.HasSuffix(image, "/push:"+tag) {
		t.Errorf("image: got %q", image)
	}
	queue := d.named(t, "AWS::SQS::Queue", "QueueName", "prod-push.fifo")
	if got, least := queue.seconds("VisibilityTimeout", 0), 6*function.seconds("Timeout", 0); got < least || least == 0 {
		t.Errorf("visibility timeout: got %v s, want at least six times the function's, %v s", got, least)
	}
}

func TestStandardQueue_ForAServiceThatChoseIt(t *testing.T) {
	d := withCompute(t)
	for _, name := range []string{"prod-state", "prod-state-dlq", "prod-state-delivery-dlq"} {
		if q := d.named(t, "AWS::SQS::Queue", "QueueName", name); q.at("FifoQueue") != nil || q.at("DeduplicationScope") != nil {
			t.Errorf("%s: got %v, want a standard queue", name, q.properties)
		}
	}
	if !strings.Contains(d.text["prod-state"], "standard queue: no order") {
		t.Error("the stack does not say that its queue has no order")
	}
	if !strings.Contains(d.text["prod-history"], `"Key": "owner"`) {
		t.Error("no owner's tag")
	}
}
