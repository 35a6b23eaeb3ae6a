package clients_test

import (
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/device-fanout/fanout/infra/local"
)

// serve starts an engine on loopback.
func serve(t *testing.T) (e *local.Engine, endpoint string) {
	t.Helper()
	e = local.New(local.Options{})
	endpoint, err := e.Listen("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := e.Close(); err != nil {
			t.Error(err)
		}
	})
	return e, endpoint
}

// command prepares a client's process in a folder. It knows nothing of AWS but the engine.
func command(t *testing.T, endpoint, folder, name string, args ...string) *exec.Cmd {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), name, args...)
	cmd.Dir = folder
	cmd.Env = append(os.Environ(),
		"AWS_ENDPOINT_URL="+endpoint, "AWS_REGION="+local.DefaultRegion, "AWS_DEFAULT_REGION="+local.DefaultRegion,
		"AWS_ACCESS_KEY_ID=x", "AWS_SECRET_ACCESS_KEY=x", "AWS_EC2_METADATA_DISABLED=true", "AWS_PAGER=",
		"AWS_CONFIG_FILE="+os.DevNull, "AWS_SHARED_CREDENTIALS_FILE="+os.DevNull,
	)
	return cmd
}

// script runs a client's script, which prints a line for each thing that works and ends with an error at the first that
// does not.
func script(t *testing.T, cmd *exec.Cmd, want ...string) {
	t.Helper()
	var complaints strings.Builder
	cmd.Stderr = &complaints
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s: %v\n%s%s", strings.Join(cmd.Args, " "), err, out, &complaints)
	}
	if got := strings.TrimSpace(string(out)); got != strings.Join(want, "\n") {
		t.Errorf("got\n%s\nwant\n%s", got, strings.Join(want, "\n"))
	}
}

func skipShort(t *testing.T) {
	t.Helper()
	if testing.Short() {
		t.Skip("other people's clients are slow to start; run without -short")
	}
}

// behaviours is what the scripts for boto3 and for the SDK for JavaScript show.
var behaviours = []string{
	"fan-out: three messages of two groups, in order, raw, with attributes",
	"filter policy: what does not match is not there",
	"deduplication: the second is answered like the first and not stored",
	"group lock: nothing while a message is in flight, the next after its delete",
	"partial batch: one failed, one sent",
	"dead letters: moved after two receives, and brought back by a move task",
	"errors: a missing queue and a missing topic have their own types",
}

func TestBoto3(t *testing.T) {
	t.Parallel()
	skipShort(t)
	if err := exec.CommandContext(t.Context(), "python3", "-c", "import boto3").Run(); err != nil {
		t.Skip("boto3 for python3 is not installed (Debian: apt-get install python3-boto3)")
	}
	e, endpoint := serve(t)
	script(t, command(t, endpoint, "python", "python3", "check.py"), behaviours...)
	if !e.Idle() {
		t.Errorf("the queues hold %+v", e.Queues())
	}
}

// nodeModules skips unless the folder's packages are installed.
func nodeModules(t *testing.T) {
	t.Helper()
	skipShort(t)
	version, err := exec.CommandContext(t.Context(), "node", "--version").Output() // such as v20.20.2
	if major, _, _ := strings.Cut(string(version), "."); err != nil || len(major) < 3 || major < "v20" {
		t.Skipf("node is %q; install Node.js 20 or newer to run this test", version)
	}
	if _, err := os.Stat("node/node_modules/sqs-consumer"); err != nil {
		t.Skip("the packages are not installed: run npm ci in infra/local/clients/node")
	}
}

func TestJavaScriptSDK(t *testing.T) {
	t.Parallel()
	nodeModules(t)
	e, endpoint := serve(t)
	script(t, command(t, endpoint, "node", "node", "sdk.mjs"), behaviours...)
	if !e.Idle() {
		t.Errorf("the queues hold %+v", e.Queues())
	}
}

func TestSQSConsumer(t *testing.T) {
	t.Parallel()
	nodeModules(t)
	e, endpoint := serve(t)
	script(t, command(t, endpoint, "node", "node", "consumer.mjs"),
		"200 messages of 5 groups, each group in order, one of them after a failure")
	if !e.Idle() {
		t.Errorf("the queues hold %+v", e.Queues())
	}
}
