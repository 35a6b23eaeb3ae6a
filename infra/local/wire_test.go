package local_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
)

// is compares an answer's status, the error code in its header, and a part of its body.
func (w *world) is(a answer, status int, queryError, part string) {
	w.Helper()
	if a.status != status || a.header.Get("X-Amzn-Query-Error") != queryError || !strings.Contains(a.body, part) {
		w.Errorf("got %d, %q, %s\nwant %d, %q, %s", a.status, a.header.Get("X-Amzn-Query-Error"), a.body, status, queryError, part)
	}
	if a.header.Get("X-Amzn-Requestid") == "" {
		w.Error("the answer has no request ID")
	}
}

func TestWire_JSON(t *testing.T) {
	t.Parallel()
	check(t, []behaviour{
		{"any path will do, and a queue URL may be a name or have any host", func(w *world) {
			w.standard()
			for _, ref := range []string{"q", "http://elsewhere:1/000000000000/q", "https://sqs.eu-central-1.amazonaws.com/000000000000/q"} {
				for _, path := range []string{"/", "/000000000000/q", "/any/thing"} {
					a := w.do(http.MethodPost, path, "application/x-amz-json-1.0", `{"QueueUrl":"`+ref+`","MessageBody":"m"}`, "X-Amz-Target", "AmazonSQS.SendMessage")
					w.is(a, 200, "", `"MD5OfMessageBody":"6f8f57715090da2632453988d9a1501b"`)
				}
			}
		}},
		{"an action without output has an empty body", func(w *world) {
			w.standard()
			a := w.json("SetQueueAttributes", `{"QueueUrl":"q","Attributes":{"DelaySeconds":"0"}}`)
			if a.status != 200 || a.body != "" || a.header.Get("Content-Type") != "application/x-amz-json-1.0" {
				w.Errorf("got %d %q %v", a.status, a.body, a.header)
			}
		}},
		{"unknown actions", func(w *world) {
			const want = `"__type":"com.amazon.coral.service#UnknownOperationException"`
			w.is(w.json("FooBar", "{}"), 400, "InvalidAction;Sender", want)
			w.is(w.do(http.MethodPost, "/", "application/x-amz-json-1.0", "{}"), 400, "InvalidAction;Sender", want)
			w.is(w.do(http.MethodPost, "/", "x", "{}", "X-Amz-Target", "Other.SendMessage"), 400, "InvalidAction;Sender", want)
		}},
		{"malformed bodies", func(w *world) {
			for _, body := range []string{"[]", `"x"`, "null", " null\n", "{", `{"QueueUrl":"q"`, `{"QueueUrl":1}`, "\xff", "null x", `{"QueueUrl":"q","MaxNumberOfMessages":"x"}`} {
				w.is(w.json("ReceiveMessage", body), 400, "MalformedInput;Sender", `#SerializationException"`)
			}
		}},
		{"text that is not UTF-8 is refused and not mended", func(w *world) {
			topic := w.topic("t")
			w.standard()
			w.is(w.json("SendMessage", "{\"QueueUrl\":\"q\",\"MessageBody\":\"a\xffb\"}"), 400, "MalformedInput;Sender", "UTF-8")
			w.is(w.form("/q", "Action", "SendMessage", "MessageBody", "a\xffb"), 400, "", "<Code>InvalidMessageContents</Code>")
			w.is(w.form("/", "Action", "Publish", "TopicArn", topic, "Message", "a\xffb"), 400, "", "<Code>InvalidParameter</Code>")
		}},
		{"half a surrogate pair is refused and not mended", func(w *world) {
			url := w.standard()
			for _, body := range []string{`a\ud800b`, `\uDFFF`, `\ud800\ud800`, `\ud83d\u0041`, `\\\udc00`, `\ud83d\\ude00`} {
				w.is(w.json("SendMessage", `{"QueueUrl":"q","MessageBody":"`+body+`"}`), 400, "InvalidMessageContents;Sender", "Invalid characters found.")
			}
			for _, body := range []string{`\ud83d\uDE00`, `\\ud800`, `\u00e4\ud83d\ude00x`} {
				w.is(w.json("SendMessage", `{"QueueUrl":"q","MessageBody":"`+body+`"}`), 200, "", "MessageId")
			}
			w.gets(url, "😀", `\ud800`, "ä😀x")
		}},
		{"missing parameters", func(w *world) {
			w.standard()
			w.is(w.json("SendMessage", `{"MessageBody":"m"}`), 400, noQueue+";Sender", `com.amazonaws.sqs#QueueDoesNotExist","message":"The specified queue does not exist."`)
			w.is(w.json("DeleteMessage", `{"QueueUrl":"q"}`), 400, "MissingParameter;Sender", `com.amazon.coral.service#MissingRequiredParameterException`)
			w.is(w.json("ChangeMessageVisibility", `{"QueueUrl":"q","ReceiptHandle":"x"}`), 400, "MissingParameter;Sender", `VisibilityTimeout`)
			w.is(w.json("GetQueueUrl", `{}`), 400, "InvalidParameterValue;Sender", `#InvalidParameterValueException`)
		}},
		{"the trace header of the request goes with the message", func(w *world) {
			topic, url := w.topic("t"), w.standard()
			w.subscribe(topic, "q", raw)
			w.do(http.MethodPost, "/", "application/x-amz-json-1.0", `{"QueueUrl":"q","MessageBody":"m"}`, "X-Amz-Target", "AmazonSQS.SendMessage", "X-Amzn-Trace-Id", "Root=1")
			w.do(http.MethodPost, "/", "application/x-www-form-urlencoded", "Action=Publish&Message=m&TopicArn="+topic, "X-Amzn-Trace-Id", "Root=1")
			for _, m := range w.gets(url, "m", "m") {
				if got := m.Attributes["AWSTraceHeader"]; got != "Root=1" {
					w.Errorf("trace header is %s, want Root=1", got)
				}
			}
		}},
		{"a body that is too long", func(w *world) {
			w.is(w.json("SendMessage", strings.Repeat(" ", 8<<20+1)), 413, "RequestEntityTooLarge;Sender", "longer than")
		}},
		{"a purge in progress is 403", func(w *world) {
			w.standard()
			w.json("PurgeQueue", `{"QueueUrl":"q"}`)
			w.is(w.json("PurgeQueue", `{"QueueUrl":"q"}`), 403, "AWS.SimpleQueueService.PurgeQueueInProgress;Sender", `com.amazonaws.sqs#PurgeQueueInProgress`)
		}},
	})
}

