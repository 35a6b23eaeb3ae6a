package local_test

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sns"
	snstypes "github.com/aws/aws-sdk-go-v2/service/sns/types"
)

const invalid = "InvalidParameter"

func TestTopic_Lifecycle(t *testing.T) {
	t.Parallel()
	check(t, []behaviour{
		{"bad names are refused", func(w *world) {
			for _, name := range []string{"", strings.Repeat("x", 257), "a b", "ü"} {
				_, err := w.tryTopic(name)
				w.refused(err, invalid, "Invalid parameter: Topic Name")
			}
			_, err := w.sns.CreateTopic(w.Context(), &sns.CreateTopicInput{Name: aws.String("a.fifo")})
			w.refused(err, invalid, "Invalid parameter: Topic Name")
			_, err = w.tryTopic("a", attrs{"FifoTopic": "true"})
			w.refused(err, invalid, "Invalid parameter: Topic Name")
		}},
		{"creating and deleting twice is fine", func(w *world) {
			arn := w.topic("t.fifo", attrs{"ContentBasedDeduplication": "true"})
			if again := w.topic("t.fifo"); again != arn || arn != "arn:aws:sns:eu-central-1:000000000000:t.fifo" {
				w.Errorf("ARNs are %s and %s", arn, again)
			}
			_, err := w.tryTopic("t.fifo", attrs{"ContentBasedDeduplication": "false"})
			w.refused(err, invalid, "Invalid parameter: Attributes Reason: Topic already exists with different attributes")
			_, err = w.tryTopic("t.fifo", attrs{"DisplayName": "new"})
			w.refused(err, invalid, "Topic already exists with different attributes")
			for range 2 {
				_, err := w.sns.DeleteTopic(w.Context(), &sns.DeleteTopicInput{TopicArn: &arn})
				w.must(err)
			}
		}},
		{"a missing or malformed topic is refused", func(w *world) {
			_, err := w.tryPublish("arn:aws:sns:eu-central-1:000000000000:none", "m")
			w.refused(err, "NotFound", "Topic does not exist")
			_, err = w.tryPublish("x", "m")
			w.refused(err, invalid, "Invalid parameter: TopicArn Reason: An ARN must have at least 6 elements, not 1")
			_, err = w.tryPublish("arn:aws:sns:us-east-1:000000000000:t", "m")
			w.refused(err, invalid, "Invalid parameter: TopicArn")
		}},
		{"attributes are read and set", func(w *world) {
			arn := w.topic("t.fifo")
			get := func() attrs {
				out, err := w.sns.GetTopicAttributes(w.Context(), &sns.GetTopicAttributesInput{TopicArn: &arn})
				w.must(err)
				return out.Attributes
			}
			set := func(name, value string) error {
				_, err := w.sns.SetTopicAttributes(w.Context(), &sns.SetTopicAttributesInput{TopicArn: &arn, AttributeName: &name, AttributeValue: &value})
				return err
			}
			want := []string{
				"ContentBasedDeduplication", "DisplayName", "EffectiveDeliveryPolicy", "FifoTopic", "Owner", "Policy",
				"SubscriptionsConfirmed", "SubscriptionsDeleted", "SubscriptionsPending", "TopicArn",
			}
			if got := slices.Sorted(maps.Keys(get())); !slices.Equal(got, want) {
				w.Errorf("attributes are %v, want %v", got, want)
			}
			w.must(set("ContentBasedDeduplication", "true"))
			w.must(set("FifoThroughputScope", "MessageGroup"))
			if got := get(); got["ContentBasedDeduplication"] != "true" || got["FifoThroughputScope"] != "MessageGroup" {
				w.Errorf("attributes are %v", got)
			}
			w.refused(set("FifoThroughputScope", "Topic"), invalid, "")
			w.refused(set("FifoTopic", "false"), invalid, "Invalid parameter: AttributeName")
			w.refused(set("Foobar", "x"), invalid, "Invalid parameter: AttributeName")
			w.refused(set("ArchivePolicy", "{}"), invalid, "not supported by the local engine")
		}},
		{"tags", func(w *world) {
			arn := w.topic("t")
			tag := func(arn string, tags ...snstypes.Tag) error {
				_, err := w.sns.TagResource(w.Context(), &sns.TagResourceInput{ResourceArn: &arn, Tags: tags})
				return err
			}
			w.must(tag(arn, snstypes.Tag{Key: aws.String("b"), Value: aws.String("")}, snstypes.Tag{Key: aws.String("a"), Value: aws.String("1")}))
			_, err := w.sns.UntagResource(w.Context(), &sns.UntagResourceInput{ResourceArn: &arn, TagKeys: []string{"b", "x"}})
			w.must(err)
			out, err := w.sns.ListTagsForResource(w.Context(), &sns.ListTagsForResourceInput{ResourceArn: &arn})
			w.must(err)
			if len(out.Tags) != 1 || *out.Tags[0].Key != "a" || *out.Tags[0].Value != "1" {
				w.Errorf("tags are %v", out.Tags)
			}
			w.refused(tag(arn+"x", snstypes.Tag{Key: aws.String("a"), Value: aws.String("1")}), "ResourceNotFound", "")
		}},
		{"lists have pages of a hundred", func(w *world) {
			for i := range 101 {
				w.topic(fmt.Sprintf("t%d", i))
			}
			n := 0
			pages := sns.NewListTopicsPaginator(w.sns, &sns.ListTopicsInput{})
			for pages.HasMorePages() {
				out, err := pages.NextPage(w.Context())
				w.must(err)
				n += len(out.Topics)
			}
			if n != 101 {
				w.Errorf("listed %d topics, want 101", n)
			}
			_, err := w.sns.ListTopics(w.Context(), &sns.ListTopicsInput{NextToken: aws.String("%")})
			w.refused(err, invalid, "Invalid parameter: NextToken")
		}},
	})
}

