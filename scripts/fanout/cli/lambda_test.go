package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	awsevents "github.com/aws/aws-lambda-go/events"
	"github.com/aws/aws-sdk-go-v2/service/sqs"

	"github.com/device-fanout/fanout/consumers"
	"github.com/device-fanout/fanout/events"
	"github.com/device-fanout/fanout/events/device"
	"github.com/device-fanout/fanout/infra/local"
)

// builtProgram is the program as the Dockerfile builds it, built once.
var builtProgram = sync.OnceValues(func() ([]byte, error) {
	dockerfile, err := os.ReadFile(filepath.Join(repositoryRoot, "Dockerfile"))
	if err != nil {
		return nil, err
	}
	im, err := parseDockerfile(string(dockerfile))
	if err != nil {
		return nil, err
	}
	folder, err := os.MkdirTemp("", "fanout-test-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(folder)
	path := filepath.Join(folder, "fanout")
	cmd := exec.Command("sh", "-c", strings.Replace(im.build, "-o "+im.program, "-o "+path, 1))
	cmd.Dir = repositoryRoot
	cmd.Env = append(cmd.Environ(), "TARGETOS="+runtime.GOOS, "TARGETARCH="+runtime.GOARCH, "VERSION="+builtVersion)
	if text, err := cmd.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("%s: %w\n%s", im.build, err, text)
	}
	return os.ReadFile(path)
})

// builtVersion is the VERSION that it is built with.
const builtVersion = "v0.0.0-test"

// writeProgram writes the built program to a file.
func writeProgram(t *testing.T, path string) {
	t.Helper()
	if testing.Short() {
		t.Skip("builds the program; run without -short")
	}
	text, err := builtProgram()
	if err != nil {
		t.Fatal(err)
	}
	// A process that another test starts meanwhile would hold the file open for writing, and what is written to can't be executed.
	syscall.ForkLock.RLock()
	err = os.WriteFile(path, text, 0o755)
	syscall.ForkLock.RUnlock()
	if err != nil {
		t.Fatal(err)
	}
}

// lambdaRuntime is a Runtime API with one invocation.
type lambdaRuntime struct {
	address string
	answers chan string // path and body of what the function answers
}

func newLambdaRuntime(t *testing.T, batch awsevents.SQSEvent) lambdaRuntime {
	t.Helper()
	answers, asked := make(chan string, 1), make(chan string, 1)
	asked <- "one"
	api := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch path := strings.TrimPrefix(r.URL.Path, "/2018-06-01/runtime/invocation/"); path {
		case "next":
			select {
			case id := <-asked:
				w.Header().Set("Lambda-Runtime-Aws-Request-Id", id)
				w.Header().Set("Lambda-Runtime-Deadline-Ms", "33000000000000")
				_ = json.NewEncoder(w).Encode(batch)
			case <-r.Context().Done():
			}
		default:
			text, _ := io.ReadAll(r.Body)
			answers <- path + " " + string(text)
			w.WriteHeader(http.StatusAccepted)
		}
	}))
	t.Cleanup(api.Close)
	return lambdaRuntime{strings.TrimPrefix(api.URL, "http://"), answers}
}

// lambdaBatch are a good event, with its ID, and one that can't be read.
func lambdaBatch(t *testing.T) (batch awsevents.SQSEvent, id string) {
	t.Helper()
	add := func(id, deviceID, body string) {
		batch.Records = append(batch.Records, awsevents.SQSMessage{
			MessageId: id, ReceiptHandle: "handle-" + id, Body: body,
			Attributes: map[string]string{"MessageGroupId": deviceID, "ApproximateReceiveCount": "1"},
		})
	}
	good := events.New("hall", device.PowerChanged{On: true})
	good.Source = "test"
	body, err := events.Encode(good)
	if err != nil {
		t.Fatal(err)
	}
	add("m1", "hall", string(body))
	add("m2", "attic", "no JSON")
	return batch, good.ID
}

// lambdaEnvironment is that of a function of history, as its stack and Lambda set it.
func lambdaEnvironment(t *testing.T, engine *local.Engine, endpoint, address, database string) []string {
	t.Helper()
	return []string{
		"AWS_LAMBDA_RUNTIME_API=" + address, "AWS_ENDPOINT_URL=" + endpoint,
		"AWS_REGION=eu-central-1", "AWS_ACCESS_KEY_ID=local", "AWS_SECRET_ACCESS_KEY=local",
		"FANOUT_ENV=dev", "FANOUT_SERVICE=history", "FANOUT_HANDLER_TIMEOUT=10s", "FANOUT_MAX_RECEIVE_COUNT=288",
		"FANOUT_QUEUE_URL=" + queueURL(t, engine, "dev-history.fifo"), "FANOUT_DLQ_URL=" + queueURL(t, engine, "dev-history-dlq.fifo"),
		"FANOUT_DATABASE=" + database,
	}
}

