// Package rollback is a small program with the ready services and one that parks devices. Its test runs the program of the commit before and that of
// this one by turns on the same databases: a roll-out and a roll-back by one release must lose nothing.
package rollback

import (
	"context"
	"errors"
	"time"

	"github.com/device-fanout/fanout/consumers"
	"github.com/device-fanout/fanout/events"
	_ "github.com/device-fanout/fanout/events/device" // the types of its events
	"github.com/device-fanout/fanout/infra/topology"
	"github.com/device-fanout/fanout/scripts/fanout/cli"
)

// Broken is the device whose first event the service lights refuses, so that the device is parked.
const Broken = "broken"

// App is the program.
func App() cli.App {
	return cli.App{
		Name: "rollback",
		Topology: topology.New([]byte(`[{"name": "dev", "wait_time": "1s"}]`), []topology.Service{
			{Name: "history", HandlerTimeout: 10 * time.Second},
			{Name: "state", HandlerTimeout: 10 * time.Second},
			{Name: "lights", HandlerTimeout: 10 * time.Second, GroupPolicy: consumers.Park},
		}),
		Services: cli.Services{"history": cli.History, "state": cli.State, "lights": lights},
	}
}

func lights(context.Context, cli.Options) (*cli.Service, error) {
	return &cli.Service{Handle: func(_ context.Context, event events.Event) error {
		if event.DeviceID == Broken {
			return consumers.Known("refused", errors.New("it is broken"))
		}
		return nil
	}}, nil
}
