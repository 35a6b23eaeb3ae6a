package local_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sns"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	sqstypes "github.com/aws/aws-sdk-go-v2/service/sqs/types"

	"github.com/device-fanout/fanout/infra/local/faults"
)

func TestFaults_DelaysAndConnections(t *testing.T) {
	t.Parallel()
	check(t, []behaviour{
		{"a request waits before it does anything", func(w *world) {
			url := w.standard()
			w.engine.Faults().Add(faults.Rule{Action: "SendMessage", Kind: faults.Delay, Delay: 3 * time.Second, Count: 1})
			w.while(
				func() { w.took(3*time.Second, func() { w.send(url, "m") }) },
				func() { time.Sleep(2 * time.Second); w.holds("q", 0, 0, 0) },
			)
			w.took(0, func() { w.send(url, "m") })
			w.holds("q", 2, 0, 0)
			w.injected(map[faults.Kind]int64{faults.Delay: 1})
		}},
		{"a delay goes along with other troubles", func(w *world) {
			w.standard()
			w.engine.Faults().Add(faults.Rule{Kind: faults.Delay, Delay: time.Second, Resource: "q"})
			w.engine.Faults().Add(faults.Rule{Kind: faults.Error500, Resource: "q"})
			w.took(time.Second, func() {
				w.is(w.json("PurgeQueue", `{"QueueUrl":"q"}`), 500, "InternalError;Receiver", "injected")
			})
		}},
		{"a caller that gives up during a delay has done nothing", func(w *world) {
			url := w.standard()
			w.engine.Faults().Add(faults.Rule{Kind: faults.Delay, Delay: time.Hour})
			ctx, cancel := context.WithTimeout(w.Context(), time.Second)
			defer cancel()
			_, err := w.sqs.SendMessage(ctx, &sqs.SendMessageInput{QueueUrl: &url, MessageBody: aws.String("m")})
			if !errors.Is(err, context.DeadlineExceeded) {
				w.Errorf("got %v, want context.DeadlineExceeded", err)
			}
			w.holds("q", 0, 0, 0)
		}},
		{"throttling begins and ends by the clock", func(w *world) {
			url := w.standard()
			w.engine.Faults().Add(faults.Rule{Kind: faults.Throttle, Action: "SendMessage", After: 10 * time.Second, For: 5 * time.Second})
			impatient := w.engine.SQS(func(o *sqs.Options) { o.RetryMaxAttempts = 1 })
			send := func() error {
				_, err := impatient.SendMessage(w.Context(), &sqs.SendMessageInput{QueueUrl: &url, MessageBody: aws.String("m")})
				return err
			}
			w.must(send())
			time.Sleep(10*time.Second - time.Nanosecond)
			w.must(send())
			time.Sleep(time.Nanosecond)
			w.refused(send(), "RequestThrottled", "")
			time.Sleep(5*time.Second - time.Nanosecond)
			w.refused(send(), "RequestThrottled", "")
			time.Sleep(time.Nanosecond)
			w.must(send())
			w.injected(map[faults.Kind]int64{faults.Throttle: 2})
		}},
		{"throttling lets a rate through, and a second's worth at once", func(w *world) {
			topic := w.topic("t.fifo")
			w.engine.Faults().Add(faults.Rule{Kind: faults.Throttle, Action: "Publish", Group: "hot", Rate: 4})
			impatient := w.engine.SNS(func(o *sns.Options) { o.RetryMaxAttempts = 1 })
			n := 0
			publish := func(group string) error {
				n++
				_, err := impatient.Publish(w.Context(), &sns.PublishInput{
					TopicArn: &topic, Message: aws.String("m"), MessageGroupId: &group, MessageDeduplicationId: aws.String(fmt.Sprint(n)),
				})
				return err
			}
			for range 4 {
				w.must(publish("hot"))
			}
			w.refused(publish("hot"), "Throttled", "")
			w.must(publish("other"))
			time.Sleep(250 * time.Millisecond)
			w.must(publish("hot"))
			w.refused(publish("hot"), "Throttled", "")
			time.Sleep(time.Hour)
			for range 4 {
				w.must(publish("hot"))
			}
			w.refused(publish("hot"), "Throttled", "")
			w.injected(map[faults.Kind]int64{faults.Throttle: 3})
		}},
		{"a connection that breaks before anything is done", func(w *world) {
			url := w.standard()
			w.engine.Faults().Add(faults.Rule{Action: "SendMessage", Kind: faults.CloseConnection, Count: 1})
			client := w.engine.SQS(func(o *sqs.Options) { o.RetryMaxAttempts = 1 })
			_, err := client.SendMessage(w.Context(), &sqs.SendMessageInput{QueueUrl: &url, MessageBody: aws.String("m")})
			if !errors.Is(err, errLost) {
				w.Errorf("got error %v, want one like a broken connection", err)
			}
			w.holds("q", 0, 0, 0)
			w.send(url, "m")
			w.injected(map[faults.Kind]int64{faults.CloseConnection: 1})
		}},
	})
}

