package cli

import (
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/device-fanout/fanout/scripts/fanout/cli/internal/scaffold"
)

// repository copies the repository's files into a new folder, without what tools have left in it.
func repository(t *testing.T) string {
	t.Helper()
	root, copied := filepath.Join("..", "..", ".."), t.TempDir()
	err := filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name := entry.Name()
		if entry.IsDir() && path != root && (strings.HasPrefix(name, ".") || slices.Contains([]string{"node_modules", "cdk.out", "bin"}, name)) {
			return filepath.SkipDir
		}
		to := filepath.Join(copied, strings.TrimPrefix(path, root))
		if entry.IsDir() {
			return os.MkdirAll(to, 0o755)
		}
		if !entry.Type().IsRegular() {
			return nil
		}
		content, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		return os.WriteFile(to, content, 0o600)
	})
	if err != nil {
		t.Fatal(err)
	}
	return copied
}

// goTool runs the go command in a folder.
func goTool(t *testing.T, folder string, args ...string) {
	t.Helper()
	cmd := exec.Command("go", args...)
	cmd.Dir = folder
	if text, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("go %s: %v\n%s", strings.Join(args, " "), err, text)
	}
}

// A team begins a service: what is written compiles, passes its own tests, and runs beside the others.
func TestNewService_CompilesPassesItsTestsAndRuns(t *testing.T) {
	if testing.Short() {
		t.Skip("builds the program; run without -short")
	}
	t.Parallel()
	folder := repository(t)
	args := []string{
		"new", "service", "door-alarm", "--dir", filepath.Join(folder, "events"), "--about", "rings when a door opens.",
		"--events", "device.contact.changed.v1,device.motion.changed.v1", "--handler-timeout", "1500ms",
	}
	dry := invoke(t, "", append(args, "--dry-run")...).want(t, exitOK)
	if _, err := os.Stat(filepath.Join(folder, "consumers", "dooralarm")); err == nil {
		t.Error("--dry-run: it has written something")
	}
	done := invoke(t, "", args...).want(t, exitOK)
	if dry.stdout != done.stdout {
		t.Errorf("files: got\n%s\nwant those of --dry-run\n%s", done.stdout, dry.stdout)
	}
	again := invoke(t, "", args...).want(t, exitUsage) // the topology in this program does not have it, but its folder is there
	contains(t, "again", again.stderr, "folder "+filepath.Join("consumers", "dooralarm")+" is there already")

	unformatted, err := exec.Command("gofmt", "-l", filepath.Join(folder, "consumers"), filepath.Join(folder, "infra", "declaration"), filepath.Join(folder, "scripts")).CombinedOutput()
	if err != nil || len(unformatted) > 0 {
		t.Errorf("gofmt: %v, not formatted:\n%s", err, unformatted)
	}
	goTool(t, folder, "generate", "./infra/declaration")
	goTool(t, folder, "vet", "./consumers/dooralarm", "./infra/declaration", "./scripts/fanout")
	goTool(t, folder, "test", "./consumers/dooralarm", "./infra/declaration")
	program := filepath.Join(folder, "fanout")
	goTool(t, folder, "build", "-o", program, "./scripts/fanout")

	input := generate(500)
	want := 0
	for _, e := range expect(input).events {
		if e.Type == "device.contact.changed.v1" || e.Type == "device.motion.changed.v1" {
			want++
		}
	}
	data := t.TempDir()
	text, err := exec.Command(program, upArgs(data, "--input", writeFile(t, "input.ndjson", input), "--until-idle", "300ms")...).Output()
	var sum upSummary
	finished{stdout: string(text)}.decode(t, &sum)
	if err != nil || want == 0 || sum.Handled["door-alarm"] != want {
		t.Errorf("up: %v, door-alarm handled %d, want %d", err, sum.Handled["door-alarm"], want)
	}
	var rows int
	if err := openDatabase(t, data, "door-alarm").QueryRow(`SELECT sum(events) FROM dooralarm_devices`).Scan(&rows); err != nil || rows != want {
		t.Errorf("its database: got %d events, %v, want %d", rows, err, want)
	}
}

func TestNewService_OutsideOfTheRepository(t *testing.T) {
	t.Parallel()
	done := invoke(t, "", "new", "service", "lights", "--events", "device.power.changed.v1", "--dir", t.TempDir()).want(t, exitFailed)
	contains(t, "stderr", done.stderr, "no infra/declaration/declaration.go", "hint: run it in the repository of this program")
}

