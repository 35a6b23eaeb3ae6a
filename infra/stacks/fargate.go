package stacks

import (
	"strings"
	"time"

	"github.com/aws/aws-cdk-go/awscdk/v2"
	"github.com/aws/aws-cdk-go/awscdk/v2/awsapplicationautoscaling"
	"github.com/aws/aws-cdk-go/awscdk/v2/awscloudwatch"
	"github.com/aws/aws-cdk-go/awscdk/v2/awsec2"
	"github.com/aws/aws-cdk-go/awscdk/v2/awsecr"
	"github.com/aws/aws-cdk-go/awscdk/v2/awsecs"
	"github.com/aws/aws-cdk-go/awscdk/v2/awsiam"
	"github.com/aws/aws-cdk-go/awscdk/v2/awslogs"
	"github.com/aws/aws-cdk-go/awscdk/v2/awssecretsmanager"
	"github.com/aws/constructs-go/constructs/v10"
	"github.com/aws/jsii-runtime-go"

	"github.com/device-fanout/fanout/infra/topology"
)

// stopMargin is how much longer than its drain a task may take to stop: for the last long poll and for closing what is open.
const stopMargin = 20 * time.Second

// healthAddress is where a task serves /livez: to its own health check only.
const healthAddress = "127.0.0.1:8080"

// tokenVariable is where a service that listens finds the token that its clients must show.
const tokenVariable = "FANOUT_PUSH_TOKEN"

// program is one program that runs as tasks: a service's consumer, a gateway, a migration. Its image's entry point is the program.
type program struct {
	name       string // of the family and of the service
	log        awslogs.LogGroup
	container  string
	repository string
	command    []string

	cpu, memory int // in units of which 1024 are one core; in MiB
	policies    []awsiam.IManagedPolicy
	variables   map[string]*string
	secrets     map[string]string // names or ARNs, by variable

	live string        // the URL that the container's own health check asks; empty for a task that ends by itself
	stop time.Duration // how long it may take to stop; zero means Fargate's 30 s
	port int           // where it listens for others; zero means nowhere

	alone bool // the next one starts when the last has ended
}

// newTaskCluster makes a cluster for the tasks of one stack.
func newTaskCluster(stack awscdk.Stack, name string, n network) awsecs.Cluster {
	return awsecs.NewCluster(stack, jsii.String("Cluster"), &awsecs.ClusterProps{
		ClusterName: &name, Vpc: n.vpc, ContainerInsightsV2: awsecs.ContainerInsights_ENABLED, // it counts the running tasks
	})
}

// newGroup makes a security group for tasks that call others.
func newGroup(scope constructs.Construct, n network, id, about string) awsec2.SecurityGroup {
	return awsec2.NewSecurityGroup(scope, &id, &awsec2.SecurityGroupProps{Vpc: n.vpc, Description: &about, AllowAllOutbound: jsii.Bool(true)})
}

// newTasks keeps tasks of a program running.
func newTasks(scope constructs.Construct, cluster awsecs.Cluster, n network, task awsecs.FargateTaskDefinition, p program, groups ...awsec2.ISecurityGroup) awsecs.FargateService {
	props := &awsecs.FargateServiceProps{
		ServiceName: &p.name, Cluster: cluster, TaskDefinition: task,
		AssignPublicIp: jsii.Bool(false), SecurityGroups: &groups, VpcSubnets: n.private,
		CircuitBreaker:    &awsecs.DeploymentCircuitBreaker{Enable: jsii.Bool(true), Rollback: jsii.Bool(true)},
		MinHealthyPercent: jsii.Number(100), MaxHealthyPercent: jsii.Number(200),
		PropagateTags: awsecs.PropagatedTagSource_SERVICE,
	}
	if p.alone {
		props.MinHealthyPercent, props.MaxHealthyPercent, props.DesiredCount = jsii.Number(0), jsii.Number(100), jsii.Number(1)
	}
	return awsecs.NewFargateService(scope, jsii.String("Service"), props)
}

// running counts the running tasks of a service. A cluster is called like its stack's first service.
func running(cluster, service string) awscloudwatch.Metric {
	return metric("ECS/ContainerInsights", "RunningTaskCount", "Maximum", time.Minute, map[string]*string{"ClusterName": &cluster, "ServiceName": &service})
}

