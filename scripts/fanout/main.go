// Command fanout runs and operates the fan-out of this repository: the whole of it on one machine, its parts one by one, and its
// dead-letter queues. Run it without arguments for a list of its commands.
package main

import (
	"github.com/device-fanout/fanout/infra/declaration"
	"github.com/device-fanout/fanout/schemas"
	"github.com/device-fanout/fanout/scripts/fanout/cli"
)

// version is set by the linker, where the Dockerfile's build argument VERSION says it.
var version string

func main() {
	cli.Main(cli.App{
		Name: "fanout", Version: version, Topology: declaration.Topology(), Services: services, Schemas: schemas.FS(), Simulate: simulate,
	})
}
