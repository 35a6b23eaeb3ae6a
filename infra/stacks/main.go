package stacks

import (
	"fmt"
	"os"

	"github.com/aws/aws-cdk-go/awscdk/v2"
	"github.com/aws/jsii-runtime-go"

	"github.com/device-fanout/fanout/infra/topology"
)

// App is a CDK app: the stacks of one topology.
type App struct {
	// Topology is what is deployed.
	Topology topology.Topology
}

// Main synthesizes the stacks of the environment that the command line's context names, checks them, and ends the process: with 1
// after an error, which it prints to standard error. The cdk command calls it.
func Main(a App) { os.Exit(run(a)) }

func run(a App) (code int) {
	defer jsii.Close()
	defer func() { // the CDK's own errors come as panics
		if fault := recover(); fault != nil {
			fmt.Fprintln(os.Stderr, "infra:", fault)
			code = 1
		}
	}()
	app := awscdk.NewApp(nil)
	target, err := targetOf(a.Topology, func(key string) any { return app.Node().TryGetContext(&key) })
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	build(app, target)
	if _, err := synth(app, target); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}
