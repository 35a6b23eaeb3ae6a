package stacks

import (
	"fmt"

	"github.com/aws/aws-cdk-go/awscdk/v2"
	"github.com/aws/aws-cdk-go/awscdk/v2/awsecs"
	"github.com/aws/aws-cdk-go/awscdk/v2/awssns"
	"github.com/aws/aws-cdk-go/awscdk/v2/awssnssubscriptions"
	"github.com/aws/aws-cdk-go/awscdk/v2/awssqs"
	"github.com/aws/constructs-go/constructs/v10"
	"github.com/aws/jsii-runtime-go"

	"github.com/device-fanout/fanout/infra/topology"
)

// newServiceStack declares a service's queue, its two dead-letter queues, its subscription, its consumer's policy, its alarms, and
// its consumer if that runs in AWS.
func newServiceStack(app constructs.Construct, t target, s topology.Service) *ServiceStack {
	about := fmt.Sprintf("Fanout: %s in %s", s.Name, t.Environment.Name)
	if s.About != "" {
		about += ", which " + s.About
	}
	if s.Standard {
		about += " (standard queue: no order)"
	}
	stack := newStack(app, t, t.ServiceStack(s.Name), about, s.Owner)
	addTags(stack, map[string]string{serviceTag: s.Name})
	made := &ServiceStack{Stack: stack, Service: s, Key: newKey(stack, t)}
	made.newQueues(t)
	made.subscribe(t)
	made.ConsumerPolicy = newConsumerPolicy(stack, t, s, made.Queue.QueueArn(), made.DLQ.QueueArn(), made.Key)
	running := made.newCompute(t)
	made.AlarmTopic = newServiceAlarms(stack, t, s, running)
	made.rollBackOnAlarms(t)
	newServiceDashboard(stack, t, s, running)
	for _, p := range []struct {
		id, path, about string
		queue           awssqs.Queue
	}{
		{"Queue", "queue", "the events of " + s.Name, made.Queue},
		{"DLQ", "dlq", "events that " + s.Name + " could not handle", made.DLQ},
		{"DeliveryDLQ", "delivery-dlq", "events that could not be delivered to " + s.Name, made.DeliveryDLQ},
	} {
		publish(stack, t, p.id+"Url", s.Name+"/"+p.path+"-url", p.queue.QueueUrl(), "the URL of the queue with "+p.about)
		publish(stack, t, p.id+"Arn", s.Name+"/"+p.path+"-arn", p.queue.QueueArn(), "the ARN of the queue with "+p.about)
	}
	return made
}

func (made *ServiceStack) newQueues(t target) {
	stack, s, key := made.Stack, made.Service, made.Key
	base := func(name string) *awssqs.QueueProps {
		p := &awssqs.QueueProps{
			QueueName:     &name,
			EnforceSSL:    jsii.Bool(true),
			Encryption:    awssqs.QueueEncryption_SQS_MANAGED,
			RemovalPolicy: t.keep(),
		}
		if !s.Standard {
			p.Fifo = jsii.Bool(true)
			p.ContentBasedDeduplication = jsii.Bool(false)
			p.DeduplicationScope = awssqs.DeduplicationScope_MESSAGE_GROUP
			p.FifoThroughputLimit = awssqs.FifoThroughputLimit_PER_MESSAGE_GROUP_ID
		}
		if key != nil {
			p.Encryption, p.EncryptionMasterKey = awssqs.QueueEncryption_KMS, key
			p.DataKeyReuse = awscdk.Duration_Hours(jsii.Number(1)) // costs less; a revoked key is noticed an hour later
		}
		return p
	}
	duration := func(seconds float64) awscdk.Duration { return awscdk.Duration_Seconds(&seconds) }

	dlq := base(t.DLQName(s.Name))
	dlq.RetentionPeriod = duration(topology.DLQRetention.Seconds())
	// By its name: the queue itself names the dead-letter queue.
	source := awssqs.Queue_FromQueueArn(stack, jsii.String("Source"), arn(stack, "sqs", t.QueueName(s.Name)))
	dlq.RedriveAllowPolicy = &awssqs.RedriveAllowPolicy{
		RedrivePermission: awssqs.RedrivePermission_BY_QUEUE, SourceQueues: &[]awssqs.IQueue{source},
	}

	delivery := base(t.DeliveryDLQName(s.Name))
	delivery.RetentionPeriod = duration(topology.DLQRetention.Seconds())

	made.DLQ = awssqs.NewQueue(stack, jsii.String("DLQ"), dlq)
	made.DeliveryDLQ = awssqs.NewQueue(stack, jsii.String("DeliveryDLQ"), delivery)
	main := base(t.QueueName(s.Name))
	main.RetentionPeriod = duration(s.Retention.Seconds())
	main.VisibilityTimeout = duration(s.VisibilityTimeout().Seconds())
	main.ReceiveMessageWaitTime = duration(t.Environment.WaitTime.Seconds())
	main.DeadLetterQueue = &awssqs.DeadLetterQueue{Queue: made.DLQ, MaxReceiveCount: jsii.Number(s.MaxReceiveCount)}
	main.RedriveAllowPolicy = &awssqs.RedriveAllowPolicy{RedrivePermission: awssqs.RedrivePermission_DENY_ALL} // no queue may use it as its dead-letter queue
	made.Queue = awssqs.NewQueue(stack, jsii.String("Queue"), main)
	suppress(made.DeliveryDLQ, "AwsSolutions-SQS3", "it is a dead-letter queue itself, that of the subscription")
}

// subscribe makes the topic deliver the service's events to its queue, raw, and what can't be delivered to the delivery DLQ.
func (made *ServiceStack) subscribe(t target) {
	props := &awssnssubscriptions.SqsSubscriptionProps{RawMessageDelivery: jsii.Bool(true), DeadLetterQueue: made.DeliveryDLQ}
	if filter := made.Service.FilterPolicy(); filter != nil {
		conditions := map[string]awssns.SubscriptionFilter{}
		for name, values := range filter {
			conditions[name] = awssns.SubscriptionFilter_StringFilter(&awssns.StringConditions{Allowlist: jsii.Strings(values...)})
		}
		props.FilterPolicy = &conditions
	}
	topic := awssns.Topic_FromTopicArn(made.Stack, jsii.String("Topic"), arn(made.Stack, "sns", t.TopicName()))
	subscription := topic.AddSubscription(awssnssubscriptions.NewSqsSubscription(made.Queue, props))
	// Always, or a scope that was set before would stay.
	subscription.Node().DefaultChild().(awssns.CfnSubscription).SetFilterPolicyScope(jsii.String("MessageAttributes"))
}

// rollBackOnAlarms makes ECS roll a deployment back that is healthy and wrong: while one is under way, an alarm of dead letters, of events that
// grow old or of receives that fail ends it.
func (made *ServiceStack) rollBackOnAlarms(t target) {
	if made.Fargate == nil || !t.watched() {
		return
	}
	var names []*string
	for _, alarm := range []struct{ id, name string }{{"DLQ", deadLettersAlarm}, {"Receive", receiveAlarm}, {"Age", ageAlarm}} {
		names = append(names, jsii.String(t.Scope()+"-"+made.Service.Name+alarm.name))
		made.Fargate.Node().AddDependency(made.Stack.Node().FindChild(jsii.String(alarm.id + "Alarm")))
	}
	made.Fargate.EnableDeploymentAlarms(&names, &awsecs.DeploymentAlarmOptions{Behavior: awsecs.AlarmBehavior_ROLLBACK_ON_ALARM})
}
