package provision

import (
	"context"

	"github.com/device-fanout/fanout/infra/local"
	"github.com/device-fanout/fanout/infra/topology"
)

// Environment is an environment on a local engine: clients of SNS and SQS, the ARN of the topic and the URLs of the queues.
type Environment struct {
	*local.Instance
	Resources
}

// Start gives a test an environment of its own in one call: a new local engine, clients of it, and the topic, the queues and
// the subscriptions that the topology declares for the environment named env, such as "dev". An error fails the test.
// Nothing needs to be closed, as with [local.Start]; it works inside testing/synctest.
func Start(t local.TB, topo topology.Topology, env string, opts local.Options) *Environment {
	t.Helper()
	d, err := topo.In(env)
	if err != nil {
		t.Fatalf("start %s on a local engine: %v", env, err)
	}
	l := local.Start(t, opts)
	there, err := Apply(context.Background(), l.SNS, l.SQS, d)
	if err != nil {
		t.Fatalf("start %s on a local engine: %v", env, err)
	}
	return &Environment{Instance: l, Resources: there}
}
