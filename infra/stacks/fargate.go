package stacks

import (
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
	"github.com/aws/jsii-runtime-go"

	"github.com/device-fanout/fanout/infra/topology"
)

// stopMargin is how much longer than its drain a task may take to stop: for the last long poll and for closing what is open.
const stopMargin = 20 * time.Second

// databaseVariable is where a consumer finds the URL of its database.
const databaseVariable = "FANOUT_DATABASE"

// healthAddress is where a task serves /livez: to its own health check only.
const healthAddress = "127.0.0.1:8080"

// newFargate runs a service's consumer as tasks, and returns the metric of their number.
func (made *ServiceStack) newFargate(t target) awscloudwatch.Metric {
	stack, s, n := made.Stack, made.Service, t.Environment.Network
	vpc := awsec2.Vpc_FromVpcAttributes(stack, jsii.String("Vpc"), &awsec2.VpcAttributes{
		VpcId: &n.VPC, AvailabilityZones: jsii.Strings(n.AvailabilityZones...), PrivateSubnetIds: jsii.Strings(n.Subnets...),
	})
	name := jsii.String(t.ServiceStack(s.Name))
	cluster := awsecs.NewCluster(stack, jsii.String("Cluster"), &awsecs.ClusterProps{
		ClusterName: name, Vpc: vpc, ContainerInsightsV2: awsecs.ContainerInsights_ENABLED, // it counts the running tasks
	})
	task := newTask(stack, t, s, made.ConsumerPolicy)
	group := awsec2.NewSecurityGroup(stack, jsii.String("Out"), &awsec2.SecurityGroupProps{
		Vpc: vpc, Description: jsii.String("nobody calls a consumer; it calls AWS and its database"), AllowAllOutbound: jsii.Bool(true),
	})
	service := awsecs.NewFargateService(stack, jsii.String("Service"), &awsecs.FargateServiceProps{
		ServiceName: name, Cluster: cluster, TaskDefinition: task,
		AssignPublicIp: jsii.Bool(false), SecurityGroups: &[]awsec2.ISecurityGroup{group},
		CircuitBreaker:    &awsecs.DeploymentCircuitBreaker{Enable: jsii.Bool(true), Rollback: jsii.Bool(true)},
		MinHealthyPercent: jsii.Number(100), MaxHealthyPercent: jsii.Number(200),
		PropagateTags: awsecs.PropagatedTagSource_SERVICE,
	})
	running := metric("ECS/ContainerInsights", "RunningTaskCount", "Maximum", time.Minute, map[string]*string{"ClusterName": name, "ServiceName": name})
	scale(stack, t, s, service, name)
	made.Fargate, made.Role = service, task.TaskRole()
	if s.Compute.DatabaseSecret != "" {
		made.environment = []string{databaseVariable}
	}
	return running
}

// newTask is one task: one container, that of the service's image at the deployed commit. The image's entry point is the program.
func newTask(stack awscdk.Stack, t target, s topology.Service, policy awsiam.ManagedPolicy) awsecs.FargateTaskDefinition {
	c := s.Compute
	role := func(id string) awsiam.Role {
		return awsiam.NewRole(stack, &id, &awsiam.RoleProps{AssumedBy: servicePrincipal(stack, "ecs-tasks.amazonaws.com")})
	}
	execution := role("ExecutionRole")
	task := awsecs.NewFargateTaskDefinition(stack, jsii.String("Task"), &awsecs.FargateTaskDefinitionProps{
		Family: jsii.String(t.ServiceStack(s.Name)), Cpu: jsii.Number(c.CPU), MemoryLimitMiB: jsii.Number(c.MemoryMiB),
		TaskRole: role("TaskRole"), ExecutionRole: execution,
		RuntimePlatform: &awsecs.RuntimePlatform{
			CpuArchitecture: awsecs.CpuArchitecture_ARM64(), OperatingSystemFamily: awsecs.OperatingSystemFamily_LINUX(),
		},
	})
	task.TaskRole().AddManagedPolicy(policy)
	log := awslogs.NewLogGroup(stack, jsii.String("Log"), &awslogs.LogGroupProps{
		LogGroupName: jsii.String("/" + appName + "/" + t.Scope() + "/" + s.Name), Retention: awslogs.RetentionDays_ONE_MONTH,
		RemovalPolicy: t.keep(),
	})
	options := &awsecs.ContainerDefinitionOptions{
		Image:   awsecs.ContainerImage_FromEcrRepository(awsecr.Repository_FromRepositoryName(stack, jsii.String("Images"), &c.Repository), &t.imageTag),
		Command: jsii.Strings("consume", s.Name, "--env", t.Environment.Name, "--health-addr", healthAddress),
		HealthCheck: &awsecs.HealthCheck{
			// A task that is not healthy is replaced, and one of a deployment that does not become healthy counts as failed. So it asks whether
			// the process lives, and not whether its database does: the next task would have the same one, and could only use up receives. The
			// image has no shell and no curl.
			Command:  jsii.Strings("CMD", "/"+t.app.Program, "ready", "http://"+healthAddress+"/livez"),
			Interval: awscdk.Duration_Seconds(jsii.Number(15)), Timeout: awscdk.Duration_Seconds(jsii.Number(5)),
			StartPeriod: awscdk.Duration_Seconds(jsii.Number(30)), Retries: jsii.Number(3),
		},
		StopTimeout:            awscdk.Duration_Seconds(jsii.Number((c.Drain + stopMargin).Seconds())),
		ReadonlyRootFilesystem: jsii.Bool(true),
		User:                   jsii.String("65532"),
		Logging: awsecs.LogDriver_AwsLogs(&awsecs.AwsLogDriverProps{
			LogGroup: log, StreamPrefix: jsii.String("task"), Mode: awsecs.AwsLogDriverMode_NON_BLOCKING,
		}),
	}
	if c.DatabaseSecret != "" {
		secret := awssecretsmanager.Secret_FromSecretNameV2(stack, jsii.String("Database"), &c.DatabaseSecret)
		options.Secrets = &map[string]awsecs.Secret{databaseVariable: awsecs.Secret_FromSecretsManager(secret, nil)}
	}
	task.AddContainer(jsii.String("Consumer"), options)
	suppress(execution, "AwsSolutions-IAM5", "a token of the image registry belongs to no resource, and a secret's ARN ends in six random letters")
	return task
}

