//go:build !race

package stacks

import (
	"slices"
	"testing"
	"time"

	"github.com/device-fanout/fanout/infra/declaration"
	"github.com/device-fanout/fanout/infra/topology"
)

// monthly is what one resource costs in a month in which nothing happens, in USD: prices of us-east-1 in 2026, without free tiers. What is not here
// and in free is in none of the stacks, so that nobody forgets to ask what a new kind costs.
var monthly = map[string]func(r resource) float64{
	"AWS::CloudWatch::Alarm":                    func(r resource) float64 { return 0.10 * float64(max(1, len(r.list("Metrics"))-1)) }, // by metric
	"AWS::CloudWatch::Dashboard":                func(resource) float64 { return 3 },
	"AWS::KMS::Key":                             func(resource) float64 { return 1 },
	"AWS::Logs::MetricFilter":                   func(resource) float64 { return 0.30 }, // its metric
	"AWS::EC2::NatGateway":                      func(resource) float64 { return 32.85 },
	"AWS::EC2::EIP":                             func(resource) float64 { return 3.65 },
	"AWS::ElasticLoadBalancingV2::LoadBalancer": func(resource) float64 { return 16.43 },
	"AWS::EC2::VPCEndpoint": func(r resource) float64 {
		return 7.30 * float64(len(r.list("SubnetIds")))
	},
	"AWS::RDS::DBInstance": func(r resource) float64 {
		if r.text("DBInstanceClass") == "db.serverless" {
			return 0.5 * 0.12 * 730 // half a unit
		}
		return 11.68 + 2.30 // db.t4g.micro, and 20 GiB
	},
}

// free are the kinds that cost nothing while nothing happens. Tasks and functions are counted apart.
var free = []string{
	"AWS::SNS::Topic", "AWS::SNS::TopicPolicy", "AWS::SNS::Subscription", "AWS::SQS::Queue", "AWS::SQS::QueuePolicy", "AWS::KMS::Alias", "AWS::SSM::Parameter",
	"AWS::IAM::Role", "AWS::IAM::Policy", "AWS::IAM::ManagedPolicy", "AWS::Logs::LogGroup", "AWS::ECS::Cluster", "AWS::ECS::Service", "AWS::ECS::TaskDefinition",
	"AWS::ApplicationAutoScaling::ScalableTarget", "AWS::ApplicationAutoScaling::ScalingPolicy", "AWS::Lambda::Function", "AWS::Lambda::EventSourceMapping",
	"AWS::EC2::VPC", "AWS::EC2::Subnet", "AWS::EC2::Route", "AWS::EC2::RouteTable", "AWS::EC2::SubnetRouteTableAssociation", "AWS::EC2::InternetGateway",
	"AWS::EC2::VPCGatewayAttachment", "AWS::EC2::SecurityGroup", "AWS::EC2::SecurityGroupIngress", "AWS::EC2::SecurityGroupEgress",
	"AWS::ElasticLoadBalancingV2::Listener", "AWS::ElasticLoadBalancingV2::TargetGroup", "AWS::RDS::DBSubnetGroup", "AWS::RDS::DBCluster",
	"AWS::EFS::FileSystem", "AWS::EFS::MountTarget", "AWS::EFS::AccessPoint", // by what is stored
}

// idleTasks is what a task costs beside that, by its service: the smallest number of tasks.
func idleTasks(d deployed) float64 {
	sum := 0.0
	task := func(cpu, memory, tasks int) {
		sum += float64(tasks) * (29.55*float64(cpu)/1024 + 3.245*float64(memory)/1024)
	}
	for _, s := range d.Services {
		if c := s.Compute; c.Kind == topology.Fargate {
			task(c.CPU, c.MemoryMiB, c.MinTasks)
		}
		if s.Compute.Kind != "" { // long polls, of one task
			sum += 730 * 3600 / d.Environment.WaitTime.Seconds() * 0.50 / 1e6
		}
	}
	if g := d.Environment.Gateway; g != nil {
		cpu := 512
		if d.Environment.Compute == topology.Smallest {
			cpu = 256
		}
		task(cpu, 2*cpu, g.Tasks.Min)
	}
	return sum
}

func idleCost(t *testing.T, d deployed) float64 {
	t.Helper()
	sum := idleTasks(d)
	for _, r := range resolve(d.target, d.templates) {
		if price, ok := monthly[r.kind]; ok {
			sum += price(r)
		} else if !slices.Contains(free, r.kind) {
			t.Errorf("%s: nobody knows what an idle %s costs", r.stack, r.kind)
		}
	}
	return sum
}

// TestCost_OfAnIdleEnvironment: one that somebody has forgotten is no line on the bill.
func TestCost_OfAnIdleEnvironment(t *testing.T) {
	for name, most := range map[string]float64{"feature-x": 5, "dev": 50} {
		if got := idleCost(t, environment(t, name)); got >= most {
			t.Errorf("%s: an idle month costs %.2f USD, want less than %v", name, got, most)
		} else {
			t.Logf("%s: %.2f USD a month when idle", name, got)
		}
	}
	// A throw-away environment that runs history and state, as small as it can be.
	top := declaration.Topology()
	top.Environments[3].Compute, top.Environments[3].WaitTime = topology.Smallest, 20*time.Second
	top.Environments[3].Network = computeTopology().Environments[2].Network
	for i := range top.Environments[:3] {
		top.Environments[i].Compute = topology.NoCompute
	}
	top.Services[0].Compute, top.Services[1].Compute = topology.Compute{Kind: topology.Fargate}, topology.Compute{Kind: topology.Lambda}
	t.Logf("feature-x with a task and a function: %.2f USD", idleCost(t, synthesize(t, top, "env=feature-x", imageTag)))
	t.Logf("everything in prod: %.2f USD", idleCost(t, withEverything(t)))
}
