package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sqs"

	"github.com/device-fanout/fanout/infra/doctor"
)

const freshReport = `environment dev: eu-central-1

note     endpoint: it has SNS and SQS alone: credentials, rights, stacks, encryption, TLS and the age of messages are not looked at

nothing is wrong
`

const changedReport = `environment dev: eu-central-1

error    dev-push.fifo: VisibilityTimeout is 5, want 30: a shorter one ends while an event is still handled; after a longer one a device waits longer when its consumer has died
         to do: set it back
           aws sqs set-queue-attributes --queue-url ENDPOINT/000000000000/dev-push.fifo --attributes '{"VisibilityTimeout":"30"}' --region eu-central-1 --endpoint-url ENDPOINT
error    dev-push-dlq.fifo: anybody may use the queue: * may sqs:*
         to do: set the policy back
           aws sqs set-queue-attributes --queue-url ENDPOINT/000000000000/dev-push-dlq.fifo --attributes '{"Policy":""}' --region eu-central-1 --endpoint-url ENDPOINT
warning  dev-history.fifo: ReceiveMessageWaitTimeSeconds is 0, want 2: receives that find nothing cost more, or a consumer takes longer to stop
         to do: set it back
           aws sqs set-queue-attributes --queue-url ENDPOINT/000000000000/dev-history.fifo --attributes '{"ReceiveMessageWaitTimeSeconds":"2"}' --region eu-central-1 --endpoint-url ENDPOINT
warning  dev-history-dlq.fifo: 1 event could not be handled
         to do: see what they are, mend the cause and redrive them
           fanout dlq ls history --env dev --endpoint ENDPOINT
warning  dev-lights: the service lights is not declared any more, because it was removed or renamed, and is still there: queue dev-lights.fifo with 0 messages
         to do: end it
           aws sqs delete-queue --queue-url ENDPOINT/000000000000/dev-lights.fifo --region eu-central-1 --endpoint-url ENDPOINT
note     endpoint: it has SNS and SQS alone: credentials, rights, stacks, encryption, TLS and the age of messages are not looked at

2 errors, 3 warnings
`

// TestDoctor_ReportsChanges in what it prints, for people and for machines, and by its exit code.
func TestDoctor_ReportsChanges(t *testing.T) {
	t.Parallel()
	engine, endpoint := localEngine(t)
	run := func(want int, args ...string) string {
		t.Helper()
		var stdout, stderr bytes.Buffer
		code := Run(context.Background(), testApp(), append([]string{"doctor", "--endpoint", endpoint}, args...), strings.NewReader(""), &stdout, &stderr)
		if code != want || stderr.Len() > 0 {
			t.Errorf("%q: got exit code %d and standard error\n%s\nwant code %d and nothing", args, code, &stderr, want)
		}
		return strings.ReplaceAll(stdout.String(), endpoint, "ENDPOINT")
	}
	if got := run(exitOK); got != freshReport {
		t.Errorf("fresh: got\n%s\nwant\n%s", got, freshReport)
	}
	for name, attributes := range map[string]map[string]string{
		"dev-push.fifo":     {"VisibilityTimeout": "5"},
		"dev-push-dlq.fifo": {"Policy": `{"Statement":{"Effect":"Allow","Principal":"*","Action":"sqs:*"}}`},
	} {
		_, err := engine.SQS().SetQueueAttributes(t.Context(), &sqs.SetQueueAttributesInput{
			QueueUrl: aws.String(queueURL(t, engine, name)), Attributes: attributes,
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	_, err := engine.SQS().CreateQueue(t.Context(), &sqs.CreateQueueInput{
		QueueName: aws.String("dev-lights.fifo"), Attributes: map[string]string{"FifoQueue": "true"},
	})
	if err != nil {
		t.Fatal(err)
	}
	// Which also sets the wait time of the queue of history.
	bury(t, engine, 0, lamps(1, 1), func(int) string { return "a" })
	if got := run(exitFailed); got != changedReport {
		t.Errorf("changed: got\n%s\nwant\n%s", got, changedReport)
	}
	var report doctor.Report
	if err := json.Unmarshal([]byte(run(exitFailed, "--json")), &report); err != nil {
		t.Fatal(err)
	}
	if report.Counts != (doctor.Counts{Errors: 2, Warnings: 3, Notes: 1}) || len(report.Findings) != 6 || !report.Deployed || len(report.Unseen) != 0 {
		t.Errorf("got %+v", report)
	}
	if got := run(exitFailed, "--env", "feature-x"); !strings.Contains(got, "nothing of this environment is there") {
		t.Errorf("an environment that is not there: got\n%s", got)
	}
}

// TestDoctor_NeverSaysAllIsWellUnseen: who could not look says so, by an exit code of its own.
func TestDoctor_NeverSaysAllIsWellUnseen(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		args []string
		want int
	}{
		{[]string{"doctor", "--endpoint", "http://" + unusedAddress(t)}, exitUnseen},
		{[]string{"doctor", "--endpoint", "nowhere"}, exitUsage},
		{[]string{"doctor", "history"}, exitUsage},
		{[]string{"doctor", "--local", "--env", "nowhere"}, exitUsage},
	} {
		var stdout, stderr bytes.Buffer
		code := Run(context.Background(), testApp(), row.args, strings.NewReader(""), &stdout, &stderr)
		if code != row.want || stdout.Len() > 0 || stderr.Len() == 0 {
			t.Errorf("%q: got exit code %d, %q, %q, want %d and an error", row.args, code, &stdout, &stderr, row.want)
		}
	}
	var out bytes.Buffer
	report := doctor.Report{Environment: "dev", Region: "eu-central-1", Unseen: []doctor.Unseen{{Part: "stacks", Reason: "denied", Advice: "allow it"}}}
	if err := printReport(&out, report); err != nil || !strings.Contains(out.String(), "stacks could not be looked at: denied") ||
		!strings.HasSuffix(out.String(), "\nnothing is wrong in what could be looked at; 1 part could not be looked at\n") {
		t.Errorf("got\n%s", &out)
	}
}
