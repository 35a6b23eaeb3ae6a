// Package declaration is what this repository deploys: the environments of environments.json, and the services below. The command
// line, the CDK app and the tests all read it.
package declaration

import (
	_ "embed"
	"time"

	"github.com/device-fanout/fanout/infra/topology"

	"example.com/acme/platform/events/acme"
)

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
			Name:  "chime",
			About: "rings when somebody presses a doorbell",
			Events: []string{
				acme.DoorbellPressed{}.EventType(),
			},
			HandlerTimeout: 5 * time.Second,
		},
	})
	t.Name = "platform" // a part of every resource's name; once deployed, it stays
	return t
}