// wantLambdaAnswer waits for the function's answer to lambdaBatch: the good event is done, and the other one a dead letter.
func wantLambdaAnswer(t *testing.T, p *program, functions lambdaRuntime, engine *local.Engine) {
	t.Helper()
	ended := make(chan struct{})
	go func() { // ends with the program
		_ = p.Wait()
		close(ended)
	}()
	select {
	case got := <-functions.answers:
		if want := `one/response {"batchItemFailures":null}`; got != want {
			t.Errorf("answer: got %s, want %s", got, want)
		}
	case <-ended:
		t.Fatalf("the program ended: %v\n%s", p.ProcessState, p.stderr)
	}
	dlq := queueURL(t, engine, "dev-history-dlq.fifo")
	out, err := engine.SQS().ReceiveMessage(t.Context(), &sqs.ReceiveMessageInput{QueueUrl: &dlq, MaxNumberOfMessages: 10})
	if err != nil || len(out.Messages) != 1 || *out.Messages[0].Body != "no JSON" {
		t.Errorf("dead letters: got %v, %v, want the one that is no JSON", out, err)
	}
	_ = p.Process.Kill()
	<-ended
}

// wantJSONLog fails the test unless every line is a JSON object and none shows the word.
func wantJSONLog(t *testing.T, text, word string) {
	t.Helper()
	for line := range strings.Lines(text) {
		var entry struct{ Level, Msg string }
		if err := json.Unmarshal([]byte(line), &entry); err != nil || entry.Level == "" || entry.Msg == "" {
			t.Errorf("log: got %q, %v, want a JSON object with level and msg", line, err)
		}
	}
	if word != "" && strings.Contains(text, word) {
		t.Errorf("log: got\n%s\nwant it without the password", text)
	}
}

// TestLambda_AnswersTheRuntimeAPI: the program as Lambda runs it. It asks the Runtime API for a batch, and answers there.
func TestLambda_AnswersTheRuntimeAPI(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	path := filepath.Join(folder, "fanout")
	writeProgram(t, path)
	engine, endpoint := localEngine(t)
	batch, id := lambdaBatch(t)
	functions := newLambdaRuntime(t, batch)
	cmd := exec.Command(path, "lambda", "history")
	cmd.Env = lambdaEnvironment(t, engine, endpoint, functions.address, filepath.Join(folder, "history.db"))
	p := startCommand(t, cmd, nil, nil)
	wantLambdaAnswer(t, p, functions, engine)
	wantJSONLog(t, p.stderr.String(), "")
	if kept := rows(t, openDatabase(t, folder, "history"), `SELECT event_id, device_id, type, time, data FROM event_history ORDER BY position`); len(kept) != 1 || kept[0].ID != id {
		t.Errorf("history: got %+v, want the event %s", kept, id)
	}
}

// TestLambda_RefusesToStart with a reason, as JSON and without passwords.
func TestLambda_RefusesToStart(t *testing.T) {
	engine, endpoint := localEngine(t)
	const word = "very-secret"
	base := lambdaEnvironment(t, engine, endpoint, "127.0.0.1:1", filepath.Join(t.TempDir(), "history.db"))
	for name, c := range map[string]struct {
		service string
		set     map[string]string
		code    int
		want    string
	}{
		"no Lambda":           {"history", map[string]string{"AWS_LAMBDA_RUNTIME_API": ""}, exitFailed, "consume history"},
		"no such service":     {"lights", nil, exitUsage, "lights"},
		"no queues":           {"history", map[string]string{"FANOUT_QUEUE_URL": "", "FANOUT_DLQ_URL": ""}, exitFailed, "FANOUT_DLQ_URL"},
		"no database":         {"history", map[string]string{"FANOUT_DATABASE": ""}, exitFailed, "FANOUT_DATABASE"},
		"a wrong timeout":     {"history", map[string]string{"FANOUT_HANDLER_TIMEOUT": "soon"}, exitFailed, "FANOUT_HANDLER_TIMEOUT"},
		"another service":     {"history", map[string]string{"FANOUT_SERVICE": "state"}, exitFailed, "names"},
		"push":                {"push", map[string]string{"FANOUT_SERVICE": "push", "FANOUT_DATABASE": ""}, exitFailed, "container"},
		"no such environment": {"history", map[string]string{"FANOUT_ENV": "NOWHERE"}, exitUsage, "NOWHERE"},
		"a password":          {"history", map[string]string{"FANOUT_DATABASE": "nonsense://user:" + word + "@127.0.0.1/x"}, exitFailed, "nonsense"},
	} {
		t.Run(name, func(t *testing.T) { // not parallel: it sets the environment
			for _, variable := range base {
				key, value, _ := strings.Cut(variable, "=")
				if other, ok := c.set[key]; ok {
					value = other
				}
				t.Setenv(key, value)
			}
			done := invoke(t, "", "lambda", c.service).want(t, c.code)
			contains(t, "stderr", done.stderr, c.want)
			if strings.Contains(done.stderr, word) {
				t.Errorf("the log shows the password:\n%s", done.stderr)
			}
			if name != "no Lambda" {
				wantJSONLog(t, done.stderr, word)
			}
		})
	}
}

