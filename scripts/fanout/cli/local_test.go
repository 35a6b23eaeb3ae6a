package cli

import (
	"os"
	"path/filepath"
	"testing"
)

func TestLocal_MakesTroubleByAFileOfRules(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "faults.json")
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(`[{"kind": "throttle", "action": "PublishBatch", "count": 2}, {"kind": "drop_reply", "action": "PublishBatch", "count": 1}]`)
	server := background(t, nil, "local", "--addr", "127.0.0.1:0", "--enforce-policies", "--faults", file)
	endpoint := server.stderr.find(t, `SNS and SQS on (\S+), region eu-central-1`)
	server.stderr.find(t, `(injecting faults by 2 rules)`)
	invoke(t, generate(5), "publish", "-", "--endpoint", endpoint).want(t, exitOK)
	invoke(t, "", "consume", "history", "--endpoint", endpoint, "--data", t.TempDir(), "--until-idle", "10ms").want(t, exitOK)
	server.interrupt()
	done := server.wait(t).want(t, exitOK)
	contains(t, "standard error", done.stderr, "injected throttle: 2", "injected drop_reply: 1")

	write("[\n{\"kind\": \"nonsense\"}]")
	done = invoke(t, "", "local", "--faults", file).want(t, exitUsage)
	contains(t, "standard error", done.stderr, "--faults: "+file+`: faults: line 2: rule 1: field "kind": got "nonsense", want one of`)
	done = invoke(t, "", "local", "--faults", file+"x").want(t, exitUsage)
	contains(t, "standard error", done.stderr, "--faults: open "+file+"x: no such file")
}

func TestLocal_ServesAndEnds(t *testing.T) {
	t.Parallel()
	for _, empty := range []bool{false, true} {
		args := []string{"local", "--addr", "127.0.0.1:0"}
		if empty {
			args = append(args, "--empty")
		}
		server := background(t, nil, args...)
		endpoint := server.stderr.find(t, `SNS and SQS on (\S+), region eu-central-1`)
		if !empty {
			server.stderr.find(t, `(push hears)`)
		}
		code := exitOK
		if empty {
			code = exitFailed
		}
		invoke(t, generate(5), "publish", "-", "--endpoint", endpoint).want(t, code)
		server.interrupt()
		server.wait(t).want(t, exitOK)
	}
}
