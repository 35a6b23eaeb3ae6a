package cli

import (
	"context"
	"errors"
	"log/slog"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/device-fanout/fanout/consumers/history"
	"github.com/device-fanout/fanout/events"
	"github.com/device-fanout/fanout/infra/topology"
)

// An app that can't work says on its first command what to change.
func TestApp_ThatIsWrong(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		change func(*App)
		want   []string
	}{
		"no services": {func(app *App) { app.Topology.Services = nil }, []string{
			"acme: app: its topology declares no service; add one to the list that topology.New is given",
		}},
		"no opener": {func(app *App) { delete(app.Services, "state") }, []string{
			`acme: app: service "state" is declared but has no opener; add "state" to App.Services`,
		}},
		"no declaration": {func(app *App) { app.Services["chime"] = Elsewhere }, []string{
			`acme: app: service "chime" has an opener but is not declared; add it to the topology's services, or remove it from App.Services`,
		}},
		"one name twice": {func(app *App) { app.Topology.Services = append(app.Topology.Services, app.Topology.Services[0]) }, []string{
			`acme: topology: service "history" (entry 4): name: "history" is declared twice; rename one`,
		}},
		"several things": {func(app *App) { app.Services = Services{"chime": Elsewhere} }, []string{
			`acme: app: service "history" is declared but has no opener`, `acme: app: service "push" is declared`, `acme: app: service "chime" has an opener`,
		}},
		"environments": {func(app *App) { app.Topology = topology.New([]byte("{}"), app.Topology.Services) }, []string{
			"acme: topology: environments.json: want a JSON list of environments",
		}},
	} {
		app := testApp()
		app.Name = "acme"
		test.change(&app)
		var stdout, stderr strings.Builder
		code := Run(context.Background(), app, []string{"topology"}, strings.NewReader(""), &stdout, &stderr)
		if code == exitOK || stdout.Len() > 0 {
			t.Errorf("%s: got exit code %d and %q, want an error only", name, code, stdout.String())
		}
		contains(t, name, stderr.String(), test.want...)
	}
}

// An opener that is wrong is an error that names its service, whoever opens it, and no panic somewhere else.
func TestApp_OpenerThatIsWrong(t *testing.T) {
	t.Parallel()
	closed := false
	handle := func(context.Context, events.Event) error { return nil }
	for name, test := range map[string]struct {
		open Opener
		want string
	}{
		"no service": {
			func(context.Context, Options) (*Service, error) { return nil, nil },
			`service "history": its opener returned no service`,
		},
		"no service on a database": {
			OnDatabase(func(context.Context, string) (*history.Service, error) { return nil, nil }),
			`service "history": its opener returned no service`,
		},
		"no value of an interface": {
			OnDatabase(func(context.Context, string) (DatabaseService, error) { return nil, nil }),
			`service "history": its opener returned no service`,
		},
		"no Handle": {
			func(context.Context, Options) (*Service, error) { return &Service{}, nil },
			`service "history": its opener returned a service with no Handle; set Service.Handle`,
		},
		"no Handle, but something open": {
			func(context.Context, Options) (*Service, error) {
				return &Service{Close: func(context.Context) error { closed = true; return errors.New("disk full") }}, nil
			},
			"disk full",
		},
		"a panic": {
			func(context.Context, Options) (*Service, error) { panic("boom") },
			`service "history": its opener panicked: boom`,
		},
		"nothing to close": {
			func(context.Context, Options) (*Service, error) { return &Service{Handle: handle}, nil }, "",
		},
	} {
		g := &globals{app: App{Services: Services{"history": test.open}}}
		s, err := g.openService(t.Context(), "history", serviceOptions{})
		switch {
		case test.want == "":
			if err != nil || s.Close(t.Context()) != nil {
				t.Errorf("%s: got %v, want a service whose Close does nothing", name, err)
			}
		case err == nil || s != nil || !strings.Contains(err.Error(), test.want):
			t.Errorf("%s: got %v, %v, want %q", name, s, err, test.want)
		}
	}
	if !closed {
		t.Error("a service with no Handle was left open")
	}
}

