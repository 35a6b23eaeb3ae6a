package local_test

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sns"
	"github.com/aws/aws-sdk-go-v2/service/sqs"

	"github.com/device-fanout/fanout/infra/local"
)

const garbageTopic = "arn:aws:sns:eu-central-1:000000000000:t.fifo"

// requests are what the fuzzer and the garbage begin with.
var requests = []struct{ action, query, body string }{
	{"SendMessage", "", `{"QueueUrl":"q.fifo","MessageBody":"m","MessageGroupId":"g","MessageDeduplicationId":"d","MessageAttributes":{"a":{"DataType":"String","StringValue":"\ud83d\ude00"}}}`},
	{"SendMessageBatch", "", `{"QueueUrl":"q.fifo","Entries":[{"Id":"a","MessageBody":"m"},{"Id":"b"}]}`},
	{"ReceiveMessage", "", `{"QueueUrl":"q.fifo","MaxNumberOfMessages":10,"WaitTimeSeconds":20,"MessageAttributeNames":["All"]}`},
	{"DeleteMessageBatch", "", `{"QueueUrl":"q.fifo","Entries":[{"Id":"a","ReceiptHandle":"AAAAAAAAAAAAAAAAAAAAAAAAAAA"}]}`},
	{"ChangeMessageVisibility", "", `{"QueueUrl":"q.fifo","ReceiptHandle":"x","VisibilityTimeout":-1}`},
	{"CreateQueue", "", `{"QueueName":"x","Attributes":{"RedrivePolicy":"{}","VisibilityTimeout":"1e3"},"tags":{"":""}}`},
	{"SetQueueAttributes", "", `{"QueueUrl":"q.fifo","Attributes":{"RedriveAllowPolicy":"[","DelaySeconds":"900"}}`},
	{"ListQueues", "", `{"MaxResults":0}`},
	{"Nothing", "", `null`},
	{"", "", "Action=Publish&TopicArn=" + garbageTopic + "&Message=%7B%22default%22%3A%22x%22%7D&MessageStructure=json&MessageGroupId=g&MessageDeduplicationId=d&Version=2010-03-31"},
	{"", "", "Action=PublishBatch&TopicArn=" + garbageTopic + "&PublishBatchRequestEntries.member.1.Id=a&PublishBatchRequestEntries.member.1.Message=m&PublishBatchRequestEntries.member.1.MessageAttributes.entry.1.Name=n&PublishBatchRequestEntries.member.1.MessageAttributes.entry.1.Value.BinaryValue=%%"},
	{"", "", "Action=Subscribe&Protocol=sqs&Endpoint=" + arnPrefix + "q.fifo&TopicArn=" + garbageTopic + "&Attributes.entry.1.key=FilterPolicy&Attributes.entry.1.value=%7B%22a%22%3A%5B1%5D%7D"},
	{"", "Action=ReceiveMessage&WaitTimeSeconds=1", "AttributeName.1=All"},
	{"", "Action=GetQueueAttributes&AttributeName.1=All&AttributeName.3=x&=&%", "\xff\x00"},
}

// target is an engine with a queue that is subscribed to a topic. It is closed: no long poll waits then, and all else works.
func target(t testing.TB) *local.Engine {
	t.Helper()
	e := local.New(local.Options{})
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	ctx := t.Context()
	if _, err := e.SQS().CreateQueue(ctx, &sqs.CreateQueueInput{QueueName: aws.String("q.fifo"), Attributes: attrs{"FifoQueue": "true"}}); err != nil {
		t.Fatal(err)
	}
	topic, err := e.SNS().CreateTopic(ctx, &sns.CreateTopicInput{Name: aws.String("t.fifo"), Attributes: attrs{"FifoTopic": "true"}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := e.SNS().Subscribe(ctx, &sns.SubscribeInput{TopicArn: topic.TopicArn, Protocol: aws.String("sqs"), Endpoint: aws.String(arnPrefix + "q.fifo")}); err != nil {
		t.Fatal(err)
	}
	return e
}

// answersInShape sends a request and fails unless the answer is one in the shape of its protocol.
func answersInShape(t testing.TB, e *local.Engine, action, query, body string) {
	t.Helper()
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
}

// FuzzRequest sends arbitrary requests. Each must get an answer in the shape of its protocol, and be survived.
func FuzzRequest(f *testing.F) {
	e := target(f)
	for _, r := range requests {
		f.Add(r.action, r.query, r.body)
	}
	f.Fuzz(func(t *testing.T, action, query, body string) { answersInShape(t, e, action, query, body) })
}

// spoil changes a text at random: bytes, pieces, its end.
func spoil(r *rand.Rand, text string) string {
	b := []byte(text)
	for range 1 + r.IntN(4) {
		if len(b) == 0 {
			return string(b)
		}
		at := r.IntN(len(b))
		switch r.IntN(5) {
		case 0:
			b[at] = byte(r.IntN(256))
		case 1:
			b = b[:at]
		case 2:
			b = slices.Insert(b, at, []byte(`{}[]",:&=%0\`)[r.IntN(12)])
		case 3:
			b = slices.Delete(b, at, min(len(b), at+1+r.IntN(8)))
		case 4:
			b = slices.Insert(b, at, bytes.Repeat(b[at:min(len(b), at+6)], 1+r.IntN(50))...)
		}
	}
	return string(b)
}

// Ten thousand spoilt requests are answered, each in the shape of its protocol, and leave nothing behind that waits.
func TestGarbage(t *testing.T) {
	t.Parallel()
	e := target(t)
	r := rand.New(rand.NewPCG(1, 2))
	for range 10_000 {
		q := requests[r.IntN(len(requests))]
		answersInShape(t, e, q.action, spoil(r, q.query), spoil(r, q.body))
	}
	for _, q := range e.Queues() {
		if q.Waiting > 0 {
			t.Errorf("%d polls wait on %s", q.Waiting, q.Name)
		}
	}
}

// Connections that break off anywhere in a request do no harm, and none of the requests is carried out in part.
func TestGarbage_RequestsThatBreakOff(t *testing.T) {
	t.Parallel()
	e, url, client := listening(t)
	queue, err := client.CreateQueue(t.Context(), &sqs.CreateQueueInput{QueueName: aws.String("q")})
	if err != nil {
		t.Fatal(err)
	}
	const body = `{"QueueUrl":"q","MessageBody":"m"}`
	request := fmt.Sprintf("POST / HTTP/1.1\r\nHost: x\r\nX-Amz-Target: AmazonSQS.SendMessage\r\nContent-Length: %d\r\n\r\n%s", len(body), body)
	for end := range len(request) {
		conn, err := net.Dial("tcp", strings.TrimPrefix(url, "http://"))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(conn, request[:end]); err != nil {
			t.Fatal(err)
		}
		if err := conn.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := client.SendMessage(t.Context(), &sqs.SendMessageInput{QueueUrl: queue.QueueUrl, MessageBody: aws.String("whole")}); err != nil {
		t.Fatal(err)
	}
	if got := e.Queues()[0].Visible; got != 1 {
		t.Errorf("the queue holds %d messages, want the whole one only", got)
	}
}
