package local_test

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	sqstypes "github.com/aws/aws-sdk-go-v2/service/sqs/types"
)

func TestReceive_LongPolls(t *testing.T) {
	t.Parallel()
	check(t, []behaviour{
		{"an empty queue answers at once or when the wait is over", func(w *world) {
			url := w.standard()
			if got := w.json("ReceiveMessage", `{"QueueUrl":"`+url+`"}`).body; got != "{}" {
				w.Errorf("got %s, want {}", got)
			}
			w.took(0, func() { w.gets(url) })
			w.took(2*time.Second, func() { w.are(w.receive(url, 1, waiting(2))) })
		}},
		{"a send wakes a poll", func(w *world) {
			url := w.standard()
			w.took(5*time.Second, func() {
				w.while(func() { w.are(w.receive(url, 10, waiting(20)), "m") }, func() {
					time.Sleep(5 * time.Second)
					w.send(url, "m")
				})
			})
		}},
		{"one message is enough", func(w *world) {
			url := w.standard()
			w.send(url, "m")
			w.took(0, func() { w.are(w.receive(url, 10, waiting(20)), "m") })
		}},
		{"a delayed message arrives during the wait", func(w *world) {
			url := w.standard()
			w.send(url, "m", withDelay(1))
			w.took(time.Second, func() { w.are(w.receive(url, 10, waiting(2)), "m") })
		}},
		{"a visibility that ends wakes a poll", func(w *world) {
			url := w.fifo()
			w.send(url, "m@g")
			w.receive(url, 1, visibleAfter(7))
			w.took(7*time.Second, func() { w.are(w.receive(url, 10, waiting(20)), "m@g") })
		}},
		{"a visibility that is ended wakes a poll", func(w *world) {
			url := w.fifo()
			w.send(url, "m@g")
			held := w.receive(url, 1)
			w.took(3*time.Second, func() {
				w.while(func() { w.are(w.receive(url, 10, waiting(20)), "m@g") }, func() {
					time.Sleep(3 * time.Second)
					w.hide(url, held[0], 0)
				})
			})
		}},
		{"the queue's wait counts when none is given", func(w *world) {
			url := w.standard(attrs{"ReceiveMessageWaitTimeSeconds": "1"})
			w.took(time.Second, func() { w.gets(url) })
			w.took(0, func() { w.json("ReceiveMessage", `{"QueueUrl":"`+url+`","WaitTimeSeconds":0}`) })
		}},
		{"polls are served in the order in which they came", func(w *world) {
			url := w.standard()
			var first, second []message
			w.while(
				func() { first = w.receive(url, 1, waiting(20)) },
				func() { time.Sleep(time.Second); second = w.receive(url, 1, waiting(20)) },
				func() { time.Sleep(2 * time.Second); w.sendAll(url, "a", "b") },
			)
			w.are(first, "a")
			w.are(second, "b")
		}},
		{"a short poll takes nothing from those who wait", func(w *world) {
			url := w.standard()
			w.send(url, "m", withDelay(5))
			w.while(
				func() { w.are(w.receive(url, 1, waiting(20)), "m") },
				func() {
					time.Sleep(5*time.Second - time.Nanosecond)
					for range 3 {
						w.gets(url)
						time.Sleep(time.Nanosecond)
					}
				},
			)
		}},
		{"a caller that gives up takes nothing with it", func(w *world) {
			url := w.standard()
			ctx, cancel := context.WithTimeout(w.Context(), time.Second)
			defer cancel()
			_, err := w.sqs.ReceiveMessage(ctx, &sqs.ReceiveMessageInput{QueueUrl: &url, WaitTimeSeconds: 20})
			if !errors.Is(err, context.DeadlineExceeded) {
				w.Errorf("got error %v, want the deadline's", err)
			}
			w.send(url, "m")
			w.gets(url, "m")
			if got := w.engine.Queues()[0].Waiting; got != 0 {
				w.Errorf("%d polls wait, want 0", got)
			}
		}},
		{"deleting the queue ends its polls", func(w *world) {
			url := w.standard()
			w.while(func() {
				_, err := w.tryReceive(url, 1, waiting(20))
				w.refused(err, noQueue, "")
			}, func() {
				time.Sleep(time.Second)
				_, err := w.sqs.DeleteQueue(w.Context(), &sqs.DeleteQueueInput{QueueUrl: &url})
				w.must(err)
			})
		}},
		{"closing the engine ends polls with an empty answer", func(w *world) {
			url := w.standard()
			w.took(time.Second, func() {
				w.while(func() { w.are(w.receive(url, 1, waiting(20))) }, func() {
					time.Sleep(time.Second)
					w.must(w.engine.Close())
				})
			})
			w.took(0, func() { w.are(w.receive(url, 1, waiting(20))) })
		}},
		{"parameters are checked", func(w *world) {
			url := w.standard()
			for body, want := range map[string]string{
				`"MaxNumberOfMessages":0`:     "Value 0 for parameter MaxNumberOfMessages is invalid. Reason: Must be between 1 and 10, if provided.",
				`"MaxNumberOfMessages":11`:    "Value 11 for parameter MaxNumberOfMessages is invalid. Reason: Must be between 1 and 10, if provided.",
				`"WaitTimeSeconds":21`:        "Value 21 for parameter WaitTimeSeconds is invalid. Reason: Must be >= 0 and <= 20, if provided.",
				`"WaitTimeSeconds":-1`:        "Value -1 for parameter WaitTimeSeconds is invalid.",
				`"VisibilityTimeout":43201`:   "Value 43201 for parameter VisibilityTimeout is invalid.",
				`"AttributeNames":["Foobar"]`: "Unknown Attribute Foobar.",
			} {
				a := w.json("ReceiveMessage", `{"QueueUrl":"`+url+`",`+body+`}`)
				if a.status != 400 || !strings.Contains(a.body, want) {
					w.Errorf("%s: got %d %s, want %s", body, a.status, a.body, want)
				}
			}
		}},
	})
}