// newFargate runs a service's consumer as tasks, and returns the metric of their number.
func (made *ServiceStack) newFargate(t target) awscloudwatch.Metric {
	stack, s, c := made.Stack, made.Service, made.Service.Compute
	n := t.networkIn(stack, c.Port != 0 && !c.Internal)
	p := program{
		name: t.ServiceStack(s.Name), log: newLog(stack, t, s.Name), container: "Consumer", repository: c.Repository,
		command: []string{"consume", s.Name, "--env", t.Environment.Name, "--health-addr", healthAddress},
		cpu:     c.CPU, memory: c.MemoryMiB, policies: []awsiam.IManagedPolicy{made.ConsumerPolicy},
		variables: map[string]*string{}, secrets: map[string]string{},
		live: "http://" + healthAddress + "/livez", stop: c.Drain + stopMargin, port: c.Port,
	}
	group := newGroup(stack, n, "Out", "nobody calls a consumer; it calls AWS and its database")
	groups := []awsec2.ISecurityGroup{group}
	var db database
	switch {
	case c.Database:
		db = t.databaseIn(stack)
		groups = append(groups, db.clients)
		p.variables = db.variables()
	case c.DatabaseSecret != "":
		p.secrets[databaseVariable] = c.DatabaseSecret
	}
	if c.Port != 0 {
		p.command = append(p.command, "--push-addr", everyone(c.Port), "--shutdown-delay", topology.ShutdownDelay.String())
		p.stop += topology.ShutdownDelay
		p.secrets[tokenVariable] = c.TokenSecret
		if c.Database || c.DatabaseSecret != "" {
			p.command = append(p.command, "--fan-in")
		} else {
			p.alone = true // while two run, each hears a part of the events
		}
	}
	made.environment = append(sortedKeys(p.variables), sortedKeys(p.secrets)...)
	task := newTask(stack, t, p)
	if c.Database {
		task.TaskRole().AddToPrincipalPolicy(db.allow())
	}
	t.countReceiveErrors(p.log, s)
	cluster := newTaskCluster(stack, p.name, n)
	service := newTasks(stack, cluster, n, task, p, groups...)
	if c.Port != 0 {
		made.newBalancer(t, n, service, group)
	}
	t.scaleByBacklog(stack, s, service)
	made.Fargate, made.Role = service, task.TaskRole()
	return running(p.name, p.name)
}

// newTask is one task: one container, that of the program's image at the deployed commit.
func newTask(scope constructs.Construct, t target, p program) awsecs.FargateTaskDefinition {
	stack := awscdk.Stack_Of(scope)
	role := func(id string) awsiam.Role {
		return awsiam.NewRole(scope, &id, &awsiam.RoleProps{AssumedBy: servicePrincipal(stack, "ecs-tasks.amazonaws.com")})
	}
	execution := role("ExecutionRole")
	task := awsecs.NewFargateTaskDefinition(scope, jsii.String("Task"), &awsecs.FargateTaskDefinitionProps{
		Family: &p.name, Cpu: jsii.Number(p.cpu), MemoryLimitMiB: jsii.Number(p.memory),
		TaskRole: role("TaskRole"), ExecutionRole: execution,
		RuntimePlatform: &awsecs.RuntimePlatform{
			CpuArchitecture: awsecs.CpuArchitecture_ARM64(), OperatingSystemFamily: awsecs.OperatingSystemFamily_LINUX(),
		},
		Volumes: &[]*awsecs.Volume{{Name: jsii.String("tmp")}},
	})
	for _, policy := range p.policies {
		task.TaskRole().AddManagedPolicy(policy)
	}
	options := &awsecs.ContainerDefinitionOptions{
		Image:                  awsecs.ContainerImage_FromEcrRepository(awsecr.Repository_FromRepositoryName(scope, jsii.String("Images"), &p.repository), t.image(p.repository)),
		Command:                jsii.Strings(p.command...),
		ReadonlyRootFilesystem: jsii.Bool(true),
		User:                   jsii.String("65532"),
		Logging: awsecs.LogDriver_AwsLogs(&awsecs.AwsLogDriverProps{
			LogGroup: p.log, StreamPrefix: jsii.String("task"), Mode: awsecs.AwsLogDriverMode_NON_BLOCKING,
		}),
	}
	if p.live != "" {
		options.HealthCheck = &awsecs.HealthCheck{
			// A task that is not healthy is replaced, and one of a deployment that does not become healthy counts as failed. So it asks whether
			// the process lives, and not whether its database does: the next task would have the same one, and could only use up receives. The
			// image has no shell and no curl.
			Command:  jsii.Strings("CMD", "/"+t.app.Program, "ready", p.live),
			Interval: awscdk.Duration_Seconds(jsii.Number(15)), Timeout: awscdk.Duration_Seconds(jsii.Number(5)),
			StartPeriod: awscdk.Duration_Seconds(jsii.Number(30)), Retries: jsii.Number(3),
		}
	}
	if p.stop > 0 {
		options.StopTimeout = awscdk.Duration_Seconds(jsii.Number(p.stop.Seconds()))
	}
	if len(p.variables) > 0 {
		options.Environment = &p.variables
	}
	if len(p.secrets) > 0 {
		secrets := map[string]awsecs.Secret{}
		for _, variable := range sortedKeys(p.secrets) {
			id := "Secret-" + variable
			if variable == databaseVariable {
				id = "Database"
			}
			secrets[variable] = awsecs.Secret_FromSecretsManager(secretIn(scope, id, p.secrets[variable]), nil)
		}
		options.Secrets = &secrets
	}
	if p.port != 0 {
		options.PortMappings = &[]*awsecs.PortMapping{{ContainerPort: jsii.Number(p.port)}}
	}
	container := task.AddContainer(&p.container, options)
	// The image declares /tmp as a volume, so that it belongs to the program's user there.
	container.AddMountPoints(&awsecs.MountPoint{SourceVolume: jsii.String("tmp"), ContainerPath: jsii.String("/tmp"), ReadOnly: jsii.Bool(false)})
	suppress(execution, "AwsSolutions-IAM5", "a token of the image registry belongs to no resource, and a secret's ARN ends in six random letters")
	suppress(task.TaskRole(), "AwsSolutions-IAM5", "a secret's ARN ends in six random letters")
	suppress(task, "AwsSolutions-ECS2", "these variables are no secrets; secrets come from Secrets Manager")
	return task
}

