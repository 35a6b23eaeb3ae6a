package local_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sns"
	snstypes "github.com/aws/aws-sdk-go-v2/service/sns/types"
	"github.com/aws/aws-sdk-go-v2/service/sqs"

	"github.com/device-fanout/fanout/infra/local"
)

func TestPublish_Delivery(t *testing.T) {
	t.Parallel()
	check(t, []behaviour{
		{"the envelope of a FIFO topic", func(w *world) {
			topic, url := w.topic("t.fifo"), w.fifo()
			sub := w.subscribe(topic, "q.fifo")
			out := w.publish(topic, "Test@g", pubDedup("d"), pubAttribute("a", "String", "<x>"), func(in *sns.PublishInput) { in.Subject = aws.String("S") })
			m := w.receive(url, 1)[0]
			if m.Attributes["MessageGroupId"] != "g" || m.Attributes["MessageDeduplicationId"] != "d" || m.MessageAttributes != nil {
				w.Errorf("got attributes %v, %v", m.Attributes, m.MessageAttributes)
			}
			want := `{
  "Type" : "Notification",
  "MessageId" : "` + *out.MessageId + `",
  "SequenceNumber" : "` + *out.SequenceNumber + `",
  "TopicArn" : "` + topic + `",
  "Subject" : "S",
  "Message" : "Test",
  "Timestamp" : "` + w.timestamp(*m.Body) + `",
  "UnsubscribeURL" : "https://sns.eu-central-1.amazonaws.com/?Action=Unsubscribe&SubscriptionArn=` + sub + `",
  "MessageAttributes" : {
    "a" : {"Type":"String","Value":"<x>"}
  }
}`
			if *m.Body != want {
				w.Errorf("got %s\nwant %s", *m.Body, want)
			}
		}},
		{"the envelope of a standard topic is signed", func(w *world) {
			topic, url := w.topic("t"), w.standard()
			w.subscribe(topic, "q")
			w.publish(topic, "Test")
			var got map[string]any
			w.must(json.Unmarshal([]byte(*w.receive(url, 1)[0].Body), &got))
			want := []string{"Message", "MessageId", "Signature", "SignatureVersion", "SigningCertURL", "Timestamp", "TopicArn", "Type", "UnsubscribeURL"}
			if keys := slices.Sorted(maps.Keys(got)); !slices.Equal(keys, want) {
				w.Errorf("members are %v, want %v", keys, want)
			}
		}},
		{"raw delivery carries body, attributes and IDs", func(w *world) {
			topic, url := w.topic("t.fifo"), w.fifo()
			w.subscribe(topic, "q.fifo", raw)
			w.publish(topic, "Test@g", pubDedup("d"), pubAttribute("attr1", "Number", "19.12"))
			m := w.gets(url, "Test@g")[0]
			if *m.MD5OfMessageAttributes != "1f07082409022a373fa2a2601f82b3cb" || m.Attributes["MessageDeduplicationId"] != "d" {
				w.Errorf("got %v", m)
			}
		}},
		{"with content-based deduplication the hash is that of the message", func(w *world) {
			topic := w.topic("t.fifo", attrs{"ContentBasedDeduplication": "true"})
			for name, attributes := range map[string]attrs{"a.fifo": raw, "b.fifo": nil} {
				url := w.queue(name)
				w.subscribe(topic, name, attributes)
				defer func() {
					const want = "532eaabd9574880dbf76b9b8cc00832c20a6ec113d682299550d7a6e0f345e25"
					if got := w.receive(url, 1)[0].Attributes["MessageDeduplicationId"]; got != want {
						w.Errorf("deduplication ID in %s is %s, want %s", name, got, want)
					}
				}()
			}
			w.publish(topic, "Test@g", pubWithoutDedup)
		}},
		{"a standard queue on a FIFO topic gets no IDs", func(w *world) {
			topic, url := w.topic("t.fifo"), w.standard()
			w.subscribe(topic, "q", raw)
			w.publish(topic, "m@g", pubDedup("d"))
			w.publish(topic, "m@g", pubDedup("d"))
			w.gets(url, "m")
		}},
		{"a standard topic forwards the group to standard queues", func(w *world) {
			topic, url := w.topic("t"), w.standard()
			w.subscribe(topic, "q", raw)
			w.publish(topic, "m@tenant")
			w.gets(url, "m@tenant")
		}},
		{"what was published before is not delivered", func(w *world) {
			topic, url := w.topic("t.fifo"), w.fifo()
			w.publish(topic, "m@g")
			w.subscribe(topic, "q.fifo", raw)
			w.gets(url)
		}},
		{"a message with structure json has a text for SQS", func(w *world) {
			topic, url := w.topic("t"), w.standard()
			w.subscribe(topic, "q", raw)
			structured := func(in *sns.PublishInput) { in.MessageStructure = aws.String("json") }
			w.publish(topic, `{"default":"d","sqs":"s"}`, structured)
			w.publish(topic, `{"default":"d","sqs":1}`, structured)
			w.gets(url, "s", "d")
			_, err := w.tryPublish(topic, `{"sqs":"s"}`, structured)
			w.refused(err, invalid, "Invalid parameter: Message Structure - No default entry in JSON message body")
			_, err = w.tryPublish(topic, `x`, structured)
			w.refused(err, invalid, "Invalid parameter: Message Structure - JSON message body failed to parse")
		}},
		{"of a message with structure json all texts count", func(w *world) {
			topic, url := w.topic("t"), w.standard()
			w.subscribe(topic, "q", raw)
			structured := func(in *sns.PublishInput) { in.MessageStructure = aws.String("json") }
			fits := strings.Repeat("x", 256*1024-len(`{"default":"d","email":""}`))
			w.publish(topic, `{"default":"d","email":"`+fits+`"}`, structured)
			_, err := w.tryPublish(topic, `{"default":"d","email":"`+fits+`x"}`, structured)
			w.refused(err, invalid, "Invalid parameter: Message too long")
			_, err = w.sns.PublishBatch(w.Context(), &sns.PublishBatchInput{TopicArn: &topic, PublishBatchRequestEntries: []snstypes.PublishBatchRequestEntry{
				{Id: aws.String("a"), MessageStructure: aws.String("json"), Message: aws.String(`{"default":"d","email":"` + fits + `"}`)},
				{Id: aws.String("b"), Message: aws.String("x")},
			}})
			w.refused(err, "BatchRequestTooLong", "")
			w.gets(url, "d")
		}},
		{"what cannot be delivered goes to the subscription's dead-letter queue", func(w *world) {
			topic, dlq, other := w.topic("t.fifo"), w.queue("dlq.fifo"), w.queue("other.fifo")
			url := w.fifo()
			w.subscribe(topic, "q.fifo", raw, attrs{"RedrivePolicy": `{"deadLetterTargetArn":"` + arnPrefix + `dlq.fifo"}`})
			w.subscribe(topic, "other.fifo", raw)
			var eleven []pub
			for i := range 11 {
				eleven = append(eleven, pubAttribute(fmt.Sprint("a", i), "String", "x"))
			}
			w.publish(topic, "many@g", eleven...)
			if got := len(w.gets(dlq, "many@g")[0].MessageAttributes); got != 11 {
				w.Errorf("got %d attributes, want 11", got)
			}
			_, err := w.sqs.DeleteQueue(w.Context(), &sqs.DeleteQueueInput{QueueUrl: &url})
			w.must(err)
			w.publish(topic, "m@g2", pubDedup("d"), pubAttribute("a", "String", "x"))
			m := w.gets(dlq, "m@g2")[0]
			if m.Attributes["MessageDeduplicationId"] != "d" || len(m.MessageAttributes) != 1 {
				w.Errorf("got %v", m)
			}
			w.gets(other, "m@g2")
		}},
		{"what cannot be delivered keeps its order, whatever the reason", func(w *world) {
			topic, dlq := w.topic("t.fifo"), w.queue("dlq.fifo")
			w.subscribe(topic, "gone.fifo", raw, attrs{"RedrivePolicy": `{"deadLetterTargetArn":"` + arnPrefix + `dlq.fifo"}`})
			many := map[string]snstypes.MessageAttributeValue{}
			for i := range 11 {
				many[fmt.Sprint("a", i)] = snstypes.MessageAttributeValue{DataType: aws.String("String"), StringValue: aws.String("x")}
			}
			var entries []snstypes.PublishBatchRequestEntry
			for _, id := range []string{"m1", "m2", "m3"} {
				entries = append(entries, snstypes.PublishBatchRequestEntry{
					Id: &id, Message: &id, MessageGroupId: aws.String("g"), MessageDeduplicationId: &id,
				})
			}
			entries[1].MessageAttributes = many
			_, err := w.sns.PublishBatch(w.Context(), &sns.PublishBatchInput{TopicArn: &topic, PublishBatchRequestEntries: entries})
			w.must(err)
			w.gets(dlq, "m1@g", "m2@g", "m3@g")
		}},
		{"all queues deliver the same order", func(w *world) {
			const queues, publishers, each = 5, 4, 25
			topic := w.topic("t.fifo")
			var urls []string
			for i := range queues {
				name := fmt.Sprintf("q%d.fifo", i)
				urls = append(urls, w.queue(name))
				w.subscribe(topic, name, raw)
			}
			var publish []func()
			for p := range publishers {
				publish = append(publish, func() {
					for i := range each {
						w.publish(topic, fmt.Sprintf("%d-%d@g", p, i))
					}
				})
			}
			w.while(publish...)
			var orders [][]string
			for _, url := range urls {
				var order []string
				for len(order) < publishers*each {
					got := w.receive(url, 10, waiting(5))
					if len(got) == 0 {
						w.Fatalf("%s has %d messages, want %d", url, len(order), publishers*each)
					}
					order = append(order, names(got)...)
					w.delete(url, got...)
				}
				orders = append(orders, order)
			}
			for i := range orders {
				if !slices.Equal(orders[i], orders[0]) {
					w.Errorf("queue %d delivers %q\nqueue 0 %q", i, orders[i], orders[0])
				}
			}
		}},
	})
}

