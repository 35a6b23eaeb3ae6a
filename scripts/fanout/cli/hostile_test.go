package cli

import (
	"encoding/json"
	"fmt"
	"io/fs"
	"log/slog"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"unicode"

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

// The console's plan says so, too.
func TestConsole_PlanTellsWhatNamesAnotherQueue(t *testing.T) {
	t.Parallel()
	engine, endpoint := localEngine(t)
	record := deadletter.Record{Service: "history", Class: deadletter.Known, Code: "a", Queue: "arn:aws:sqs:eu-central-1:000000000000:dev-state.fifo"}
	plant(t, engine, "dev-history-dlq.fifo", "lamp-1", `{"id":"1","subject":"lamp-1"}`, record)
	client, address := browserless(t), consoleOf(t, endpoint)
	base, _, _ := strings.Cut(address, "/?")
	request(t, client, "GET", address, nil, nil)
	const note = `Of these, 1 will stay here, as the record names another queue than <span class="mono">dev-history.fifo</span>`
	_, redrive := request(t, client, "GET", base+"/plan/redrive/dev-history-dlq.fifo", nil, nil)
	contains(t, "plan of a redrive", redrive, note)
	if _, drop := request(t, client, "GET", base+"/plan/drop/dev-history-dlq.fifo", nil, nil); strings.Contains(drop, note) {
		t.Errorf("plan of a drop: got %s, want nothing about what stays", drop)
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

// hostile is text that would clear a terminal, name its window, turn around what follows it, forge a line or hide in it; the last by bytes
// that are no UTF-8.
const hostile = "\x1b[2J\x1b]0;own\x07\u009b31m\u202egpj\u2066\u200b\U000e0041\rover"

// unseen tells what of a command's output a terminal would obey, or nobody would see.
func unseen(text string) string {
	var b strings.Builder
	for _, c := range text {
		if c != '\n' && c != '\t' && (unicode.IsControl(c) || unicode.In(c, unicode.Cf, unicode.Zl, unicode.Zp)) {
			fmt.Fprintf(&b, " %U", c)
		}
	}
	return b.String()
}

// plantHostile makes a dead letter of history all of whose texts are hostile.
func plantHostile(t testing.TB, engine *local.Engine) {
	t.Helper()
	text := strings.NewReplacer("\x1b", "", "\x07", "").Replace(hostile) // SQS takes neither in an attribute, but as JSON
	body, err := json.Marshal(map[string]string{"id": "e" + hostile, "subject": "lamp" + hostile, "type": "t" + hostile, "time": "2026-01-31T12:00:00Z"})
	if err != nil {
		t.Fatal(err)
	}
	plant(t, engine, "dev-history-dlq.fifo", "lamp", string(body)+text, deadletter.Record{
		Service: "history" + hostile, Queue: "arn:aws:sqs:eu-central-1:000000000000:dev-history.fifo", Class: deadletter.Class("known" + hostile),
		Code: "code" + hostile, Error: "first" + hostile + "\nsecond" + hostile, Fingerprint: "f" + hostile,
	})
	plant(t, engine, "dev-history-dlq.fifo", "door", "{}", deadletter.Record{
		Service: "history", Queue: "elsewhere" + hostile, Class: deadletter.Known, Code: "a", Error: "no",
	})
}

// What comes from elsewhere is shown, on both outputs, with nothing in it that a terminal obeys.
func TestOutput_ObeysNothingFromElsewhere(t *testing.T) {
	t.Parallel()
	engine, endpoint := localEngine(t)
	plantHostile(t, engine)
	line := `{"device_id":"a","type":"device.power.changed.v1","time":"` + hostile + `","data":{"on":true}}` + "\n"
	state := t.TempDir()
	for _, test := range []struct {
		name, stdin string
		args        []string
		want        string // on one of the outputs
	}{
		{"groups", "", []string{"dlq", "ls"}, `known\u001b[2J\u001b]0;own\u0007\u009b31m\u202egpj\u2066\u200b\udb40\udc41\u000dover`},
		{"messages", "", []string{"dlq", "show", "history"}, `fingerprint f\u001b[2J`},
		{"plan", "", []string{"dlq", "redrive", "history", "--dry-run", "--state", state}, `known\u001b[2J`},
		{"rules", "", []string{"dlq", "watch", "history", "--once", "--rules", writeFile(t, "rules", "redrive code="+hostile+"\nnone "+hostile+"\n"), "--state", state}, `line 2`},
		{"rejected lines", line, []string{"publish", "-"}, `malformed JSON`},
		{"rejected lines as JSON", line, []string{"publish", "-", "--json"}, `malformed JSON`},
		{"an archive", "no " + hostile + "\n", []string{"publish", "--redrive", "-"}, `\x1b[2J`},
		{"an argument", "", []string{"dlq", "show", "no" + hostile}, `no`},
		{"a flag", "", []string{"dlq", "show", "history", "--" + hostile}, `unknown flag: --\u001b[2J`},
		{"an environment", "", []string{"dlq", "ls", "--env", hostile}, `--env`},
		{"a file", "", []string{"publish", filepath.Join(state, hostile)}, `\u001b[2J`},
		{"a revision", "", []string{"schema", "check", "--against", hostile}, `no folder`},
		{"moved", "", []string{"dlq", "redrive", "history", "--yes", "--state", state}, `names queue`},
		{"a service's log", "", []string{"consume", "history", "--until-idle", "50ms", "--data", t.TempDir()}, `handled`},
		{"dropped", "", []string{"dlq", "drop", "history", "--yes", "--state", state, "--file", filepath.Join(t.TempDir(), "x"+hostile)}, `x\u001b[2J`},
	} {
		got := invoke(t, test.stdin, append(test.args, "--endpoint", endpoint)...)
		for output, text := range map[string]string{"standard output": got.stdout, "standard error": got.stderr} {
			if found := unseen(text); found != "" {
				t.Errorf("%s: %s: got%s in\n%q\nwant it escaped", test.name, output, found, text)
			}
		}
		contains(t, test.name, got.stdout+got.stderr, test.want)
	}
}

// As JSON it is the same value.
func TestOutput_JSONStaysTheSameValue(t *testing.T) {
	t.Parallel()
	engine, endpoint := localEngine(t)
	plantHostile(t, engine)
	done := invoke(t, "", "dlq", "show", "history", "--json", "--device", "lamp", "--endpoint", endpoint).want(t, exitOK)
	var message shown
	done.decode(t, &message)
	if want := "known" + hostile; message.Record.Class != want || message.DeviceID != "lamp" {
		t.Errorf("record: got %+q, want %+q", message.Record.Class, want)
	}
	groups := invoke(t, "", "dlq", "ls", "--json", "--endpoint", endpoint).want(t, exitOK)
	var list []deadletter.Group
	groups.decode(t, &list)
	if !slices.ContainsFunc(list, func(g deadletter.Group) bool {
		return string(g.Class) == "known"+hostile && g.Fingerprint == "f"+hostile
	}) {
		t.Errorf("groups: got %v, want one with the code as it is", list)
	}
	if found := unseen(done.stdout + groups.stdout); found != "" {
		t.Errorf("got%s in\n%q\nwant it escaped", found, done.stdout+groups.stdout)
	}
}

// Secrets of an endpoint, broker or database are in nothing that a command says.
func TestOutput_HasNoSecretsOfURLs(t *testing.T) {
	t.Parallel()
	_, endpoint := localEngine(t)
	nobody := unusedAddress(t)
	withSecrets := func(scheme, host string) string {
		return scheme + "://user:SECRET@" + host + "/?token=SECRET&X-Amz-Signature=SECRET"
	}
	for name, args := range map[string][]string{
		"endpoint, down":    {"dlq", "ls", "--endpoint", withSecrets("http", nobody)},
		"endpoint, no URL":  {"dlq", "ls", "--endpoint", withSecrets("ftp", nobody)},
		"endpoint, broken":  {"dlq", "ls", "--endpoint", "http://user:SECRET@[::1/"},
		"endpoint, unknown": {"publish", os.DevNull, "--endpoint", withSecrets("http", "127.0.0.1:1")},
		"broker, no URL":    {"gateway", "--endpoint", endpoint, "--addr", "127.0.0.1:0", "--no-keys", "--mqtt", withSecrets("gopher", nobody)},
		"broker, broken":    {"gateway", "--endpoint", endpoint, "--addr", "127.0.0.1:0", "--no-keys", "--mqtt", "mqtt://user:SECRET@[::1"},
		"database, kind":    {"consume", "history", "--endpoint", endpoint, "--database", withSecrets("mysql", nobody)},
		"database, broken":  {"consume", "history", "--endpoint", endpoint, "--database", "postgres://user:SECRET@[::1/x"},
		"address":           {"gateway", "--endpoint", endpoint, "--no-keys", "--addr", withSecrets("http", nobody)},
	} {
		got := invoke(t, "", args...)
		if got.code == exitOK || strings.Contains(got.stdout+got.stderr, "SECRET") {
			t.Errorf("%s: got exit code %d and\n%s%s\nwant an error without the secrets", name, got.code, got.stdout, got.stderr)
		}
	}
}

func TestLogger_HasNoSecretsOfURLs(t *testing.T) {
	t.Parallel()
	var out strings.Builder
	logger := newLogger(&out)
	const secret = "mqtt://user:SECRET@broker?token=SECRET"
	broker, err := url.Parse(secret)
	if err != nil {
		t.Fatal(err)
	}
	logger.With("with", secret).WithGroup("g").Warn("told", "text", secret, "url", broker, "err", &url.Error{Op: "Get", URL: secret, Err: os.ErrClosed},
		"nil", error(nil), "nothing", (*url.URL)(nil), "n", 1, slog.Group("in", "deep", secret))
	got := out.String()
	if strings.Contains(got, "SECRET") || strings.Count(got, "mqtt://user:xxxxx@broker?token=xxxxx") != 5 {
		t.Errorf("got %s, want five URLs without their secrets", got)
	}
}

// Files that are named after a queue stay in their folder, whatever an endpoint says that the queue is called, and names of services are
// those of the topology.
func TestFiles_StayInTheirFolder(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	for _, address := range []string{"http://h/1/..", "http://h/1/../../etc/passwd", "http://h/..", "..", "/", "", "http://h/1/a/../../../b", "http://h/1/.", "http://h/1//x/"} {
		journal, err := openJournal(folder, deadletter.Source{URL: address})
		if err != nil {
			t.Errorf("%q: got %v, want a journal", address, err)
			continue
		}
		if err := journal.Close(); err != nil {
			t.Error(err)
		}
		if name := (deadletter.Source{URL: address}).Name() + "-1.ndjson"; !filepath.IsLocal(name) || filepath.Base(name) != name {
			t.Errorf("%q: got the name %q, want one of a file", address, name)
		}
	}
	err := filepath.WalkDir(filepath.Dir(folder), func(path string, entry fs.DirEntry, err error) error {
		if err == nil && !entry.IsDir() && filepath.Dir(path) != filepath.Join(folder, "dlq") {
			t.Errorf("got %s, want it in %s", path, folder)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	_, endpoint := localEngine(t)
	for _, service := range []string{"../x", "history/../../x", "..", "/etc/passwd", "history.fifo"} {
		for _, command := range []string{"export", "drop", "redrive"} {
			got := invoke(t, "", "dlq", command, service, "--yes", "--endpoint", endpoint, "--state", folder).want(t, exitUsage)
			contains(t, command, got.stderr, "no service")
		}
		got := invoke(t, "", "consume", service, "--endpoint", endpoint, "--data", folder).want(t, exitUsage)
		contains(t, "consume", got.stderr, "no service")
	}
}

// No text of a dead letter turns the direction of a page of the console, or hides in it.
func TestConsole_ShowsWhatWouldDeceive(t *testing.T) {
	t.Parallel()
	engine, endpoint := localEngine(t)
	plant(t, engine, "dev-history-dlq.fifo", "lamp-1", "{\"id\":\"e\u202e1\"}", deadletter.Record{
		Service: "history", Queue: "arn:aws:sqs:eu-central-1:000000000000:dev-history.fifo", Class: deadletter.Known, Code: "a\u2066b", Error: "no\u202elamp\x1b[2J",
	})
	address := consoleOf(t, endpoint)
	base, _, _ := strings.Cut(address, "/?token=")
	friend := browserless(t)
	request(t, friend, "GET", address, nil, nil)
	for _, page := range []string{"/", "/dlq/dev-history-dlq.fifo"} {
		status, body := request(t, friend, "GET", base+page, nil, nil)
		if status != 200 || strings.ContainsFunc(body, func(c rune) bool { return c == '\u202e' || c == '\u2066' || c == 0x1b }) {
			t.Errorf("%s: got %d and what a reader can't see: %q", page, status, body)
		}
		contains(t, page, body, `no\u202elamp`)
	}
}
