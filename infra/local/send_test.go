package local_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	sqstypes "github.com/aws/aws-sdk-go-v2/service/sqs/types"
)

func text(s *string) string { return aws.ToString(s) }

func TestSend_Checksums(t *testing.T) {
	t.Parallel()
	check(t, []behaviour{
		{"of the body", func(w *world) {
			out := w.send(w.standard(), "message")
			if got, want := text(out.MD5OfMessageBody), "78e731027d8fd50ed642340b7c9a63b3"; got != want {
				w.Errorf("got %s, want %s", got, want)
			}
			if out.SequenceNumber != nil {
				w.Error("a standard queue gave a sequence number")
			}
		}},
		{"of the attributes", func(w *world) {
			url := w.standard()
			for _, c := range []struct {
				want    string
				options []option
			}{
				{"a45daa70926828a2f0a1db3418e6feb4", []option{withAttribute("k", "String", "x")}},
				{"ae7155c6026991b6d54b11589678bf9c", []option{withAttribute("Foo", "String", "Bar")}},
				{"d302007e9aa062660afc85fd0a482472", []option{withAttribute("attr1", "Number", "99.12")}},
				{"9b720b3af309c1c4b0d395c53b08c502", []option{withAttribute("attr2", "Number", "109.12"), withAttribute("attr1", "Number", "99.12")}},
				{"235c5c510d26fb653d073faed50ae77c", []option{withAttribute("timestamp", "Number", "1493147359900")}},
				{"56a5bee3ed610a27fd04b2b195aee70b", []option{withAttribute("tags", "String.Array", `["a","b"]`), withAttribute("color", "String", "blue")}},
			} {
				if got := text(w.send(url, "m", c.options...).MD5OfMessageAttributes); got != c.want {
					w.Errorf("got %s, want %s", got, c.want)
				}
			}
			for _, m := range w.receive(url, 10) {
				if m.MD5OfMessageAttributes == nil {
					w.Error("a message came without checksum of its attributes")
				}
			}
		}},
		{"of the trace header", func(w *world) {
			out := w.send(w.standard(), "m", withTrace("Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=1"))
			if got, want := text(out.MD5OfMessageSystemAttributes), "5ae4d5d7636402d80f4eb6d213245a88"; got != want {
				w.Errorf("got %s, want %s", got, want)
			}
			if out.MD5OfMessageAttributes != nil {
				w.Error("there is a checksum of user attributes too")
			}
		}},
	})
}

func withTrace(header string) option {
	return func(in *sqs.SendMessageInput) {
		in.MessageSystemAttributes = map[string]sqstypes.MessageSystemAttributeValue{
			"AWSTraceHeader": {DataType: aws.String("String"), StringValue: &header},
		}
	}
}

