package cli

import (
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"
	"github.com/google/uuid"

	"github.com/device-fanout/fanout/consumers/deadletter"
	"github.com/device-fanout/fanout/infra/local"
)

// plant puts a message into a queue as somebody would who means no good.
func plant(t testing.TB, engine *local.Engine, queue, group, body string, record deadletter.Record) {
	t.Helper()
	url := queueURL(t, engine, queue)
	_, err := engine.SQS().SendMessage(t.Context(), &sqs.SendMessageInput{
		QueueUrl: &url, MessageBody: &body, MessageGroupId: &group, MessageDeduplicationId: aws.String(uuid.NewString()),
		MessageAttributes: map[string]types.MessageAttributeValue{
			deadletter.Attribute: {DataType: aws.String("String"), StringValue: aws.String(record.Encode())},
		},
	})
	if err != nil {
		t.Fatal(err)
	}
}

// A dead letter that names another queue than the one whose dead-letter queue it is in goes nowhere, and plan and summary say so.
func TestDLQ_RedriveSendsToNoOtherQueue(t *testing.T) {
	t.Parallel()
	for _, kind := range []struct {
		dlq  string
		args []string
	}{{"dev-history-dlq.fifo", nil}, {"dev-history-delivery-dlq.fifo", []string{"--delivery"}}} {
		t.Run(kind.dlq, func(t *testing.T) {
			t.Parallel()
			engine, endpoint := localEngine(t)
			record := deadletter.Record{Service: "history", Class: deadletter.Known, Code: "a", Error: "no"}
			for i, queue := range []string{"dev-history.fifo", "dev-state.fifo", "dev-push.fifo"} {
				record.Queue = "arn:aws:sqs:eu-central-1:000000000000:" + queue
				plant(t, engine, kind.dlq, fmt.Sprint("lamp-", i), fmt.Sprintf(`{"id":"%d","subject":"lamp-%d"}`, i, i), record)
			}
			redrive := func(more ...string) []string {
				args := append([]string{"dlq", "redrive", "history", "--endpoint", endpoint, "--state", t.TempDir()}, kind.args...)
				return append(args, more...)
			}
			plan := invoke(t, "", redrive("--dry-run")...).want(t, exitOK)
			contains(t, "plan", plan.stdout, "would send 1 dead letters of", "2 more are selected and stay, since they name another queue than dev-history.fifo")
			done := invoke(t, "", redrive("--yes")...).want(t, exitFailed)
			contains(t, "summary", done.stdout, "moved 1 of 3 selected dead letters to dev-history.fifo; 2 failed", "2 of the failed name another queue")
			contains(t, "report", done.stderr, `its record names queue "dev-state.fifo"`, `its record names queue "dev-push.fifo"`, "2 dead letters were not moved")
			for _, queue := range []string{"dev-state.fifo", "dev-push.fifo"} {
				if got := drain(t, engine, queue); len(got) > 0 {
					t.Errorf("%s: got %v, want nothing", queue, got)
				}
			}
			if got := drain(t, engine, "dev-history.fifo"); len(got) != 1 || len(got["lamp-0"]) != 1 {
				t.Errorf("dev-history.fifo: got %v, want the one that came from there", got)
			}

			// An archive goes back to the queue whose dead-letter queue it is of.
			file := filepath.Join(t.TempDir(), "dropped.ndjson")
			drop := append([]string{"dlq", "drop", "history", "--yes", "--endpoint", endpoint, "--state", t.TempDir(), "--file", file}, kind.args...)
			contains(t, "drop", invoke(t, "", drop...).want(t, exitOK).stdout, "dropped 2 of 2")
			invoke(t, "", "publish", "--redrive", file, "--endpoint", endpoint).want(t, exitOK)
			if got := drain(t, engine, "dev-history.fifo"); total(got) != 2 {
				t.Errorf("dev-history.fifo: got %v, want the two of the archive", got)
			}
			if got := drain(t, engine, "dev-state.fifo"); len(got) > 0 {
				t.Errorf("dev-state.fifo: got %v, want nothing", got)
			}
		})
	}
}

// Whatever a program leaves on disk that holds events or secrets is its owner's alone, whatever the umask is.
func TestFiles_AreTheirOwnersAlone(t *testing.T) {
	t.Parallel()
	if _, err := exec.LookPath("sh"); err != nil || runtime.GOOS == "windows" {
		t.Skip("needs a umask")
	}
	engine, endpoint := localEngine(t)
	bury(t, engine, 0, lamps(4, 2), func(int) string { return "a" })
	work := t.TempDir()
	run := func(stdin string, args ...string) {
		t.Helper()
		cmd := exec.Command("sh", append([]string{"-c", `umask 0; exec "$@"`, "sh", "fanout"}, args...)...)
		cmd.Dir, cmd.Stdin = work, strings.NewReader(stdin)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("fanout %q: %v\n%s", args, err, out)
		}
	}
	run(generate(20), upArgs("data", "--input", "-", "--until-idle", "50ms")...)
	run("", "consume", "state", "--endpoint", endpoint, "--data", "data/consume", "--until-idle", "10ms")
	run("", "gateway", "key", "one", "--file", "keys.json")
	run("", "dlq", "export", "history", "--yes", "--endpoint", endpoint, "--state", "state")
	run("", "dlq", "redrive", "history", "--yes", "--limit", "1", "--endpoint", endpoint, "--state", "state")
	run("", "dlq", "drop", "history", "--yes", "--endpoint", endpoint, "--state", "state", "--file", "dropped.ndjson")

	gateway := exec.Command("sh", "-c", `umask 0; exec "$@"`, "sh", "fanout", "gateway", "--endpoint", endpoint, "--addr", "127.0.0.1:0", "--keys", "keys.json", "--spool", "spool")
	stderr := newOutput()
	gateway.Dir, gateway.Stderr = work, stderr
	if err := gateway.Start(); err != nil {
		t.Fatal(err)
	}
	stderr.find(t, `(gateway on)`)
	if err := gateway.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	if err := gateway.Wait(); err != nil {
		t.Fatalf("gateway: %v\n%s", err, stderr)
	}
	seen := 0
	err := filepath.WalkDir(work, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || path == work {
			return err
		}
		seen++
		info, err := entry.Info()
		if err == nil && info.Mode().Perm()&0o077 != 0 {
			t.Errorf("%s: got mode %v, want nothing for others", path, info.Mode())
		}
		return err
	})
	if err != nil || seen < 12 {
		t.Errorf("got %d files and folders, %v, want all that were made", seen, err)
	}
}
