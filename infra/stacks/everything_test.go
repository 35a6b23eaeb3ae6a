//go:build !race

package stacks

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/device-fanout/fanout/infra/topology"
)

const (
	certificate   = "arn:aws:acm:eu-central-1:111122223333:certificate/0a1b2c3d-0000-4000-8000-0123456789ab"
	digestOfImage = "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
)

// everything has all that an environment can have in prod: a network, a database, a gateway with a shared spool and a broker, history as tasks,
// state as a function, and push for clients.
func everything() topology.Topology {
	top := prodAlone()
	prod := &top.Environments[2]
	prod.Certificate = certificate
	prod.Network = topology.Network{CIDR: "10.42.0.0/16", Zones: 3, WayOut: topology.ByNAT}
	prod.Gateway = &topology.Gateway{
		KeysSecret: "{env}/gateway-keys", Spool: topology.SpoolOnEFS,
		MQTT: &topology.MQTT{Broker: "ssl://broker.example.com:8883", Topic: "devices/+/events", User: "fanout", PasswordSecret: "{env}/mqtt"},
	}
	prod.Database = topology.Database{Kind: topology.AuroraServerless}
	top.Services[0].Compute = topology.Compute{Kind: topology.Fargate, Database: true}
	top.Services[1].Compute = topology.Compute{Kind: topology.Lambda, Database: true}
	top.Services[2].Compute = topology.Compute{Kind: topology.Fargate, Database: true, Port: 4567, TokenSecret: "{env}/push-token", MinTasks: 2}
	return top
}

// functions has services on Lambda alone, which need no network.
func functions() topology.Topology {
	top := prodAlone()
	for i := range top.Services {
		top.Services[i].Compute = topology.Compute{Kind: topology.Lambda, DatabaseSecret: "{env}/" + top.Services[i].Name}
	}
	return top
}

func withEverything(t *testing.T) deployed {
	t.Helper()
	return once(t, "everything", everything, "env=prod", "images=fanout@"+digestOfImage)
}

func TestEverything_PassesTheChecks(t *testing.T) {
	if errs := withEverything(t).errorsOf(t); len(errs) > 0 {
		t.Fatalf("checks found %q", errs)
	}
}

// TestGateway_StopsWithoutRefusing: the load balancer has noticed that a task is not ready before the task stops serving, and ECS leaves it the time
// for both and for what is under way.
func TestGateway_StopsWithoutRefusing(t *testing.T) {
	d := withEverything(t)
	var group resource
	for _, r := range d.resources("AWS::ElasticLoadBalancingV2::TargetGroup") {
		if r.stack == "prod-gateway" {
			group = r
		}
	}
	if group.text("HealthCheckPath") != "/readyz?exclude=buffer" || group.text("HealthCheckProtocol") != "HTTP" || group.text("Protocol") != "TCP" {
		t.Errorf("got %v, want readiness to be asked for", group.properties)
	}
	attributes := map[string]string{}
	for _, a := range group.list("TargetGroupAttributes") {
		r := resource{properties: a.(map[string]any)}
		attributes[r.text("Key")] = r.text("Value")
	}
	deregistration, _ := time.ParseDuration(attributes["deregistration_delay.timeout_seconds"] + "s")
	container := d.containerOf(t, "prod-gateway")
	command := container.text("Command")
	noticed := time.Duration(group.seconds("HealthCheckIntervalSeconds", 0)*group.seconds("UnhealthyThresholdCount", 0)+group.seconds("HealthCheckTimeoutSeconds", 0)) * time.Second
	stop := time.Duration(container.seconds("StopTimeout", 0)) * time.Second
	if !strings.Contains(command, "--shutdown-delay "+shutdownDelay.String()) || noticed >= shutdownDelay {
		t.Errorf("got %s; the load balancer notices after %v", command, noticed)
	}
	if stop <= shutdownDelay+gatewayDrain || stop > 2*time.Minute {
		t.Errorf("got %v to stop, want more than the delay and the drain, and at most what Fargate allows", stop)
	}
	if deregistration <= shutdownDelay+gatewayDrain {
		t.Errorf("got a deregistration delay of %v, want more than %v and the drain of %v", deregistration, shutdownDelay, gatewayDrain)
	}
}

// TestGateway_KeepsATaskWhoseDiskHoldsEvents: ECS replaces a task that its load balancer finds unhealthy, with its disk.
func TestGateway_KeepsATaskWhoseDiskHoldsEvents(t *testing.T) {
	top := everything()
	top.Environments[2].Gateway.Spool = topology.SpoolInTask
	d := synthesize(t, top, "env=prod", imageTag)
	paths := map[string]string{}
	for _, r := range d.resources("AWS::ElasticLoadBalancingV2::TargetGroup") {
		paths[r.stack] = r.text("HealthCheckPath")
	}
	if got := paths["prod-gateway"]; got != "/readyz?exclude=buffer,spool" {
		t.Errorf("got %s", got)
	}
}

