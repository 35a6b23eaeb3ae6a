// Command infra is the CDK app of this repository: npx cdk deploy --all -c env=dev. Package stacks says what it declares.
package main

import (
	"github.com/device-fanout/fanout/infra/stacks"

	"example.com/acme/platform/infra/declaration"
)

func main() { stacks.Main(stacks.App{Topology: declaration.Topology(), Program: "platform"}) }