// In a repository of their own, teams add with their own program: it knows their event types and services, and this one does not.
func TestNew_InTheRepositoryOfAnotherModule(t *testing.T) {
	t.Parallel()
	acme := filepath.Join("..", "..", "..", "examples", "acme")
	for _, args := range [][]string{
		{"new", "service", "alarm", "--events", "device.contact.changed.v1", "--dir", acme},
		{"new", "event", "acme.window.opened.v1", "--about", "Somebody opened a window", "--dir", acme},
	} {
		done := invoke(t, "", args...).want(t, exitFailed)
		contains(t, "stderr", done.stderr, "is a repository of module example.com/acme/platform", "hint: there, run `go run ./cmd/platform new …`")
	}
}

func TestNewEvent_SaysWhatItWritesAndWhatComesNext(t *testing.T) {
	t.Parallel()
	args := []string{"new", "event", "device.smoke.detected.v1", "--about", "A smoke alarm went off."}
	done := invoke(t, "", append(args, "--dry-run")...).want(t, exitOK)
	want := "new      " + filepath.Join("events", "device", "smokedetected.go") + "\nnew      " + filepath.Join("events", "device", "smokedetected_test.go") + "\n"
	if done.stdout != want || done.stderr != "nothing was written\n" {
		t.Errorf("--dry-run: got %q and %q, want %q", done.stdout, done.stderr, want)
	}
	folder := t.TempDir()
	for name, content := range map[string]string{
		"go.mod": "module " + modulePath + "\n", "infra/declaration/declaration.go": "package declaration\n\nimport \"time\"\n",
	} {
		path := filepath.Join(folder, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	done = invoke(t, "", append(args, "--dir", folder)...).want(t, exitOK)
	contains(t, "standard output", done.stdout, "changed  "+filepath.Join("infra", "declaration", "declaration.go"))
	contains(t, "standard error", done.stderr, "write its fields into "+filepath.Join("events", "device", "smokedetected.go"), "go generate ./schemas")
	again := invoke(t, "", append(args, "--dir", folder)...).want(t, exitUsage)
	contains(t, "again", again.stderr, "package events/device declares SmokeDetected already")
	invoke(t, "", "new", "event", "device.power.changed.v1", "--about", "x").want(t, exitUsage)
}

// A team starts a repository, adds an event type and a service that hears it, and all of it compiles and passes its tests.
func TestInit_AndWhatIsAddedToItCompilesAndRuns(t *testing.T) {
	if testing.Short() {
		t.Skip("builds the program of another module; run without -short")
	}
	t.Parallel()
	folder := filepath.Join(t.TempDir(), "shop")
	done := invoke(t, "", "init", folder, "--module", "example.com/shop").want(t, exitOK) // from this checkout
	contains(t, "standard output", done.stdout, filepath.Join(folder, "go.mod"), filepath.Join(folder, "cmd", "shop", "main.go"))
	contains(t, "standard error", done.stderr, "go run ./cmd/shop up")
	program := filepath.Join(folder, "shop")
	run := func(args ...string) string {
		t.Helper()
		cmd := exec.Command(program, args...)
		cmd.Dir = folder
		text, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("shop %s: %v\n%s", strings.Join(args, " "), err, text)
		}
		return string(text)
	}
	for _, e := range []scaffold.Event{
		{Name: "shop.window.opened.v1", About: "Somebody opened a window"}, {Name: "other.door_bell.rang.v3", About: "A bell rang"},
	} {
		shop, err := scaffold.Find(filepath.Join(folder, "events"))
		if err != nil {
			t.Fatal(err)
		}
		files, err := shop.PlanEvent(e)
		if err != nil {
			t.Fatal(err)
		}
		if err := scaffold.Write(folder, files); err != nil {
			t.Fatal(err)
		}
	}
	goTool(t, folder, "build", "-ldflags=-s -w", "-o", program, "./cmd/shop")
	contains(t, "schema write", run("schema", "write", "schemas"), "new      "+filepath.Join("schemas", "shop.window.opened.v1.json"))
	run("new", "service", "alarm", "--about", "rings when a window opens", "--events", "shop.window.opened.v1,other.door_bell.rang.v3")
	goTool(t, folder, "build", "-ldflags=-s -w", "-o", program, "./cmd/shop")
	goTool(t, folder, "vet", "./...")
	goTool(t, folder, "test", "-short", "./events/...", "./infra/declaration", "./services/alarm")
	contains(t, "schema check", run("schema", "check"), "3 event types; the committed schemas are what the code says")
	line := `{"device_id":"window-1","type":"shop.window.opened.v1","time":"2026-01-31T12:00:00Z","data":{"value":2}}` + "\n"
	summary := run("up", "--addr", "127.0.0.1:0", "--input", writeFile(t, "events.ndjson", line), "--until-idle", "100ms", "--json")
	contains(t, "up", summary, `"alarm":1`, `"chime":0`, `"history":1`)
}
