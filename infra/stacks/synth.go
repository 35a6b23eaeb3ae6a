package stacks

import (
	"cmp"
	"strings"

	"github.com/aws/aws-cdk-go/awscdk/v2"
	"github.com/aws/aws-cdk-go/awscdk/v2/cxapi"
	"github.com/aws/constructs-go/constructs/v10"
	"github.com/aws/jsii-runtime-go"

	"github.com/device-fanout/fanout/infra/topology"
)

// synth writes the templates and checks them. What a check finds becomes an error annotation at the construct, which is printed
// and fails the synthesis, as the CDK's own findings do.
func synth(app awscdk.App, t target) (_ cxapi.CloudAssembly, err error) {
	defer recovered(&err)
	assembly := app.Synth(nil)
	templates, err := readTemplates(assembly)
	if err != nil {
		return nil, err
	}
	findings := check(t, topology.Attributes(), resolve(t, templates))
	if len(findings) == 0 {
		return assembly, nil
	}
	for _, f := range findings {
		awscdk.Annotations_Of(construct(app, f)).AddError(&f.text)
	}
	return app.Synth(&awscdk.StageSynthesisOptions{Force: jsii.Bool(true)}), nil
}

// construct is where a finding is shown: its construct, or the nearest one above.
func construct(app awscdk.App, f finding) constructs.IConstruct {
	var at constructs.IConstruct = app
	for id := range strings.SplitSeq(cmp.Or(f.path, f.stack), "/") {
		below := at.Node().TryFindChild(&id)
		if below == nil {
			break
		}
		at = below
	}
	return at
}