func TestReceive_Attributes(t *testing.T) {
	t.Parallel()
	receive := func(w *world, in *sqs.ReceiveMessageInput) message {
		w.Helper()
		in.VisibilityTimeout = 1
		out, err := w.sqs.ReceiveMessage(w.Context(), in)
		w.must(err)
		w.sleep(2 * time.Second)
		return out.Messages[0]
	}
	keys := func(m map[string]string) []string { return slices.Sorted(maps.Keys(m)) }
	check(t, []behaviour{
		{"none are returned unless asked for", func(w *world) {
			url := w.standard()
			w.send(url, "m", withAttribute("a", "String", "v"))
			m := receive(w, &sqs.ReceiveMessageInput{QueueUrl: &url})
			if m.Attributes != nil || m.MessageAttributes != nil || m.MD5OfMessageAttributes != nil {
				w.Errorf("got %v, %v, %v", m.Attributes, m.MessageAttributes, m.MD5OfMessageAttributes)
			}
		}},
		{"system attributes are those asked for", func(w *world) {
			url, fifo := w.standard(), w.fifo()
			w.send(url, "m", withTrace("Root=1"))
			out := w.send(fifo, "m@g", withDedup("d"))
			m := receive(w, &sqs.ReceiveMessageInput{QueueUrl: &url, MessageSystemAttributeNames: []sqstypes.MessageSystemAttributeName{"SenderId"}})
			if got, want := keys(m.Attributes), []string{"SenderId"}; !slices.Equal(got, want) {
				w.Errorf("got %v, want %v", got, want)
			}
			//lint:ignore SA1019 old clients still send it
			m = receive(w, &sqs.ReceiveMessageInput{QueueUrl: &url, AttributeNames: []sqstypes.QueueAttributeName{"All"}})
			want := []string{"AWSTraceHeader", "ApproximateFirstReceiveTimestamp", "ApproximateReceiveCount", "SenderId", "SentTimestamp"}
			if got := keys(m.Attributes); !slices.Equal(got, want) {
				w.Errorf("got %v, want %v", got, want)
			}
			m = w.receive(fifo, 1)[0]
			for name, want := range map[string]string{
				"MessageGroupId": "g", "MessageDeduplicationId": "d", "SequenceNumber": *out.SequenceNumber,
				"ApproximateReceiveCount": "1",
			} {
				if got := m.Attributes[name]; got != want {
					w.Errorf("%s is %s, want %s", name, got, want)
				}
			}
			if got := w.recent(m.Attributes["SentTimestamp"], time.Millisecond); got != "now" {
				w.Errorf("it was sent at %s, want a moment ago", got)
			}
		}},
		{"a receive that asks for an unknown one is refused and takes nothing", func(w *world) {
			url := w.standard()
			w.send(url, "m")
			for _, member := range []string{"MessageSystemAttributeNames", "AttributeNames"} {
				a := w.json("ReceiveMessage", `{"QueueUrl":"`+url+`","`+member+`":["SenderId","Foobar"]}`)
				w.is(a, 400, "InvalidAttributeName;Sender", "Unknown Attribute Foobar.")
				w.holds("q", 1, 0, 0)
			}
		}},
		{"message attributes are chosen by name and prefix", func(w *world) {
			url := w.standard()
			w.send(url, "m", withAttribute("a.x", "String", "1"), withAttribute("a.y", "Number", "2"), withAttribute("k", "String", "x"))
			for _, c := range []struct{ asked, want string }{
				{"k", "k"},
				{"a.*", "a.x a.y"},
				{"All", "a.x a.y k"},
				{".*", "a.x a.y k"},
				{"*", "a.x a.y k"},
				{"k nothing", "k"},
				{"nothing", ""},
			} {
				m := receive(w, &sqs.ReceiveMessageInput{QueueUrl: &url, MessageAttributeNames: strings.Fields(c.asked)})
				if got := strings.Join(slices.Sorted(maps.Keys(m.MessageAttributes)), " "); got != c.want {
					w.Errorf("%s: got %s, want %s", c.asked, got, c.want)
				}
				if c.want == "k" && aws.ToString(m.MD5OfMessageAttributes) != "a45daa70926828a2f0a1db3418e6feb4" {
					w.Errorf("%s: checksum is %s", c.asked, aws.ToString(m.MD5OfMessageAttributes))
				}
				if c.want == "" && m.MD5OfMessageAttributes != nil {
					w.Errorf("%s: there is a checksum", c.asked)
				}
			}
		}},
		{"binary attributes survive", func(w *world) {
			url := w.standard()
			want := []byte{0, 1, 255, '"'}
			w.send(url, "m", func(in *sqs.SendMessageInput) {
				in.MessageAttributes = map[string]sqstypes.MessageAttributeValue{"b": {DataType: aws.String("Binary.x"), BinaryValue: want}}
			})
			if got := w.receive(url, 1)[0].MessageAttributes["b"]; !slices.Equal(got.BinaryValue, want) || *got.DataType != "Binary.x" {
				w.Errorf("got %v", got)
			}
		}},
	})
}

