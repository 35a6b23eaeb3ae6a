package stacks

import (
	"strings"

	"github.com/aws/aws-cdk-go/awscdk/v2"
	"github.com/aws/aws-cdk-go/awscdk/v2/awsiam"
	"github.com/aws/aws-cdk-go/awscdk/v2/awskms"
	"github.com/aws/aws-cdk-go/awscdk/v2/awssns"
	"github.com/aws/constructs-go/constructs/v10"
	"github.com/aws/jsii-runtime-go"
)

// newOperationsStack declares what whoever is on call needs: the topic that every alarm goes to, policies, and a dashboard of all
// services. It names no service, so that a new one needs no change here.
func newOperationsStack(app constructs.Construct, t target) *OperationsStack {
	stack := newStack(app, t, t.OperationsStack(), "Fanout: alarms, rights and dashboard of "+t.Environment.Name, "")
	made := &OperationsStack{Stack: stack, Key: newKey(stack, t)}
	made.AlarmTopic = newAlarmTopic(stack, t, made.Key)
	made.RedrivePolicy = newRedrivePolicy(stack, t)
	made.OnCallPolicy = newOnCallPolicy(stack, t)
	newEnvironmentDashboard(stack, t)
	publish(stack, t, "AlarmTopicArn", "alarm-topic-arn", made.AlarmTopic.TopicArn(), "the topic of all alarms")
	return made
}

// newAlarmTopic makes the topic of all alarms, and subscribes the environment's alarm target.
func newAlarmTopic(stack awscdk.Stack, t target, key awskms.Key) awssns.Topic {
	props := awssns.TopicProps{
		TopicName:   jsii.String(t.AlarmTopicName()),
		DisplayName: jsii.String("Fanout alarms in " + t.Environment.Name),
		EnforceSSL:  jsii.Bool(true),
	}
	ofAlarms := arn(stack, "cloudwatch", "alarm:"+t.Scope()+"-*")
	if key != nil {
		props.MasterKey = key
		allowService(key, "cloudwatch.amazonaws.com", ofAlarms)
	}
	topic := awssns.NewTopic(stack, jsii.String("Alarms"), &props)
	// A topic with a policy of its own no longer accepts by default what its account publishes, alarms included.
	topic.AddToResourcePolicy(awsiam.NewPolicyStatement(&awsiam.PolicyStatementProps{
		Sid:        jsii.String("FromAlarms"),
		Principals: &[]awsiam.IPrincipal{awsiam.NewServicePrincipal(jsii.String("cloudwatch.amazonaws.com"), nil)},
		Actions:    jsii.Strings("sns:Publish"),
		Resources:  &[]*string{topic.TopicArn()},
		Conditions: &map[string]any{"ArnLike": map[string]any{"aws:SourceArn": ofAlarms}},
	}))
	if to := t.Environment.AlarmTarget; to != "" {
		protocol := awssns.SubscriptionProtocol_EMAIL
		if strings.HasPrefix(to, "https://") {
			protocol = awssns.SubscriptionProtocol_HTTPS
		}
		awssns.NewSubscription(stack, jsii.String("AlarmTarget"), &awssns.SubscriptionProps{Topic: topic, Protocol: protocol, Endpoint: &to})
	}
	return topic
}
