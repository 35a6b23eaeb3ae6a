package stacks

import (
	"github.com/aws/aws-cdk-go/awscdk/v2"
	"github.com/aws/aws-cdk-go/awscdk/v2/awsiam"
	"github.com/aws/aws-cdk-go/awscdk/v2/awskms"
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

// newPolicy makes a managed policy called {scope}-{name}.
func newPolicy(stack awscdk.Stack, t target, id, name, about string, statements ...awsiam.PolicyStatement) awsiam.ManagedPolicy {
	return awsiam.NewManagedPolicy(stack, &id, &awsiam.ManagedPolicyProps{
		ManagedPolicyName: jsii.String(t.Scope() + "-" + name),
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
// It names queues by pattern, not one by one, so that a new service needs no change here. Package topology makes sure that no name
// of one environment, or of one topology, fits the pattern of another.
func newRedrivePolicy(stack awscdk.Stack, t target) awsiam.ManagedPolicy {
	statements := []awsiam.PolicyStatement{
		allow("TakeDeadLetters", []string{
			"sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:ChangeMessageVisibility", "sqs:GetQueueAttributes", "sqs:GetQueueUrl",
			"sqs:StartMessageMoveTask", "sqs:CancelMessageMoveTask", "sqs:ListMessageMoveTasks",
		}, t.dlqPattern(stack)),
		allow("SendBack", []string{"sqs:SendMessage", "sqs:GetQueueAttributes", "sqs:GetQueueUrl"}, t.queuePattern(stack)),
	}
	if t.Environment.Encryption == topology.CustomerKey {
		statements = append(statements, useKeysOf(stack, t, "kms:Decrypt", "kms:GenerateDataKey"))
	}
	policy := newPolicy(stack, t, "RedriveOperator", "redrive-operator", "redrive dead letters of "+t.Environment.Name, statements...)
	suppress(policy, "AwsSolutions-IAM5", "the pattern fits the queues of this environment and no others, so that a new service needs no change here")
	return policy
}

// newOnCallPolicy lets whoever is on call see everything and change nothing. Looking at dead letters hides them for a moment and
// raises their receive count; SQS has no other way.
func newOnCallPolicy(stack awscdk.Stack, t target) awsiam.ManagedPolicy {
	statements := []awsiam.PolicyStatement{
		allow("ReadMetrics", []string{
			"cloudwatch:DescribeAlarms", "cloudwatch:DescribeAlarmHistory", "cloudwatch:GetDashboard", "cloudwatch:ListDashboards",
			"cloudwatch:GetMetricData", "cloudwatch:ListMetrics", "sns:ListTopics", "sqs:ListQueues",
		}, jsii.String("*")),
		allow("ReadTopic", []string{"sns:GetTopicAttributes", "sns:ListSubscriptionsByTopic"}, arn(stack, "sns", t.TopicName())),
		allow("ReadQueues", []string{
			"sqs:GetQueueAttributes", "sqs:GetQueueUrl", "sqs:ListDeadLetterSourceQueues", "sqs:ListQueueTags",
		}, t.queuePattern(stack)),
		allow("LookAtDeadLetters", []string{
			"sqs:ReceiveMessage", "sqs:ChangeMessageVisibility", "sqs:ListMessageMoveTasks",
		}, t.dlqPattern(stack)),
	}
	if t.Environment.Encryption == topology.CustomerKey {
		statements = append(statements, useKeysOf(stack, t, "kms:Decrypt"))
	}
	policy := newPolicy(stack, t, "OnCall", "on-call", "see the fan-out of "+t.Environment.Name, statements...)
	suppress(policy, "AwsSolutions-IAM5", "metrics and lists have no resources to name; the patterns fit the queues of this environment and no others")
	return policy
}

// queuePattern is an ARN pattern of every queue of the environment, dlqPattern of its dead-letter queues.
func (t target) queuePattern(stack awscdk.Stack) *string {
	return arn(stack, "sqs", t.Scope()+"-*")
}

func (t target) dlqPattern(stack awscdk.Stack) *string {
	return arn(stack, "sqs", t.Scope()+"-*-dlq*")
}

// useKeysOf allows to use every key of the environment, known by its alias, through SQS.
func useKeysOf(stack awscdk.Stack, t target, actions ...string) awsiam.PolicyStatement {
	s := allow("UseKeys", actions, arn(stack, "kms", "key/*"))
	s.AddConditions(&map[string]any{
		"ForAnyValue:StringLike": map[string]any{"kms:ResourceAliases": "alias/" + t.Scope() + "-*"},
		"StringEquals":           map[string]any{"kms:ViaService": "sqs." + *stack.Region() + "." + *stack.UrlSuffix()},
	})
	return s
}

// suppress silences a rule of cdk-nag for a resource, with the reason.
func suppress(resource awscdk.IResource, rule, reason string) {
	cdknag.NagSuppressions_AddResourceSuppressions(resource, &[]*cdknag.NagPackSuppression{
		{Id: &rule, Reason: &reason},
	}, jsii.Bool(true))
}