const sqsVersion = "2012-11-05"

func TestWire_SQSQuery(t *testing.T) {
	t.Parallel()
	check(t, []behaviour{
		{"the way of a message", func(w *world) {
			a := w.form("/", "Action", "CreateQueue", "QueueName", "q.fifo", "Attribute.1.Name", "FifoQueue", "Attribute.1.Value", "true", "Version", sqsVersion)
			w.is(a, 200, "", `<CreateQueueResponse xmlns="http://queue.amazonaws.com/doc/2012-11-05/"><CreateQueueResult><QueueUrl>http://127.0.0.1:4566/000000000000/q.fifo</QueueUrl></CreateQueueResult><ResponseMetadata><RequestId>`)
			a = w.form("/000000000000/q.fifo", "Action", "SendMessage", "MessageBody", "a\"\r<&>", "MessageGroupId", "g", "MessageDeduplicationId", "d",
				"MessageAttribute.1.Name", "k", "MessageAttribute.1.Value.DataType", "String", "MessageAttribute.1.Value.StringValue", "x")
			w.is(a, 200, "", "<MD5OfMessageAttributes>a45daa70926828a2f0a1db3418e6feb4</MD5OfMessageAttributes><SequenceNumber>188")
			a = w.form("/000000000000/q.fifo", "Action", "ReceiveMessage", "AttributeName.1", "MessageGroupId", "MessageAttributeName.1", "All")
			w.is(a, 200, "", "<Body>a&quot;&#xD;&lt;&amp;&gt;</Body><Attribute><Name>MessageGroupId</Name><Value>g</Value></Attribute><MD5OfMessageAttributes>a45daa70926828a2f0a1db3418e6feb4</MD5OfMessageAttributes><MessageAttribute><Name>k</Name><Value><StringValue>x</StringValue><DataType>String</DataType></Value></MessageAttribute></Message></ReceiveMessageResult>")
			_, handle, _ := strings.Cut(a.body, "<ReceiptHandle>")
			handle, _, _ = strings.Cut(handle, "</ReceiptHandle>")
			a = w.form("/000000000000/q.fifo", "Action", "DeleteMessageBatch", "DeleteMessageBatchRequestEntry.1.Id", "a", "DeleteMessageBatchRequestEntry.1.ReceiptHandle", handle)
			w.is(a, 200, "", "<DeleteMessageBatchResult><DeleteMessageBatchResultEntry><Id>a</Id></DeleteMessageBatchResultEntry></DeleteMessageBatchResult>")
			w.holds("q.fifo", 0, 0, 0)
			a = w.form("/", "Action", "PurgeQueue", "QueueUrl", "q.fifo")
			w.is(a, 200, "", `<PurgeQueueResponse xmlns="http://queue.amazonaws.com/doc/2012-11-05/"><ResponseMetadata>`)
		}},
		{"GET on a queue URL", func(w *world) {
			w.standard()
			a := w.do(http.MethodGet, "/000000000000/q?Action=GetQueueAttributes&AttributeName.1=DelaySeconds", "", "")
			w.is(a, 200, "", "<Attribute><Name>DelaySeconds</Name><Value>0</Value></Attribute>")
		}},
		{"errors", func(w *world) {
			a := w.form("/", "Action", "GetQueueUrl", "QueueName", "none", "Version", sqsVersion)
			w.is(a, 400, "", "<Error><Type>Sender</Type><Code>AWS.SimpleQueueService.NonExistentQueue</Code><Message>The specified queue does not exist for this wsdl version.</Message><Detail/></Error><RequestId>")
			w.is(w.form("/", "Action", "FooBar", "Version", sqsVersion), 400, "", "<Code>InvalidAction</Code><Message>The action FooBar is not valid for this endpoint.</Message>")
			w.is(w.form("/", "Version", sqsVersion), 400, "", "<Code>MissingParameter</Code>")
			w.is(w.do(http.MethodGet, "/", "", ""), 404, "", "<Code>UnknownOperationException</Code>")
			w.standard()
			for _, action := range []string{"CreateQueue", "ListQueues"} {
				w.is(w.form("/000000000000/q", "Action", action, "QueueName", "q2"), 400, "", "<Message>The action "+action+" is not valid for this endpoint.</Message>")
			}
			w.is(w.form("/000000000000/x", "Action", "GetQueueUrl", "QueueName", "q"), 200, "", "<QueueUrl>")
			w.is(w.do(http.MethodPost, "/", "application/x-www-form-urlencoded", "Action=%zz"), 400, "", "<Code>MalformedInput</Code>")
			w.is(w.form("/", "Action", "ReceiveMessage", "QueueUrl", "q", "WaitTimeSeconds", "x"), 400, "", "<Code>MalformedInput</Code>")
			w.is(w.form("/", "Action", "SendMessage", "QueueUrl", "q"), 400, "", "<Code>MissingParameter</Code>")
		}},
	})
}

