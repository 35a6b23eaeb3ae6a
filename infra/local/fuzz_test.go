package local_test

import (
	"encoding/json"
	"encoding/xml"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sns"
	"github.com/aws/aws-sdk-go-v2/service/sqs"

	"github.com/device-fanout/fanout/infra/local"
)

// FuzzRequest sends arbitrary requests. Each must get an answer in the shape of its protocol, and be survived.
func FuzzRequest(f *testing.F) {
	e := local.New(local.Options{})
	// Closed: no long poll waits then, and all else works.
	if err := e.Close(); err != nil {
		f.Fatal(err)
	}
	ctx := f.Context()
	if _, err := e.SQS().CreateQueue(ctx, &sqs.CreateQueueInput{QueueName: aws.String("q.fifo"), Attributes: attrs{"FifoQueue": "true"}}); err != nil {
		f.Fatal(err)
	}
	topic, err := e.SNS().CreateTopic(ctx, &sns.CreateTopicInput{Name: aws.String("t.fifo"), Attributes: attrs{"FifoTopic": "true"}})
	if err != nil {
		f.Fatal(err)
	}
	if _, err := e.SNS().Subscribe(ctx, &sns.SubscribeInput{TopicArn: topic.TopicArn, Protocol: aws.String("sqs"), Endpoint: aws.String(arnPrefix + "q.fifo")}); err != nil {
		f.Fatal(err)
	}
	for _, seed := range []struct{ action, query, body string }{
		{"SendMessage", "", `{"QueueUrl":"q.fifo","MessageBody":"m","MessageGroupId":"g","MessageDeduplicationId":"d","MessageAttributes":{"a":{"DataType":"String","StringValue":"\ud83d\ude00"}}}`},
		{"SendMessageBatch", "", `{"QueueUrl":"q.fifo","Entries":[{"Id":"a","MessageBody":"m"},{"Id":"b"}]}`},
		{"ReceiveMessage", "", `{"QueueUrl":"q.fifo","MaxNumberOfMessages":10,"WaitTimeSeconds":20,"MessageAttributeNames":["All"]}`},
		{"DeleteMessageBatch", "", `{"QueueUrl":"q.fifo","Entries":[{"Id":"a","ReceiptHandle":"AAAAAAAAAAAAAAAAAAAAAAAAAAA"}]}`},
		{"ChangeMessageVisibility", "", `{"QueueUrl":"q.fifo","ReceiptHandle":"x","VisibilityTimeout":-1}`},
		{"CreateQueue", "", `{"QueueName":"x","Attributes":{"RedrivePolicy":"{}","VisibilityTimeout":"1e3"},"tags":{"":""}}`},
		{"SetQueueAttributes", "", `{"QueueUrl":"q.fifo","Attributes":{"RedriveAllowPolicy":"[","DelaySeconds":"900"}}`},
		{"ListQueues", "", `{"MaxResults":0}`},
		{"Nothing", "", `null`},
		{"", "", "Action=Publish&TopicArn=" + *topic.TopicArn + "&Message=%7B%22default%22%3A%22x%22%7D&MessageStructure=json&MessageGroupId=g&MessageDeduplicationId=d&Version=2010-03-31"},
		{"", "", "Action=PublishBatch&TopicArn=" + *topic.TopicArn + "&PublishBatchRequestEntries.member.1.Id=a&PublishBatchRequestEntries.member.1.Message=m&PublishBatchRequestEntries.member.1.MessageAttributes.entry.1.Name=n&PublishBatchRequestEntries.member.1.MessageAttributes.entry.1.Value.BinaryValue=%%"},
		{"", "", "Action=Subscribe&Protocol=sqs&Endpoint=" + arnPrefix + "q.fifo&TopicArn=" + *topic.TopicArn + "&Attributes.entry.1.key=FilterPolicy&Attributes.entry.1.value=%7B%22a%22%3A%5B1%5D%7D"},
		{"", "Action=ReceiveMessage&WaitTimeSeconds=1", "AttributeName.1=All"},
		{"", "Action=GetQueueAttributes&AttributeName.1=All&AttributeName.3=x&=&%", "\xff\x00"},
	} {
		f.Add(seed.action, seed.query, seed.body)
	}
	f.Fuzz(func(t *testing.T, action, query, body string) {
		r := httptest.NewRequest(http.MethodPost, "http://x/000000000000/q.fifo", strings.NewReader(body))
		r.URL.RawQuery = query
		if action != "" {
			r.Header["X-Amz-Target"] = []string{"AmazonSQS." + action}
		}
		w := httptest.NewRecorder()
		e.ServeHTTP(w, r)
		answer := w.Body.Bytes()
		switch {
		case w.Code == http.StatusInternalServerError:
			t.Fatalf("got 500: %s", answer)
		case action != "" && w.Code != http.StatusOK:
			var shape struct {
				Type string `json:"__type"`
			}
			if err := json.Unmarshal(answer, &shape); err != nil || !strings.Contains(shape.Type, "#") || w.Header().Get("x-amzn-query-error") == "" {
				t.Fatalf("got %d %s", w.Code, answer)
			}
		case action != "":
			if len(answer) > 0 && !json.Valid(answer) {
				t.Fatalf("got %s", answer)
			}
		default:
			dec := xml.NewDecoder(strings.NewReader(string(answer)))
			for {
				if _, err := dec.Token(); errors.Is(err, io.EOF) {
					break
				} else if err != nil {
					t.Fatalf("%v: %s", err, answer)
				}
			}
			if w.Code != http.StatusOK && !strings.Contains(string(answer), "<Code>") {
				t.Fatalf("got %d %s", w.Code, answer)
			}
		}
	})
}
