// Command platform runs and operates the events of this repository: all of it on one machine, its parts one by one, and its
// dead-letter queues. Run it without arguments for a list of its commands.
package main

import (
	"github.com/device-fanout/fanout/scripts/fanout/cli"

	"example.com/acme/platform/infra/declaration"
	"example.com/acme/platform/schemas"
	"example.com/acme/platform/services/chime"
)

// services opens every service of infra/declaration. "platform new service" adds to them.
var services = cli.Services{
	"chime":   cli.OnDatabase(chime.Open),
	"history": cli.History,
	"state":   cli.State,
}

// version is set by the linker, where the Dockerfile's build argument VERSION says it.
var version string

func main() {
	cli.Main(cli.App{Name: "platform", Version: version, Topology: declaration.Topology(), Services: services, Schemas: schemas.FS()})
}