// timestamp is the time of an envelope, which must be of now, to the millisecond.
func (w *world) timestamp(envelope string) string {
	w.Helper()
	var e struct{ Timestamp string }
	w.must(json.Unmarshal([]byte(envelope), &e))
	at, err := time.Parse("2006-01-02T15:04:05.000Z", e.Timestamp)
	if err != nil || time.Since(at).Abs() > 10*time.Second {
		w.Errorf("the envelope is of %s, want of now, %s", e.Timestamp, time.Now().UTC())
	}
	return e.Timestamp
}

func TestPublish_Deduplication(t *testing.T) {
	t.Parallel()
	check(t, []behaviour{
		{"a duplicate is answered with the original and delivered to nobody", func(w *world) {
			topic, url := w.topic("t.fifo"), w.fifo()
			w.subscribe(topic, "q.fifo", raw)
			a := w.publish(topic, "m@g", pubDedup("d"))
			w.delete(url, w.gets(url, "m@g")...)
			b := w.publish(topic, "m@g2", pubDedup("d"))
			if *a.MessageId != *b.MessageId || *a.SequenceNumber != *b.SequenceNumber || len(*a.SequenceNumber) != 20 {
				w.Errorf("got %s %s, want %s %s", *b.MessageId, *b.SequenceNumber, *a.MessageId, *a.SequenceNumber)
			}
			w.gets(url)
			w.sleep(5 * time.Minute)
			w.publish(topic, "m@g", pubDedup("d"))
			w.gets(url, "m@g")
		}},
		{"equal content in two groups is one message", func(w *world) {
			topic, url := w.topic("t.fifo", attrs{"ContentBasedDeduplication": "true"}), w.fifo()
			w.subscribe(topic, "q.fifo", raw)
			w.publish(topic, "m@g1", pubWithoutDedup)
			w.publish(topic, "m@g2", pubWithoutDedup)
			w.gets(url, "m@g1")
		}},
		{"with scope MessageGroup it is two", func(w *world) {
			topic := w.topic("t.fifo", attrs{"ContentBasedDeduplication": "true", "FifoThroughputScope": "MessageGroup"})
			url := w.fifo(attrs{"DeduplicationScope": "messageGroup"})
			w.subscribe(topic, "q.fifo", raw)
			w.publish(topic, "m@g1", pubWithoutDedup)
			w.publish(topic, "m@g2", pubWithoutDedup)
			w.gets(url, "m@g1", "m@g2")
		}},
	})
}

