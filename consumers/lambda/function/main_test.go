package main

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	awsevents "github.com/aws/aws-lambda-go/events"
	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sqs"

	"github.com/device-fanout/fanout/consumers/history"
	"github.com/device-fanout/fanout/events"
	"github.com/device-fanout/fanout/events/device"
	"github.com/device-fanout/fanout/infra/local"
)

// The program as Lambda runs it: it asks the Runtime API for a batch, and answers there.
func TestProgram_AnswersTheRuntimeAPI(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("builds the program; run without -short")
	}
	folder := t.TempDir()
	program := filepath.Join(folder, "bootstrap")
	if text, err := exec.Command("go", "build", "-tags", "lambda.norpc", "-o", program, ".").CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, text)
	}
	engine := local.New(local.Options{})
	t.Cleanup(func() { _ = engine.Close() })
	endpoint, err := engine.Listen("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	create := func(name string) string {
		out, err := engine.SQS().CreateQueue(t.Context(), &sqs.CreateQueueInput{QueueName: &name, Attributes: map[string]string{"FifoQueue": "true"}})
		if err != nil {
			t.Fatal(err)
		}
		return aws.ToString(out.QueueUrl)
	}
	queueURL, dlqURL := create("dev-history.fifo"), create("dev-history-dlq.fifo")

	var batch awsevents.SQSEvent
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

	answers := make(chan string, 1)
	asked := make(chan string, 1)
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

	database := filepath.Join(folder, "history.db")
	ctx, stop := context.WithCancel(t.Context())
	cmd := exec.CommandContext(ctx, program)
	var stderr strings.Builder
	cmd.Stderr = &stderr
	cmd.Env = append(os.Environ(), "AWS_LAMBDA_RUNTIME_API="+strings.TrimPrefix(api.URL, "http://"), "AWS_ENDPOINT_URL="+endpoint,
		"AWS_REGION=eu-central-1", "AWS_ACCESS_KEY_ID=local", "AWS_SECRET_ACCESS_KEY=local",
		"FANOUT_QUEUE_URL="+queueURL, "FANOUT_DLQ_URL="+dlqURL, "FANOUT_DATABASE="+database)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	select {
	case got := <-answers:
		if want := `one/response {"batchItemFailures":null}`; got != want {
			t.Errorf("answer: got %s, want %s", got, want)
		}
	case err := <-ended:
		t.Fatalf("the program ended: %v\n%s", err, &stderr)
	}
	stop()
	<-ended

	service, err := history.Open(t.Context(), database, history.Config{})
	if err != nil {
		t.Fatal(err)
	}
	defer service.Close()
	if _, err := service.Find(t.Context(), good.ID); err != nil {
		t.Errorf("the good event: %v", err)
	}
	out, err := engine.SQS().ReceiveMessage(t.Context(), &sqs.ReceiveMessageInput{QueueUrl: &dlqURL, MaxNumberOfMessages: 10})
	if err != nil || len(out.Messages) != 1 || *out.Messages[0].Body != "no JSON" {
		t.Errorf("dead letters: got %v, %v, want the one that is no JSON", out, err)
	}
}

func TestNewFunction_SaysWhatIsMissing(t *testing.T) {
	t.Parallel()
	if _, err := newFunction(t.Context(), func(string) string { return "" }); err == nil || !strings.Contains(err.Error(), "FANOUT_QUEUE_URL") {
		t.Errorf("empty environment: got %v, want the names of the variables", err)
	}
}
