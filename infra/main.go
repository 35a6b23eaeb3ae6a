// Command infra is the CDK app that deploys the fan-out: what infra/topology declares, for one environment at a time.
//
//	npx cdk deploy --all -c env=dev
//
// Context keys: env names the environment; account and region say where it goes, if not where environments.json says; image_tag is
// the commit whose images the consumers run, needed once a service has Compute.
//
// An environment has a stack with the topic, a stack with what operations need, and a stack for every service, so that a team
// deploys its own. Stacks know each other by names alone: none exports anything, and adding a service changes none but its own.
package main

import (
	"fmt"
	"os"

	"github.com/aws/aws-cdk-go/awscdk/v2"
	"github.com/aws/jsii-runtime-go"
)

func main() { os.Exit(run()) }

func run() (code int) {
	defer jsii.Close()
	defer func() { // the CDK's own errors come as panics
		if fault := recover(); fault != nil {
			fmt.Fprintln(os.Stderr, "infra:", fault)
			code = 1
		}
	}()
	app := awscdk.NewApp(nil)
	target, err := readTarget(func(key string) any { return app.Node().TryGetContext(&key) })
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
