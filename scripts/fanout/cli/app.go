package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"maps"
	"os"
	"os/signal"
	"slices"
	"syscall"

	"github.com/device-fanout/fanout/events"
	"github.com/device-fanout/fanout/infra/topology"
	"github.com/device-fanout/fanout/scripts/fanout/cli/internal/terminal"
)

// App is a program: the commands of this package over one topology and its services.
type App struct {
	// Name is what the program is called by those who run it. Empty means "fanout".
	Name string
	// Topology is the declaration that every command works on.
	Topology topology.Topology
	// Services open the services of Topology: one for each, by its name. See [Elsewhere] for those that another program runs.
	Services Services
	// Schemas are the published JSON Schemas of the event types that the program knows, a file named by the type each, usually
	// embedded. Nil means that none are published; schema check then compares with --against only.
	Schemas fs.FS
	// Simulate begins a new sequence of events, made up and without end, as devices might send them: what `up` publishes without
	// --input, at a pace of its own. Nil makes events of all registered types, from a few devices each.
	Simulate func() iter.Seq[events.Event]
	// Version is what `version` says. Empty means the version that Go has built in: a tag of the module, or the commit.
	Version string
}

// Main runs the program with the process's arguments and streams, and ends the process with its exit code. The first SIGINT or
// SIGTERM asks the command to end, a second one ends the process at once.
func Main(app App) {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop)
	os.Exit(Run(ctx, app, os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
}

// Run runs a command and returns its exit code; [Main] is Run with what the process has. args don't include the program's name.
// Data goes to stdout, progress and errors to stderr; what a terminal would obey in it, or what can't be seen, is escaped as in JSON. It ends
// early when ctx does. Tests call it.
func Run(ctx context.Context, app App, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	app.Name = cmp.Or(app.Name, "fanout")
	out, errs := terminal.NewWriter(stdout), terminal.NewWriter(stderr)
	defer out.Flush()  //nolint:errcheck // half a character
	defer errs.Flush() //nolint:errcheck // half a character
	if err := app.validate(); err != nil {
		return report(errs, app.Name, err)
	}
	root := newRoot(app, streams{stdin, out, errs})
	root.SetArgs(args)
	root.SetContext(ctx)
	return report(errs, app.Name, execute(root))
}

// streams are a command's input and outputs: data goes to out, progress and errors to err.
type streams struct {
	in       io.Reader
	out, err io.Writer
}

// validate reports every fault of the app at once. Those of single services and environments [topology.Topology.Validate] finds.
func (app App) validate() error {
	if len(app.Topology.Services) == 0 {
		return errors.New("app: its topology declares no service; add one to the list that topology.New is given")
	}
	if err := app.Topology.Validate(); err != nil {
		return err
	}
	var faults []error
	declared := map[string]bool{}
	for _, s := range app.Topology.Services {
		declared[s.Name] = true
		if app.Services[s.Name] == nil {
			faults = append(faults, fmt.Errorf("app: service %q is declared but has no opener; add %q to App.Services, as cli.OnDatabase(%s.Open) or, if another program runs it, as cli.Elsewhere",
				s.Name, s.Name, s.Name))
		}
	}
	for _, name := range slices.Sorted(maps.Keys(app.Services)) {
		if !declared[name] {
			faults = append(faults, fmt.Errorf("app: service %q has an opener but is not declared; add it to the topology's services, or remove it from App.Services", name))
		}
	}
	return errors.Join(faults...)
}