func TestPublish_Checks(t *testing.T) {
	t.Parallel()
	check(t, []behaviour{
		{"IDs go with the kind of topic", func(w *world) {
			fifo, standard := w.topic("t.fifo"), w.topic("t")
			_, err := w.tryPublish(fifo, "m")
			w.refused(err, invalid, "Invalid parameter: The MessageGroupId parameter is required for FIFO topics")
			_, err = w.tryPublish(fifo, "m@g", pubWithoutDedup)
			w.refused(err, invalid, "Invalid parameter: The topic should either have ContentBasedDeduplication enabled or MessageDeduplicationId provided explicitly")
			_, err = w.tryPublish(standard, "m", pubDedup("d"))
			w.refused(err, invalid, "Invalid parameter: MessageDeduplicationId Reason: The request includes MessageDeduplicationId parameter that is not valid for this topic type")
			_, err = w.tryPublish(fifo, "m@a b")
			w.refused(err, invalid, "MessageGroupId")
		}},
		{"the size limit is exact", func(w *world) {
			topic := w.topic("t")
			w.publish(topic, strings.Repeat("x", 262_144-8), pubAttribute("a", "String", "b"))
			_, err := w.tryPublish(topic, strings.Repeat("x", 262_144-7), pubAttribute("a", "String", "b"))
			w.refused(err, invalid, "Invalid parameter: Message too long")
			big := w.topic("big", attrs{"MaximumMessageSize": "1048576"})
			w.publish(big, strings.Repeat("x", 1<<20))
		}},
		{"text and subject", func(w *world) {
			topic := w.topic("t")
			_, err := w.tryPublish(topic, "")
			w.refused(err, invalid, "Invalid parameter: Empty message")
			for _, subject := range []string{"", strings.Repeat("x", 101), "a\nb"} {
				_, err := w.tryPublish(topic, "m", func(in *sns.PublishInput) { in.Subject = &subject })
				w.refused(err, invalid, "Invalid parameter: Subject")
			}
		}},
		{"attributes", func(w *world) {
			topic := w.topic("t")
			_, err := w.tryPublish(topic, "m", pubAttribute("a", "String", ""))
			w.refused(err, "ParameterValueInvalid", "The message attribute 'a' must contain non-empty message attribute value for message attribute type 'String'.")
			_, err = w.tryPublish(topic, "m", pubAttribute("a", "Text", "x"))
			w.refused(err, "ParameterValueInvalid", "The message attribute 'a' has an invalid message attribute type, the set of supported type prefixes is Binary, Number, and String.")
			_, err = w.tryPublish(topic, "m", pubAttribute("a", "Binary", "x"))
			w.refused(err, "ParameterValueInvalid", "The message attribute 'a' with type 'Binary' must use field 'Binary'.")
		}},
		{"batches", func(w *world) {
			topic, url := w.topic("t"), w.standard()
			w.subscribe(topic, "q", raw)
			publish := func(ids ...string) (*sns.PublishBatchOutput, error) {
				var entries []snstypes.PublishBatchRequestEntry
				for _, id := range ids {
					message := "m-" + id
					if id == "empty" {
						message = ""
					}
					entries = append(entries, snstypes.PublishBatchRequestEntry{Id: &id, Message: &message})
				}
				return w.sns.PublishBatch(w.Context(), &sns.PublishBatchInput{TopicArn: &topic, PublishBatchRequestEntries: entries})
			}
			_, err := publish("0", "1", "2", "3", "4", "5", "6", "7", "8", "9", "10")
			w.refused(err, "TooManyEntriesInBatchRequest", "The batch request contains more entries than permissible.")
			_, err = publish("a", "a")
			w.refused(err, "BatchEntryIdsNotDistinct", "Two or more batch entries in the request have the same Id.")
			_, err = publish("a b")
			w.refused(err, "InvalidBatchEntryId", "")
			out, err := publish("a", "empty", "b")
			w.must(err)
			if len(out.Successful) != 2 || len(out.Failed) != 1 || *out.Failed[0].Id != "empty" || *out.Failed[0].Code != invalid || !out.Failed[0].SenderFault {
				w.Errorf("got %v, %v", out.Successful, out.Failed)
			}
			w.gets(url, "m-a", "m-b")
			entries := []snstypes.PublishBatchRequestEntry{
				{Id: aws.String("a"), Message: aws.String(strings.Repeat("x", 200_000))},
				{Id: aws.String("b"), Message: aws.String(strings.Repeat("x", 200_000))},
			}
			_, err = w.sns.PublishBatch(w.Context(), &sns.PublishBatchInput{TopicArn: &topic, PublishBatchRequestEntries: entries})
			w.refused(err, "BatchRequestTooLong", "")
		}},
	})
}