const snsVersion = "2010-03-31"

func TestWire_SNSQuery(t *testing.T) {
	t.Parallel()
	check(t, []behaviour{
		{"results, and actions without", func(w *world) {
			a := w.form("/", "Action", "CreateTopic", "Name", "t", "Version", snsVersion)
			w.is(a, 200, "", `<CreateTopicResponse xmlns="http://sns.amazonaws.com/doc/2010-03-31/"><CreateTopicResult><TopicArn>arn:aws:sns:eu-central-1:000000000000:t</TopicArn></CreateTopicResult>`)
			w.is(w.form("/", "Action", "ListSubscriptions"), 200, "", "<ListSubscriptionsResult><Subscriptions/></ListSubscriptionsResult>")
			a = w.form("/", "Action", "DeleteTopic", "TopicArn", "arn:aws:sns:eu-central-1:000000000000:t", "Version", snsVersion)
			w.is(a, 200, "", `<DeleteTopicResponse xmlns="http://sns.amazonaws.com/doc/2010-03-31/"><ResponseMetadata>`)
		}},
		{"errors", func(w *world) {
			const arn = "arn:aws:sns:eu-central-1:000000000000:t"
			w.is(w.form("/", "Action", "Publish", "TopicArn", arn, "Message", "m"), 404, "", "<Error><Type>Sender</Type><Code>NotFound</Code><Message>Topic does not exist</Message></Error>")
			w.is(w.form("/", "Action", "FooBar", "Version", snsVersion), 400, "", "<Code>InvalidAction</Code>")
			w.topic("t")
			w.is(w.form("/", "Action", "Publish", "TopicArn", arn), 400, "", "<Code>ValidationError</Code>")
			w.is(w.form("/", "Action", "PublishBatch", "TopicArn", arn), 400, "", "<Code>ValidationError</Code>")
			w.is(w.form("/", "Action", "ConfirmSubscription", "Version", snsVersion, "TopicArn", arn), 400, "", "ConfirmSubscription is not supported by the local engine.")
			w.is(w.form("/", "Action", "PutDataProtectionPolicy", "Version", snsVersion), 400, "", "not supported by the local engine")
			w.is(w.form("/", "Action", "Publish", "TopicArn", arn, "Message", "m", "MessageAttributes.entry.1.Name", "a", "MessageAttributes.entry.1.Value.StringValue", "x"), 400, "", "<Code>ValidationError</Code>")
		}},
	})
}

