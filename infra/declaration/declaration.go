// Package declaration holds the topology that this repository deploys: the environments of environments.json, and the services below.
// The command line, the CDK app and the local environment all read it. To add a service, add an entry.
package declaration

import (
	_ "embed"
	"time"

	"github.com/device-fanout/fanout/events/device"
	"github.com/device-fanout/fanout/infra/topology"
)

//go:generate go test . -run ^TestAsyncAPI_CommittedDocumentIsCurrent$ -update

//go:embed environments.json
var environments []byte

// Topology is the topology of this repository.
func Topology() topology.Topology {
	t := topology.New(environments, []topology.Service{
		{
			Name:           "history",
			About:          "keeps every event",
			HandlerTimeout: 10 * time.Second,
		},
		{
			Name:           "state",
			About:          "keeps the last state of every device",
			HandlerTimeout: 10 * time.Second,
		},
		{
			Name:  "push",
			About: "sends changes to connected phones",
			Events: []string{
				device.PowerChanged{}.EventType(),
				device.MotionChanged{}.EventType(),
				device.ContactChanged{}.EventType(),
				device.ConnectivityChanged{}.EventType(),
			},
			HandlerTimeout: 2 * time.Second,
		},
	})
	t.Title = "Fanout device events"
	t.License = topology.License{Name: "Apache-2.0", URL: "https://www.apache.org/licenses/LICENSE-2.0"}
	return t
}
