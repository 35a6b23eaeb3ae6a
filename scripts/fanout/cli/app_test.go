package cli

import (
	"context"
	"strings"
	"testing"

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
