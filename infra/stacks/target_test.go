//go:build !race

package stacks

import (
	"strings"
	"testing"

	"github.com/device-fanout/fanout/infra/declaration"
	"github.com/device-fanout/fanout/infra/topology"
)

func TestTarget_SaysWhatIsMissing(t *testing.T) {
	none := declaration.Topology()
	none.Environments[2].Account, none.Environments[2].Region = "", ""
	for name, c := range map[string]struct {
		top     topology.Topology
		context []string
		want    []string // of the error
	}{
		"no environment":        {declaration.Topology(), nil, []string{"context env: missing; say which environment, such as -c env=dev"}},
		"unknown":               {declaration.Topology(), []string{"env=staging"}, []string{`no environment "staging"; there are dev, test, prod, feature-*`}},
		"illegal":               {declaration.Topology(), []string{"env=feature-GW-1"}, []string{`environment "feature-GW-1": got "GW-1" after "feature-"`}},
		"prod's place":          {none, []string{"env=prod"}, []string{`environment "prod": account: missing in production`, `environment "prod": region: missing in production`}},
		"account":               {declaration.Topology(), []string{"env=dev", "account=42"}, []string{`context account: got "42", want 12 digits`}},
		"image":                 {computeTopology(), []string{"env=prod"}, []string{`compute: service history: context image_tag: got "", want the commit of the image of fanout`, `compute: service push`}},
		"latest":                {computeTopology(), []string{"env=prod", "image_tag=latest"}, []string{`context image_tag: got "latest", want the commit`}},
		"no digest":             {computeTopology(), []string{"env=prod", "images=fanout:latest"}, []string{`context images: got "fanout:latest", want REPOSITORY@sha256:… for every image`}},
		"one digest":            {computeTopology(), []string{"env=prod", "images=fanout@" + digestOfImage}, []string{`compute: service push: context image_tag: got ""`}},
		"wrong topology":        {topology.Topology{}, []string{"env=dev"}, []string{"environments: there is none"}},
		"a bad handler timeout": {withoutHandlerTimeout(), []string{"env=dev"}, []string{`service "history" (entry 1): handler timeout: got 0s`}},
	} {
		_, err := targetOf(App{Topology: c.top}, contextOf(c.context...))
		for _, want := range c.want {
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("%s: got %v, want it to say %q", name, err, want)
			}
		}
	}
	if _, err := targetOf(App{Topology: none}, contextOf("env=prod", "account=111122223333", "region=eu-west-1")); err != nil {
		t.Errorf("prod with account and region on the command line: %v", err)
	}
	if _, err := targetOf(App{Topology: declaration.Topology()}, func(key string) any { return map[string]any{"env": 7}[key] }); err == nil || !strings.Contains(err.Error(), "context env: got 7, want text") {
		t.Errorf("got %v", err)
	}
}

func withoutHandlerTimeout() topology.Topology {
	top := declaration.Topology()
	top.Services[0].HandlerTimeout = 0
	return top
}