func TestSend_Checks(t *testing.T) {
	t.Parallel()
	const badID = " can only include alphanumeric and punctuation characters. 1 to 128 in length."
	check(t, []behaviour{
		{"a body may not be empty", func(w *world) {
			_, err := w.trySend(w.standard(), "")
			w.refused(err, "MissingParameter", "The request must contain the parameter MessageBody.")
		}},
		{"the size limit is exact and counts attributes but not the trace header", func(w *world) {
			url := w.standard()
			trace := withTrace(strings.Repeat("x", 1000))
			w.send(url, strings.Repeat("x", 1<<20), trace)
			w.send(url, strings.Repeat("x", 1<<20-8), withAttribute("a", "String", "b"))
			for body, options := range map[int][]option{1<<20 + 1: {trace}, 1<<20 - 7: {withAttribute("a", "String", "b")}} {
				_, err := w.trySend(url, strings.Repeat("x", body), options...)
				w.refused(err, "InvalidParameterValue", "One or more parameters are invalid. Reason: Message must be shorter than 1048576 bytes.")
			}
			w.set(url, attrs{"MaximumMessageSize": "1024"})
			_, err := w.trySend(url, strings.Repeat("ü", 513))
			w.refused(err, "InvalidParameterValue", "shorter than 1024 bytes.")
		}},
		{"illegal characters are refused, others survive", func(w *world) {
			url := w.standard()
			for _, body := range []string{"\x00", "a\x0bb", "\uFFFE", "\uFFFF"} {
				_, err := w.trySend(url, body)
				w.refused(err, "InvalidMessageContents", "Invalid characters found. Valid unicode characters are #x9 | #xA | #xD | #x20 to #xD7FF | #xE000 to #xFFFD | #x10000 to #x10FFFF")
			}
			body := "tab\t line\n return\r quote\" back\\ <&> \uFFFD ü 😀 \U0010FFFF"
			w.send(url, body)
			if got := text(w.receive(url, 1)[0].Body); got != body {
				w.Errorf("got %q, want %q", got, body)
			}
		}},
		{"a delay is 0 to 900", func(w *world) {
			url := w.standard()
			for _, delay := range []int32{901, -1} {
				_, err := w.trySend(url, "m", withDelay(delay))
				w.refused(err, "InvalidParameterValue", fmt.Sprintf("Value %d for parameter DelaySeconds is invalid. Reason: DelaySeconds must be >= 0 and <= 900.", delay))
			}
		}},
		{"a FIFO queue wants group and deduplication ID", func(w *world) {
			url := w.fifo()
			_, err := w.trySend(url, "m")
			w.refused(err, "MissingParameter", "The request must contain the parameter MessageGroupId.")
			_, err = w.trySend(url, "m@g", withoutDedup)
			w.refused(err, "InvalidParameterValue", "The queue should either have ContentBasedDeduplication enabled")
		}},
		{"IDs have 1 to 128 letters, digits and punctuation", func(w *world) {
			fifo, standard := w.fifo(), w.standard()
			for _, id := range []string{"group 123", "", strings.Repeat("x", 129), "ü"} {
				for _, url := range []string{fifo, standard} {
					_, err := w.trySend(url, "m@"+id, withDedup("d"))
					w.refused(err, "InvalidParameterValue", "Value "+id+" for parameter MessageGroupId is invalid. Reason: MessageGroupId"+badID)
				}
				_, err := w.trySend(fifo, "m@g", withDedup(id))
				w.refused(err, "InvalidParameterValue", "Value "+id+" for parameter MessageDeduplicationId is invalid. Reason: MessageDeduplicationId"+badID)
			}
			w.send(fifo, "m@!\"#$%&'()*+,-./:;<=>?[\\]^_`{|}~")
		}},
		{"a standard queue takes a group but no deduplication ID", func(w *world) {
			url := w.standard()
			_, err := w.trySend(url, "m", withDedup("d"))
			w.refused(err, "InvalidParameterValue", "not valid for this queue type")
			w.send(url, "m@g")
			w.gets(url, "m@g")
		}},
		{"attributes are checked", func(w *world) {
			url := w.standard()
			for _, name := range []string{"aws.x", "Amazon.x", ".x", "x.", "a..b", "a b", strings.Repeat("x", 257)} {
				_, err := w.trySend(url, "m", withAttribute(name, "String", "v"))
				w.refused(err, "InvalidParameterValue", "")
			}
			_, err := w.trySend(url, "m", withAttribute("a", "Text", "v"))
			w.refused(err, "InvalidParameterValue", "The type of message (user) attribute 'a' is invalid. You must use only the following supported type prefixes: Binary, Number, String.")
			_, err = w.trySend(url, "m", withAttribute("a", "String", ""))
			w.refused(err, "InvalidParameterValue", "Message (user) attribute 'a' must contain a non-empty value of type 'String'.")
			_, err = w.trySend(url, "m", withAttribute("a", "Number", "1x"))
			w.refused(err, "InvalidParameterValue", "")
			var eleven []option
			for i := range 11 {
				eleven = append(eleven, withAttribute(fmt.Sprint("a", i), "String", "v"))
			}
			_, err = w.trySend(url, "m", eleven...)
			w.refused(err, "InvalidParameterValue", "")
			w.send(url, "m", eleven[:10]...)
			w.send(url, "m", withAttribute("a", "Number.float", "-1.5e3"), withAttribute("b-_.c", "String.label", "v"))
		}},
		{"list values are not supported, as on AWS", func(w *world) {
			a := w.json("SendMessage", `{"QueueUrl":"`+w.standard()+`","MessageBody":"m","MessageAttributes":{"a":{"DataType":"String","StringListValues":["x"]}}}`)
			if a.status != 400 || !strings.Contains(a.body, `#UnsupportedOperation"`) {
				w.Errorf("got %d %s", a.status, a.body)
			}
		}},
	})
}

