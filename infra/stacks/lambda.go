package stacks

import (
	"maps"
	"slices"
	"strconv"

	"github.com/aws/aws-cdk-go/awscdk/v2"
	"github.com/aws/aws-cdk-go/awscdk/v2/awsec2"
	"github.com/aws/aws-cdk-go/awscdk/v2/awsecr"
	"github.com/aws/aws-cdk-go/awscdk/v2/awsiam"
	"github.com/aws/aws-cdk-go/awscdk/v2/awslambda"
	"github.com/aws/aws-cdk-go/awscdk/v2/awslambdaeventsources"
	"github.com/aws/jsii-runtime-go"
)

// newLambda runs a service's consumer as a function that SQS's event source calls with a batch of events. The function answers
// which of them failed, and every later one of the same device with them; see package consumers/lambda.
func (made *ServiceStack) newLambda(t target) {
	stack, s, c := made.Stack, made.Service, made.Service.Compute
	name := jsii.String(t.ServiceStack(s.Name))
	log := newLog(stack, t, s.Name)
	role := awsiam.NewRole(stack, jsii.String("Role"), &awsiam.RoleProps{
		AssumedBy:       servicePrincipal(stack, "lambda.amazonaws.com"),
		ManagedPolicies: &[]awsiam.IManagedPolicy{made.ConsumerPolicy},
	})
	log.GrantWrite(role)
	environment := map[string]*string{
		"FANOUT_ENV": &t.Environment.Name, "FANOUT_SERVICE": &s.Name,
		"FANOUT_QUEUE_URL": made.Queue.QueueUrl(), "FANOUT_DLQ_URL": made.DLQ.QueueUrl(),
		"FANOUT_HANDLER_TIMEOUT": jsii.String(s.HandlerTimeout.String()), "FANOUT_MAX_RECEIVE_COUNT": jsii.String(strconv.Itoa(s.MaxReceiveCount)),
	}
	props := &awslambda.DockerImageFunctionProps{
		FunctionName: name, Role: role, LogGroup: log,
		Code: awslambda.DockerImageCode_FromEcr(
			awsecr.Repository_FromRepositoryName(stack, jsii.String("Images"), &c.Repository),
			&awslambda.EcrImageCodeProps{TagOrDigest: t.image(c.Repository), Cmd: jsii.Strings("lambda", s.Name)}),
		Architecture: awslambda.Architecture_ARM_64(), MemorySize: jsii.Number(c.MemoryMiB),
		Timeout:     awscdk.Duration_Seconds(jsii.Number(s.LambdaTimeout().Seconds())),
		Environment: &environment,
	}
	if (c.Database || c.DatabaseSecret != "") && t.hasNetwork() { // where the database is
		n := t.networkIn(stack, false)
		groups := []awsec2.ISecurityGroup{newGroup(stack, n, "Out", "nobody calls a consumer; it calls AWS and its database")}
		if c.Database {
			db := t.databaseIn(stack)
			groups = append(groups, db.clients)
			maps.Copy(environment, db.variables())
			role.AddToPolicy(db.allow())
		}
		props.Vpc, props.VpcSubnets, props.SecurityGroups = n.vpc, n.private, &groups
		role.AddManagedPolicy(awsiam.ManagedPolicy_FromAwsManagedPolicyName(jsii.String("service-role/AWSLambdaVPCAccessExecutionRole")))
		suppress(role, "AwsSolutions-IAM4", "a function in a VPC needs network interfaces, whose names nobody knows beforehand")
	}
	if c.DatabaseSecret != "" { // resolved by CloudFormation when it deploys; the template holds a reference only
		environment[databaseVariable] = awscdk.SecretValue_SecretsManager(&c.DatabaseSecret, nil).UnsafeUnwrap()
	}
	function := awslambda.NewDockerImageFunction(stack, jsii.String("Function"), props)
	function.AddEventSource(awslambdaeventsources.NewSqsEventSource(made.Queue, &awslambdaeventsources.SqsEventSourceProps{
		BatchSize: jsii.Number(10), ReportBatchItemFailures: jsii.Bool(true), MaxConcurrency: jsii.Number(c.Concurrency),
	}))
	made.Lambda, made.Role, made.environment = function, role, sortedKeys(environment)
}

// sortedKeys are the keys of a map in order, so that what is made of it is the same every time.
func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
