package stacks

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"regexp"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/aws/aws-cdk-go/awscdk/v2"
	"github.com/aws/jsii-runtime-go"

	"github.com/device-fanout/fanout/infra/topology"
)

// App is a CDK app: the stacks of one topology, and what a team adds to them. Every field but Topology may be left out.
type App struct {
	// Topology is what is deployed. Its Name and Prefix are part of every resource's name.
	Topology topology.Topology
	// Program is the command line of whoever deploys, as people type it and as it stands at the root of the consumers' image, whose
	// entry point it is: the texts of alarms name it, and the health checks of tasks call it. Empty means "fanout".
	Program string
	// Runbook is the address of the page that says what to do about each alarm; the alarm's text names its section there, such as
	// #dead-letters. Empty means docs/guides/on-call.md of this module.
	Runbook string
	// Tags are added to every resource that has tags, also to those that Extend makes. The tags environment and service are set
	// already; app may be replaced; the owner of a service goes before an owner here.
	Tags map[string]string
	// SourceRepository is the repository on GitHub whose workflows deploy environments with OwnRoles, such as acme/devices. It is needed once there is
	// one.
	SourceRepository string
	// PermissionsBoundary is the managed policy that bounds every role and user, also those that Extend makes: its ARN, or its
	// name with its path, if any, in the account that is deployed to. Empty means none, and in environments with OwnRoles the one that the account set-up makes.
	PermissionsBoundary string
	// Extend adds a team's own resources, grants and environment variables to the stacks, or stacks of its own. It is called once,
	// when everything that the topology declares is there; the templates are checked after it. It may panic, as the CDK's own
	// calls do, and Main then reports that. Nil adds nothing.
	Extend func(*Stacks)
}

// Main synthesizes the stacks of the environment that the command line's context names, checks them, and ends the process: with 1
// after an error, which it prints to standard error. The cdk command calls the program.
func Main(a App) { os.Exit(run(a)) }

func run(a App) int {
	defer jsii.Close()
	if err := deploy(a); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

func deploy(a App) (err error) {
	defer recovered(&err)
	app := awscdk.NewApp(nil)
	context := func(key string) any { return app.Node().TryGetContext(&key) }
	if context("account_setup") == "true" {
		s, err := setupOf(a, context)
		if err != nil {
			return err
		}
		if err := buildSetup(app, s); err != nil {
			return err
		}
		app.Synth(nil)
		return nil
	}
	t, err := targetOf(a, context)
	if err != nil {
		return err
	}
	if err := build(app, t); err != nil {
		return err
	}
	_, err = synth(app, t)
	return err
}

// recovered turns a panic into an error: the CDK's own errors come as panics. It is deferred.
func recovered(err *error) {
	switch fault := recover().(type) {
	case nil:
	case runtime.Error: // a bug, which needs its stack
		*err = fmt.Errorf("stacks: %w\n%s", fault, debug.Stack())
	case error:
		*err = fmt.Errorf("stacks: %w", fault)
	default:
		*err = fmt.Errorf("stacks: %v", fault)
	}
}

var (
	legalProgram = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]*$`)
	legalTag     = regexp.MustCompile(`^[\p{L}\p{Z}\p{N}_.:/=+@-]+$`)
	// legalBoundary is the name of a policy, with the path before it, and what an ARN has before both.
	legalBoundary = regexp.MustCompile(`^(arn:aws(?:-[a-z]+)*:iam::([0-9]{12}|aws):policy/)?(?:[\w+=,.@-]+/)*[\w+=,.@-]{1,128}$`)
)

// Tags that the stacks set themselves.
const (
	appTag         = "app"
	environmentTag = "environment"
	serviceTag     = "service"
	ownerTag       = "owner"
	expiresTag     = "expires" // on throw-away environments: the day after which nobody should miss them
)

// The most that a resource may have. See https://docs.aws.amazon.com/tag-editor/latest/userguide/best-practices-and-strats.html.
const (
	maxTags     = 50
	maxTagKey   = 128
	maxTagValue = 256
)

// faults lists what is wrong with an app, but for its topology.
func (a App) faults() []error {
	var faults []error
	fault := func(format string, args ...any) { faults = append(faults, fmt.Errorf("stacks: "+format, args...)) }
	if a.Program != "" && !legalProgram.MatchString(a.Program) {
		fault("program: got %q, want the name of an executable: letters, digits, dots, underscores or hyphens", a.Program)
	}
	owned := slices.ContainsFunc(a.Topology.Environments, func(e topology.Environment) bool { return e.OwnRoles })
	if (owned || a.SourceRepository != "") && !legalSourceRepository.MatchString(a.SourceRepository) {
		fault("source repository: got %q, want the repository on GitHub that deploys, such as acme/devices: an environment has own_roles", a.SourceRepository)
	}
	if a.PermissionsBoundary != "" && !legalBoundary.MatchString(a.PermissionsBoundary) {
		fault("permissions boundary: got %q, want the ARN or the name of a managed policy, such as arn:aws:iam::123456789012:policy/boundary or boundary",
			a.PermissionsBoundary)
	}
	ours := []string{appTag, environmentTag, serviceTag, ownerTag, expiresTag}
	if most := maxTags - len(ours); len(a.Tags) > most {
		fault("tags: got %d, want at most %d", len(a.Tags), most)
	}
	folded := map[string]string{}
	for _, key := range ours {
		folded[key] = key
	}
	for _, key := range slices.Sorted(maps.Keys(a.Tags)) {
		value, lower := a.Tags[key], strings.ToLower(key)
		switch {
		case key == "" || !legalTag.MatchString(key) || utf8.RuneCountInString(key) > maxTagKey:
			fault("tags: got the key %q, want 1 to %d letters, digits, spaces or any of _ . : / = + - @", key, maxTagKey)
		case strings.HasPrefix(lower, "aws:"):
			fault("tags: got the key %q, want none that begins with aws:, which AWS keeps for itself", key)
		case key == environmentTag || key == serviceTag || key == expiresTag:
			fault("tags: %q is set by the stacks themselves; choose another key", key)
		case folded[lower] != "" && folded[lower] != key:
			fault("tags: %q and %q differ in case only, which IAM refuses; use one of them", folded[lower], key)
		}
		folded[lower] = key
		if value == "" || !legalTag.MatchString(value) || utf8.RuneCountInString(value) > maxTagValue {
			fault("tags: %s: got the value %q, want 1 to %d letters, digits, spaces or any of _ . : / = + - @", key, value, maxTagValue)
		}
	}
	return faults
}

// boundaryFault says why the permissions boundary can't be used in an account, or is nil. The account may be unknown.
func (a App) boundaryFault(environment, account string) error {
	parts := legalBoundary.FindStringSubmatch(a.PermissionsBoundary)
	if parts == nil || parts[2] == "" || parts[2] == "aws" || account == "" || parts[2] == account {
		return nil
	}
	return errors.New("stacks: permissions boundary: it is a policy of account " + parts[2] + ", but environment " + environment +
		" is in account " + account + "; give its name alone, and have it in both accounts")
}
