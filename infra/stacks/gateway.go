package stacks

import (
	"fmt"
	"time"

	"github.com/aws/aws-cdk-go/awscdk/v2"
	"github.com/aws/aws-cdk-go/awscdk/v2/awsapplicationautoscaling"
	"github.com/aws/aws-cdk-go/awscdk/v2/awscloudwatch"
	"github.com/aws/aws-cdk-go/awscdk/v2/awsec2"
	"github.com/aws/aws-cdk-go/awscdk/v2/awsecs"
	"github.com/aws/aws-cdk-go/awscdk/v2/awsefs"
	elb "github.com/aws/aws-cdk-go/awscdk/v2/awselasticloadbalancingv2"
	"github.com/aws/aws-cdk-go/awscdk/v2/awsiam"
	"github.com/aws/constructs-go/constructs/v10"
	"github.com/aws/jsii-runtime-go"

	"github.com/device-fanout/fanout/infra/topology"
)

const (
	// gatewayRepository has the image of the fanout program, which the gateway is.
	gatewayRepository = "fanout"
	gatewayPort       = 8080
	mqttPassword      = "FANOUT_MQTT_PASSWORD"
	spoolFolder       = "/spool"

	// shutdownDelay is how long a gateway that is told to stop serves on while the load balancer notices that it is not ready: three checks,
	// and some for the word to spread. gatewayDrain is for what is under way then. Fargate gives two minutes in all.
	shutdownDelay = 40 * time.Second
	gatewayDrain  = 60 * time.Second
	// deregistrationDelay is how long the load balancer keeps connections to a task that leaves: longer than both.
	deregistrationDelay = 120 * time.Second
	// cpuTarget is the load, in percent, above which tasks start.
	cpuTarget = 60
)

// newGatewayStack runs the gateway as tasks behind a Network Load Balancer that ends TLS, and its subscription to a broker as a task of its own.
func newGatewayStack(app constructs.Construct, t target) *GatewayStack {
	stack, g := newStack(app, t, t.GatewayStack(), "Fanout: the gateway of "+t.Environment.Name, ""), *t.Environment.Gateway
	n, name := t.networkIn(stack, !g.Internal), t.GatewayStack()
	cluster := newTaskCluster(stack, name, n)
	producer := awsiam.ManagedPolicy_FromManagedPolicyArn(stack, jsii.String("Producer"), jsii.String(
		"arn:"+*stack.Partition()+":iam::"+*stack.Account()+":policy/"+t.global(stack, "producer")))
	topic := *arn(stack, "sns", t.TopicName())
	p := program{
		name: name, log: newLog(stack, t, "gateway"), container: "Gateway", repository: gatewayRepository,
		command: []string{
			"gateway", "--env", t.Environment.Name, "--addr", everyone(gatewayPort), "--topic-arn", topic,
			"--keys-secret", g.KeysSecret, "--source", "fanout/gateway/" + t.Environment.Name, "--shutdown-delay", shutdownDelay.String(),
		},
		cpu: 512, memory: 1024, policies: []awsiam.IManagedPolicy{producer},
		live: fmt.Sprintf("http://127.0.0.1:%d/healthz", gatewayPort), stop: shutdownDelay + gatewayDrain + stopMargin, port: gatewayPort,
	}
	if t.Environment.Compute == topology.Smallest {
		p.cpu, p.memory = 256, 512
	}
	switch g.Spool {
	case topology.SpoolInTask:
		p.command = append(p.command, "--spool", "/tmp"+spoolFolder) // its own disk
	case topology.SpoolOnEFS: // in a deployment the old and the new tasks run, and each may be emptying another slot beside its own
		p.command = append(p.command, "--spool", spoolFolder, "--spool-slots", fmt.Sprint(4*g.Tasks.Max))
	}
	group := newGroup(stack, n, "Out", "the load balancer calls a gateway; it calls AWS")
	task := newTask(stack, t, p)
	secretIn(stack, "Keys", g.KeysSecret).GrantRead(task.TaskRole(), nil)
	var files awsefs.FileSystem
	if g.Spool == topology.SpoolOnEFS {
		files = addSharedSpool(stack, t, n, task, group)
	}
	service := newTasks(stack, cluster, n, task, p, group)
	if files != nil { // a task that can't mount it yet counts as failed
		service.Node().AddDependency(files.MountTargetsAvailable())
	}
	made := &GatewayStack{Stack: stack, Fargate: service, Role: task.TaskRole()}
	made.newBalancer(t, n, service, group)
	t.scaleGateway(stack, service)
	alarms := []alarm{{
		id: "Absent", name: "gateway-absent", silence: true, metric: over(running(name, name), 5*time.Minute), runbook: "no-task-runs",
		about: "No task of the gateway has run for five minutes: devices can't be heard.",
	}}
	if g.MQTT != nil {
		made.MQTT = newMQTT(stack, t, n, cluster, producer, topic)
		alarms = append(alarms, alarm{
			id: "MQTTAbsent", name: "gateway-mqtt-absent", silence: true, metric: over(running(name, name+"-mqtt"), 5*time.Minute), runbook: "no-task-runs",
			about: "The gateway's subscription to " + g.MQTT.Broker + " has not run for five minutes: the broker keeps what it can.",
		})
	}
	made.AlarmTopic = newAlarms(stack, t, alarms)
	newGatewayDashboard(stack, t)
	return made
}

