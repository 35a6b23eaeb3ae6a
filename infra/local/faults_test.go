package local_test

import (
	"errors"
	"fmt"
	"maps"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sns"
	snstypes "github.com/aws/aws-sdk-go-v2/service/sns/types"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	sqstypes "github.com/aws/aws-sdk-go-v2/service/sqs/types"

	"github.com/device-fanout/fanout/infra/local/faults"
)

func (w *world) publishBatch(topicARN string, groups ...string) *sns.PublishBatchOutput {
	w.Helper()
	var entries []snstypes.PublishBatchRequestEntry
	for i, group := range groups {
		entries = append(entries, snstypes.PublishBatchRequestEntry{
			Id: aws.String(fmt.Sprint(i)), Message: aws.String("m"), MessageGroupId: &group,
			MessageDeduplicationId: aws.String(fmt.Sprintf("%s-%d-%d", group, time.Now().UnixNano(), i)),
		})
	}
	out, err := w.sns.PublishBatch(w.Context(), &sns.PublishBatchInput{TopicArn: &topicARN, PublishBatchRequestEntries: entries})
	w.must(err)
	return out
}

func (w *world) injected(want map[faults.Kind]int64) {
	w.Helper()
	if got := w.engine.Faults().Injected(); !maps.Equal(got, want) {
		w.Errorf("injected %v, want %v", got, want)
	}
}

