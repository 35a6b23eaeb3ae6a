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
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	sqstypes "github.com/aws/aws-sdk-go-v2/service/sqs/types"
)

const noQueue = "AWS.SimpleQueueService.NonExistentQueue"

func TestQueue_Creation(t *testing.T) {
	t.Parallel()
	check(t, []behaviour{
		{"the URL ends in account and name, and can be looked up", func(w *world) {
			url := w.standard()
			if !strings.HasSuffix(url, "/000000000000/q") {
				w.Errorf("URL is %s", url)
			}
			out, err := w.sqs.GetQueueUrl(w.Context(), &sqs.GetQueueUrlInput{QueueName: aws.String("q")})
			w.must(err)
			if *out.QueueUrl != url {
				w.Errorf("looked up %s, want %s", *out.QueueUrl, url)
			}
		}},
		{"creating again returns the same", func(w *world) {
			if a, b := w.standard(), w.standard(); a != b {
				w.Errorf("got %s and %s", a, b)
			}
		}},
		{"a differing attribute is refused and named", func(w *world) {
			w.standard(attrs{"VisibilityTimeout": "30"})
			_, err := w.tryQueue("q", attrs{"VisibilityTimeout": "60"})
			w.refused(err, "QueueAlreadyExists", "A queue already exists with the same name and a different value for attribute VisibilityTimeout")
		}},
		{"an attribute that only makes sense with another is compared with the current ones", func(w *world) {
			url := w.fifo(attrs{"DeduplicationScope": "messageGroup", "FifoThroughputLimit": "perMessageGroupId"})
			if again := w.fifo(attrs{"FifoThroughputLimit": "perMessageGroupId"}); again != url {
				w.Errorf("URLs are %s and %s", url, again)
			}
		}},
		{"the current attributes count, not those of the creation", func(w *world) {
			url := w.standard(attrs{"VisibilityTimeout": "1"})
			w.set(url, attrs{"VisibilityTimeout": "2"})
			_, err := w.tryQueue("q", attrs{"VisibilityTimeout": "1"})
			w.refused(err, "QueueAlreadyExists", "VisibilityTimeout")
			w.standard(attrs{"VisibilityTimeout": "2"})
			w.standard()
		}},
		{"a differing deduplication is refused and named", func(w *world) {
			w.fifo()
			_, err := w.tryQueue("q.fifo", attrs{"ContentBasedDeduplication": "true"})
			w.refused(err, "QueueAlreadyExists", "ContentBasedDeduplication")
		}},
		{"bad names are refused", func(w *world) {
			for _, name := range []string{"a b", "a/b", "ü", strings.Repeat("x", 81), ".fifo", strings.Repeat("x", 76) + ".fifo"} {
				_, err := w.tryQueue(name)
				w.refused(err, "InvalidParameterValue", "Can only include alphanumeric characters, hyphens, or underscores. 1 to 80 in length")
			}
			w.queue(strings.Repeat("x", 75) + ".fifo")
		}},
		{"suffix and FifoQueue go together", func(w *world) {
			_, err := w.sqs.CreateQueue(w.Context(), &sqs.CreateQueueInput{QueueName: aws.String("x.fifo")})
			w.refused(err, "InvalidParameterValue", "")
			_, err = w.tryQueue("x", attrs{"FifoQueue": "true"})
			w.refused(err, "InvalidParameterValue", "")
			_, err = w.tryQueue("x", attrs{"FifoQueue": "false"})
			w.refused(err, "InvalidAttributeName", "Unknown Attribute FifoQueue.")
		}},
		{"FIFO attributes are refused on a standard queue", func(w *world) {
			for name, want := range (attrs{
				"ContentBasedDeduplication": "Unknown Attribute ContentBasedDeduplication.",
				"DeduplicationScope":        "You can specify the DeduplicationScope only when FifoQueue is set to true.",
				"FifoThroughputLimit":       "You can specify the FifoThroughputLimit only when FifoQueue is set to true.",
			}) {
				_, err := w.tryQueue("q", attrs{name: "true"})
				w.refused(err, "InvalidAttributeName", want)
			}
		}},
		{"values out of range are refused", func(w *world) {
			url := w.standard()
			for name, value := range (attrs{
				"DelaySeconds": "901", "VisibilityTimeout": "99999", "MaximumMessageSize": "1023",
				"MessageRetentionPeriod": "59", "ReceiveMessageWaitTimeSeconds": "x",
			}) {
				want := "Invalid value for the parameter " + name + "."
				_, err := w.tryQueue("q2", attrs{name: value})
				w.refused(err, "InvalidAttributeValue", want)
				w.refused(w.trySet(url, attrs{name: value}), "InvalidAttributeValue", want)
			}
		}},
		{"a name is free again a minute after its queue was deleted", func(w *world) {
			url := w.standard()
			w.send(url, "m")
			_, err := w.sqs.DeleteQueue(w.Context(), &sqs.DeleteQueueInput{QueueUrl: &url})
			w.must(err)
			w.sleep(59 * time.Second)
			_, err = w.tryQueue("q")
			w.refused(err, "AWS.SimpleQueueService.QueueDeletedRecently", "You must wait 60 seconds after deleting a queue before you can create another with the same name.")
			w.sleep(time.Second)
			w.gets(w.standard())
		}},
		{"any action on a missing queue is refused", func(w *world) {
			url, handle := "http://127.0.0.1:4566/000000000000/none", aws.String("h")
			ctx := w.Context()
			var errs []error
			note := func(_ any, err error) { errs = append(errs, err) }
			note(w.sqs.GetQueueUrl(ctx, &sqs.GetQueueUrlInput{QueueName: aws.String("none")}))
			note(w.sqs.DeleteQueue(ctx, &sqs.DeleteQueueInput{QueueUrl: &url}))
			note(w.sqs.PurgeQueue(ctx, &sqs.PurgeQueueInput{QueueUrl: &url}))
			note(w.sqs.GetQueueAttributes(ctx, &sqs.GetQueueAttributesInput{QueueUrl: &url}))
			note(w.sqs.SendMessage(ctx, &sqs.SendMessageInput{QueueUrl: &url, MessageBody: aws.String("m")}))
			note(w.sqs.ReceiveMessage(ctx, &sqs.ReceiveMessageInput{QueueUrl: &url}))
			note(w.sqs.DeleteMessage(ctx, &sqs.DeleteMessageInput{QueueUrl: &url, ReceiptHandle: handle}))
			note(w.sqs.ChangeMessageVisibility(ctx, &sqs.ChangeMessageVisibilityInput{QueueUrl: &url, ReceiptHandle: handle}))
			note(w.sqs.ListQueueTags(ctx, &sqs.ListQueueTagsInput{QueueUrl: &url}))
			note(w.sqs.ListDeadLetterSourceQueues(ctx, &sqs.ListDeadLetterSourceQueuesInput{QueueUrl: &url}))
			for _, err := range errs {
				w.refused(err, noQueue, "The specified queue does not exist.")
			}
		}},
	})
}