func TestFaults_DelayFollowsAClockThatIsMovedByHand(t *testing.T) {
	t.Parallel()
	w := newTimed(t)
	url := w.standard()
	w.engine.Faults().Add(faults.Rule{Action: "SendMessage", Kind: faults.Delay, Delay: time.Minute})
	done := make(chan struct{})
	go func() {
		defer close(done)
		if _, err := w.trySend(url, "m"); err != nil {
			w.Error(err)
		}
	}()
	w.must(w.clock.AwaitTimers(w.Context(), 1))
	w.holds("q", 0, 0, 0)
	w.clock.Advance(time.Minute)
	<-done
	w.holds("q", 1, 0, 0)
}

func TestFaults_Redeliver(t *testing.T) {
	t.Parallel()
	check(t, []behaviour{
		{"a deleted message comes again on a standard queue", func(w *world) {
			url := w.standard()
			w.sendAll(url, "a", "b")
			held := w.receive(url, 2)
			w.engine.Faults().Add(faults.Rule{Kind: faults.Redeliver, Count: 2})
			w.delete(url, held[0])
			out, err := w.sqs.DeleteMessageBatch(w.Context(), &sqs.DeleteMessageBatchInput{QueueUrl: &url, Entries: []sqstypes.DeleteMessageBatchRequestEntry{
				{Id: aws.String("1"), ReceiptHandle: held[1].ReceiptHandle}, {Id: aws.String("2"), ReceiptHandle: aws.String("garbage")},
			}})
			w.must(err)
			if len(out.Successful) != 1 || len(out.Failed) != 1 {
				w.Errorf("got %+v, want one of two deleted", out)
			}
			w.holds("q", 0, 2, 0)
			time.Sleep(30 * time.Second)
			w.delete(url, w.gets(url, "a", "b")...)
			w.holds("q", 0, 0, 0)
			w.injected(map[faults.Kind]int64{faults.Redeliver: 2})
		}},
		{"a FIFO queue is not concerned", func(w *world) {
			url := w.fifo()
			w.send(url, "m@g")
			w.engine.Faults().Add(faults.Rule{Kind: faults.Redeliver})
			w.delete(url, w.gets(url, "m@g")...)
			w.holds("q.fifo", 0, 0, 0)
			w.injected(map[faults.Kind]int64{})
		}},
	})
}