func TestReceive_Visibility(t *testing.T) {
	t.Parallel()
	check(t, []behaviour{
		{"what stays the same and what changes from receive to receive", func(w *world) {
			url := w.fifo()
			w.send(url, "m@g")
			a := w.receive(url, 1, visibleAfter(1))[0]
			w.sleep(2 * time.Second)
			b := w.receive(url, 1)[0]
			if *a.MessageId != *b.MessageId || *a.ReceiptHandle == *b.ReceiptHandle || len(*b.ReceiptHandle) > 1024 ||
				a.Attributes["SequenceNumber"] != b.Attributes["SequenceNumber"] ||
				a.Attributes["ApproximateFirstReceiveTimestamp"] != b.Attributes["ApproximateFirstReceiveTimestamp"] ||
				a.Attributes["ApproximateReceiveCount"] != "1" || b.Attributes["ApproximateReceiveCount"] != "2" {
				w.Errorf("got %v and %v", a, b)
			}
		}},
		{"the queue's timeout brings a message back, a receive's own too", func(w *world) {
			url := w.standard(attrs{"VisibilityTimeout": "5"})
			w.send(url, "m")
			w.gets(url, "m")
			w.sleep(5*time.Second - w.margin())
			w.gets(url)
			w.sleep(2 * w.margin())
			w.are(w.receive(url, 1, visibleAfter(1)), "m")
			w.sleep(time.Second)
			w.gets(url, "m")
		}},
		{"a deleted message does not come back", func(w *world) {
			url := w.standard()
			w.send(url, "m")
			held := w.gets(url, "m")
			w.delete(url, held...)
			w.delete(url, held...)
			w.sleep(time.Minute)
			w.gets(url)
		}},
		{"a garbage handle is refused", func(w *world) {
			for _, url := range []string{w.standard(), w.fifo()} {
				garbage := message{ReceiptHandle: aws.String("garbage")}
				w.refused(w.tryDelete(url, garbage), "ReceiptHandleIsInvalid", `The input receipt handle "garbage" is not a valid receipt handle.`)
				w.refused(w.tryHide(url, garbage, 1), "ReceiptHandleIsInvalid", "")
			}
			a := w.json("DeleteMessage", `{"QueueUrl":"q","ReceiptHandle":"garbage"}`)
			if a.status != 404 || a.header.Get("X-Amzn-Query-Error") != "ReceiptHandleIsInvalid;Sender" {
				w.Errorf("got %d %v", a.status, a.header)
			}
		}},
		{"a handle of another queue is refused", func(w *world) {
			url, other := w.standard(), w.queue("other")
			w.send(url, "m")
			w.refused(w.tryDelete(other, w.receive(url, 1)[0]), "ReceiptHandleIsInvalid", "")
		}},
		{"on a standard queue an expired handle deletes", func(w *world) {
			url := w.standard()
			w.send(url, "m")
			held := w.receive(url, 1, visibleAfter(1))
			w.sleep(2 * time.Second)
			w.delete(url, held...)
			w.holds("q", 0, 0, 0)
		}},
		{"visibility 0 gives back, and counts for this receive only", func(w *world) {
			url := w.standard()
			w.send(url, "m")
			w.hide(url, w.gets(url, "m")[0], 0)
			w.gets(url, "m")
			w.sleep(29 * time.Second)
			w.gets(url)
			w.sleep(time.Second)
			w.gets(url, "m")
		}},
		{"on a standard queue a visible message can be hidden again", func(w *world) {
			url := w.standard()
			w.send(url, "m")
			held := w.receive(url, 1, visibleAfter(1))
			w.sleep(2 * time.Second)
			w.hide(url, held[0], 10)
			w.gets(url)
			w.holds("q", 0, 1, 0)
		}},
		{"nothing is held longer than twelve hours", func(w *world) {
			for _, url := range []string{w.standard(), w.fifo()} {
				w.send(url, "m@g")
				held := w.receive(url, 1, visibleAfter(2*3600))[0]
				w.sleep(time.Hour)
				w.refused(w.tryHide(url, held, 43200), "InvalidParameterValue", "Value 43200 for parameter VisibilityTimeout is invalid. Reason: Total VisibilityTimeout for the message is beyond the limit [43200 seconds]")
				w.hide(url, held, 11*3600)
			}
		}},
		{"a deleted message cannot be hidden", func(w *world) {
			url := w.standard()
			w.send(url, "m")
			held := w.gets(url, "m")
			w.delete(url, held...)
			w.refused(w.tryHide(url, held[0], 10), "InvalidParameterValue", "Message does not exist or is not available for visibility timeout change.")
		}},
		{"entries of batches fail one by one", func(w *world) {
			url := w.standard()
			w.sendAll(url, "a", "b")
			held := w.gets(url, "a", "b")
			hidden, err := w.sqs.ChangeMessageVisibilityBatch(w.Context(), &sqs.ChangeMessageVisibilityBatchInput{
				QueueUrl: &url, Entries: []sqstypes.ChangeMessageVisibilityBatchRequestEntry{
					{Id: aws.String("good"), ReceiptHandle: held[1].ReceiptHandle, VisibilityTimeout: 10},
					{Id: aws.String("bad"), ReceiptHandle: aws.String("garbage"), VisibilityTimeout: 10},
				},
			})
			w.must(err)
			if len(hidden.Successful) != 1 || len(hidden.Failed) != 1 || *hidden.Failed[0].Code != "ReceiptHandleIsInvalid" {
				w.Errorf("got %v, %v", hidden.Successful, hidden.Failed)
			}
			deleted, err := w.sqs.DeleteMessageBatch(w.Context(), &sqs.DeleteMessageBatchInput{
				QueueUrl: &url, Entries: []sqstypes.DeleteMessageBatchRequestEntry{
					{Id: aws.String("bad"), ReceiptHandle: aws.String("garbage")},
					{Id: aws.String("good"), ReceiptHandle: held[0].ReceiptHandle},
				},
			})
			w.must(err)
			if len(deleted.Successful) != 1 || *deleted.Successful[0].Id != "good" || len(deleted.Failed) != 1 ||
				*deleted.Failed[0].Code != "ReceiptHandleIsInvalid" || !deleted.Failed[0].SenderFault {
				w.Errorf("got %v, %v", deleted.Successful, deleted.Failed)
			}
		}},
	})
}