func TestPublish_Policies(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := worldOf(t, local.New(local.Options{EnforcePolicies: true}))
		topic, url, dlq := w.topic("t.fifo"), w.fifo(), w.queue("dlq.fifo")
		sub := w.subscribe(topic, "q.fifo", raw)
		w.publish(topic, "lost@g")
		w.gets(url)

		_, err := w.sns.SetSubscriptionAttributes(w.Context(), &sns.SetSubscriptionAttributesInput{
			SubscriptionArn: &sub, AttributeName: aws.String("RedrivePolicy"), AttributeValue: aws.String(`{"deadLetterTargetArn":"` + arnPrefix + `dlq.fifo"}`),
		})
		w.must(err)
		w.publish(topic, "lost-as-well@g")
		w.gets(dlq)
		w.allow(topic, "dlq.fifo")
		w.publish(topic, "dead@g")
		w.gets(dlq, "dead@g")

		w.allow(topic, "q.fifo")
		w.publish(topic, "delivered@g")
		w.gets(url, "delivered@g")
	})
}

func TestSubscription_Filters(t *testing.T) {
	t.Parallel()
	filtered := func(policy string, more ...attrs) func(*world) (string, string) {
		return func(w *world) (string, string) {
			topic, url := w.topic("t.fifo"), w.fifo()
			w.subscribe(topic, "q.fifo", append(more, raw, attrs{"FilterPolicy": policy})...)
			return topic, url
		}
	}
	body := attrs{"FilterPolicyScope": "MessageBody"}
	check(t, []behaviour{
		{"on attributes", func(w *world) {
			topic, url := filtered(`{"type":["device.power.changed.v1",{"prefix":"device.motion."}],"source":[{"anything-but":["test"]}]}`)(w)
			source := pubAttribute("source", "String", "gw")
			w.publish(topic, "1@g", source, pubAttribute("type", "String", "device.power.changed.v1"))
			w.publish(topic, "2@g", source, pubAttribute("type", "String", "device.motion.changed.v1"))
			w.publish(topic, "3@g", source, pubAttribute("type", "String", "device.power.changed.v2"))
			w.publish(topic, "4@g", pubAttribute("source", "String", "test"), pubAttribute("type", "String", "device.power.changed.v1"))
			w.publish(topic, "5@g", source)
			w.publish(topic, "6@g")
			w.gets(url, "1@g", "2@g")
		}},
		{"on the body", func(w *world) {
			topic, url := filtered(`{"object":{"key":[{"prefix":"auto-"},"hardcodedvalue"]}}`, body)(w)
			w.publish(topic, `{"object":{"key":"auto-test"}}@g`, pubDedup("1"))
			w.publish(topic, `{"object":{"key":"x"}}@g`, pubDedup("2"))
			w.publish(topic, `no json@g`, pubDedup("3"))
			w.gets(url, `{"object":{"key":"auto-test"}}@g`)
		}},
		{"a numeric range", func(w *world) {
			topic, url := filtered(`{"attr1":[{"numeric":[">",0,"<=",100]}]}`)(w)
			w.publish(topic, "1@g", pubAttribute("attr1", "Number", "111"))
			w.publish(topic, "2@g", pubAttribute("attr1", "Number", "99"))
			w.publish(topic, "3@g")
			w.gets(url, "2@g")
		}},
		{"an attribute that must be absent", func(w *world) {
			topic, url := filtered(`{"store":[{"exists":false}]}`)(w)
			w.publish(topic, "1@g", pubAttribute("store", "String", "x"))
			w.publish(topic, "2@g", pubAttribute("other", "String", "x"))
			w.publish(topic, "3@g")
			w.gets(url, "2@g", "3@g")
		}},
		{"one element of an array is enough", func(w *world) {
			topic, url := filtered(`{"store":["value1"]}`)(w)
			w.publish(topic, "1@g", pubAttribute("store", "String.Array", `["x"]`))
			w.publish(topic, "2@g", pubAttribute("store", "String.Array", `["value1","x"]`))
			w.gets(url, "2@g")
		}},
		{"anything but a value wants a value", func(w *world) {
			topic, url := filtered(`{"env":[{"anything-but":["prod"]}]}`)(w)
			w.publish(topic, "1@g")
			w.publish(topic, "2@g", pubAttribute("env", "String", "prod"))
			w.publish(topic, "3@g", pubAttribute("env", "String", "dev"))
			w.publish(topic, "4@g", pubAttribute("env", "Number", "5"))
			w.gets(url, "3@g", "4@g")
		}},
		{"on arrays in the body", func(w *world) {
			topic, url := filtered(`{"headers":{"route-to":["queue1"]}}`, body)(w)
			want := []string{`{"headers":{"route-to":["queue1"]}}`, `{"headers":{"route-to":["queue1","queue2"]}}`}
			for i, text := range append(want, `{"headers":{"route-to":["queue2"]}}`) {
				w.publish(topic, text+"@g", pubDedup(fmt.Sprint(i)))
			}
			w.gets(url, want[0]+"@g", want[1]+"@g")
		}},
		{"a leaf of the body that must be absent, or its parent", func(w *world) {
			topic, url := filtered(`{"a":{"b":[{"exists":false}]}}`, body)(w)
			for i, text := range []string{`{"a":{"c":1}}`, `{"z":1}`, `{"a":{"b":1}}`} {
				w.publish(topic, text+"@g", pubDedup(fmt.Sprint(i)))
			}
			w.gets(url, `{"a":{"c":1}}@g`, `{"z":1}@g`)
		}},
		{"malformed policies are refused", func(w *world) {
			topic := w.topic("t.fifo")
			w.fifo()
			for policy, want := range map[string]string{
				`{"key":[]}`:        "Empty arrays are not allowed",
				`{"key":[["v"]]}`:   "Match value must be String, number, true, false, or null",
				`{"key":[{"x":1}]}`: "Unrecognized match type x",
			} {
				_, err := w.trySubscribe(topic, "q.fifo", attrs{"FilterPolicy": policy})
				w.refused(err, invalid, "Invalid parameter: Attributes Reason: FilterPolicy: "+want)
			}
		}},
		{"policies have limits", func(w *world) {
			topic := w.topic("t.fifo")
			w.fifo()
			for policy, want := range map[string]string{
				`{"a":["x"` + strings.Repeat(`,"x"`, 150) + `]}`:                "Filter policy is too complex",
				`{"a":["x"],"b":["x"],"c":["x"],"d":["x"],"e":["x"],"f":["x"]}`: "Filter policy can not have more than 5 keys",
			} {
				_, err := w.trySubscribe(topic, "q.fifo", attrs{"FilterPolicy": policy})
				w.refused(err, invalid, want)
			}
		}},
		{"attributes have no nested policies", func(w *world) {
			topic := w.topic("t.fifo")
			w.fifo()
			_, err := w.trySubscribe(topic, "q.fifo", attrs{"FilterPolicy": `{"a":{"b":["x"]}}`})
			w.refused(err, invalid, "Filter policy scope MessageAttributes does not support nested filter policy")
		}},
		{"a changed policy counts at once", func(w *world) {
			topic, url := w.topic("t.fifo"), w.fifo()
			sub := w.subscribe(topic, "q.fifo", raw)
			set := func(policy string) error {
				_, err := w.sns.SetSubscriptionAttributes(w.Context(), &sns.SetSubscriptionAttributesInput{
					SubscriptionArn: &sub, AttributeName: aws.String("FilterPolicy"), AttributeValue: &policy,
				})
				return err
			}
			w.must(set(`{"a":["x"]}`))
			w.publish(topic, "1@g")
			w.must(set(``))
			w.publish(topic, "2@g")
			w.gets(url, "2@g")
			w.refused(set(`{"key":[]}`), invalid, "Invalid parameter: FilterPolicy: Empty arrays are not allowed")
			_, err := w.trySubscribe(topic, "q2.fifo", attrs{"FilterPolicy": `{"key":[{"x":1}]}`})
			w.refused(err, invalid, "Invalid parameter: Attributes Reason: FilterPolicy: Unrecognized match type x")
		}},
	})
}