func TestQueue_Attributes(t *testing.T) {
	t.Parallel()
	standard := attrs{
		"ApproximateNumberOfMessages": "0", "ApproximateNumberOfMessagesDelayed": "0",
		"ApproximateNumberOfMessagesNotVisible": "0", "DelaySeconds": "0", "MaximumMessageSize": "1048576",
		"MessageRetentionPeriod": "345600", "QueueArn": arnPrefix + "q", "ReceiveMessageWaitTimeSeconds": "0",
		"SqsManagedSseEnabled": "true", "VisibilityTimeout": "30",
		"CreatedTimestamp": "now", "LastModifiedTimestamp": "now",
	}
	fresh := func(w *world, url string) attrs {
		all := w.attributes(url, "All")
		for _, name := range []string{"CreatedTimestamp", "LastModifiedTimestamp"} {
			all[name] = w.recent(all[name], time.Second)
		}
		return all
	}
	check(t, []behaviour{
		{"a fresh standard queue has its twelve", func(w *world) {
			if got := fresh(w, w.standard()); !maps.Equal(got, standard) {
				w.Errorf("got %v, want %v", got, standard)
			}
		}},
		{"a fresh FIFO queue has four more", func(w *world) {
			want := maps.Clone(standard)
			maps.Copy(want, attrs{
				"QueueArn": arnPrefix + "q.fifo", "FifoQueue": "true", "ContentBasedDeduplication": "false",
				"DeduplicationScope": "queue", "FifoThroughputLimit": "perQueue",
			})
			if got := fresh(w, w.fifo()); !maps.Equal(got, want) {
				w.Errorf("got %v, want %v", got, want)
			}
		}},
		{"without names there are none", func(w *world) {
			a := w.json("GetQueueAttributes", `{"QueueUrl":"`+w.standard()+`"}`)
			if a.body != "{}" {
				w.Errorf("got %s, want {}", a.body)
			}
		}},
		{"an unknown name is refused", func(w *world) {
			url := w.standard()
			_, err := w.sqs.GetQueueAttributes(w.Context(), &sqs.GetQueueAttributesInput{QueueUrl: &url, AttributeNames: []sqstypes.QueueAttributeName{"Foobar"}})
			w.refused(err, "InvalidAttributeName", "Unknown Attribute Foobar.")
			w.refused(w.trySet(url, attrs{"Foobar": "1"}), "InvalidAttributeName", "Unknown Attribute Foobar.")
		}},
		{"an empty text removes a policy", func(w *world) {
			dlq := w.queue("dlq")
			url := w.standard(attrs{"Policy": `{"Version":"2012-10-17"}`, "RedrivePolicy": redrive("dlq", 3)})
			if got := w.attributes(url, "All")["RedrivePolicy"]; got != redrive("dlq", 3) {
				w.Errorf("redrive policy is %s", got)
			}
			w.set(url, attrs{"Policy": "", "RedrivePolicy": ""})
			got := w.attributes(url, "All")
			if _, ok := got["Policy"]; ok || got["RedrivePolicy"] != "" {
				w.Errorf("attributes are %v", got)
			}
			_ = dlq
		}},
		{"a policy is a JSON object of up to 8,192 bytes", func(w *world) {
			padded := func(size int) attrs { return attrs{"Policy": `{}` + strings.Repeat(" ", size-2)} }
			url := w.standard(padded(8192))
			for _, bad := range []attrs{padded(8193), {"Policy": "x"}, {"Policy": `{"a":`}, {"Policy": "[]"}, {"Policy": "null"}} {
				w.refused(w.trySet(url, bad), "InvalidAttributeValue", "Invalid value for the parameter Policy.")
			}
			w.set(url, attrs{"Policy": ""})
			if got, ok := w.attributes(url, "All")["Policy"]; ok {
				w.Errorf("policy is %s", got)
			}
		}},
		{"the type of a queue cannot be changed", func(w *world) {
			w.refused(w.trySet(w.standard(), attrs{"FifoQueue": "true"}), "InvalidAttributeName", "Unknown Attribute FifoQueue.")
			url := w.fifo()
			w.set(url, attrs{"FifoQueue": "true"})
			w.refused(w.trySet(url, attrs{"FifoQueue": "false"}), "InvalidAttributeValue", "Modifying queue type is not supported.")
		}},
		{"a KMS key turns SQS-managed encryption off", func(w *world) {
			url := w.standard(attrs{"KmsMasterKeyId": "alias/x"})
			got := w.attributes(url, "All")
			if got["SqsManagedSseEnabled"] != "false" || got["KmsDataKeyReusePeriodSeconds"] != "300" {
				w.Errorf("attributes are %v", got)
			}
			w.refused(w.trySet(url, attrs{"KmsMasterKeyId": "k", "SqsManagedSseEnabled": "true"}), "InvalidAttributeName", "")
			w.refused(w.trySet(url, attrs{"SqsManagedSseEnabled": "true"}), "InvalidAttributeName", "You can use one type")
			w.set(url, attrs{"SqsManagedSseEnabled": "true", "KmsMasterKeyId": ""})
			got = w.attributes(url, "All")
			if _, ok := got["KmsMasterKeyId"]; ok || got["SqsManagedSseEnabled"] != "true" {
				w.Errorf("attributes are %v", got)
			}
		}},
		{"a refused change changes nothing", func(w *world) {
			url := w.standard()
			w.refused(w.trySet(url, attrs{"DelaySeconds": "5", "VisibilityTimeout": "-1"}), "InvalidAttributeValue", "")
			if got := w.attributes(url, "DelaySeconds")["DelaySeconds"]; got != "0" {
				w.Errorf("delay is %s", got)
			}
		}},
	})
}