func TestGateway_IsBehindTLSAndScales(t *testing.T) {
	d := withEverything(t)
	tls := map[string]resource{}
	for _, r := range d.resources("AWS::ElasticLoadBalancingV2::Listener") {
		tls[r.stack] = r
	}
	for stack, protocol := range map[string]string{"prod-gateway": "TLS", "prod-push": "HTTPS"} {
		if r := tls[stack]; r.text("Protocol") != protocol || r.text("Port") != "443" || !strings.Contains(r.text("Certificates"), certificate) {
			t.Errorf("%s: got %v", stack, r.properties)
		}
	}
	if len(tls) != 2 {
		t.Errorf("got listeners %v, want two", tls)
	}
	scaling := d.named(t, "AWS::ApplicationAutoScaling::ScalingPolicy", "PolicyName", "prod-gateway-events-per-task")
	if metrics := scaling.text("TargetTrackingScalingPolicyConfiguration"); !strings.Contains(metrics, "NumberOfMessagesPublished") || !strings.Contains(metrics, "TargetValue:500") {
		t.Errorf("got %s", metrics)
	}
	cpu := 0
	for _, r := range d.resources("AWS::ApplicationAutoScaling::ScalingPolicy") {
		if r.stack == "prod-gateway" && strings.Contains(r.text("TargetTrackingScalingPolicyConfiguration"), "ECSServiceAverageCPUUtilization") {
			cpu++
		}
	}
	if cpu != 1 {
		t.Errorf("got %d policies for the CPU", cpu)
	}
	mqtt := d.named(t, "AWS::ECS::Service", "ServiceName", "prod-gateway-mqtt")
	if mqtt.text("DesiredCount") != "1" || mqtt.text("DeploymentConfiguration", "MaximumPercent") != "100" {
		t.Errorf("got %v, want one subscription at any time", mqtt.properties)
	}
	if got := d.containerOf(t, "prod-gateway-mqtt"); !strings.Contains(got.text("Secrets"), "prod/mqtt") || strings.Contains(got.text("Command"), "prod/mqtt") {
		t.Errorf("got %v, want the password as a secret", got.properties)
	}
}

// containerOf is the container of the task of a family.
func (d deployed) containerOf(t *testing.T, family string) resource {
	t.Helper()
	task := d.named(t, "AWS::ECS::TaskDefinition", "Family", family)
	return resource{properties: task.list("ContainerDefinitions")[0].(map[string]any)}
}

// TestPrograms_HaveTheirImageAndCanWriteToTmp: every program, whatever runs it, is the digest that was given; its root can't be written to.
func TestPrograms_HaveTheirImageAndCanWriteToTmp(t *testing.T) {
	d := withEverything(t)
	tasks := d.resources("AWS::ECS::TaskDefinition")
	if len(tasks) != 5 {
		t.Errorf("got %d tasks, want those of history, push, the gateway, its subscription and the migrations", len(tasks))
	}
	for _, task := range tasks {
		container := resource{properties: task.list("ContainerDefinitions")[0].(map[string]any)}
		if image := container.text("Image"); !strings.HasSuffix(image, "/fanout@"+digestOfImage) {
			t.Errorf("%s: got the image %s", task.text("Family"), image)
		}
		if container.text("ReadonlyRootFilesystem") != "true" || container.text("User") != "65532" || !strings.Contains(container.text("MountPoints"), "ContainerPath:/tmp") {
			t.Errorf("%s: got %v, want a root that can't be written to, and /tmp", task.text("Family"), container.properties)
		}
		if task.text("RuntimePlatform", "CpuArchitecture") != "ARM64" {
			t.Errorf("%s: got %s", task.text("Family"), task.text("RuntimePlatform"))
		}
	}
	function := d.resources("AWS::Lambda::Function")[0]
	if image := function.text("Code", "ImageUri"); !strings.HasSuffix(image, "/fanout@"+digestOfImage) || function.text("ImageConfig", "Command") != "[lambda state]" {
		t.Errorf("function: got %s, %s", image, function.text("ImageConfig"))
	}
	if function.at("VpcConfig") == nil || function.text("Environment", "Variables", "PGSSLMODE") != "require" {
		t.Errorf("function: got %v, want it where the database is", function.properties)
	}
}

