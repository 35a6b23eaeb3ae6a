package stacks

import (
	"github.com/aws/aws-cdk-go/awscdk/v2"
	"github.com/aws/aws-cdk-go/awscdk/v2/awsiam"
	"github.com/aws/aws-cdk-go/awscdk/v2/awskms"
	"github.com/aws/jsii-runtime-go"

	"github.com/device-fanout/fanout/infra/topology"
)

// newKey makes the customer key of a stack, or returns nil where SQS's own keys are enough. The topic and the queues have keys
// of their own: one key for both would need the topic in its policy, and the topic needs its key.
func newKey(stack awscdk.Stack, t target) awskms.Key {
	if t.Environment.Encryption != topology.CustomerKey {
		return nil
	}
	return awskms.NewKey(stack, jsii.String("Key"), &awskms.KeyProps{
		Alias:             jsii.String("alias/" + *stack.StackName()),
		Description:       jsii.String("messages of " + *stack.StackName()),
		EnableKeyRotation: jsii.Bool(true),
		RemovalPolicy:     t.keep(),
	})
}

// allowService lets a service of AWS encrypt and decrypt with a key, on behalf of what has an ARN like source.
func allowService(key awskms.Key, service string, source *string) {
	key.AddToResourcePolicy(awsiam.NewPolicyStatement(&awsiam.PolicyStatementProps{
		Principals: &[]awsiam.IPrincipal{awsiam.NewServicePrincipal(&service, nil)},
		Actions:    jsii.Strings("kms:Decrypt", "kms:GenerateDataKey*"),
		Resources:  jsii.Strings("*"), // in a key's policy this is the key
		Conditions: &map[string]any{"ArnLike": map[string]any{"aws:SourceArn": source}},
	}), nil)
}

// useKey allows a role to read and write messages encrypted with a key.
func useKey(keyARN *string) awsiam.PolicyStatement {
	return allow("UseKey", []string{"kms:Decrypt", "kms:GenerateDataKey"}, keyARN)
}
