package stacks

import (
	"github.com/aws/aws-cdk-go/awscdk/v2"
	"github.com/aws/aws-cdk-go/awscdk/v2/awscloudwatch"
	"github.com/aws/aws-cdk-go/awscdk/v2/awsiam"

	"github.com/device-fanout/fanout/infra/topology"
)

// newCompute declares where a service's consumer runs, if it runs in AWS. It returns the number of running tasks, or nil where
// there are none to count.
func newCompute(stack awscdk.Stack, t target, s topology.Service, q queues, rights awsiam.ManagedPolicy) awscloudwatch.Metric {
	switch s.Compute.Kind {
	case topology.Fargate:
		return newFargate(stack, t, s, rights)
	case topology.Lambda:
		newLambda(stack, t, s, q, rights)
	}
	return nil
}