// TestLambda_RefusesWhatAFunctionCantKeep: with park or block, a service needs a process that lasts.
func TestLambda_RefusesWhatAFunctionCantKeep(t *testing.T) {
	engine, endpoint := localEngine(t)
	for _, variable := range lambdaEnvironment(t, engine, endpoint, "127.0.0.1:1", "history.db") {
		key, value, _ := strings.Cut(variable, "=")
		t.Setenv(key, value)
	}
	for _, policy := range []consumers.GroupPolicy{consumers.Park, consumers.Block} {
		app := testApp()
		for i := range app.Topology.Services {
			app.Topology.Services[i].GroupPolicy = policy
		}
		var stderr strings.Builder
		if code := Run(t.Context(), app, []string{"lambda", "history"}, nil, io.Discard, &stderr); code != exitFailed {
			t.Errorf("%s: got exit code %d, want %d", policy, code, exitFailed)
		}
		contains(t, string(policy), stderr.String(), "group policy "+string(policy))
	}
}

// TestLambda_TakesAllThatAServiceSays: its check is asked before an event that fails becomes a dead letter, and it gets types that are not registered.
func TestLambda_TakesAllThatAServiceSays(t *testing.T) {
	engine, endpoint := localEngine(t)
	for _, variable := range lambdaEnvironment(t, engine, endpoint, "127.0.0.1:1", "history.db") {
		key, value, _ := strings.Cut(variable, "=")
		t.Setenv(key, value)
	}
	var checked, unknown atomic.Bool
	app := testApp()
	app.Services["history"] = func(context.Context, Options) (*Service, error) {
		return &Service{
			UnknownTypes: true,
			Check:        func(context.Context) error { checked.Store(true); return errors.New("it does not work") },
			Handle: func(_ context.Context, event events.Event) error {
				if event.DeviceID == "hall" {
					return errors.New("broken")
				}
				unknown.Store(true)
				return nil
			},
			Close: func(context.Context) error { return nil },
		}, nil
	}
	g := &globals{app: app, streams: streams{out: newOutput(), err: newOutput()}, env: "dev"}
	function, stop, err := g.newFunction(t.Context(), "history", slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	checked.Store(false) // it may be asked at the start, too
	batch, _ := lambdaBatch(t)
	batch.Records[1].Body = strings.NewReplacer("device.power.changed.v1", "device.unheard.v1", "hall", "attic").Replace(batch.Records[0].Body)
	answer, err := function.Handle(t.Context(), batch)
	if err != nil || len(answer.BatchItemFailures) != 1 || answer.BatchItemFailures[0].ItemIdentifier != batch.Records[0].MessageId {
		t.Errorf("got %+v, %v, want the event that failed to come again", answer, err)
	}
	if !checked.Load() || !unknown.Load() {
		t.Errorf("checked %t, the unregistered type handled %t, want both", checked.Load(), unknown.Load())
	}
	if err := stop(t.Context()); err != nil {
		t.Error(err)
	}
}

// TestJSONLogger_HidesPasswords, wherever a handler or a library puts them.
func TestJSONLogger_HidesPasswords(t *testing.T) {
	t.Parallel()
	const word = "very-secret"
	url := "postgres://user:" + word + "@db.example/history"
	var text strings.Builder
	logger := jsonLogger(&text, slog.LevelInfo)
	logger.Warn("can't connect to "+url, "err", errors.New("dial "+url), "database", url)
	logger.WithGroup("database").With("url", url).Error("gave up", "password", "password="+word)
	wantJSONLog(t, text.String(), word)
	if n := strings.Count(text.String(), "db.example"); n != 4 {
		t.Errorf("log: got\n%s\nwant the host in it 4 times", text.String())
	}
}
