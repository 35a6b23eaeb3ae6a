package clients_test

import (
	"encoding/json"
	"os/exec"
	"strings"
	"testing"
)

// The AWS CLI talks to the engine as to AWS: SQS in JSON, SNS in the Query protocol, both signed.
func TestAWSCLI_PublishesReceivesAndDeletes(t *testing.T) {
	t.Parallel()
	skipShort(t)
	path, err := exec.LookPath("aws")
	if err != nil {
		t.Skip("the AWS CLI is not in PATH; install awscli to run this test")
	}
	e, endpoint := serve(t)
	run := func(args ...string) string {
		t.Helper()
		args = append(args, "--endpoint-url", endpoint, "--output", "json") // "aws sqs" of version 1 knows no AWS_ENDPOINT_URL
		out, err := command(t, endpoint, "", path, args...).CombinedOutput()
		if err != nil {
			t.Fatalf("aws %s: %v\n%s", strings.Join(args, " "), err, out)
		}
		return string(out)
	}
	read := func(text string, into any) {
		t.Helper()
		if err := json.Unmarshal([]byte(text), into); err != nil {
			t.Fatalf("%v: %s", err, text)
		}
	}

	var queue struct {
		QueueURL string `json:"QueueUrl"`
	}
	read(run("sqs", "create-queue", "--queue-name", "q.fifo", "--attributes", "FifoQueue=true"), &queue)
	if want := endpoint + "/000000000000/q.fifo"; queue.QueueURL != want {
		t.Errorf("queue URL is %s, want %s", queue.QueueURL, want)
	}
	var topic struct{ TopicArn string }
	read(run("sns", "create-topic", "--name", "t.fifo", "--attributes", "FifoTopic=true"), &topic)
	run("sns", "subscribe", "--topic-arn", topic.TopicArn, "--protocol", "sqs", "--notification-endpoint", "arn:aws:sqs:eu-central-1:000000000000:q.fifo",
		"--attributes", `{"RawMessageDelivery":"true","FilterPolicy":"{\"type\":[\"x\"]}"}`)
	run("sns", "publish", "--topic-arn", topic.TopicArn, "--message", `{"ü":"<&> 100%"}`, "--message-group-id", "g",
		"--message-deduplication-id", "d", "--message-attributes", `{"type":{"DataType":"String","StringValue":"x"}}`)

	var got struct {
		Messages []struct {
			Body, ReceiptHandle string
			Attributes          map[string]string
			MessageAttributes   map[string]struct{ StringValue, DataType string }
		}
	}
	read(run("sqs", "receive-message", "--queue-url", queue.QueueURL, "--attribute-names", "All", "--message-attribute-names", "All"), &got)
	if len(got.Messages) != 1 {
		t.Fatalf("received %+v, want one message", got)
	}
	m := got.Messages[0]
	if m.Body != `{"ü":"<&> 100%"}` || m.Attributes["MessageGroupId"] != "g" || m.MessageAttributes["type"].StringValue != "x" {
		t.Errorf("received %+v", m)
	}
	run("sqs", "delete-message", "--queue-url", queue.QueueURL, "--receipt-handle", m.ReceiptHandle)
	if !e.Idle() {
		t.Errorf("the queue holds %+v", e.Queues())
	}
}
