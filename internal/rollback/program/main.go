// Command program is what the test of package rollback runs, built of the commit before and of this one.
package main

import (
	"github.com/device-fanout/fanout/internal/rollback"
	"github.com/device-fanout/fanout/scripts/fanout/cli"
)

func main() { cli.Main(rollback.App()) }