// scale keeps the number of waiting messages per running task at what the topology says. More tasks than devices with events
// waiting find nothing to do, so that the maximum is the topology's too.
func scale(stack awscdk.Stack, t target, s topology.Service, service awsecs.FargateService, name *string) {
	c := s.Compute
	target := service.AutoScaleTaskCount(&awsapplicationautoscaling.EnableScalingProps{
		MinCapacity: jsii.Number(c.MinTasks), MaxCapacity: jsii.Number(c.MaxTasks),
	})
	type spec = awsapplicationautoscaling.CfnScalingPolicy_TargetTrackingMetricDataQueryProperty
	of := func(id, namespace, metric, statistic string, dimensions map[string]*string) *spec {
		var named []any
		for _, key := range sortedKeys(dimensions) {
			named = append(named, &awsapplicationautoscaling.CfnScalingPolicy_TargetTrackingMetricDimensionProperty{Name: &key, Value: dimensions[key]})
		}
		return &spec{
			Id: &id, ReturnData: jsii.Bool(false),
			MetricStat: &awsapplicationautoscaling.CfnScalingPolicy_TargetTrackingMetricStatProperty{
				Stat:   &statistic,
				Metric: &awsapplicationautoscaling.CfnScalingPolicy_TargetTrackingMetricProperty{Namespace: &namespace, MetricName: &metric, Dimensions: &named},
			},
		}
	}
	// Metric math, which the higher-level construct does not take.
	awsapplicationautoscaling.NewCfnScalingPolicy(stack, jsii.String("Scaling"), &awsapplicationautoscaling.CfnScalingPolicyProps{
		PolicyName: jsii.String(*name + "-backlog-per-task"), PolicyType: jsii.String("TargetTrackingScaling"),
		ScalingTargetId: target.Node().TryFindChild(jsii.String("Target")).(awsapplicationautoscaling.ScalableTarget).ScalableTargetId(),
		TargetTrackingScalingPolicyConfiguration: &awsapplicationautoscaling.CfnScalingPolicy_TargetTrackingScalingPolicyConfigurationProperty{
			TargetValue: jsii.Number(c.BacklogPerTask), ScaleOutCooldown: jsii.Number(30), ScaleInCooldown: jsii.Number(300),
			CustomizedMetricSpecification: &awsapplicationautoscaling.CfnScalingPolicy_CustomizedMetricSpecificationProperty{
				Metrics: &[]any{
					of("visible", "AWS/SQS", "ApproximateNumberOfMessagesVisible", "Maximum", map[string]*string{"QueueName": jsii.String(t.QueueName(s.Name))}),
					of("tasks", "ECS/ContainerInsights", "RunningTaskCount", "Average", map[string]*string{"ClusterName": name, "ServiceName": name}),
					&spec{
						Id: jsii.String("backlog"), Label: jsii.String("waiting messages per running task"),
						Expression: jsii.String("visible / IF(tasks > 0, tasks, 1)"), ReturnData: jsii.Bool(true),
					},
				},
			},
		},
	})
}
