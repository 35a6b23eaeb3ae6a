package stacks

import (
	"cmp"
	"time"

	"github.com/aws/aws-cdk-go/awscdk/v2"
	"github.com/aws/aws-cdk-go/awscdk/v2/awsssm"
	"github.com/aws/constructs-go/constructs/v10"
	"github.com/aws/jsii-runtime-go"
)

// appName is the tag that every resource has, and the first part of the paths of parameters and logs.
const appName = "fanout"

// build declares all stacks of a target, with what the app adds to them.
func build(app awscdk.App, t target) (err error) {
	defer recovered(&err)
	all := &Stacks{App: app, Deployment: t.Deployment, Operations: newOperationsStack(app, t), Topic: newTopicStack(app, t), target: t}
	all.Topic.Stack.AddStackDependency(all.Operations.Stack, nil)
	first := []awscdk.Stack{all.Topic.Stack, all.Operations.Stack}
	if t.Environment.Network.Made() {
		all.Network = newNetworkStack(app, t)
		first = append(first, all.Network)
	}
	if t.Environment.Database.Kind != "" {
		all.Database = newDatabaseStack(app, t)
		if all.Network != nil {
			all.Database.Stack.AddStackDependency(all.Network, nil)
		}
		first = append(first, all.Database.Stack)
	}
	if t.Environment.Gateway != nil {
		all.Gateway = newGatewayStack(app, t)
		for _, stack := range first {
			all.Gateway.Stack.AddStackDependency(stack, nil)
		}
	}
	for _, s := range t.Services {
		service := newServiceStack(app, t, s)
		for _, stack := range first {
			service.Stack.AddStackDependency(stack, nil)
		}
		all.Services = append(all.Services, service)
	}
	if extend := t.app.Extend; extend != nil {
		extend(all)
	}
	addTags(app, t.app.Tags)
	applyBoundary(app, all.Operations.Stack, t.app.PermissionsBoundary)
	return nil
}

// addTags tags whatever has tags below a scope.
func addTags(scope constructs.Construct, tags map[string]string) {
	for _, key := range sortedKeys(tags) {
		// Tags of these are unknown to CloudFormation in some regions.
		awscdk.Tags_Of(scope).Add(&key, jsii.String(tags[key]), &awscdk.TagProps{ExcludeResourceTypes: jsii.Strings("AWS::CloudWatch::Dashboard", "AWS::ElasticLoadBalancingV2::Listener")})
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
	tags := map[string]string{appTag: cmp.Or(t.app.Tags[appTag], appName), environmentTag: e.Name}
	if owner != "" {
		tags[ownerTag] = owner
	}
	if e.Lifetime > 0 {
		tags[expiresTag] = t.today.Add(e.Lifetime).Format(time.DateOnly)
	}
	onStack := map[string]*string{} // scripts find the stacks of an environment by them, also those that nobody declares any more
	for key, value := range tags {
		onStack[key] = &value
	}
	stack := awscdk.NewStack(app, &name, &awscdk.StackProps{
		Tags:                  &onStack,
		StackName:             &name,
		Description:           &about,
		Env:                   &where,
		TerminationProtection: jsii.Bool(e.Production),
		Synthesizer:           t.synthesizer(),
	})
	addTags(stack, tags)
	return stack
}

// keep says whether what holds events stays when its stack is deleted.
func (t target) keep() awscdk.RemovalPolicy {
	if t.Environment.Production {
		return awscdk.RemovalPolicy_RETAIN_ON_UPDATE_OR_DELETE // what a failed first deployment has made goes again
	}
	return awscdk.RemovalPolicy_DESTROY
}

// publish makes a value known to programs, as an SSM parameter, and to people, as an output of the stack.
func publish(stack awscdk.Stack, t target, id, path string, value *string, about string) {
	awsssm.NewStringParameter(stack, jsii.String(id+"Parameter"), &awsssm.StringParameterProps{
		ParameterName: jsii.String(t.parameter(path)),
		StringValue:   value,
		Description:   &about,
	})
	awscdk.NewCfnOutput(stack, &id, &awscdk.CfnOutputProps{Value: value, Description: &about})
}

// arn is that of a resource known by its name, in the stack's account and region.
func arn(stack awscdk.Stack, service, resource string) *string {
	return stack.FormatArn(&awscdk.ArnComponents{Service: &service, Resource: &resource})
}

// global is a name that an account has once, whatever the region: it ends in the region, so that an environment may be in several.
func (t target) global(stack awscdk.Stack, name string) string {
	return t.Scope() + "-" + name + "-" + *stack.Region()
}
