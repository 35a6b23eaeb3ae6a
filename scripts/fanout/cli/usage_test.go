package cli

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestCommandLine_ThatIsWrong(t *testing.T) {
	t.Parallel()
	tests := map[string]struct{ message, hint string }{
		"nonsense":                                {`unknown command "nonsense" for "fanout"`, "see `fanout --help`"},
		"consme history":                          {`unknown command "consme" for "fanout"`, "did you mean console or consume?"},
		"dlq nonsense":                            {`unknown command "nonsense" for "fanout dlq"`, "see `fanout dlq --help`"},
		"up --nonsense":                           {"unknown flag: --nonsense", "see `fanout up --help`"},
		"up --input":                              {"flag needs an argument: --input", "see `fanout up --help`"},
		"up --until-idle 3":                       {`"3" for "--until-idle"`, "see `fanout up --help`"},
		"up --until-idle -3s --input -":           {"--until-idle: got -3s", ""},
		"up --until-idle 3s":                      {"--until-idle without --input", "add --input FILE"},
		"up --input - --format csv":               {`--format: got "csv", want ndjson`, ""},
		"up --rate -1":                            {"--rate: got -1", ""},
		"up --rate NaN":                           {"--rate: got NaN", ""},
		"up --slots -1":                           {"--slots: got -1", ""},
		"up file.ndjson":                          {"got 1 arguments, want none", "see `fanout up --help`"},
		"up --endpoint http://x":                  {"--endpoint: up brings SNS and SQS of its own", "--addr"},
		"up --env nowhere":                        {`no environment "nowhere"; there are dev, test, prod`, ""},
		"topology --env nowhere":                  {`no environment "nowhere"; there are dev, test, prod`, ""},
		"topology --json --mermaid":               {"[json mermaid asyncapi]", "see `fanout topology --help`"},
		"publish":                                 {"got 0 arguments, want a file, or - for standard input", "see `fanout publish --help`"},
		"publish a b":                             {"got 2 arguments, want a file", "see `fanout publish --help`"},
		"publish - --format x":                    {`--format: got "x", want ndjson`, ""},
		"publish - --rate -1":                     {"--rate: got -1", ""},
		"publish - --endpoint nonsense":           {`endpoint: got "nonsense", want a URL such as http://127.0.0.1:4566`, ""},
		"publish - --endpoint http://x --local":   {"[endpoint local]", "see `fanout publish --help`"},
		"consume":                                 {"got 0 arguments, want a service", "see `fanout consume --help`"},
		"consume nobody":                          {`no service "nobody" in dev; there are history, state, push`, ""},
		"consume history --slots -1":              {"--slots: got -1", ""},
		"consume history --until-idle -1s":        {"--until-idle: got -1s", ""},
		"consume history --data a --database b":   {"[data database]", "see `fanout consume --help`"},
		"dlq ls a b":                              {"got 2 arguments, want one service or none", "see `fanout dlq ls --help`"},
		"dlq ls nobody":                           {`no service "nobody" in dev`, ""},
		"dlq ls --class nonsense":                 {`--class: got "nonsense", want known`, ""},
		"dlq ls --limit -1":                       {"--limit: got -1", ""},
		"dlq show":                                {"got 0 arguments, want a service", "see `fanout dlq show --help`"},
		"dlq show history --older-than -1s":       {"--older-than", ""},
		"dlq ls --fingerprint x":                  {`--fingerprint: got "x", want eight hexadecimal digits`, ""},
		"dlq ls --older-than 2h --newer-than 1h":  {"nothing is older than 2h0m0s and newer than 1h0m0s", ""},
		"dlq redrive nobody --yes":                {`no service "nobody" in dev`, ""},
		"dlq redrive history --native --code x":   {"--native moves all that a service could not handle", ""},
		"dlq redrive history --rate -1":           {"--rate: got -1", ""},
		"dlq drop":                                {"got 0 arguments, want a service", "see `fanout dlq drop --help`"},
		"dlq export history --class x":            {`--class: got "x"`, ""},
		"dlq watch":                               {`required flag(s) "rules" not set`, "see `fanout dlq watch --help`"},
		"dlq watch --rules x --every 1ms":         {"--every: got 1ms, want at least 1s", ""},
		"dlq redrive":                             {"got 0 arguments, want a service", "see `fanout dlq redrive --help`"},
		"dlq redrive history --dry-run=nonsense":  {`"nonsense" for "--dry-run"`, "see `fanout dlq redrive --help`"},
		"local nonsense":                          {"got 1 arguments, want none", "see `fanout local --help`"},
		"local --endpoint http://127.0.0.1:1":     {"--endpoint: local is SNS and SQS itself", "--addr"},
		"dlq redrive history --yes --dry-run":     {"[dry-run yes]", "see `fanout dlq redrive --help`"},
		"console --consumer 127.0.0.1:8080":       {`--consumer: got "127.0.0.1:8080", want the address`, ""},
		"console --data a --database b":           {"[data database]", "see `fanout console --help`"},
		"consume push --push-addr 1.2.3.4:1 more": {"got 2 arguments, want a service", "see `fanout consume --help`"},
	}
	for line, want := range tests {
		t.Run(line, func(t *testing.T) {
			t.Parallel()
			done := invoke(t, "", strings.Fields(line)...).want(t, exitUsage)
			contains(t, "standard error", done.stderr, "fanout: ", want.message)
			if want.hint != "" {
				contains(t, "standard error", done.stderr, "\nhint: ", want.hint)
			}
			if done.stdout != "" {
				t.Errorf("standard output: got %q, want nothing", done.stdout)
			}
			if lines := strings.Count(done.stderr, "\n"); lines > 2 {
				t.Errorf("standard error: got %d lines, want an error and at most a hint:\n%s", lines, done.stderr)
			}
		})
	}
}

