// Command fanout runs and operates the fan-out of this repository: the whole of it on one machine, its parts one by one, and its
// dead-letter queues. Run it without arguments for a list of its commands.
package main

import (
	"github.com/device-fanout/fanout/infra/declaration"
	"github.com/device-fanout/fanout/schemas"
	"github.com/device-fanout/fanout/scripts/fanout/cli"
)

func main() {
	cli.Main(cli.App{
		Name: "fanout", Topology: declaration.Topology(), Services: services, Schemas: schemas.FS(), Simulate: simulate,
	})
}
