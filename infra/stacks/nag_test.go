//go:build !race

package stacks

import (
	"testing"

	"github.com/aws/aws-cdk-go/awscdk/v2"
	"github.com/aws/jsii-runtime-go"
	"github.com/cdklabs/cdk-nag-go/cdknag/v2"

	"github.com/device-fanout/fanout/infra/topology"
)

// TestNag_FindsNothing runs the AwsSolutions rules; what is accepted says why, beside its construct.
func TestNag_FindsNothing(t *testing.T) {
	instance := everything() // what the other two have not
	instance.Environments[2].Network = topology.Network{CIDR: "10.42.0.0/16"}
	instance.Environments[2].Database = topology.Database{Kind: topology.Postgres}
	instance.Environments[2].Gateway.MQTT, instance.Environments[2].Gateway.Spool = nil, topology.SpoolInTask
	for name, top := range map[string]topology.Topology{"compute": computeTopology(), "everything": everything(), "instance": instance} {
		t.Run(name, func(t *testing.T) {
			to, err := targetOf(App{Topology: top}, contextOf("env=prod", imageTag))
			if err != nil {
				t.Fatal(err)
			}
			app := newApp(t)
			// Otherwise a finding would end the synthesis before it could be read.
			app.Node().SetContext(jsii.String("@aws-cdk/core:annotationsInValidationReport"), false)
			if err := build(app, to); err != nil {
				t.Fatal(err)
			}
			awscdk.Aspects_Of(app).Add(cdknag.NewAwsSolutionsChecks(&cdknag.NagPackProps{Reports: jsii.Bool(false)}), nil)
			d := finish(t, app, to)
			for _, found := range d.errorsOf(t) {
				t.Error(found)
			}
		})
	}
}