func TestPages(t *testing.T) {
	t.Parallel()
	check(t, []behaviour{
		{"health", func(w *world) {
			w.is(w.do(http.MethodGet, "/_fanout/health", "", ""), 200, "", "ok")
			w.is(w.do(http.MethodGet, "/_fanout/x", "", ""), 404, "", "/_fanout/status")
		}},
		{"status", func(w *world) {
			url := w.fifo()
			w.sendAll(url, "m1@g", "m2@g")
			w.receive(url, 1)
			var page struct {
				Queues []struct {
					Name         string `json:"name"`
					Visible      int    `json:"visible"`
					InFlight     int    `json:"in_flight"`
					LockedGroups int    `json:"locked_groups"`
				} `json:"queues"`
				Requests map[string]int64 `json:"requests"`
			}
			a := w.do(http.MethodGet, "/_fanout/status", "", "")
			w.must(json.Unmarshal([]byte(a.body), &page))
			if got, want := fmt.Sprint(page), "{[{q.fifo 1 1 1}] map[sqs.CreateQueue:1 sqs.ReceiveMessage:1 sqs.SendMessage:2]}"; got != want {
				w.Errorf("got %s, want %s", got, want)
			}
		}},
		{"counters", func(w *world) {
			url := w.standard()
			_, err := w.sendBatch(url, batch("a", "b", "c"))
			w.must(err)
			held := w.receive(url, 10)
			w.receive(url, 10)
			_, err = w.sqs.DeleteMessage(w.Context(), &sqs.DeleteMessageInput{QueueUrl: &url, ReceiptHandle: held[0].ReceiptHandle})
			w.must(err)
			_, err = w.sqs.DeleteMessage(w.Context(), &sqs.DeleteMessageInput{QueueUrl: &url, ReceiptHandle: aws.String("garbage")})
			w.refused(err, "ReceiptHandleIsInvalid", "")
			got := fmt.Sprint(w.engine.Requests(), w.engine.Entries())
			want := "map[sqs.CreateQueue:1 sqs.DeleteMessage:2 sqs.ReceiveMessage:2 sqs.SendMessageBatch:1] " +
				"map[sqs.CreateQueue:1 sqs.DeleteMessage:2 sqs.ReceiveMessage:3 sqs.SendMessageBatch:3]"
			if got != want {
				w.Errorf("got %s, want %s", got, want)
			}
		}},
	})
}