// TestDatabase_IsForItsClientsOnly: who is in the group of clients reaches it; the password is known to nobody but RDS and the secret.
func TestDatabase_IsForItsClientsOnly(t *testing.T) {
	d := withEverything(t)
	cluster := d.resources("AWS::RDS::DBCluster")[0]
	if cluster.text("ManageMasterUserPassword") != "true" || cluster.at("MasterUserPassword") != nil || cluster.text("StorageEncrypted") != "true" || cluster.text("DeletionProtection") != "true" {
		t.Errorf("got %v", cluster.properties)
	}
	if got := d.templates["prod-database"].Resources[cluster.id].DeletionPolicy; got != "Snapshot" {
		t.Errorf("deletion policy: got %s, want a snapshot", got)
	}
	for _, member := range d.resources("AWS::RDS::DBInstance") {
		if member.text("PubliclyAccessible") != "false" {
			t.Errorf("got %v", member.properties)
		}
	}
	for _, stack := range []string{"prod-history", "prod-push", "prod-state", "prod-database"} {
		if text := d.text[stack]; !strings.Contains(text, "secretsmanager:") || !strings.Contains(text, "PGHOST") {
			t.Errorf("%s does not say where the database is", stack)
		}
	}
	open := 0
	for _, kind := range []string{"AWS::EC2::SecurityGroup", "AWS::EC2::SecurityGroupIngress"} {
		for _, r := range d.resources(kind) {
			for _, rule := range append(r.list("SecurityGroupIngress"), r.properties) {
				in := resource{properties: rule.(map[string]any)}
				if in.text("CidrIp") != "" && in.text("FromPort") != "443" {
					t.Errorf("%s: %s is open to %s at port %s", r.stack, r.id, in.text("CidrIp"), in.text("FromPort"))
				} else if in.text("CidrIp") == "0.0.0.0/0" {
					open++
				}
			}
		}
	}
	if open != 2 {
		t.Errorf("%d groups are open to the internet, want those of the two load balancers", open)
	}
}

// TestPush_EveryTaskHearsAll, by the database, where there are several.
func TestPush_EveryTaskHearsAll(t *testing.T) {
	command := withEverything(t).containerOf(t, "prod-push").text("Command")
	if !strings.Contains(command, "--push-addr 0.0.0.0:4567") || !strings.Contains(command, "--fan-in") {
		t.Errorf("got %s", command)
	}
	alone := everything()
	alone.Services[2].Compute.Database, alone.Services[2].Compute.MinTasks, alone.Services[2].Compute.MaxTasks = false, 1, 1
	alone.Services[2].Compute.Internal = true
	d := synthesize(t, alone, "env=prod", imageTag)
	if command := d.containerOf(t, "prod-push").text("Command"); strings.Contains(command, "--fan-in") {
		t.Errorf("without a database: got %s", command)
	}
	for _, r := range d.resources("AWS::EC2::SecurityGroup") {
		if r.stack == "prod-push" && strings.HasPrefix(r.id, "Door") && !strings.Contains(r.text("SecurityGroupIngress"), "CidrIp:10.42.0.0/16") {
			t.Errorf("internal: got %s, want the network alone to reach the load balancer", r.text("SecurityGroupIngress"))
		}
	}
	if service := d.named(t, "AWS::ECS::Service", "ServiceName", "prod-push"); service.text("DeploymentConfiguration", "MaximumPercent") != "100" {
		t.Errorf("without a database: got %s, want the next task only when the last has ended", service.text("DeploymentConfiguration"))
	}
}

