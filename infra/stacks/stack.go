package stacks

import (
	"github.com/aws/aws-cdk-go/awscdk/v2"
	"github.com/aws/aws-cdk-go/awscdk/v2/awsssm"
	"github.com/aws/constructs-go/constructs/v10"
	"github.com/aws/jsii-runtime-go"
)

// app is the name that every resource is tagged with.
const appName = "fanout"

// build declares all stacks of a target.
func build(app awscdk.App, t target) {
	operations := newOperationsStack(app, t)
	topic := newTopicStack(app, t)
	topic.AddStackDependency(operations, nil)
	for _, s := range t.Services {
		service := newServiceStack(app, t, s)
		service.AddStackDependency(topic, nil)
		service.AddStackDependency(operations, nil)
	}
}

// newStack makes an empty stack in the target's account and region. owner may be empty.
func newStack(app constructs.Construct, t target, name, about, owner string) awscdk.Stack {
	e := t.Environment
	where := awscdk.Environment{}
	if e.Account != "" {
		where.Account = &e.Account
	}
	if e.Region != "" {
		where.Region = &e.Region
	}
	tags := map[string]*string{"app": jsii.String(appName), "environment": &e.Name}
	if owner != "" {
		tags["owner"] = &owner
	}
	stack := awscdk.NewStack(app, &name, &awscdk.StackProps{
		StackName:             &name,
		Description:           &about,
		Env:                   &where,
		TerminationProtection: jsii.Bool(e.Production),
	})
	for key, value := range tags {
		// A dashboard's tags are unknown to CloudFormation in some regions.
		awscdk.Tags_Of(stack).Add(jsii.String(key), value, &awscdk.TagProps{ExcludeResourceTypes: jsii.Strings("AWS::CloudWatch::Dashboard")})
	}
	return stack
}

// keep is what happens to what holds events when its stack goes.
func (t target) keep() awscdk.RemovalPolicy {
	if t.Environment.Production {
		return awscdk.RemovalPolicy_RETAIN
	}
	return awscdk.RemovalPolicy_DESTROY
}

// publish makes a value known to programs, as an SSM parameter, and to people, as an output of the stack.
func publish(stack awscdk.Stack, t target, id, path string, value *string, about string) {
	awsssm.NewStringParameter(stack, jsii.String(id+"Parameter"), &awsssm.StringParameterProps{
		ParameterName: jsii.String("/" + appName + "/" + t.Scope() + "/" + path),
		StringValue:   value,
		Description:   &about,
	})
	awscdk.NewCfnOutput(stack, &id, &awscdk.CfnOutputProps{Value: value, Description: &about})
}

// arn is that of a resource known by its name, in the stack's account and region.
func arn(stack awscdk.Stack, service, resource string) *string {
	return stack.FormatArn(&awscdk.ArnComponents{Service: &service, Resource: &resource})
}
