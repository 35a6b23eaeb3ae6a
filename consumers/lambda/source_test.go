package lambda_test

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	awsevents "github.com/aws/aws-lambda-go/events"
	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"

	"github.com/device-fanout/fanout/consumers"
	"github.com/device-fanout/fanout/consumers/deadletter"
	"github.com/device-fanout/fanout/consumers/lambda"
	"github.com/device-fanout/fanout/events"
	"github.com/device-fanout/fanout/infra/local"
)

// source stands in for Lambda's event source mapping: it reads a queue of the local engine in batches, calls a function
// with each, and deletes what the function does not report.
type source struct {
	t      *testing.T
	api    *sqs.Client
	queue  consumers.Queue
	arn    string
	invoke func(context.Context, awsevents.SQSEvent) (awsevents.SQSEventResponse, error)
	wait   int32         // seconds of a long poll
	aged   time.Duration // how long before it really was the function is told that a message was received first
}

func newSource(t *testing.T, engine *local.Engine) *source {
	t.Helper()
	s := &source{t: t, api: engine.SQS()}
	s.queue = consumers.Queue{Service: "lights", URL: s.create("dev-lights.fifo"), DLQURL: s.create("dev-lights-dlq.fifo")}
	out, err := s.api.GetQueueAttributes(t.Context(), &sqs.GetQueueAttributesInput{
		QueueUrl: &s.queue.URL, AttributeNames: []types.QueueAttributeName{types.QueueAttributeNameQueueArn},
	})
	if err != nil {
		t.Fatal(err)
	}
	s.arn = out.Attributes[string(types.QueueAttributeNameQueueArn)]
	return s
}

// visibility is the queues' visibility timeout in seconds.
const visibility = "60"

func (s *source) create(name string) string {
	s.t.Helper()
	out, err := s.api.CreateQueue(s.t.Context(), &sqs.CreateQueueInput{
		QueueName: &name, Attributes: map[string]string{"FifoQueue": "true", "VisibilityTimeout": visibility},
	})
	if err != nil {
		s.t.Fatal(err)
	}
	return aws.ToString(out.QueueUrl)
}

func (s *source) send(all ...events.Event) {
	s.t.Helper()
	for _, e := range all {
		e.Source = "test"
		body, err := events.Encode(e)
		if err != nil {
			s.t.Fatal(err)
		}
		s.sendBody(e.DeviceID, e.ID, e.Type(), string(body))
	}
}

func (s *source) sendBody(group, id, eventType, body string) {
	s.t.Helper()
	_, err := s.api.SendMessage(s.t.Context(), &sqs.SendMessageInput{
		QueueUrl: &s.queue.URL, MessageBody: &body, MessageGroupId: &group, MessageDeduplicationId: &id,
		MessageAttributes: map[string]types.MessageAttributeValue{"type": {DataType: aws.String("String"), StringValue: &eventType}},
	})
	if err != nil {
		s.t.Fatal(err)
	}
}

// batch receives up to ten messages and calls the function with them. It returns the response, and how many there were.
func (s *source) batch(ctx context.Context) (response awsevents.SQSEventResponse, n int) {
	s.t.Helper()
	out, err := s.api.ReceiveMessage(s.t.Context(), &sqs.ReceiveMessageInput{
		QueueUrl: &s.queue.URL, MaxNumberOfMessages: 10, WaitTimeSeconds: s.wait, MessageAttributeNames: []string{"All"},
		MessageSystemAttributeNames: []types.MessageSystemAttributeName{types.MessageSystemAttributeNameAll},
	})
	if err != nil {
		s.t.Fatal(err)
	}
	if len(out.Messages) == 0 {
		return response, 0
	}
	var batch awsevents.SQSEvent
	for _, m := range out.Messages {
		if s.aged > 0 {
			m.Attributes["ApproximateFirstReceiveTimestamp"] = strconv.FormatInt(time.Now().Add(-s.aged).UnixMilli(), 10)
		}
		record := awsevents.SQSMessage{
			MessageId: *m.MessageId, ReceiptHandle: *m.ReceiptHandle, Body: *m.Body, Attributes: m.Attributes, EventSourceARN: s.arn,
			MessageAttributes: map[string]awsevents.SQSMessageAttribute{},
		}
		for name, value := range m.MessageAttributes {
			record.MessageAttributes[name] = awsevents.SQSMessageAttribute{DataType: *value.DataType, StringValue: value.StringValue, BinaryValue: value.BinaryValue}
		}
		batch.Records = append(batch.Records, record)
	}
	response, err = s.invoke(ctx, batch)
	if err != nil {
		s.t.Fatalf("function: %v", err)
	}
	for _, m := range out.Messages {
		if slices.ContainsFunc(response.BatchItemFailures, func(f awsevents.SQSBatchItemFailure) bool { return f.ItemIdentifier == *m.MessageId }) {
			continue
		}
		if _, err := s.api.DeleteMessage(s.t.Context(), &sqs.DeleteMessageInput{QueueUrl: &s.queue.URL, ReceiptHandle: m.ReceiptHandle}); err != nil {
			s.t.Fatalf("delete: %v", err)
		}
	}
	return response, len(out.Messages)
}

