package stacks

import (
	"github.com/aws/aws-cdk-go/awscdk/v2/awscloudwatch"

	"github.com/device-fanout/fanout/infra/topology"
)

// newCompute declares where a service's consumer runs, if it runs in AWS. It returns the number of running tasks, or nil where
// there are none to count.
func (made *ServiceStack) newCompute(t target) awscloudwatch.Metric {
	switch made.Service.Compute.Kind {
	case topology.Fargate:
		return made.newFargate(t)
	case topology.Lambda:
		made.newLambda(t)
	}
	return nil
}
