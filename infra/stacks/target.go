package stacks

import (
	"cmp"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"time"

	"github.com/device-fanout/fanout/infra/topology"
)

// target is what is deployed, and where.
type target struct {
	topology.Deployment
	// app is what is deployed with its settings, and defaults filled in.
	app App
	// imageTag is the commit whose images the programs run, and digests are those of images by repository, which go before it.
	imageTag string
	digests  map[string]string
	// today is the day of the synthesis, in UTC.
	today time.Time
}

// The program of this module, and its guide for whoever is on call.
const (
	defaultProgram = "fanout"
	defaultRunbook = "https://github.com/device-fanout/fanout/blob/main/docs/guides/on-call.md"
)

var (
	digest  = regexp.MustCompile(`^([a-z0-9]+(?:[._/-][a-z0-9]+)*)@(sha256:[0-9a-f]{64})$`)
	commit  = regexp.MustCompile(`^[0-9a-f]{7,40}$`)
	account = regexp.MustCompile(`^[0-9]{12}$`)
)

// targetOf reads the command line's context: env, account, region, image_tag and images.
func targetOf(a App, context func(key string) any) (target, error) {
	text := map[string]string{}
	var faults []error
	fault := func(format string, args ...any) { faults = append(faults, fmt.Errorf("stacks: "+format, args...)) }
	for _, key := range []string{"env", "account", "region", "image_tag", "images"} {
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
	a.Program, a.Runbook = cmp.Or(a.Program, defaultProgram), cmp.Or(a.Runbook, defaultRunbook)
	t := target{Deployment: d, app: a, imageTag: text["image_tag"], digests: map[string]string{}, today: time.Now().UTC()}
	for given := range strings.SplitSeq(text["images"], ",") {
		parts := digest.FindStringSubmatch(given)
		if parts == nil && text["images"] != "" {
			fault("context images: got %q, want REPOSITORY@sha256:… for every image, with commas between them", given)
		} else if parts != nil {
			t.digests[parts[1]] = parts[2]
		}
	}
	e := &t.Environment
	if e.OwnRoles && a.PermissionsBoundary == "" {
		t.app.PermissionsBoundary = a.Topology.BoundaryName()
	}
	if given := text["account"]; given != "" {
		e.Account = given
		if !account.MatchString(given) {
			fault("context account: got %q, want 12 digits", given)
		}
	}
	if given := text["region"]; given != "" {
		e.Region = given
		if e.Certificate != "" && !strings.Contains(e.Certificate, ":acm:"+given+":") {
			fault("context region: got %q, but the certificate of environment %q is %s: a load balancer takes certificates of its own region", given, e.Name, e.Certificate)
		}
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
	for _, repository := range sortedKeys(t.repositories()) {
		if t.digests[repository] == "" && !commit.MatchString(t.imageTag) {
			fault("compute: %s: context image_tag: got %q, want the commit of the image of %s, 7 to 40 hexadecimal digits, or its digest in images",
				t.repositories()[repository], t.imageTag, repository)
		}
	}
	return t, errors.Join(faults...)
}

// repositories are those whose images are deployed, each with the first program that runs it.
func (t target) repositories() map[string]string {
	all := map[string]string{}
	if t.Environment.Gateway != nil {
		all[gatewayRepository] = "gateway"
	}
	for _, s := range t.Services {
		if r := s.Compute.Repository; r != "" && all[r] == "" {
			all[r] = "service " + s.Name
		}
	}
	return all
}

// inName is a repository's name as a part of another: none has two hyphens side by side, so that no two are called alike.
func inName(repository string) string { return strings.ReplaceAll(repository, "/", "--") }

// image is which image of a repository runs: by its digest or, where none is given, by the commit that is its tag.
func (t target) image(repository string) *string {
	image := cmp.Or(t.digests[repository], t.imageTag)
	return &image
}

// hasNetwork tells whether the environment has a network.
func (t target) hasNetwork() bool {
	return t.Environment.Network.VPC != "" || t.Environment.Network.Made()
}

// watched tells whether the environment has alarms and dashboards.
func (t target) watched() bool { return t.Environment.Watch == topology.WatchAll }
