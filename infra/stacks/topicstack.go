package stacks

import (
	"strings"

	"github.com/aws/aws-cdk-go/awscdk/v2"
	"github.com/aws/aws-cdk-go/awscdk/v2/awsiam"
	"github.com/aws/aws-cdk-go/awscdk/v2/awssns"
	"github.com/aws/constructs-go/constructs/v10"
	"github.com/aws/jsii-runtime-go"

	"github.com/device-fanout/fanout/infra/topology"
)

// newTopicStack declares the topic and the policy of those who publish to it.
func newTopicStack(app constructs.Construct, t target) *TopicStack {
	stack := newStack(app, t, t.TopicStack(), "Fanout: the topic of "+t.content()+" in "+t.Environment.Name, "")
	key := newKey(stack, t)
	props := awssns.TopicProps{
		// SNS adds .fifo, and so does the construct.
		TopicName:                 jsii.String(strings.TrimSuffix(t.TopicName(), ".fifo")),
		DisplayName:               jsii.String(t.content() + " in " + t.Environment.Name),
		Fifo:                      jsii.Bool(true),
		ContentBasedDeduplication: jsii.Bool(false), // the deduplication ID follows from the event's identity; equal bodies are not equal events
		FifoThroughputScope:       awssns.FifoThroughputScope_MESSAGE_GROUP,
		EnforceSSL:                jsii.Bool(true),
	}
	if key != nil {
		props.MasterKey = key
		allowService(key, "sns.amazonaws.com", arn(stack, "sns", t.TopicName()))
	}
	if days := t.Environment.ArchiveDays; days > 0 {
		props.MessageRetentionPeriodInDays = jsii.Number(days)
	}
	topic := awssns.NewTopic(stack, jsii.String("Topic"), &props)
	topic.ApplyRemovalPolicy(t.keep())
	logDeliveries(stack, t, topic)
	made := &TopicStack{Stack: stack, Topic: topic, Key: key}
	made.ProducerPolicy = newProducerPolicy(stack, t, topic.TopicArn(), key)
	made.AlarmTopic = newTopicAlarms(stack, t)
	publish(stack, t, "TopicArn", "topic-arn", topic.TopicArn(), "the topic of "+t.content())
	return made
}

// content says in words what the topic carries.
func (t target) content() string {
	if t.Topology == topology.DefaultName {
		return "device events"
	}
	return "events of " + t.Topology
}

// logDeliveries writes every failed delivery to a queue into a log, and no successful one.
func logDeliveries(stack awscdk.Stack, t target, topic awssns.Topic) {
	role := awsiam.NewRole(stack, jsii.String("DeliveryLog"), &awsiam.RoleProps{
		AssumedBy:   servicePrincipal(stack, "sns.amazonaws.com"),
		Description: jsii.String("log failed deliveries of " + t.TopicName()),
	})
	role.AddToPolicy(allow("Log", []string{
		"logs:CreateLogGroup", "logs:CreateLogStream", "logs:PutLogEvents", "logs:PutMetricFilter", "logs:PutRetentionPolicy",
	}, stack.FormatArn(&awscdk.ArnComponents{
		Service: jsii.String("logs"), Resource: jsii.String("log-group"), ArnFormat: awscdk.ArnFormat_COLON_RESOURCE_NAME,
		ResourceName: jsii.String("sns/" + *stack.Region() + "/" + *stack.Account() + "/" + t.TopicName() + "*"),
	})))
	suppress(role, "AwsSolutions-IAM5", "SNS makes log groups whose names begin with the topic's, one for failures and one for successes")
	topic.AddLoggingConfig(&awssns.LoggingConfig{
		Protocol: awssns.LoggingProtocol_SQS, FailureFeedbackRole: role,
		SuccessFeedbackRole: role, SuccessFeedbackSampleRate: jsii.Number(0),
	})
}