// newLog makes the log of a program.
func newLog(scope constructs.Construct, t target, name string) awslogs.LogGroup {
	return awslogs.NewLogGroup(scope, jsii.String("Log"), &awslogs.LogGroupProps{
		LogGroupName: jsii.String(t.parameter(name)), Retention: awslogs.RetentionDays_ONE_MONTH,
		RemovalPolicy: t.keep(),
	})
}

// secretIn is a secret by its name or ARN.
func secretIn(scope constructs.Construct, id, secret string) awssecretsmanager.ISecret {
	if strings.HasPrefix(secret, "arn:") {
		return awssecretsmanager.Secret_FromSecretCompleteArn(scope, &id, &secret)
	}
	return awssecretsmanager.Secret_FromSecretNameV2(scope, &id, &secret)
}

// tracked is a part of an expression that a number of tasks follows. The CDK's own construct takes no expressions.
type tracked = awsapplicationautoscaling.CfnScalingPolicy_TargetTrackingMetricDataQueryProperty

func trackedMetric(id, namespace, metric, statistic string, dimensions map[string]*string) *tracked {
	var named []any
	for _, key := range sortedKeys(dimensions) {
		named = append(named, &awsapplicationautoscaling.CfnScalingPolicy_TargetTrackingMetricDimensionProperty{Name: &key, Value: dimensions[key]})
	}
	return &tracked{
		Id: &id, ReturnData: jsii.Bool(false),
		MetricStat: &awsapplicationautoscaling.CfnScalingPolicy_TargetTrackingMetricStatProperty{
			Stat:   &statistic,
			Metric: &awsapplicationautoscaling.CfnScalingPolicy_TargetTrackingMetricProperty{Namespace: &namespace, MetricName: &metric, Dimensions: &named},
		},
	}
}

// trackedTasks is the number of running tasks, called tasks in expressions.
func trackedTasks(name string) *tracked {
	return trackedMetric("tasks", "ECS/ContainerInsights", "RunningTaskCount", "Average", map[string]*string{"ClusterName": &name, "ServiceName": &name})
}

// track keeps an expression at a value, by the number of tasks.
func track(scope constructs.Construct, tasks awsecs.ScalableTaskCount, name string, value float64, expression, label string, of ...*tracked) {
	var metrics []any
	for _, m := range of {
		metrics = append(metrics, m)
	}
	metrics = append(metrics, &tracked{Id: jsii.String("backlog"), Label: &label, Expression: &expression, ReturnData: jsii.Bool(true)})
	awsapplicationautoscaling.NewCfnScalingPolicy(scope, jsii.String("Scaling"), &awsapplicationautoscaling.CfnScalingPolicyProps{
		PolicyName: &name, PolicyType: jsii.String("TargetTrackingScaling"),
		ScalingTargetId: tasks.Node().TryFindChild(jsii.String("Target")).(awsapplicationautoscaling.ScalableTarget).ScalableTargetId(),
		TargetTrackingScalingPolicyConfiguration: &awsapplicationautoscaling.CfnScalingPolicy_TargetTrackingScalingPolicyConfigurationProperty{
			TargetValue: &value, ScaleOutCooldown: jsii.Number(30), ScaleInCooldown: jsii.Number(300),
			CustomizedMetricSpecification: &awsapplicationautoscaling.CfnScalingPolicy_CustomizedMetricSpecificationProperty{Metrics: &metrics},
		},
	})
}

// scaleByBacklog keeps the number of waiting messages per running task at what the topology says. More tasks than devices with events
// waiting find nothing to do, so that the maximum is the topology's too.
func (t target) scaleByBacklog(stack awscdk.Stack, s topology.Service, service awsecs.FargateService) {
	c, name := s.Compute, t.ServiceStack(s.Name)
	tasks := service.AutoScaleTaskCount(&awsapplicationautoscaling.EnableScalingProps{
		MinCapacity: jsii.Number(c.MinTasks), MaxCapacity: jsii.Number(c.MaxTasks),
	})
	track(stack, tasks, name+"-backlog-per-task", float64(c.BacklogPerTask), "visible / IF(tasks > 0, tasks, 1)", "waiting messages per running task",
		trackedMetric("visible", "AWS/SQS", "ApproximateNumberOfMessagesVisible", "Maximum", map[string]*string{"QueueName": jsii.String(t.QueueName(s.Name))}),
		trackedTasks(name))
}