// TestEverything_HoldsTogether: what no program runs without, what keeps events, and who reaches what. Each is one line of the stacks.
func TestEverything_HoldsTogether(t *testing.T) {
	d := withEverything(t)
	one := func(kind, stack string) resource {
		for _, r := range d.resources(kind) {
			if r.stack == stack {
				return r
			}
		}
		t.Fatalf("%s has no %s", stack, kind)
		return resource{}
	}
	push, files := d.containerOf(t, "prod-push"), one("AWS::EFS::FileSystem", "prod-gateway")
	after := func(service string) string {
		r := d.named(t, "AWS::ECS::Service", "ServiceName", service)
		return fmt.Sprint(d.templates[service].Resources[r.id].DependsOn)
	}
	attributes := func(kind, stack string) string {
		return one("AWS::ElasticLoadBalancingV2::"+kind, stack).text(kind + "Attributes")
	}
	for name, row := range map[string]struct{ got, want string }{
		"push wants a token":                   {push.text("Secrets"), tokenVariable},
		"from its secret":                      {push.text("Secrets"), "prod/push-token"},
		"push is asked for health":             {one("AWS::ElasticLoadBalancingV2::TargetGroup", "prod-push").text("HealthCheckPath"), "/healthz"},
		"push has modern TLS alone":            {one("AWS::ElasticLoadBalancingV2::Listener", "prod-push").text("SslPolicy"), "TLS13-1-2"},
		"so has the gateway":                   {one("AWS::ElasticLoadBalancingV2::Listener", "prod-gateway").text("SslPolicy"), "TLS13-1-2"},
		"history may call the database":        {one("AWS::ECS::Service", "prod-history").text("NetworkConfiguration"), "databaseclientsecuritygroup"},
		"the function has network interfaces":  {d.text["prod-state"], "AWSLambdaVPCAccessExecutionRole"},
		"the gateway reaches its spool":        {d.text["prod-gateway"], `"FromPort": 2049`},
		"spools stay":                          {d.templates["prod-gateway"].Resources[files.id].DeletionPolicy, "RetainExceptOnCreate"},
		"and are encrypted":                    {files.text("Encrypted"), "true"},
		"the gateway may write them":           {d.text["prod-gateway"], "elasticfilesystem:ClientMount"},
		"its service waits for the mounts":     {after("prod-gateway"), "SpoolEfsMountTarget"},
		"a service waits for its alarms":       {after("prod-history"), "DLQAlarm"},
		"and for the age of its events":        {after("prod-history"), "AgeAlarm"},
		"connections end with their task":      {attributes("TargetGroup", "prod-gateway"), "connection_termination.enabled Value:true"},
		"push drains":                          {attributes("TargetGroup", "prod-push"), "deregistration_delay.timeout_seconds Value:70"},
		"phones may be silent":                 {attributes("LoadBalancer", "prod-push"), "idle_timeout.timeout_seconds Value:300"},
		"a log that is slow stops nobody":      {push.text("LogConfiguration"), "non-blocking"},
		"tasks have the tags of their service": {d.named(t, "AWS::ECS::Service", "ServiceName", "prod-push").text("PropagateTags"), "SERVICE"},
		"and nobody mounts them otherwise":     {files.text("FileSystemPolicy"), "AccessedViaMountTarget"},
		"four slots for each task of eight":    {d.containerOf(t, "prod-gateway").text("Command"), "--spool-slots 32"},
		"the database has backups":             {one("AWS::RDS::DBCluster", "prod-database").text("BackupRetentionPeriod"), "14"},
		"also on their way":                    {d.named(t, "AWS::ECS::TaskDefinition", "Family", "prod-gateway").text("Volumes"), "TransitEncryption:ENABLED"},
	} {
		if !strings.Contains(row.got, row.want) {
			t.Errorf("%s: got %s, want %s", name, row.got, row.want)
		}
	}
	stop := time.Duration(push.seconds("StopTimeout", 0)) * time.Second
	if least := topology.ShutdownDelay + d.Services[2].Compute.Drain; stop <= least {
		t.Errorf("push: got %v to stop, want more than the %v of its delay and its drain", stop, least)
	}
	for _, stack := range *d.assembly.Stacks() {
		var after []string
		for _, other := range *stack.Dependencies() {
			after = append(after, *other.Id())
		}
		want := []string{}
		switch *stack.StackName() {
		case "prod-gateway", "prod-history", "prod-push", "prod-state":
			want = []string{"prod-network", "prod-database", "prod-device-events", "prod-operations"}
		case "prod-database":
			want = []string{"prod-network"}
		}
		for _, name := range want {
			if !slices.Contains(after, name) {
				t.Errorf("%s is deployed after %q, want %s among them", *stack.StackName(), after, name)
			}
		}
	}
}

func TestNetwork_HasAWayOut(t *testing.T) {
	endpoints := everything()
	endpoints.Environments[2].Network = topology.Network{CIDR: "10.42.0.0/22"}
	endpoints.Environments[2].Gateway.MQTT = nil
	d := synthesize(t, endpoints, "env=prod", imageTag)
	var services, blocks []string
	for _, r := range d.resources("AWS::EC2::VPCEndpoint") {
		services = append(services, strings.TrimPrefix(r.text("ServiceName"), "com.amazonaws.eu-central-1."))
	}
	slices.Sort(services)
	if want := []string{"ecr.api", "ecr.dkr", "kms", "logs", "s3", "secretsmanager", "sns", "sqs"}; !slices.Equal(services, want) {
		t.Errorf("got endpoints %q, want %q", services, want)
	}
	for _, r := range d.resources("AWS::EC2::Subnet") {
		blocks = append(blocks, r.text("CidrBlock"))
	}
	slices.Sort(blocks)
	if want := []string{"10.42.0.0/24", "10.42.1.0/24", "10.42.2.0/24", "10.42.3.0/24"}; !slices.Equal(blocks, want) {
		t.Errorf("got subnets %q, want %q", blocks, want)
	}
	if nat := d.resources("AWS::EC2::NatGateway"); len(nat) > 0 {
		t.Errorf("got %d NAT gateways beside endpoints", len(nat))
	}
	for _, r := range d.resources("AWS::EC2::Route") {
		if r.at("NatGatewayId") != nil || r.id == "PrivateRoute" {
			t.Errorf("the private subnets have a route out: %v", r.properties)
		}
	}
	if nat := withEverything(t).resources("AWS::EC2::NatGateway"); len(nat) != 1 {
		t.Errorf("got %d NAT gateways, want one", len(nat))
	}
}
