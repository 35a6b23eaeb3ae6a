// Package topology is the one declaration of the fan-out: its environments, its topic, the services behind it
// with their filters, handler timeouts and receive counts, and the names of everything.
//
// The CDK app, the local environment and the command line all read it; nothing else knows a queue's name.
// Adding a service is one entry in [Default]:
//
//	{
//		Name:   "billing",
//		Events: []string{"device.telemetry.reported.v1"},
//		HandlerTimeout: 5 * time.Second,
//	},
//
// The environments stand in environments.json beside this file: account, region, encryption, archive, alarm target.
//
// A [Topology] is valid for every environment or for none: [Topology.Validate] lists each fault with the entry
// it stands in and what to change. [Topology.In] then gives the [Deployment] of one environment, in which every
// default is filled in. Besides the environments declared by name there are throw-away ones, such as feature-x.
//
// Names are the discovery. In environment dev the topic is dev-device-events.fifo, and the service history has
// the queue dev-history.fifo, the dead-letter queue dev-history-dlq.fifo for what it could not handle, and the
// dead-letter queue dev-history-delivery-dlq.fifo for what SNS could not deliver to it.
package topology
