package stacks

import (
	"cmp"

	"github.com/aws/aws-cdk-go/awscdk/v2"
	"github.com/aws/aws-cdk-go/awscdk/v2/awsiam"
	"github.com/aws/aws-cdk-go/awscdk/v2/awskms"
	"github.com/aws/constructs-go/constructs/v10"
	"github.com/aws/jsii-runtime-go"
	"github.com/cdklabs/cdk-nag-go/cdknag/v2"

	"github.com/device-fanout/fanout/infra/topology"
)

// Permissions are managed policies, to be attached to whatever role a gateway, a service or a person has.

// allow is a statement of a policy.
func allow(id string, actions []string, resources ...*string) awsiam.PolicyStatement {
	return awsiam.NewPolicyStatement(&awsiam.PolicyStatementProps{
		Sid: &id, Actions: jsii.Strings(actions...), Resources: &resources,
	})
}

// newPolicy makes a managed policy called {scope}-{name}-{region}: policies belong to an account, whatever the region.
func newPolicy(stack awscdk.Stack, t target, id, name, about string, statements ...awsiam.PolicyStatement) awsiam.ManagedPolicy {
	return awsiam.NewManagedPolicy(stack, &id, &awsiam.ManagedPolicyProps{
		ManagedPolicyName: jsii.String(t.global(stack, name)),
		Description:       &about,
		Statements:        &statements,
	})
}

// newProducerPolicy lets a gateway publish to the topic.
func newProducerPolicy(stack awscdk.Stack, t target, topicARN *string, key awskms.Key) awsiam.ManagedPolicy {
	statements := []awsiam.PolicyStatement{allow("Publish", []string{"sns:Publish"}, topicARN)}
	if key != nil {
		statements = append(statements, useKey(key.KeyArn()))
	}
	return newPolicy(stack, t, "Producer", "producer", "publish device events to "+t.TopicName(), statements...)
}

// newConsumerPolicy lets a service read its queue and write its dead letters, and nothing else.
func newConsumerPolicy(stack awscdk.Stack, t target, s topology.Service, queueARN, dlqARN *string, key awskms.Key) awsiam.ManagedPolicy {
	statements := []awsiam.PolicyStatement{
		allow("Read", []string{
			"sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:ChangeMessageVisibility", "sqs:GetQueueAttributes", "sqs:GetQueueUrl",
		}, queueARN),
		allow("DeadLetter", []string{"sqs:SendMessage", "sqs:GetQueueAttributes", "sqs:GetQueueUrl"}, dlqARN),
	}
	if key != nil {
		statements = append(statements, useKey(key.KeyArn()))
	}
	return newPolicy(stack, t, "Consumer", s.Name+"-consumer", "consume "+t.QueueName(s.Name), statements...)
}

// newRedrivePolicy lets an operator look at every dead letter of the environment, send it back and delete it.
//
// It names FIFO queues by pattern, not one by one, so that a new service needs no change here, and so does newOnCallPolicy. Package topology
// makes sure that no name of one environment, or of one topology, fits the pattern of another. Names of other products may; they don't have
// the tags of ours.
func newRedrivePolicy(stack awscdk.Stack, t target) awsiam.ManagedPolicy {
	statements := []awsiam.PolicyStatement{
		t.allowOurs("TakeDeadLetters", []string{
			"sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:ChangeMessageVisibility", "sqs:GetQueueAttributes", "sqs:GetQueueUrl",
			"sqs:StartMessageMoveTask", "sqs:CancelMessageMoveTask", "sqs:ListMessageMoveTasks",
		}, t.dlqs(stack)...),
		t.allowOurs("SendBack", []string{"sqs:SendMessage", "sqs:GetQueueAttributes", "sqs:GetQueueUrl"}, t.queues(stack)...),
	}
	if t.Environment.Encryption == topology.CustomerKey {
		statements = append(statements, useKeysOf(stack, t, "kms:Decrypt", "kms:GenerateDataKey"))
	}
	policy := newPolicy(stack, t, "RedriveOperator", "redrive-operator", "redrive dead letters of "+t.Environment.Name, statements...)
	suppress(policy, "AwsSolutions-IAM5", "pattern and tags fit the queues and keys of this environment and no others, so that a new service needs no change here")
	return policy
}