// maxReceives gives the queue a redrive policy.
func (s *source) maxReceives(n int) {
	s.t.Helper()
	_, err := s.api.SetQueueAttributes(s.t.Context(), &sqs.SetQueueAttributesInput{QueueUrl: &s.queue.URL, Attributes: map[string]string{
		"RedrivePolicy": fmt.Sprintf(`{"deadLetterTargetArn":%q,"maxReceiveCount":%d}`, strings.Replace(s.arn, "lights", "lights-dlq", 1), n),
	}})
	if err != nil {
		s.t.Fatal(err)
	}
}

// process gives the source a function of its own, as each process of Lambda's has one, and its own time.
func (s *source) process(handle consumers.Handler, cfg lambda.Config) *source {
	s.t.Helper()
	f, err := lambda.New(s.api, s.queue, handle, cfg)
	if err != nil {
		s.t.Fatal(err)
	}
	another := *s
	another.invoke = func(ctx context.Context, batch awsevents.SQSEvent) (awsevents.SQSEventResponse, error) {
		ctx, cancel := context.WithTimeout(ctx, functionTimeout)
		defer cancel()
		return f.Handle(ctx, batch)
	}
	return &another
}

// functionTimeout is that of a service with the default handler timeout.
const functionTimeout = 10 * consumers.DefaultHandlerTimeout

// depth is how many messages the queue holds.
func (s *source) depth() int {
	s.t.Helper()
	names := []types.QueueAttributeName{types.QueueAttributeNameApproximateNumberOfMessages, types.QueueAttributeNameApproximateNumberOfMessagesNotVisible}
	out, err := s.api.GetQueueAttributes(s.t.Context(), &sqs.GetQueueAttributesInput{QueueUrl: &s.queue.URL, AttributeNames: names})
	if err != nil {
		s.t.Fatal(err)
	}
	total := 0
	for _, name := range names {
		n, _ := strconv.Atoi(out.Attributes[string(name)])
		total += n
	}
	return total
}

// run calls the function until nothing has come for longer than anything is hidden.
func (s *source) run() {
	s.t.Helper()
	for idle := 0; idle < 110; {
		if _, n := s.batch(s.t.Context()); n > 0 {
			idle = 0
			continue
		}
		idle++
		time.Sleep(time.Second) // of the test's clock
	}
}

// deadLetters takes the dead letters out of the queue, by event ID.
func (s *source) deadLetters() map[string]deadletter.Record {
	s.t.Helper()
	all := make(map[string]deadletter.Record)
	for {
		out, err := s.api.ReceiveMessage(s.t.Context(), &sqs.ReceiveMessageInput{
			QueueUrl: &s.queue.DLQURL, MaxNumberOfMessages: 10, MessageAttributeNames: []string{"All"},
			MessageSystemAttributeNames: []types.MessageSystemAttributeName{types.MessageSystemAttributeNameAll},
		})
		if err != nil {
			s.t.Fatal(err)
		}
		if len(out.Messages) == 0 {
			return all
		}
		for _, m := range out.Messages {
			record, err := deadletter.ParseRecord(aws.ToString(m.MessageAttributes[deadletter.Attribute].StringValue))
			if err != nil {
				s.t.Fatal(err)
			}
			id := *m.Body
			if e, err := events.Decode([]byte(*m.Body)); err == nil {
				id = e.ID
			}
			if _, twice := all[id]; twice {
				s.t.Errorf("dead letter %s: there twice", id)
			}
			all[id] = record
			if _, err := s.api.DeleteMessage(s.t.Context(), &sqs.DeleteMessageInput{QueueUrl: &s.queue.DLQURL, ReceiptHandle: m.ReceiptHandle}); err != nil {
				s.t.Fatal(err)
			}
		}
	}
}