func redrive(name string, count int) string {
	return fmt.Sprintf(`{"deadLetterTargetArn":"%s%s","maxReceiveCount":%d}`, arnPrefix, name, count)
}

func TestQueue_RedrivePolicies(t *testing.T) {
	t.Parallel()
	policy := func(text string) attrs { return attrs{"RedrivePolicy": text} }
	check(t, []behaviour{
		{"the target must exist and be of the same type", func(w *world) {
			url := w.standard()
			w.queue("dlq.fifo")
			for _, text := range []string{redrive("none", 3), redrive("dlq.fifo", 3), `{"deadLetterTargetArn":"x","maxReceiveCount":3}`} {
				w.refused(w.trySet(url, policy(text)), "InvalidParameterValue", "RedrivePolicy is invalid")
			}
		}},
		{"the count must be 1 to 1000", func(w *world) {
			w.queue("dlq")
			url := w.standard()
			for _, count := range []string{"0", "1001", `"x"`, `1.5`, `null`} {
				text := `{"deadLetterTargetArn":"` + arnPrefix + `dlq","maxReceiveCount":` + count + `}`
				w.refused(w.trySet(url, policy(text)), "InvalidParameterValue", "Value "+text+" for parameter RedrivePolicy is invalid. Reason: Invalid value for maxReceiveCount: "+strings.Trim(count, `"`)+", valid values are from 1 to 1000 both inclusive.")
			}
			w.refused(w.trySet(url, policy(`{"deadLetterTargetArn":"`+arnPrefix+`dlq"}`)), "InvalidParameterValue", "maxReceiveCount")
			w.refused(w.trySet(url, policy(`{"maxReceiveCount":3}`)), "InvalidParameterValue", "deadLetterTargetArn")
			for _, count := range []string{"42", `"42"`} {
				w.set(url, policy(`{"maxReceiveCount":`+count+`,"deadLetterTargetArn":"`+arnPrefix+`dlq"}`))
				if got := w.attributes(url, "RedrivePolicy")["RedrivePolicy"]; got != redrive("dlq", 42) {
					w.Errorf("policy reads %s", got)
				}
			}
		}},
		{"the target's permission is enforced", func(w *world) {
			dlq := w.queue("dlq", attrs{"RedriveAllowPolicy": `{"redrivePermission":"denyAll"}`})
			url := w.standard()
			w.refused(w.trySet(url, policy(redrive("dlq", 1))), "InvalidParameterValue", "")
			w.set(dlq, attrs{"RedriveAllowPolicy": `{"redrivePermission":"byQueue","sourceQueueArns":["` + arnPrefix + `q"]}`})
			w.set(url, policy(redrive("dlq", 1)))
			w.set(dlq, attrs{"RedriveAllowPolicy": `{"redrivePermission":"allowAll"}`})
			w.set(w.queue("q2"), policy(redrive("dlq", 1)))
		}},
		{"permissions are checked", func(w *world) {
			url := w.standard()
			for _, text := range []string{
				`{"redrivePermission":"byQueue"}`,
				`{"redrivePermission":"allowAll","sourceQueueArns":["` + arnPrefix + `q"]}`,
				`{"redrivePermission":"x"}`, `[]`,
			} {
				w.refused(w.trySet(url, attrs{"RedriveAllowPolicy": text}), "InvalidParameterValue", "")
			}
		}},
		{"the sources of a dead-letter queue are listed", func(w *world) {
			dlq := w.queue("dlq")
			w.queue("a", policy(redrive("dlq", 1)))
			w.queue("b", policy(redrive("dlq", 1)))
			out, err := w.sqs.ListDeadLetterSourceQueues(w.Context(), &sqs.ListDeadLetterSourceQueuesInput{QueueUrl: &dlq})
			w.must(err)
			if len(out.QueueUrls) != 2 {
				w.Errorf("sources are %v", out.QueueUrls)
			}
		}},
	})
}

