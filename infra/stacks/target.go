package stacks

import (
	"cmp"
	"errors"
	"fmt"
	"regexp"

	"github.com/device-fanout/fanout/infra/topology"
)

// target is what is deployed, and where.
type target struct {
	topology.Deployment
	// app is what is deployed with its settings, and defaults filled in.
	app App
	// imageTag is the commit whose images the consumers run.
	imageTag string
}

// defaultProgram is the program of this module.
const defaultProgram = "fanout"

var (
	commit  = regexp.MustCompile(`^[0-9a-f]{7,40}$`)
	account = regexp.MustCompile(`^[0-9]{12}$`)
)

// targetOf reads the command line's context: env, account, region and image_tag.
func targetOf(a App, context func(key string) any) (target, error) {
	text := map[string]string{}
	var faults []error
	fault := func(format string, args ...any) { faults = append(faults, fmt.Errorf("stacks: "+format, args...)) }
	for _, key := range []string{"env", "account", "region", "image_tag"} {
		switch value := context(key).(type) {
		case nil:
		case string:
			text[key] = value
		default: // the command line gives text; a file may give anything
			fault("context %s: got %v, want text in quotes", key, value)
		}
	}
	if text["env"] == "" {
		fault("context env: missing; say which environment, such as -c env=dev")
	}
	if len(faults) > 0 {
		return target{}, errors.Join(faults...)
	}
	faults = a.faults()
	d, err := a.Topology.In(text["env"])
	if err != nil {
		return target{}, errors.Join(append(faults, fmt.Errorf("stacks: %w", err))...)
	}
	a.Program = cmp.Or(a.Program, defaultProgram)
	t := target{Deployment: d, app: a, imageTag: text["image_tag"]}
	e := &t.Environment
	if given := text["account"]; given != "" {
		e.Account = given
		if !account.MatchString(given) {
			fault("context account: got %q, want 12 digits", given)
		}
	}
	if given := text["region"]; given != "" {
		e.Region = given
	}
	if e.Production && e.Account == "" {
		fault("environment %q: account: missing in production; declare it in environments.json, or say -c account=…", e.Name)
	}
	if e.Production && e.Region == "" {
		fault("environment %q: region: missing in production; declare it in environments.json, or say -c region=…", e.Name)
	}
	if err := a.boundaryFault(e.Name, e.Account); err != nil {
		faults = append(faults, err)
	}
	for _, s := range d.Services {
		if s.Compute.Kind == "" {
			continue
		}
		if !commit.MatchString(t.imageTag) {
			fault("service %q: compute: context image_tag: got %q, want the commit of the image, 7 to 40 hexadecimal digits", s.Name, t.imageTag)
		}
		if s.Compute.Kind == topology.Fargate && e.Network.VPC == "" {
			fault("service %q: compute: environment %q has no network; declare one in environments.json", s.Name, e.Name)
		}
	}
	return t, errors.Join(faults...)
}
