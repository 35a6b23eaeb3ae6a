package local_test

import (
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	sqstypes "github.com/aws/aws-sdk-go-v2/service/sqs/types"
)

func TestFIFO_Deduplication(t *testing.T) {
	t.Parallel()
	perGroup := attrs{"DeduplicationScope": "messageGroup", "FifoThroughputLimit": "perMessageGroupId"}
	byContent := attrs{"ContentBasedDeduplication": "true"}
	check(t, []behaviour{
		{"a duplicate is answered with the original and not stored", func(w *world) {
			q := w.fifo()
			first := w.send(q, "m@g1", withDedup("d"))
			w.sleep(5*time.Minute - time.Second)
			second := w.send(q, "other@g1", withDedup("d"))
			if *first.MessageId != *second.MessageId || *first.SequenceNumber != *second.SequenceNumber {
				w.Errorf("got %s, %s for the duplicate, want %s, %s",
					*second.MessageId, *second.SequenceNumber, *first.MessageId, *first.SequenceNumber)
			}
			w.gets(q, "m@g1")
		}},
		{"an ID is remembered after the message was deleted", func(w *world) {
			q := w.fifo()
			w.send(q, "m@g1", withDedup("d"))
			w.delete(q, w.gets(q, "m@g1")...)
			w.send(q, "m@g1", withDedup("d"))
			w.gets(q)
		}},
		{"an ID counts for the whole queue", func(w *world) {
			q := w.fifo()
			w.send(q, "m@g1", withDedup("d"))
			w.send(q, "m@g2", withDedup("d"))
			w.gets(q, "m@g1")
		}},
		{"with scope messageGroup an ID counts for its group", func(w *world) {
			q := w.fifo(perGroup)
			w.send(q, "m@g1", withDedup("d"))
			w.send(q, "m@g2", withDedup("d"))
			w.send(q, "m@g1", withDedup("d"))
			w.gets(q, "m@g1", "m@g2")
		}},
		{"changing the scope later changes the attribute but not the behaviour", func(w *world) {
			q := w.fifo()
			w.set(q, attrs{"DeduplicationScope": "messageGroup"})
			w.send(q, "m@g1", withDedup("d"))
			w.send(q, "m@g2", withDedup("d"))
			w.gets(q, "m@g1")
		}},
		{"an ID is forgotten five minutes after it was first accepted", func(w *world) {
			q := w.fifo()
			w.send(q, "m1@g1", withDedup("d"))
			w.sleep(4 * time.Minute)
			w.send(q, "m2@g1", withDedup("d")) // does not prolong it
			w.sleep(time.Minute)
			w.send(q, "m3@g1", withDedup("d"))
			w.gets(q, "m1@g1", "m3@g1")
		}},
		{"by content, only the body counts", func(w *world) {
			q := w.fifo(byContent)
			w.send(q, "same@g1", withoutDedup)
			w.send(q, "same@g1", withoutDedup, withAttribute("a", "String", "x"))
			w.send(q, "other@g1", withoutDedup)
			got := w.gets(q, "same@g1", "other@g1")
			const want = "0967115f2813a3541eaef77de9d9d5773f1c0c04314b0bbfe4ff3b3b1c55b5d5"
			if id := got[0].Attributes["MessageDeduplicationId"]; id != want {
				w.Errorf("deduplication ID is %s, want %s", id, want)
			}
		}},
		{"an explicit ID wins over the content", func(w *world) {
			q := w.fifo(byContent)
			w.send(q, "same@g1", withDedup("d1"))
			w.send(q, "same@g1", withDedup("d2"))
			w.gets(q, "same@g1", "same@g1")
		}},
		{"an explicit ID that equals an earlier hash is a duplicate", func(w *world) {
			q := w.fifo(byContent)
			w.send(q, "same@g1", withoutDedup)
			w.send(q, "other@g1", withDedup("0967115f2813a3541eaef77de9d9d5773f1c0c04314b0bbfe4ff3b3b1c55b5d5"))
			w.gets(q, "same@g1")
		}},
		{"entries of one batch are compared with each other", func(w *world) {
			q := w.fifo()
			entry := func(id, body string) sqstypes.SendMessageBatchRequestEntry {
				return sqstypes.SendMessageBatchRequestEntry{
					Id: &id, MessageBody: &body, MessageGroupId: aws.String("g"), MessageDeduplicationId: aws.String("d"),
				}
			}
			out, err := w.sqs.SendMessageBatch(w.Context(), &sqs.SendMessageBatchInput{
				QueueUrl: &q, Entries: []sqstypes.SendMessageBatchRequestEntry{entry("a", "one"), entry("b", "two")},
			})
			w.must(err)
			if len(out.Successful) != 2 || *out.Successful[0].MessageId != *out.Successful[1].MessageId {
				w.Errorf("got %d successes, want two with one message ID", len(out.Successful))
			}
			w.gets(q, "one@g")
		}},
		{"content-based deduplication can be turned off", func(w *world) {
			q := w.fifo(byContent)
			w.set(q, attrs{"ContentBasedDeduplication": "false"})
			_, err := w.trySend(q, "m@g", withoutDedup)
			w.refused(err, "InvalidParameterValue", "The queue should either have ContentBasedDeduplication enabled or MessageDeduplicationId provided explicitly")
		}},
		{"a purge forgets all IDs", func(w *world) {
			q := w.fifo()
			w.send(q, "m@g")
			_, err := w.sqs.PurgeQueue(w.Context(), &sqs.PurgeQueueInput{QueueUrl: &q})
			w.must(err)
			w.send(q, "m@g")
			w.gets(q, "m@g")
		}},
		{"throughput per group needs deduplication per group", func(w *world) {
			if _, err := w.tryQueue("q.fifo", attrs{"FifoThroughputLimit": "perMessageGroupId"}); err == nil {
				w.Error("the queue was made")
			}
		}},
	})
}