func TestSubscription_Lifecycle(t *testing.T) {
	t.Parallel()
	check(t, []behaviour{
		{"endpoint and protocol are checked", func(w *world) {
			standard, fifo := w.topic("t"), w.topic("t.fifo")
			_, err := w.trySubscribe(standard, "q.fifo")
			w.refused(err, invalid, "Invalid parameter: Invalid parameter: Endpoint Reason: FIFO SQS Queues can not be subscribed to standard SNS topics")
			try := func(protocol, endpoint string) error {
				_, err := w.sns.Subscribe(w.Context(), &sns.SubscribeInput{TopicArn: &fifo, Protocol: &protocol, Endpoint: &endpoint})
				return err
			}
			w.refused(try("sqs", "http://127.0.0.1:4566/000000000000/q"), invalid, "Invalid parameter: SQS endpoint ARN")
			w.refused(try("x", "y"), invalid, "Invalid parameter: Amazon SNS does not support this protocol string: x")
			w.refused(try("http", "http://example.com"), invalid, "protocol http is not supported by the local engine")
			_, err = w.trySubscribe("arn:aws:sns:eu-central-1:000000000000:none", "q")
			w.refused(err, "NotFound", "Topic does not exist")
		}},
		{"subscribing again with equal or no attributes returns the same", func(w *world) {
			topic := w.topic("t.fifo")
			arn := w.subscribe(topic, "q.fifo", raw, attrs{"FilterPolicy": `{"a":["x"]}`})
			for _, again := range []attrs{{}, {"RawMessageDelivery": "True"}, {"FilterPolicyScope": "MessageAttributes"}} {
				if got := w.subscribe(topic, "q.fifo", again); got != arn {
					w.Errorf("got %s, want %s", got, arn)
				}
			}
			_, err := w.trySubscribe(topic, "q.fifo", attrs{"RawMessageDelivery": "false"})
			w.refused(err, invalid, "")
		}},
		{"attributes are read and set", func(w *world) {
			sub := w.subscribe(w.topic("t.fifo"), "q.fifo")
			get := func() attrs {
				out, err := w.sns.GetSubscriptionAttributes(w.Context(), &sns.GetSubscriptionAttributesInput{SubscriptionArn: &sub})
				w.must(err)
				return out.Attributes
			}
			set := func(name, value string) error {
				_, err := w.sns.SetSubscriptionAttributes(w.Context(), &sns.SetSubscriptionAttributesInput{SubscriptionArn: &sub, AttributeName: &name, AttributeValue: &value})
				return err
			}
			want := []string{
				"ConfirmationWasAuthenticated", "Endpoint", "Owner", "PendingConfirmation", "Protocol",
				"RawMessageDelivery", "SubscriptionArn", "SubscriptionPrincipal", "TopicArn",
			}
			w.must(set("FilterPolicyScope", "MessageBody"))
			if got := slices.Sorted(maps.Keys(get())); !slices.Equal(got, want) {
				w.Errorf("attributes are %v, want %v", got, want)
			}
			w.must(set("FilterPolicy", `{"a":{"b":["x"]}}`))
			if got := get(); got["FilterPolicy"] != `{"a":{"b":["x"]}}` || got["FilterPolicyScope"] != "MessageBody" {
				w.Errorf("attributes are %v", got)
			}
			for _, empty := range []string{`{}`, "{ }", " {\n} ", ""} {
				w.must(set("FilterPolicy", `{"a":["x"]}`))
				w.must(set("FilterPolicy", empty))
				if got := slices.Sorted(maps.Keys(get())); !slices.Equal(got, want) {
					w.Errorf("after %q attributes are %v, want %v", empty, got, want)
				}
			}
			w.refused(set("RawMessageDelivery", "x"), invalid, "Invalid parameter: RawMessageDelivery: Invalid value [x]. Must be true or false.")
			w.refused(set("Foobar", "x"), invalid, "Invalid parameter: AttributeName")
			w.refused(set("FilterPolicyScope", "x"), invalid, "Invalid parameter: FilterPolicyScope: Invalid value [x]. Please use either MessageBody or MessageAttributes")
			w.refused(set("RedrivePolicy", `{"deadLetterTargetArn":"x"}`), invalid, "Invalid parameter: RedrivePolicy: deadLetterTargetArn is an invalid arn")
			w.refused(set("RedrivePolicy", `{"deadLetterTargetArn":"`+arnPrefix+`dlq"}`), invalid, "Invalid parameter: RedrivePolicy: must use a FIFO queue as DLQ for a FIFO Subscription to a FIFO Topic.")
			w.must(set("RedrivePolicy", `{"deadLetterTargetArn":"`+arnPrefix+`dlq.fifo"}`))
			_, err := w.trySubscribe(w.topic("t.fifo"), "q2.fifo", attrs{"RawMessageDelivery": "x"})
			w.refused(err, invalid, "Invalid parameter: Attributes Reason: RawMessageDelivery: Invalid value [x]. Must be true or false.")
		}},
		{"a FIFO dead-letter queue is for FIFO queues on FIFO topics only", func(w *world) {
			redrive := attrs{"RedrivePolicy": `{"deadLetterTargetArn":"` + arnPrefix + `dlq.fifo"}`}
			const want = "Invalid parameter: %sRedrivePolicy: must use a standard queue as DLQ for a Subscription without FIFO queue or FIFO Topic."
			w.queue("dlq.fifo")
			for _, name := range []string{"t", "t.fifo"} {
				topic := w.topic(name)
				_, err := w.trySubscribe(topic, "gone", raw, redrive)
				w.refused(err, invalid, fmt.Sprintf(want, "Attributes Reason: "))
				sub := w.subscribe(topic, "gone", raw)
				_, err = w.sns.SetSubscriptionAttributes(w.Context(), &sns.SetSubscriptionAttributesInput{
					SubscriptionArn: &sub, AttributeName: aws.String("RedrivePolicy"), AttributeValue: aws.String(redrive["RedrivePolicy"]),
				})
				w.refused(err, invalid, fmt.Sprintf(want, ""))
				w.publish(topic, "m@g")
			}
			w.holds("dlq.fifo", 0, 0, 0)
		}},
		{"those of a deleted topic stay readable for 48 hours, or until it is made anew", func(w *world) {
			listed := func(topicARN string) int {
				list, err := w.sns.ListSubscriptions(w.Context(), &sns.ListSubscriptionsInput{})
				w.must(err)
				if topicARN == "" {
					return len(list.Subscriptions)
				}
				ofTopic, err := w.sns.ListSubscriptionsByTopic(w.Context(), &sns.ListSubscriptionsByTopicInput{TopicArn: &topicARN})
				w.must(err)
				return len(ofTopic.Subscriptions)
			}
			subs := map[string]string{}
			for _, name := range []string{"t", "other"} {
				topic := w.topic(name)
				subs[name] = w.subscribe(topic, "q")
				_, err := w.sns.DeleteTopic(w.Context(), &sns.DeleteTopicInput{TopicArn: &topic})
				w.must(err)
			}
			if got := listed(""); got != 2 {
				w.Errorf("%d are listed, want 2", got)
			}
			topic := w.topic("t")
			if got := listed(topic); got != 0 {
				w.Errorf("%d of the new topic are listed, want none", got)
			}
			w.subscribe(topic, "q")
			read := func(name string) error {
				_, err := w.sns.GetSubscriptionAttributes(w.Context(), &sns.GetSubscriptionAttributesInput{SubscriptionArn: aws.String(subs[name])})
				return err
			}
			w.refused(read("t"), "NotFound", "Subscription does not exist")
			w.sleep(48*time.Hour - time.Second)
			w.must(read("other"))
			w.sleep(time.Second)
			w.refused(read("other"), "NotFound", "Subscription does not exist")
			if all, ofTopic := listed(""), listed(topic); all != 1 || ofTopic != 1 {
				w.Errorf("%d are listed and %d of the topic, want the one that is alive", all, ofTopic)
			}
		}},
		{"unsubscribing ends deliveries, and unknown subscriptions are fine", func(w *world) {
			topic, url := w.topic("t.fifo"), w.fifo()
			sub := w.subscribe(topic, "q.fifo", raw)
			for range 2 {
				_, err := w.sns.Unsubscribe(w.Context(), &sns.UnsubscribeInput{SubscriptionArn: &sub})
				w.must(err)
			}
			w.publish(topic, "m@g")
			w.gets(url)
			_, err := w.sns.GetSubscriptionAttributes(w.Context(), &sns.GetSubscriptionAttributesInput{SubscriptionArn: &sub})
			w.refused(err, "NotFound", "Subscription does not exist")
			out, err := w.sns.ListSubscriptionsByTopic(w.Context(), &sns.ListSubscriptionsByTopicInput{TopicArn: &topic})
			w.must(err)
			if len(out.Subscriptions) != 0 {
				w.Errorf("listed %v", out.Subscriptions)
			}
		}},
	})
}
