// Package topology is the one declaration of a fan-out: its environments, its topic, the services behind it with their filters,
// handler timeouts and receive counts, and the names of everything.
//
// The CDK app, the local environment and the command line all read a [Topology]; nothing else knows a queue's name. Adding a
// service is one entry in its list:
//
//	//go:embed environments.json
//	var environments []byte
//
//	func Topology() topology.Topology {
//		return topology.New(environments, []topology.Service{
//			{Name: "billing", Events: []string{"device.telemetry.reported.v1"}, HandlerTimeout: 5 * time.Second},
//		})
//	}
//
// [ParseEnvironments] says what environments.json holds: accounts, regions, encryption, archives, alarm targets.
//
// A [Topology] is valid for every environment or for none: [Topology.Validate] lists each fault with the entry it stands in and
// what to change. [Topology.In] then gives the [Deployment] of one environment, in which every default is filled in. Besides the
// environments declared by name there are throw-away ones, such as feature-x.
//
// Programs find resources by their names. In environment dev the topic is dev-device-events.fifo, and the service history has the
// queue dev-history.fifo, the dead-letter queue dev-history-dlq.fifo for what it could not handle, and the dead-letter queue
// dev-history-delivery-dlq.fifo for what SNS could not deliver to it. With the name shop and the prefix acme- the topic is
// acme-shop-dev-events.fifo and the queue acme-shop-dev-history.fifo, so that several topologies fit into one account.
package topology