func TestFaults_WrongChecksum(t *testing.T) {
	t.Parallel()
	check(t, []behaviour{
		{"a client that compares checksums refuses the answer, and its messages are in flight", func(w *world) {
			url := w.standard()
			w.sendAll(url, "a", "b")
			w.engine.Faults().Add(faults.Rule{Kind: faults.WrongChecksum, Count: 1})
			if _, err := w.tryReceive(url, 10); err == nil || !strings.Contains(err.Error(), "checksum") {
				w.Errorf("got %v, want an error about checksums", err)
			}
			w.holds("q", 0, 2, 0)
			time.Sleep(30 * time.Second)
			w.gets(url, "a", "b")
			w.injected(map[faults.Kind]int64{faults.WrongChecksum: 1})
		}},
		{"bodies and attributes are right", func(w *world) {
			url := w.standard()
			_, err := w.sqs.SendMessage(w.Context(), &sqs.SendMessageInput{
				QueueUrl: &url, MessageBody: aws.String("a"),
				MessageAttributes: map[string]sqstypes.MessageAttributeValue{"n": {DataType: aws.String("String"), StringValue: aws.String("v")}},
			})
			w.must(err)
			receive := func() sqstypes.Message {
				out, err := w.sqs.ReceiveMessage(w.Context(), &sqs.ReceiveMessageInput{
					QueueUrl: &url, MessageAttributeNames: []string{"All"}, VisibilityTimeout: 1,
				}, func(o *sqs.Options) { o.DisableMessageChecksumValidation = true })
				w.must(err)
				if len(out.Messages) != 1 || *out.Messages[0].Body != "a" || *out.Messages[0].MessageAttributes["n"].StringValue != "v" {
					w.Fatalf("got %+v, want the message", out.Messages)
				}
				return out.Messages[0]
			}
			right := receive()
			time.Sleep(time.Second)
			w.engine.Faults().Add(faults.Rule{Kind: faults.WrongChecksum})
			wrong := receive()
			if *wrong.MD5OfBody == *right.MD5OfBody || *wrong.MD5OfMessageAttributes == *right.MD5OfMessageAttributes {
				w.Errorf("got the checksums %s and %s, want wrong ones", *wrong.MD5OfBody, *wrong.MD5OfMessageAttributes)
			}
		}},
	})
}

func TestFaults_OneGroupIsRefused(t *testing.T) {
	t.Parallel()
	check(t, []behaviour{
		{"single publishes and batches alike", func(w *world) {
			topic := w.topic("t.fifo")
			w.fifo()
			w.subscribe(topic, "q.fifo", raw)
			w.engine.Faults().Add(faults.Rule{Group: "bad", Kind: faults.FailEntry, SenderFault: true})
			_, err := w.tryPublish(topic, "m@bad")
			w.refused(err, "InvalidParameter", "injected")
			w.publish(topic, "m@good")
			out := w.publishBatch(topic, "good", "bad")
			if len(out.Failed) != 1 || *out.Failed[0].Id != "1" || !out.Failed[0].SenderFault {
				w.Errorf("failed are %+v", out.Failed)
			}
			w.holds("q.fifo", 2, 0, 0)
			w.injected(map[faults.Kind]int64{faults.FailEntry: 2})
		}},
		{"with a code, or as an internal error that is retried", func(w *world) {
			topic, url := w.topic("t.fifo"), w.fifo()
			rules := w.engine.Faults()
			rules.Add(faults.Rule{Group: "g", Kind: faults.FailEntry, Code: "KMSThrottled", SenderFault: true, Count: 1})
			client := w.engine.SNS(func(o *sns.Options) { o.RetryMaxAttempts = 1 })
			in := &sns.PublishInput{TopicArn: &topic, Message: aws.String("m"), MessageGroupId: aws.String("g"), MessageDeduplicationId: aws.String("m")}
			_, err := client.Publish(w.Context(), in)
			w.refused(err, "KMSThrottled", "injected")
			rules.Add(faults.Rule{Group: "g", Kind: faults.FailEntry, Count: 2})
			_, err = client.Publish(w.Context(), in)
			w.refused(err, "InternalError", "injected")
			w.publish(topic, "m@g") // the SDK retries
			rules.Add(faults.Rule{Action: "sqs.SendMessage", Group: "g", Kind: faults.FailEntry, SenderFault: true})
			_, err = w.trySend(url, "m@g")
			w.refused(err, "InvalidParameterValue", "injected")
		}},
	})
}