func TestQueue_Lists(t *testing.T) {
	t.Parallel()
	check(t, []behaviour{
		{"pages end in a token", func(w *world) {
			for i := range 5 {
				w.queue(fmt.Sprintf("a%d", i))
			}
			w.queue("b")
			var all []string
			in := &sqs.ListQueuesInput{QueueNamePrefix: aws.String("a"), MaxResults: aws.Int32(2)}
			for {
				out, err := w.sqs.ListQueues(w.Context(), in)
				w.must(err)
				all = append(all, out.QueueUrls...)
				if in.NextToken = out.NextToken; in.NextToken == nil {
					break
				}
			}
			if len(all) != 5 || !slices.IsSorted(all) {
				w.Errorf("listed %v", all)
			}
			in.NextToken = aws.String("%")
			_, err := w.sqs.ListQueues(w.Context(), in)
			w.refused(err, "InvalidParameterValue", "")
		}},
		{"without a limit there is no token, and without a match no list", func(w *world) {
			w.standard()
			if got := w.json("ListQueues", `{"QueueNamePrefix":"x"}`).body; got != "{}" {
				w.Errorf("got %s, want {}", got)
			}
			if got := w.json("ListQueues", `{"QueueNamePrefix":"q"}`).body; got != `{"QueueUrls":["`+nominalURLs+`q"]}` {
				w.Errorf("got %s", got)
			}
		}},
		{"a queue or topic with more than 50 tags is not created", func(w *world) {
			tags, topicTags := attrs{}, []snstypes.Tag{}
			for i := range 51 {
				tags[fmt.Sprint(i)] = ""
				topicTags = append(topicTags, snstypes.Tag{Key: aws.String(fmt.Sprint(i)), Value: aws.String("")})
			}
			_, err := w.sqs.CreateQueue(w.Context(), &sqs.CreateQueueInput{QueueName: aws.String("q"), Tags: tags})
			w.refused(err, "InvalidParameterValue", "Too many tags added for queue q. Maximum number of tags allowed is 50.")
			_, err = w.sns.CreateTopic(w.Context(), &sns.CreateTopicInput{Name: aws.String("t"), Tags: topicTags})
			w.refused(err, "TagLimitExceeded", "")
			delete(tags, "0")
			_, err = w.sqs.CreateQueue(w.Context(), &sqs.CreateQueueInput{QueueName: aws.String("q"), Tags: tags})
			w.must(err)
			_, err = w.sns.CreateTopic(w.Context(), &sns.CreateTopicInput{Name: aws.String("t"), Tags: topicTags[1:]})
			w.must(err)
		}},
		{"tags are set, replaced and removed", func(w *world) {
			url := w.standard()
			tags := func() attrs {
				out, err := w.sqs.ListQueueTags(w.Context(), &sqs.ListQueueTagsInput{QueueUrl: &url})
				w.must(err)
				return out.Tags
			}
			tag := func(t attrs) error {
				_, err := w.sqs.TagQueue(w.Context(), &sqs.TagQueueInput{QueueUrl: &url, Tags: t})
				return err
			}
			w.must(tag(attrs{"a": "1"}))
			w.must(tag(attrs{"A": "2", "a": "3", "e": ""}))
			if got, want := tags(), (attrs{"a": "3", "A": "2", "e": ""}); !maps.Equal(got, want) {
				w.Errorf("tags are %v, want %v", got, want)
			}
			w.refused(tag(attrs{"": "x"}), "InvalidParameterValue", "Tag keys must be between 1 and 128 characters in length.")
			_, err := w.sqs.UntagQueue(w.Context(), &sqs.UntagQueueInput{QueueUrl: &url, TagKeys: []string{"a", "A", "e", "x"}})
			w.must(err)
			if got := w.json("ListQueueTags", `{"QueueUrl":"`+url+`"}`).body; got != "{}" {
				w.Errorf("got %s, want {}", got)
			}
		}},
		{"a purge removes all, once a minute", func(w *world) {
			url := w.standard()
			w.sendAll(url, "a", "b")
			w.send(url, "later", withDelay(60))
			w.receive(url, 1)
			purge := func() error {
				_, err := w.sqs.PurgeQueue(w.Context(), &sqs.PurgeQueueInput{QueueUrl: &url})
				return err
			}
			w.must(purge())
			w.holds("q", 0, 0, 0)
			w.refused(purge(), "AWS.SimpleQueueService.PurgeQueueInProgress", "Only one PurgeQueue operation on q is allowed every 60 seconds.")
			w.send(url, "new")
			w.gets(url, "new")
			w.sleep(time.Minute)
			w.must(purge())
		}},
	})
}