func TestApp_UpAndConsumeReportAnOpenerThatIsWrong(t *testing.T) {
	t.Parallel()
	app := testApp()
	_, endpoint := localEngine(t)
	app.Services["history"] = func(context.Context, Options) (*Service, error) { return nil, nil }
	for _, args := range [][]string{
		upArgs(t.TempDir(), "--input", "-", "--until-idle", "10ms"),
		{"consume", "history", "--endpoint", endpoint, "--data", t.TempDir()},
	} {
		var stdout, stderr strings.Builder
		if code := Run(t.Context(), app, args, strings.NewReader(""), &stdout, &stderr); code != exitFailed {
			t.Errorf("%s: got exit code %d, want %d", args[0], code, exitFailed)
		}
		contains(t, args[0], stderr.String(), `fanout: service "history": its opener returned no service`)
	}
}

// A program of another name is called by it in its hints.
func TestApp_IsCalledByItsNameInHints(t *testing.T) {
	t.Parallel()
	app := testApp()
	app.Name = "acme"
	run := func(args ...string) string {
		var stdout, stderr strings.Builder
		Run(t.Context(), app, args, strings.NewReader(""), &stdout, &stderr)
		return stdout.String() + stderr.String()
	}
	commands := [][]string{{"dlq"}, {"dlq", "ls", "--endpoint", "http://" + unusedAddress(t)}, {"consme"}, {}}
	for _, name := range []string{"up", "local", "publish", "gateway", "consume", "console", "topology", "schema check", "schema write", "dlq drop", "dlq export", "dlq watch", "dlq redrive", "dlq show", "new service", "new event", "init", "ready", "version"} {
		commands = append(commands, append(strings.Fields(name), "--help"))
	}
	for _, args := range commands {
		text := run(args...)
		for _, called := range []string{"`fanout ", "\"fanout ", "  fanout ", "run fanout "} {
			if strings.Contains(text, called) {
				t.Errorf("%s: got\n%s\nwant the program called acme in it, not fanout", strings.Join(args, " "), text)
			}
		}
	}
}

// TestServices_CanAllBeChecked: without a Check an event that fails would hold its device up for minutes.
func TestServices_CanAllBeChecked(t *testing.T) {
	t.Parallel()
	g := &globals{app: testApp(), streams: streams{out: newOutput(), err: newOutput()}}
	for name := range g.app.Services {
		s, err := g.openService(t.Context(), name, serviceOptions{data: t.TempDir(), pushAddr: "127.0.0.1:0", logger: slog.New(slog.DiscardHandler)})
		if err != nil {
			t.Fatal(err)
		}
		if s.Check == nil {
			t.Errorf("%s: got no Check", name)
		} else if err := s.Check(t.Context()); err != nil {
			t.Errorf("%s: its check says %v, want nil", name, err)
		}
		if err := s.Close(context.Background()); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestOpenService_BearsAnyCheck: one that fails, panics, ends its goroutine or hangs is told of, and the service starts all the same.
func TestOpenService_BearsAnyCheck(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		defer close(release)
		for want, check := range map[string]func(context.Context) error{
			"refused":                        func(context.Context) error { return errors.New("refused") },
			"boom":                           func(context.Context) error { panic("boom") },
			"ended its goroutine":            func(context.Context) error { runtime.Goexit(); return nil },
			"does not return within 5s":      func(context.Context) error { <-release; return nil },
			context.DeadlineExceeded.Error(): func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() },
		} {
			var log strings.Builder
			open := func(context.Context, Options) (*Service, error) {
				return &Service{Handle: func(context.Context, events.Event) error { return nil }, Check: check}, nil
			}
			g := &globals{app: App{Services: Services{"history": open}}}
			s, err := g.openService(t.Context(), "history", serviceOptions{logger: newLogger(&log)})
			if err != nil || s.Check == nil {
				t.Errorf("%s: got %v, %v, want a service with its check", want, s, err)
			}
			if !strings.Contains(log.String(), want) {
				t.Errorf("got log %q, want it to say %q", log.String(), want)
			}
		}
	})
}