func TestEndpoint_WhereNobodyListens(t *testing.T) {
	t.Parallel()
	endpoint := "http://" + unusedAddress(t)
	for _, args := range [][]string{
		{"publish", "-"},
		{"publish", "-", "--topic-arn", "arn:aws:sns:eu-central-1:000000000000:dev-device-events.fifo"},
		{"consume", "history"},
		{"dlq", "ls"},
		{"dlq", "show", "history"},
		{"dlq", "redrive", "history", "--yes"},
		{"dlq", "drop", "history", "--yes"},
	} {
		done := invoke(t, generate(3), append(args, "--endpoint", endpoint)...).want(t, exitFailed)
		contains(t, strings.Join(args, " "), done.stderr, "fanout: endpoint "+endpoint, "connection refused",
			"hint: nothing listens there; start it with `fanout up` or `fanout local`")
	}
}

func TestEndpoint_WithoutOurResources(t *testing.T) {
	t.Parallel()
	_, endpoint := localEngine(t)
	for _, args := range [][]string{{"publish", "-"}, {"consume", "state"}, {"dlq", "ls"}} {
		done := invoke(t, generate(3), append(args, "--endpoint", endpoint, "--env", "prod")...).want(t, exitFailed)
		contains(t, strings.Join(args, " "), done.stderr, "environment prod is not deployed at this endpoint", "hint: ", "check --env")
	}
}

func TestEndpoint_WithoutCredentialsOrRegion(t *testing.T) {
	t.Parallel()
	done := invoke(t, "", "dlq", "ls").want(t, exitFailed)
	contains(t, "standard error", done.stderr, "no AWS region", "hint: set AWS_PROFILE and AWS_REGION, or add --local")
}

func TestHelp_SaysWhatEachCommandDoes(t *testing.T) {
	t.Parallel()
	for line, want := range map[string][]string{
		"":                   {"Start with", "fanout up", "Exit codes:", "consume", "dlq", "local", "publish", "topology"},
		"--help":             {"fanout [command]"},
		"up --help":          {"fanout up [flags]", "Exit codes:", "--until-idle", "--input FILE"},
		"local --help":       {"AWS_ENDPOINT_URL="},
		"publish --help":     {"fanout publish FILE|- [flags]", `"device_id"`, "Exit codes:"},
		"consume --help":     {"fanout consume SERVICE [flags]", "SIGTERM"},
		"topology --help":    {"--mermaid"},
		"dlq":                {"ls", "show", "redrive"},
		"dlq ls --help":      {"--fingerprint"},
		"dlq show --help":    {"--newer-than"},
		"dlq redrive --help": {"--dry-run", "--yes"},
		"console --help":     {"--consumer URL", "--data FOLDER", "--database URL"},
	} {
		done := invoke(t, "", strings.Fields(line)...).want(t, exitOK)
		contains(t, line, done.stdout, want...)
		for text := range strings.Lines(done.stdout) {
			if n := len([]rune(text)); n > 120+1 {
				t.Errorf("%s: got a line of %d characters, want them to fit a terminal: %s", line, n, text)
			}
		}
	}
}

func TestCompletion(t *testing.T) {
	t.Parallel()
	for _, shell := range []string{"bash", "zsh", "fish", "powershell"} {
		contains(t, shell, invoke(t, "", "completion", shell).want(t, exitOK).stdout, "fanout", "__complete")
	}
	for line, want := range map[string][]string{
		"consume":        {"history\t", "state\t", "push\t"},
		"dlq ls":         {"history\t", "state\t", "push\t"},
		"dlq redrive":    {"history\t"},
		"topology --env": {"dev", "test", "prod"},
		"dlq":            {"ls\t", "show\t", "redrive\t", "drop\t", "export\t", "watch\t"},
		"dlq ls --class": {"known", "exhausted", "moved"},
		"dlq ls --type":  {"device.power.changed.v1"},
		"consume push":   {":4"}, // one service is enough
	} {
		done := invoke(t, "", append(append([]string{"__complete"}, strings.Fields(line)...), "")...).want(t, exitOK)
		contains(t, line, done.stdout, want...)
		if line == "consume push" && strings.Contains(done.stdout, "history") {
			t.Errorf("%s: got %q, want no second service", line, done.stdout)
		}
	}
}

// TestTopology_Golden compares with testdata; write the files anew with FANOUT_TEST_UPDATE=1.
func TestTopology_Golden(t *testing.T) {
	t.Parallel()
	for file, args := range map[string][]string{
		"topology.txt":      {"topology"},
		"topology-prod.txt": {"topology", "--env", "prod"},
		"topology.json":     {"topology", "--json"},
		"topology.mermaid":  {"topology", "--mermaid"},
	} {
		got := invoke(t, "", args...).want(t, exitOK).stdout
		path := filepath.Join("testdata", file)
		if os.Getenv("FANOUT_TEST_UPDATE") != "" {
			if err := os.WriteFile(path, []byte(got), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if got != string(want) {
			t.Errorf("%s: got\n%s\nwant\n%s", strings.Join(args, " "), got, want)
		}
	}
	var topology struct {
		Environment, Topic string
		Services           []struct{ Name, Queue, DLQ string }
	}
	if err := json.Unmarshal([]byte(invoke(t, "", "topology", "--json").stdout), &topology); err != nil {
		t.Fatal(err)
	}
	if len(topology.Services) < 3 || topology.Topic != "dev-device-events.fifo" || topology.Services[0].DLQ != "dev-history-dlq.fifo" {
		t.Errorf("topology: got %+v", topology)
	}
}

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
	server.stderr.find(t, `(trouble by 2 rules)`)
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