// addSharedSpool gives a task a folder on a file system that all tasks share.
func addSharedSpool(stack awscdk.Stack, t target, n network, task awsecs.FargateTaskDefinition, tasks awsec2.SecurityGroup) awsefs.FileSystem {
	files := awsefs.NewFileSystem(stack, jsii.String("Spool"), &awsefs.FileSystemProps{
		Vpc: n.vpc, VpcSubnets: n.private, FileSystemName: jsii.String(t.GatewayStack()), Encrypted: jsii.Bool(true), RemovalPolicy: t.keep(),
		ThroughputMode: awsefs.ThroughputMode_ELASTIC, AllowAnonymousAccess: jsii.Bool(false),
		SecurityGroup: awsec2.NewSecurityGroup(stack, jsii.String("Files"), &awsec2.SecurityGroupProps{
			Vpc: n.vpc, Description: jsii.String("the file system of spools"), AllowAllOutbound: jsii.Bool(false),
		}),
	})
	files.Connections().AllowDefaultPortFrom(tasks, jsii.String("the tasks"))
	point := files.AddAccessPoint(jsii.String("Point"), &awsefs.AccessPointOptions{
		Path: jsii.String(spoolFolder), CreateAcl: &awsefs.Acl{OwnerUid: jsii.String("65532"), OwnerGid: jsii.String("65532"), Permissions: jsii.String("0700")},
		PosixUser: &awsefs.PosixUser{Uid: jsii.String("65532"), Gid: jsii.String("65532")},
	})
	files.GrantReadWrite(task.TaskRole())
	volume := jsii.String("spool")
	task.AddVolume(&awsecs.Volume{Name: volume, EfsVolumeConfiguration: &awsecs.EfsVolumeConfiguration{
		FileSystemId: files.FileSystemId(), TransitEncryption: jsii.String("ENABLED"),
		AuthorizationConfig: &awsecs.AuthorizationConfig{AccessPointId: point.AccessPointId(), Iam: jsii.String("ENABLED")},
	}})
	task.DefaultContainer().AddMountPoints(&awsecs.MountPoint{SourceVolume: volume, ContainerPath: jsii.String(spoolFolder), ReadOnly: jsii.Bool(false)})
	return files
}

// newBalancer puts a Network Load Balancer with TLS before the gateway's tasks.
func (made *GatewayStack) newBalancer(t target, n network, service awsecs.FargateService, tasks awsec2.SecurityGroup) {
	stack, internal := made.Stack, t.Environment.Gateway.Internal
	door := t.newDoor(stack, n, internal, tasks, gatewayPort)
	balancer := elb.NewNetworkLoadBalancer(stack, jsii.String("Balancer"), &elb.NetworkLoadBalancerProps{
		Vpc: n.vpc, VpcSubnets: n.balancer(internal), InternetFacing: jsii.Bool(!internal), CrossZoneEnabled: jsii.Bool(true),
		SecurityGroups: &[]awsec2.ISecurityGroup{door},
	})
	// While SNS can't be reached every buffer fills, and ECS replaces what is not ready. A task whose own disk holds events must stay as long as it
	// can; one that lost its place on the shared file system must not.
	excluded := "buffer"
	if t.Environment.Gateway.Spool == topology.SpoolInTask {
		excluded = "buffer,spool"
	}
	targets := elb.NewNetworkTargetGroup(stack, jsii.String("Tasks"), &elb.NetworkTargetGroupProps{
		Vpc: n.vpc, Port: jsii.Number(gatewayPort), Protocol: elb.Protocol_TCP, TargetType: elb.TargetType_IP,
		// It asks for readiness, but for what the next task would not have either.
		HealthCheck: &elb.HealthCheck{
			Protocol: elb.Protocol_HTTP, Path: jsii.String("/readyz?exclude=" + excluded), Interval: seconds(10), Timeout: seconds(6),
			HealthyThresholdCount: jsii.Number(2), UnhealthyThresholdCount: jsii.Number(2),
		},
		DeregistrationDelay: seconds(deregistrationDelay.Seconds()), ConnectionTermination: jsii.Bool(true), PreserveClientIp: jsii.Bool(false),
	})
	targets.AddTarget(service)
	balancer.AddListener(jsii.String("TLS"), &elb.BaseNetworkListenerProps{
		Port: jsii.Number(httpsPort), Protocol: elb.Protocol_TLS, SslPolicy: elb.SslPolicy_RECOMMENDED_TLS,
		Certificates:        &[]elb.IListenerCertificate{elb.ListenerCertificate_FromArn(&t.Environment.Certificate)},
		DefaultTargetGroups: &[]elb.INetworkTargetGroup{targets},
	})
	made.Balancer = balancer
	acceptBalancer(balancer)
	publish(stack, t, "Address", "gateway/balancer", balancer.LoadBalancerDnsName(), "where devices call; point the name of the certificate there")
}