// newOnCallPolicy lets whoever is on call see everything and change nothing. To look at dead letters is no part of it: SQS shows a message
// only to who hides it for a moment and raises its receive count. That is for the redrive operator.
func newOnCallPolicy(stack awscdk.Stack, t target) awsiam.ManagedPolicy {
	policy := newPolicy(
		stack, t, "OnCall", "on-call", "see the fan-out of "+t.Environment.Name,
		allow("ReadMetrics", []string{
			"cloudwatch:DescribeAlarms", "cloudwatch:DescribeAlarmHistory", "cloudwatch:GetDashboard", "cloudwatch:ListDashboards",
			"cloudwatch:GetMetricData", "cloudwatch:ListMetrics", "sns:ListTopics", "sqs:ListQueues", "cloudformation:DescribeStacks",
		}, jsii.String("*")),
		allow("ReadTopic", []string{"sns:GetTopicAttributes", "sns:ListSubscriptionsByTopic", "sns:GetSubscriptionAttributes"}, arn(stack, "sns", t.TopicName())),
		t.allowOurs("ReadQueues", []string{
			"sqs:GetQueueAttributes", "sqs:GetQueueUrl", "sqs:ListDeadLetterSourceQueues", "sqs:ListQueueTags", "sqs:ListMessageMoveTasks",
		}, t.queues(stack)...),
		allow("ReadLogs", []string{"logs:FilterLogEvents", "logs:DescribeLogStreams"}, arn(stack, "logs", "log-group:"+t.parameter("*"))),
		allow("ReadTasks", []string{"ecs:DescribeServices"}, arn(stack, "ecs", "service/"+t.Scope()+"-*/"+t.Scope()+"-*")),
	)
	suppress(policy, "AwsSolutions-IAM5", "metrics and lists have no resources to name; pattern and tags fit the queues of this environment and no others")
	return policy
}

// queues are ARNs and patterns of all queues, dlqs of the dead-letter queues: a pattern for all FIFO queues, and each standard queue by its name.
func (t target) queues(stack awscdk.Stack) []*string {
	return t.queuesNamed(stack, "-*.fifo", t.DLQName, t.DeliveryDLQName, t.QueueName)
}

func (t target) dlqs(stack awscdk.Stack) []*string {
	return t.queuesNamed(stack, "-*-dlq.fifo", t.DLQName, t.DeliveryDLQName)
}

// queuesNamed are the pattern of FIFO queues whose names end so, and the ARNs of standard queues by these names of theirs.
func (t target) queuesNamed(stack awscdk.Stack, fifo string, names ...func(service string) string) []*string {
	arns := []*string{arn(stack, "sqs", t.Scope()+fifo)}
	for _, s := range t.Services {
		for _, name := range names {
			if s.Standard {
				arns = append(arns, arn(stack, "sqs", name(s.Name)))
			}
		}
	}
	return arns
}

// allowOurs is allow for resources that the stacks of this environment have made, by their tags.
func (t target) allowOurs(id string, actions []string, resources ...*string) awsiam.PolicyStatement {
	s := allow(id, actions, resources...)
	s.AddConditions(&map[string]any{"StringEquals": map[string]any{
		"aws:ResourceTag/" + appTag: cmp.Or(t.app.Tags[appTag], appName), "aws:ResourceTag/" + environmentTag: t.Environment.Name,
	}})
	return s
}

// useKeysOf allows to use every key of the environment, known by its alias and its tags, through SQS.
func useKeysOf(stack awscdk.Stack, t target, actions ...string) awsiam.PolicyStatement {
	s := t.allowOurs("UseKeys", actions, arn(stack, "kms", "key/*"))
	s.AddConditions(&map[string]any{
		"ForAnyValue:StringLike": map[string]any{"kms:ResourceAliases": "alias/" + t.Scope() + "-*"},
		"StringEquals":           map[string]any{"kms:ViaService": "sqs." + *stack.Region() + "." + *stack.UrlSuffix()},
	})
	return s
}

// servicePrincipal is a service of AWS that may assume a role on behalf of this account, and of no other: the service could be asked by
// somebody else to use a role that is not theirs.
func servicePrincipal(stack awscdk.Stack, service string) awsiam.ServicePrincipal {
	return awsiam.NewServicePrincipal(&service, &awsiam.ServicePrincipalOpts{
		Conditions: &map[string]any{"StringEquals": map[string]any{"aws:SourceAccount": *stack.Account()}},
	})
}

// suppress silences a rule of cdk-nag for a resource, with the reason.
func suppress(resource constructs.IConstruct, rule, reason string) {
	cdknag.NagSuppressions_AddResourceSuppressions(resource, &[]*cdknag.NagPackSuppression{
		{Id: &rule, Reason: &reason},
	}, jsii.Bool(true))
}
