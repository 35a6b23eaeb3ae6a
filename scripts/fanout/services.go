package main

import (
	"github.com/device-fanout/fanout/scripts/fanout/cli"
)

// services opens every service of infra/declaration. "fanout new service" adds to them.
var services = cli.Services{
	"history": cli.History,
	"push":    cli.Push,
	"state":   cli.State,
}