// scaleGateway starts tasks for what is published, and for load on the CPU: a TLS connection carries any number of requests, so that their
// number can't be seen before the gateway, but each ends in events at the topic.
func (t target) scaleGateway(stack awscdk.Stack, service awsecs.FargateService) {
	g, name := t.Environment.Gateway, t.GatewayStack()
	tasks := service.AutoScaleTaskCount(&awsapplicationautoscaling.EnableScalingProps{
		MinCapacity: jsii.Number(g.Tasks.Min), MaxCapacity: jsii.Number(g.Tasks.Max),
	})
	track(stack, tasks, name+"-events-per-task", float64(g.EventsPerTask), "published / 60 / IF(tasks > 0, tasks, 1)", "events per second and running task",
		trackedMetric("published", "AWS/SNS", "NumberOfMessagesPublished", "Sum", map[string]*string{"TopicName": jsii.String(t.TopicName())}),
		trackedTasks(name))
	tasks.ScaleOnCpuUtilization(jsii.String("CPU"), &awsecs.CpuUtilizationScalingProps{
		TargetUtilizationPercent: jsii.Number(cpuTarget), ScaleOutCooldown: seconds(30), ScaleInCooldown: seconds(300),
	})
}

// newMQTT runs the gateway's subscription to a broker: one task, since two would both hear every message, and the next only when the last has
// ended. The broker keeps the session's messages meanwhile. What is acknowledged is confirmed by the topic, so that it needs no spool.
func newMQTT(stack awscdk.Stack, t target, n network, cluster awsecs.Cluster, producer awsiam.IManagedPolicy, topic string) awsecs.FargateService {
	m, scope := t.Environment.Gateway.MQTT, constructs.NewConstruct(stack, jsii.String("MQTT"))
	name := t.GatewayStack() + "-mqtt"
	p := program{
		name: name, log: newLog(scope, t, "gateway-mqtt"), container: "MQTT", repository: gatewayRepository,
		command: []string{
			"gateway", "--env", t.Environment.Name, "--no-keys", "--addr", healthAddress, "--topic-arn", topic, "--source", "fanout/gateway/" + t.Environment.Name,
			"--mqtt", m.Broker, "--mqtt-client-id", name,
		},
		cpu: 256, memory: 512, policies: []awsiam.IManagedPolicy{producer}, secrets: map[string]string{},
		live: "http://" + healthAddress + "/healthz", stop: gatewayDrain + stopMargin, alone: true,
	}
	if m.Topic != "" {
		p.command = append(p.command, "--mqtt-topic", m.Topic)
	}
	if m.User != "" {
		p.command = append(p.command, "--mqtt-username", m.User)
	}
	if m.PasswordSecret != "" {
		p.secrets[mqttPassword] = m.PasswordSecret
	}
	return newTasks(scope, cluster, n, newTask(scope, t, p), p, newGroup(scope, n, "Out", "nobody calls it; it calls AWS and the broker"))
}

// newGatewayDashboard shows the gateway from its door to the topic.
func newGatewayDashboard(stack awscdk.Stack, t target) {
	if !t.watched() {
		return
	}
	name := t.GatewayStack()
	of := map[string]*string{"ClusterName": &name, "ServiceName": &name}
	newDashboard(stack, t.global(stack, "gateway"), []awscloudwatch.IWidget{
		graph("Tasks", labelled(running(name, name), "tasks")),
		graph("Load, in percent",
			labelled(metric("AWS/ECS", "CPUUtilization", "Average", time.Minute, of), "CPU"),
			labelled(metric("AWS/ECS", "MemoryUtilization", "Average", time.Minute, of), "memory")),
		t.topicGraph(),
	})
}
