package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
	"go.uber.org/goleak"

	"github.com/device-fanout/fanout/infra/declaration"
	"github.com/device-fanout/fanout/infra/local"
	"github.com/device-fanout/fanout/infra/provision"
	"github.com/device-fanout/fanout/infra/topology"
	"github.com/device-fanout/fanout/schemas"
)

// patience is how long a test waits for something that must come. It is no measure of speed.
const patience = 5 * time.Minute

// TestMain lets the test binary be the program as well: under the name fanout it is in PATH, for scripts and for tests with signals or
// much data.
func TestMain(m *testing.M) {
	// What the developer has configured for AWS must not reach the tests, and the tests must not reach AWS.
	for _, setting := range os.Environ() {
		if name, _, _ := strings.Cut(setting, "="); strings.HasPrefix(name, "AWS_") {
			os.Unsetenv(name)
		}
	}
	os.Setenv("AWS_CONFIG_FILE", os.DevNull)
	os.Setenv("AWS_SHARED_CREDENTIALS_FILE", os.DevNull)
	os.Setenv("AWS_EC2_METADATA_DISABLED", "true")
	// What tests build in copies of the repository comes from the build cache if folders are no part of it.
	os.Setenv("GOFLAGS", os.Getenv("GOFLAGS")+" -trimpath")
	testscript.Main(leakless{m}, map[string]func(){"fanout": func() { Main(testApp()) }, "hoard": hoard})
}

// leakless runs the tests and then looks for goroutines that they have left behind.
type leakless struct{ m *testing.M }

func (l leakless) Run() int {
	flag.Parse()
	chosen := false // it is also the number of workers of a fuzz target
	flag.Visit(func(f *flag.Flag) { chosen = chosen || f.Name == "test.parallel" || f.Name == "test.fuzz" })
	if !chosen { // most of these tests wait, for a long poll or for another process: more of them can run than there are cores
		_ = flag.Set("test.parallel", "16")
	}
	code := l.m.Run()
	if code != 0 {
		return code
	}
	err := goleak.Find(
		// Connections that the SDK keeps open for a while.
		goleak.IgnoreAnyFunction("net/http.(*persistConn).readLoop"), goleak.IgnoreAnyFunction("net/http.(*persistConn).writeLoop"))
	if err != nil {
		fmt.Fprintln(os.Stderr, "goleak: after the tests:", err)
		return 1
	}
	return 0
}

// testApp is the program of this repository.
func testApp() App {
	app := App{
		Name: "fanout", Topology: declaration.Topology(), Schemas: schemas.FS(),
		Services: Services{"history": History, "push": Push, "state": State},
	}
	app.Topology.Services = slices.DeleteFunc(slices.Clone(app.Topology.Services), func(s topology.Service) bool {
		return app.Services[s.Name] == nil // one that has been added to the declaration is nothing to these tests
	})
	return app
}

// finished is what a command has left behind.
type finished struct {
	code           int
	stdout, stderr string
}

// invoke runs a command to its end.
func invoke(t *testing.T, stdin string, args ...string) finished {
	t.Helper()
	return background(t, strings.NewReader(stdin), args...).wait(t)
}

// want fails the test unless the command ended with code.
func (f finished) want(t *testing.T, code int) finished {
	t.Helper()
	if f.code != code {
		t.Fatalf("exit code: got %d, want %d; standard output:\n%s\nstandard error:\n%s", f.code, code, f.stdout, f.stderr)
	}
	return f
}

// decode reads standard output as JSON.
func (f finished) decode(t *testing.T, into any) {
	t.Helper()
	if err := json.Unmarshal([]byte(f.stdout), into); err != nil {
		t.Fatalf("standard output: got %q, want JSON: %v", f.stdout, err)
	}
}

// job is a command that runs in this process.
type job struct {
	stdout, stderr *output
	interrupt      context.CancelFunc
	done           chan struct{}
	code           int
}

// background starts a command. It is interrupted when the test ends, if it has not ended by then.
func background(t *testing.T, stdin io.Reader, args ...string) *job {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	j := &job{stdout: newOutput(), stderr: newOutput(), interrupt: cancel, done: make(chan struct{})}
	go func() {
		defer close(j.done)
		j.code = Run(ctx, testApp(), args, stdin, j.stdout, j.stderr)
		if pipe, ok := stdin.(io.Closer); ok {
			pipe.Close() // nobody will read what the test still writes
		}
		j.stdout.end()
		j.stderr.end()
	}()
	t.Cleanup(func() {
		cancel()
		<-j.done
	})
	return j
}