func batch(ids ...string) []sqstypes.SendMessageBatchRequestEntry {
	var entries []sqstypes.SendMessageBatchRequestEntry
	for _, id := range ids {
		entries = append(entries, sqstypes.SendMessageBatchRequestEntry{Id: &id, MessageBody: aws.String("body " + id)})
	}
	return entries
}

func (w *world) sendBatch(url string, entries []sqstypes.SendMessageBatchRequestEntry) (*sqs.SendMessageBatchOutput, error) {
	return w.sqs.SendMessageBatch(w.Context(), &sqs.SendMessageBatchInput{QueueUrl: &url, Entries: entries})
}

func TestSend_Batches(t *testing.T) {
	t.Parallel()
	check(t, []behaviour{
		{"number and IDs of the entries are checked", func(w *world) {
			url := w.standard()
			_, err := w.sendBatch(url, batch("0", "1", "2", "3", "4", "5", "6", "7", "8", "9", "10"))
			w.refused(err, "AWS.SimpleQueueService.TooManyEntriesInBatchRequest", "Maximum number of entries per request are 10. You have sent 11.")
			_, err = w.sendBatch(url, []sqstypes.SendMessageBatchRequestEntry{})
			w.refused(err, "AWS.SimpleQueueService.EmptyBatchRequest", "There should be at least one SendMessageBatchRequestEntry in the request.")
			_, err = w.sendBatch(url, batch("a", "b", "a"))
			w.refused(err, "AWS.SimpleQueueService.BatchEntryIdsNotDistinct", "Id a repeated.")
			for _, id := range []string{"a b", "", strings.Repeat("x", 81)} {
				_, err = w.sendBatch(url, batch(id))
				w.refused(err, "AWS.SimpleQueueService.InvalidBatchEntryId", "A batch entry id can only contain alphanumeric characters, hyphens and underscores. It can be at most 80 letters long.")
			}
		}},
		{"the whole may have 1 MiB, whatever the queue's limit", func(w *world) {
			url := w.standard(attrs{"MaximumMessageSize": "1024"})
			entries := batch("a", "b")
			entries[0].MessageBody = aws.String(strings.Repeat("x", 1<<20-1))
			entries[1].MessageBody = aws.String("xx")
			_, err := w.sendBatch(url, entries)
			w.refused(err, "AWS.SimpleQueueService.BatchRequestTooLong", "Batch requests cannot be longer than 1048576 bytes. You have sent 1048577 bytes.")
			entries[1].MessageBody = aws.String("x")
			out, err := w.sendBatch(url, entries)
			w.must(err)
			if len(out.Successful) != 1 || len(out.Failed) != 1 || !strings.Contains(text(out.Failed[0].Message), "One or more parameters cannot be validated. Reason: Message must be shorter than 1024 bytes.") {
				w.Errorf("got %d and %+v", len(out.Successful), out.Failed)
			}
		}},
		{"an entry that fails does not harm the others", func(w *world) {
			url := w.standard()
			entries := batch("bad", "good", "empty")
			entries[0].MessageBody = aws.String("\x00")
			entries[2].MessageBody = aws.String("")
			out, err := w.sendBatch(url, entries)
			w.must(err)
			if len(out.Failed) != 2 || text(out.Failed[0].Code) != "InvalidMessageContents" || !out.Failed[0].SenderFault || text(out.Failed[1].Code) != "EmptyValue" {
				w.Errorf("failed are %+v", out.Failed)
			}
			w.gets(url, "body good")
		}},
		{"without failures there is no list of them", func(w *world) {
			a := w.json("SendMessageBatch", `{"QueueUrl":"`+w.standard()+`","Entries":[{"Id":"a","MessageBody":"m"}]}`)
			if a.status != 200 || strings.Contains(a.body, "Failed") || !strings.Contains(a.body, `"Id":"a"`) {
				w.Errorf("got %d %s", a.status, a.body)
			}
		}},
		{"an entry without its IDs fails the batch on a FIFO queue", func(w *world) {
			url := w.fifo()
			entries := batch("a", "b")
			entries[0].MessageGroupId, entries[0].MessageDeduplicationId = aws.String("g"), aws.String("d")
			_, err := w.sendBatch(url, entries)
			w.refused(err, "InvalidParameterValue", "")
			entries[1].MessageGroupId = aws.String("g")
			_, err = w.sendBatch(url, entries)
			w.refused(err, "InvalidParameterValue", "")
			w.gets(url)
		}},
	})
}