func TestFaults(t *testing.T) {
	t.Parallel()
	once := func(o *sqs.Options) { o.RetryMaxAttempts = 1 }
	check(t, []behaviour{
		{"entries of a group fail, so many times", func(w *world) {
			topic, url := w.topic("t.fifo"), w.fifo()
			w.subscribe(topic, "q.fifo", raw)
			w.engine.Faults().Add(faults.Rule{Action: "PublishBatch", Group: "g2", Kind: faults.FailEntry, Count: 2})
			for i, want := range []int{1, 1, 0} {
				out := w.publishBatch(topic, "g1", "g2", "g3")
				if got := len(out.Failed); got != want {
					w.Fatalf("batch %d: %d entries failed, want %d", i, got, want)
				}
				if want > 0 && (*out.Failed[0].Id != "1" || *out.Failed[0].Code != "InternalError" || out.Failed[0].SenderFault) {
					w.Errorf("failed is %+v", out.Failed[0])
				}
				time.Sleep(time.Second)
			}
			if got := len(w.receive(url, 10)); got != 7 {
				w.Errorf("the queue has %d messages, want 7", got)
			}
			w.injected(map[faults.Kind]int64{faults.FailEntry: 2})
		}},
		{"an entry fails by its position or ID, with a code", func(w *world) {
			url := w.standard()
			w.sendAll(url, "a", "b", "c")
			held := w.receive(url, 10)
			rules := w.engine.Faults()
			rules.Add(faults.Rule{Action: "sqs.DeleteMessageBatch", Resource: "q", Entry: 1, Kind: faults.FailEntry, Code: "X", SenderFault: true, Count: 1})
			rules.Add(faults.Rule{Action: "sqs.DeleteMessageBatch", EntryID: "three", Kind: faults.FailEntry, Count: 1})
			entries := []sqstypes.DeleteMessageBatchRequestEntry{
				{Id: aws.String("one"), ReceiptHandle: held[0].ReceiptHandle},
				{Id: aws.String("two"), ReceiptHandle: held[1].ReceiptHandle},
				{Id: aws.String("three"), ReceiptHandle: held[2].ReceiptHandle},
			}
			out, err := w.sqs.DeleteMessageBatch(w.Context(), &sqs.DeleteMessageBatchInput{QueueUrl: &url, Entries: entries})
			w.must(err)
			if len(out.Failed) != 2 || *out.Failed[0].Code != "X" || !out.Failed[0].SenderFault || *out.Successful[0].Id != "two" {
				w.Errorf("got %+v, %+v", out.Successful, out.Failed)
			}
			w.holds("q", 0, 2, 0)
		}},
		{"all entries of a batch can fail", func(w *world) {
			topic := w.topic("t.fifo")
			w.engine.Faults().Add(faults.Rule{Kind: faults.FailEntry})
			if out := w.publishBatch(topic, "g1", "g2"); len(out.Failed) != 2 || len(out.Successful) != 0 {
				w.Errorf("got %+v, %+v", out.Successful, out.Failed)
			}
		}},
		{"a throttled request is refused before it does anything", func(w *world) {
			url := w.standard()
			w.engine.Faults().Add(faults.Rule{Action: "SendMessage", Kind: faults.Throttle, Count: 2})
			client := w.engine.SQS(once)
			_, err := client.SendMessage(w.Context(), &sqs.SendMessageInput{QueueUrl: &url, MessageBody: aws.String("m")})
			w.refused(err, "RequestThrottled", "injected")
			w.holds("q", 0, 0, 0)
			w.send(url, "m") // the SDK retries
			w.injected(map[faults.Kind]int64{faults.Throttle: 2})
		}},
		{"a throttled publish is 429", func(w *world) {
			topic := w.topic("t.fifo")
			w.engine.Faults().Add(faults.Rule{Group: "g1", Kind: faults.Throttle})
			w.publish(topic, "m@g2")
			_, err := w.tryPublish(topic, "m@g1")
			w.refused(err, "Throttled", "")
			w.engine.Faults().Clear()
			w.engine.Faults().Add(faults.Rule{Kind: faults.Throttle, Code: "Throttling", Count: 1})
			w.is(w.form("/", "Action", "Publish", "TopicArn", topic, "Message", "m"), 400, "", "<Code>Throttling</Code>")
		}},
		{"an internal error is 500 and retried", func(w *world) {
			url := w.standard()
			w.engine.Faults().Add(faults.Rule{Kind: faults.Error500, Count: 1, Resource: "q"})
			w.is(w.json("SendMessage", `{"QueueUrl":"q","MessageBody":"m"}`), 500, "InternalError;Receiver", "injected")
			w.engine.Faults().Add(faults.Rule{Kind: faults.Error500, Count: 1, Resource: "q"})
			w.send(url, "m")
			w.holds("q", 1, 0, 0)
		}},
		{"a dropped reply comes after the deed, and deduplication makes the retry harmless", func(w *world) {
			topic, url := w.topic("t.fifo"), w.fifo()
			w.subscribe(topic, "q.fifo", raw)
			w.engine.Faults().Add(faults.Rule{Action: "sns.Publish", Resource: "t.fifo", Kind: faults.DropReply, Count: 1})
			w.publish(topic, "m@g")
			w.gets(url, "m@g")
			if got := w.engine.Requests()["sns.Publish"]; got != 2 {
				w.Errorf("there were %d requests, want 2", got)
			}
			client := w.engine.SQS(once)
			w.engine.Faults().Add(faults.Rule{Action: "SendMessage", Kind: faults.DropReply, Count: 1})
			_, err := client.SendMessage(w.Context(), &sqs.SendMessageInput{QueueUrl: &url, MessageBody: aws.String("x"), MessageGroupId: aws.String("x"), MessageDeduplicationId: aws.String("x")})
			if err == nil || !errors.Is(err, errLost) {
				w.Errorf("got error %v, want one like a broken connection", err)
			}
			w.holds("q.fifo", 1, 1, 0)
		}},
		{"a visibility expires as soon as the messages were received", func(w *world) {
			url := w.fifo()
			w.send(url, "m@g")
			w.engine.Faults().Add(faults.Rule{Action: "ReceiveMessage", Kind: faults.ExpireVisibility, Count: 1})
			held := w.gets(url, "m@g")
			w.refused(w.tryDelete(url, held[0]), "InvalidParameterValue", "expired")
			w.gets(url, "m@g")
		}},
		{"a chance is drawn from a seed", func(w *world) {
			draw := func(seed uint64) int {
				var rules faults.Set
				rules.Add(faults.Rule{Kind: faults.Throttle, Probability: 0.3, Seed: seed})
				n := 0
				for range 1000 {
					if rules.Judge(faults.Request{}).Kind == faults.Throttle {
						n++
					}
				}
				return n
			}
			if a, b := draw(1), draw(1); a != b || a < 200 || a > 400 {
				w.Errorf("drew %d and %d of 1000, want the same near 300", a, b)
			}
		}},
		{"cleared rules do nothing", func(w *world) {
			w.engine.Faults().Add(faults.Rule{Kind: faults.Throttle})
			w.engine.Faults().Clear()
			w.standard()
			w.injected(map[faults.Kind]int64{})
		}},
	})
}
