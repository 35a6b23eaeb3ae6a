// Package topology is the one declaration of the fan-out: its environments, its topic, the services behind it
// with their filters, time budgets and receive counts, and the names of everything.
//
// The CDK app, the local environment and the command line all read it; nothing else knows a queue's name.
// Adding a service is one entry in [Default]:
//
//	{
//		Name:   "billing",
//		Events: []string{"device.telemetry.reported.v1"},
//		Budget: 5 * time.Second,
//	},
//
// A [Topology] is valid for every environment or for none: [Topology.Validate] lists each fault with the entry
// it stands in and what to change. [Topology.In] then gives the [Deployment] of one environment, in which every
// default is filled in.
//
// Names are the discovery. In environment dev the topic is dev-device-events.fifo, and the service history has
// the queue dev-history.fifo and the dead-letter queue dev-history-dlq.fifo.
package topology