func TestReceive_Retention(t *testing.T) {
	t.Parallel()
	check(t, []behaviour{
		{"each message lives from its own send time, also in flight", func(w *world) {
			url := w.fifo(attrs{"MessageRetentionPeriod": "60"})
			w.send(url, "m1@g")
			w.sleep(10 * time.Second)
			w.send(url, "m2@g")
			held := w.receive(url, 1, visibleAfter(600))
			w.sleep(50*time.Second - w.margin())
			w.gets(url)
			w.sleep(2 * w.margin())
			w.gets(url, "m2@g") // m1 has expired while it was in flight, which frees its group
			w.delete(url, held...)
			w.sleep(10 * time.Second)
			w.holds("q.fifo", 0, 0, 0)
		}},
		{"expiry of what is in flight wakes a poll for the rest of the group", func(w *world) {
			url := w.fifo(attrs{"MessageRetentionPeriod": "60"})
			w.send(url, "m1@g")
			w.sleep(50 * time.Second)
			w.send(url, "m2@g")
			w.receive(url, 1, visibleAfter(600))
			w.took(10*time.Second, func() { w.are(w.receive(url, 1, waiting(20)), "m2@g") })
		}},
		{"it does not count from the queue's creation", func(w *world) {
			url := w.fifo(attrs{"MessageRetentionPeriod": "60"})
			w.sleep(24 * time.Hour)
			w.send(url, "m@g")
			w.gets(url, "m@g")
		}},
		{"a shorter period counts for what is there already", func(w *world) {
			url := w.standard()
			w.send(url, "m")
			w.sleep(2 * time.Minute)
			w.set(url, attrs{"MessageRetentionPeriod": "60"})
			w.holds("q", 0, 0, 0)
		}},
	})
}