func (j *job) wait(t *testing.T) finished {
	t.Helper()
	select {
	case <-j.done:
	case <-time.After(patience):
		t.Fatalf("the command did not end; standard error:\n%s", j.stderr)
	}
	return finished{j.code, j.stdout.String(), j.stderr.String()}
}

// output collects what a command writes.
type output struct {
	mu      sync.Mutex
	text    bytes.Buffer
	changed chan struct{} // closed by the next write, and by the end
	ended   bool
}

func newOutput() *output { return &output{changed: make(chan struct{})} }

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	close(o.changed)
	o.changed = make(chan struct{})
	return o.text.Write(p)
}

// end says that nothing more will be written.
func (o *output) end() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.ended = true
	close(o.changed)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.String()
}

// find waits until the output matches pattern, and returns its first group.
func (o *output) find(t *testing.T, pattern string) string {
	t.Helper()
	matcher := regexp.MustCompile(pattern)
	late := time.After(patience)
	for {
		o.mu.Lock()
		found, changed, ended := matcher.FindStringSubmatch(o.text.String()), o.changed, o.ended
		o.mu.Unlock()
		if found != nil {
			return found[1]
		}
		if ended {
			t.Fatalf("output: got, to its end,\n%s\nwant a match of %s", o, pattern)
		}
		select {
		case <-changed:
		case <-late:
			t.Fatalf("output: got\n%s\nwant a match of %s", o, pattern)
		}
	}
}

// eventually waits until ok is true.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("waited %v, want %s", patience, what)
		}
	}
}

// program is a command that runs as a process of its own.
type program struct {
	*exec.Cmd
	stdout, stderr *output
}

// start runs the program of [TestMain]. It is killed when the test ends, if it still runs.
func start(t *testing.T, stdin io.Reader, args ...string) *program {
	t.Helper()
	return startWith(t, nil, stdin, args...)
}

// startWith is start with more environment variables.
func startWith(t *testing.T, env []string, stdin io.Reader, args ...string) *program {
	t.Helper()
	return startCommand(t, exec.Command("fanout", args...), env, stdin)
}

// startCommand is startWith for a command that becomes the program.
func startCommand(t *testing.T, cmd *exec.Cmd, env []string, stdin io.Reader) *program {
	t.Helper()
	p := &program{Cmd: cmd, stdout: newOutput(), stderr: newOutput()}
	p.Env = append(p.Environ(), env...)
	p.Stdin, p.Stdout, p.Stderr = stdin, p.stdout, p.stderr
	if err := p.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if p.ProcessState == nil {
			_ = p.Process.Kill()
			_ = p.Wait()
		}
	})
	return p
}

func (p *program) end(t *testing.T) finished {
	t.Helper()
	timer := time.AfterFunc(patience, func() { _ = p.Process.Kill() })
	defer timer.Stop()
	if err := p.Wait(); p.ProcessState == nil {
		t.Fatal(err)
	}
	return finished{p.ProcessState.ExitCode(), p.stdout.String(), p.stderr.String()}
}

// localEngine runs SNS and SQS with the resources of environment dev, and returns its endpoint.
func localEngine(t testing.TB) (*local.Engine, string) {
	t.Helper()
	engine := local.New(local.Options{})
	t.Cleanup(func() {
		if err := engine.Close(); err != nil {
			t.Errorf("close the engine: %v", err)
		}
	})
	endpoint, err := engine.Listen("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	g := &globals{app: testApp(), env: defaultEnvironment}
	d, err := g.deployment()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := provision.Apply(t.Context(), engine.SNS(), engine.SQS(), d); err != nil {
		t.Fatal(err)
	}
	return engine, endpoint
}

// writeFile writes a file into a new folder.
func writeFile(t *testing.T, name, content string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// contains checks that text holds all of want.
func contains(t *testing.T, what, text string, want ...string) {
	t.Helper()
	for _, w := range want {
		if !strings.Contains(text, w) {
			t.Errorf("%s: got\n%s\nwant it to contain %q", what, text, w)
		}
	}
}
