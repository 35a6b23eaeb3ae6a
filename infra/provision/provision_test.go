package provision_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sns"
	snstypes "github.com/aws/aws-sdk-go-v2/service/sns/types"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"

	"github.com/device-fanout/fanout/infra/declaration"
	"github.com/device-fanout/fanout/infra/local"
	"github.com/device-fanout/fanout/infra/provision"
	"github.com/device-fanout/fanout/infra/topology"
)

func deployment(t *testing.T) topology.Deployment {
	t.Helper()
	d, err := declaration.Topology().In("dev")
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func TestApply_DeliversByFilter(t *testing.T) {
	t.Parallel()
	engine := local.New(local.Options{})
	d := deployment(t)
	r, err := provision.Apply(t.Context(), engine.SNS(), engine.SQS(), d)
	if err != nil {
		t.Fatal(err)
	}
	for _, eventType := range []string{"device.power.changed.v1", "device.humidity.measured.v1"} {
		_, err := engine.SNS().Publish(t.Context(), &sns.PublishInput{
			TopicArn: &r.TopicARN, Message: aws.String("{}"), MessageGroupId: aws.String("d1"), MessageDeduplicationId: &eventType,
			MessageAttributes: map[string]snstypes.MessageAttributeValue{"type": {DataType: aws.String("String"), StringValue: &eventType}},
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	for service, want := range map[string]int{"history": 2, "state": 2, "push": 1} {
		out, err := engine.SQS().ReceiveMessage(t.Context(), &sqs.ReceiveMessageInput{
			QueueUrl: aws.String(r.Queues[service].URL), MaxNumberOfMessages: 10, WaitTimeSeconds: 1,
		})
		if err != nil {
			t.Fatal(err)
		}
		if len(out.Messages) != want {
			t.Errorf("%s received %d messages, want %d", service, len(out.Messages), want)
		}
		for _, m := range out.Messages {
			if aws.ToString(m.Body) != "{}" {
				t.Errorf("%s received the body %q, want it raw", service, aws.ToString(m.Body))
			}
		}
	}
}

func TestApply_DeclaresWhatTheTopologySays(t *testing.T) {
	t.Parallel()
	engine := local.New(local.Options{})
	d := deployment(t)
	r, err := provision.Apply(t.Context(), engine.SNS(), engine.SQS(), d)
	if err != nil {
		t.Fatal(err)
	}
	attributes := func(url string) map[string]string {
		out, err := engine.SQS().GetQueueAttributes(t.Context(), &sqs.GetQueueAttributesInput{
			QueueUrl: &url, AttributeNames: []types.QueueAttributeName{types.QueueAttributeNameAll},
		})
		if err != nil {
			t.Fatal(err)
		}
		return out.Attributes
	}
	queue, dlq := attributes(r.Queues["history"].URL), attributes(r.Queues["history"].DLQURL)
	for name, want := range map[string]string{
		"FifoQueue": "true", "ContentBasedDeduplication": "false", "DeduplicationScope": "messageGroup",
		"FifoThroughputLimit": "perMessageGroupId", "VisibilityTimeout": "30", "MessageRetentionPeriod": "345600",
	} {
		if queue[name] != want {
			t.Errorf("queue: %s: got %q, want %q", name, queue[name], want)
		}
	}
	if dlq["FifoQueue"] != "true" || dlq["MessageRetentionPeriod"] != "1209600" {
		t.Errorf("dead-letter queue: got %v, want FIFO and 14 days", dlq)
	}
	var redrive struct {
		DLQ   string `json:"deadLetterTargetArn"`
		Count int    `json:"maxReceiveCount"`
	}
	if err := json.Unmarshal([]byte(queue["RedrivePolicy"]), &redrive); err != nil || redrive.DLQ != dlq["QueueArn"] || redrive.Count != topology.DefaultMaxReceiveCount {
		t.Errorf("redrive policy: got %s, want the dead-letter queue and %d", queue["RedrivePolicy"], topology.DefaultMaxReceiveCount)
	}
	var allow struct {
		Permission string   `json:"redrivePermission"`
		Sources    []string `json:"sourceQueueArns"`
	}
	if err := json.Unmarshal([]byte(dlq["RedriveAllowPolicy"]), &allow); err != nil || allow.Permission != "byQueue" || len(allow.Sources) != 1 || allow.Sources[0] != queue["QueueArn"] {
		t.Errorf("redrive allow policy: got %s, want just the queue", dlq["RedriveAllowPolicy"])
	}
}

func TestApply_KeepsWhatCouldNotBeDelivered(t *testing.T) {
	t.Parallel()
	for _, standard := range []bool{false, true} {
		engine := local.New(local.Options{})
		top := declaration.Topology()
		top.Services[0].Standard = standard
		d, err := top.In("feature-x")
		if err != nil {
			t.Fatal(err)
		}
		r, err := provision.Apply(t.Context(), engine.SNS(), engine.SQS(), d)
		if err != nil {
			t.Fatal(err)
		}
		found, err := provision.FindDeliveryDLQ(t.Context(), engine.SQS(), d, "history")
		if err != nil || found != r.Queues["history"].DeliveryDLQURL {
			t.Fatalf("found %q, %v; want %q", found, err, r.Queues["history"].DeliveryDLQURL)
		}
		if _, err := engine.SQS().DeleteQueue(t.Context(), &sqs.DeleteQueueInput{QueueUrl: aws.String(r.Queues["history"].URL)}); err != nil {
			t.Fatal(err)
		}
		_, err = engine.SNS().Publish(t.Context(), &sns.PublishInput{
			TopicArn: &r.TopicARN, Message: aws.String("{}"), MessageGroupId: aws.String("d1"), MessageDeduplicationId: aws.String("e1"),
		})
		if err != nil {
			t.Fatal(err)
		}
		out, err := engine.SQS().ReceiveMessage(t.Context(), &sqs.ReceiveMessageInput{QueueUrl: &found, WaitTimeSeconds: 1})
		if err != nil {
			t.Fatal(err)
		}
		if len(out.Messages) != 1 || aws.ToString(out.Messages[0].Body) != "{}" {
			t.Errorf("standard %v: got %d messages, want the one that could not be delivered", standard, len(out.Messages))
		}
	}
}

func TestApply_TwiceIsTheSame(t *testing.T) {
	t.Parallel()
	engine := local.New(local.Options{})
	d := deployment(t)
	first, err := provision.Apply(t.Context(), engine.SNS(), engine.SQS(), d)
	if err != nil {
		t.Fatal(err)
	}
	second, err := provision.Apply(t.Context(), engine.SNS(), engine.SQS(), d)
	if err != nil {
		t.Fatal(err)
	}
	found, err := provision.Find(t.Context(), engine.SNS(), engine.SQS(), d)
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range []provision.Resources{second, found} {
		if r.TopicARN != first.TopicARN || r.Queues["push"] != first.Queues["push"] {
			t.Errorf("got %+v, want %+v", r, first)
		}
	}
}

func TestFind_SaysWhatIsMissing(t *testing.T) {
	t.Parallel()
	engine := local.New(local.Options{})
	var missing *provision.NotFoundError
	if _, err := provision.Find(t.Context(), engine.SNS(), engine.SQS(), deployment(t)); !errors.As(err, &missing) || missing.Name != "dev-device-events.fifo" {
		t.Errorf("got %v, want the topic's name", err)
	}
	if _, err := provision.FindQueues(t.Context(), engine.SQS(), deployment(t), "push"); !errors.As(err, &missing) || missing.Name != "dev-push.fifo" {
		t.Errorf("got %v, want the queue's name", err)
	}
}

// failing is a test that fails, as seen by a helper.
type failing struct {
	*testing.T
	said string
}

func (f *failing) Fatalf(format string, args ...any) {
	f.said = fmt.Sprintf(format, args...)
	runtime.Goexit()
}

func TestStart(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		fanout := provision.Start(t, declaration.Topology(), "test", local.Options{EnforcePolicies: true})
		_, err := fanout.SNS.Publish(t.Context(), &sns.PublishInput{
			TopicArn: &fanout.TopicARN, Message: aws.String("{}"), MessageGroupId: aws.String("d"), MessageDeduplicationId: aws.String("e"),
		})
		if err != nil {
			t.Fatal(err)
		}
		out, err := fanout.SQS.ReceiveMessage(t.Context(), &sqs.ReceiveMessageInput{
			QueueUrl: aws.String(fanout.Queues["history"].URL), WaitTimeSeconds: 1,
		})
		if err != nil || len(out.Messages) != 1 {
			t.Errorf("received %v, %v, want one message", out, err)
		}
	})
	f := &failing{T: t}
	done := make(chan struct{})
	go func() {
		defer close(done)
		provision.Start(f, declaration.Topology(), "nowhere", local.Options{})
	}()
	<-done
	if !strings.Contains(f.said, `no environment "nowhere"`) {
		t.Errorf("it fails with %q", f.said)
	}
}
