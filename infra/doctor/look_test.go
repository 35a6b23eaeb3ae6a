package doctor_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sns"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/aws/smithy-go"

	"github.com/device-fanout/fanout/infra/declaration"
	"github.com/device-fanout/fanout/infra/doctor"
	"github.com/device-fanout/fanout/infra/local"
	"github.com/device-fanout/fanout/infra/provision"
	"github.com/device-fanout/fanout/infra/topology"
)

// noSTS answers as an endpoint that has SNS and SQS alone.
type noSTS struct{}

func (noSTS) GetCallerIdentity(context.Context, *sts.GetCallerIdentityInput, ...func(*sts.Options)) (*sts.GetCallerIdentityOutput, error) {
	return nil, &smithy.OperationError{ServiceID: "STS", Err: &smithy.GenericAPIError{Code: "InvalidAction", Fault: smithy.FaultClient}}
}

// world is an environment on a local engine.
type world struct {
	*provision.Environment
	t *testing.T
	d topology.Deployment
}

func newWorld(t *testing.T) *world {
	t.Helper()
	d, err := declaration.Topology().In("feature-x")
	if err != nil {
		t.Fatal(err)
	}
	return &world{Environment: provision.Start(t, declaration.Topology(), "feature-x", local.Options{}), t: t, d: d}
}

func (w *world) look() doctor.Report { return w.lookAs(w.d) }

func (w *world) lookAs(d topology.Deployment) doctor.Report {
	w.t.Helper()
	seen, err := doctor.Look(w.t.Context(), doctor.Clients{SNS: w.SNS, SQS: w.SQS, STS: noSTS{}}, d, "eu-central-1")
	if err != nil {
		w.t.Fatal(err)
	}
	return doctor.Judge(d, seen, doctor.Words{Program: "fanout", Endpoint: "http://127.0.0.1:4566"})
}

func (w *world) setQueue(url, attribute, value string) {
	w.t.Helper()
	_, err := w.SQS.SetQueueAttributes(w.t.Context(), &sqs.SetQueueAttributesInput{QueueUrl: &url, Attributes: map[string]string{attribute: value}})
	if err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) setTopic(attribute, value string) {
	w.t.Helper()
	_, err := w.SNS.SetTopicAttributes(w.t.Context(), &sns.SetTopicAttributesInput{TopicArn: &w.TopicARN, AttributeName: &attribute, AttributeValue: &value})
	if err != nil {
		w.t.Fatal(err)
	}
}

// subscription is the ARN of that of a service's queue.
func (w *world) subscription(service string) string {
	w.t.Helper()
	out, err := w.SNS.ListSubscriptionsByTopic(w.t.Context(), &sns.ListSubscriptionsByTopicInput{TopicArn: &w.TopicARN})
	if err != nil {
		w.t.Fatal(err)
	}
	for _, s := range out.Subscriptions {
		if strings.HasSuffix(aws.ToString(s.Endpoint), ":"+w.d.QueueName(service)) {
			return aws.ToString(s.SubscriptionArn)
		}
	}
	w.t.Fatalf("%s has no subscription", service)
	return ""
}

func (w *world) setSubscription(service, attribute, value string) {
	w.t.Helper()
	_, err := w.SNS.SetSubscriptionAttributes(w.t.Context(), &sns.SetSubscriptionAttributesInput{
		SubscriptionArn: aws.String(w.subscription(service)), AttributeName: &attribute, AttributeValue: &value,
	})
	if err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) send(url, group string) {
	w.t.Helper()
	_, err := w.SQS.SendMessage(w.t.Context(), &sqs.SendMessageInput{
		QueueUrl: &url, MessageBody: aws.String("{}"), MessageGroupId: &group, MessageDeduplicationId: &group,
	})
	if err != nil {
		w.t.Fatal(err)
	}
}

// found are the findings but for the notes, as short texts.
func found(r doctor.Report) (list []string) {
	for _, f := range r.Findings {
		if f.Severity != doctor.Note {
			list = append(list, fmt.Sprintf("%s %s %s %s", f.Severity, f.Code, f.Resource, f.Attribute))
		}
	}
	return list
}

func TestLook_FindsNothingInAFreshEnvironment(t *testing.T) {
	t.Parallel()
	r := newWorld(t).look()
	if got := found(r); len(got) > 0 || !r.Well() || !r.Complete() || !r.Deployed {
		t.Errorf("got %q, %+v", got, r)
	}
	if len(r.Findings) != 1 || r.Findings[0].Code != "endpoint_bare" {
		t.Errorf("got the notes %+v, want one that says what is not looked at", r.Findings)
	}
}

// TestLook_FindsEveryChangeByHand changes each attribute in turn.
func TestLook_FindsEveryChangeByHand(t *testing.T) {
	t.Parallel()
	const (
		queue, dlq, delivery = "feature-x-push.fifo", "feature-x-push-dlq.fifo", "feature-x-push-delivery-dlq.fifo"
		topic                = "feature-x-device-events.fifo"
	)
	subscription := "subscription" // stands for its ARN
	for _, row := range []struct {
		change func(w *world, push provision.Queues)
		want   []string
	}{
		{func(w *world, q provision.Queues) { w.setQueue(q.URL, "VisibilityTimeout", "31") }, []string{"error queue_attribute " + queue + " VisibilityTimeout"}},
		{func(w *world, q provision.Queues) { w.setQueue(q.URL, "MessageRetentionPeriod", "60") }, []string{"error queue_attribute " + queue + " MessageRetentionPeriod"}},
		{func(w *world, q provision.Queues) { w.setQueue(q.URL, "ReceiveMessageWaitTimeSeconds", "0") }, []string{"warning queue_attribute " + queue + " ReceiveMessageWaitTimeSeconds"}},
		{func(w *world, q provision.Queues) { w.setQueue(q.URL, "ContentBasedDeduplication", "true") }, []string{"error queue_attribute " + queue + " ContentBasedDeduplication"}},
		{func(w *world, q provision.Queues) { w.setQueue(q.URL, "FifoThroughputLimit", "perQueue") }, []string{"warning queue_attribute " + queue + " FifoThroughputLimit"}},
		{func(w *world, q provision.Queues) {
			w.setQueue(q.DLQURL, "FifoThroughputLimit", "perQueue")
			w.setQueue(q.DLQURL, "DeduplicationScope", "queue")
		}, []string{"error queue_attribute " + dlq + " DeduplicationScope", "warning queue_attribute " + dlq + " FifoThroughputLimit"}},
		{func(w *world, q provision.Queues) { w.setQueue(q.URL, "DelaySeconds", "3") }, []string{"warning queue_attribute " + queue + " DelaySeconds"}},
		{func(w *world, q provision.Queues) { w.setQueue(q.DLQURL, "MaximumMessageSize", "1024") }, []string{"error queue_attribute " + dlq + " MaximumMessageSize"}},
		{func(w *world, q provision.Queues) { w.setQueue(q.URL, "RedrivePolicy", "") }, []string{"error queue_attribute " + queue + " RedrivePolicy"}},
		{func(w *world, q provision.Queues) {
			w.setQueue(q.URL, "RedrivePolicy", `{"deadLetterTargetArn":"arn:aws:sqs:eu-central-1:000000000000:`+dlq+`","maxReceiveCount":"11"}`)
		}, []string{"error queue_attribute " + queue + " RedrivePolicy"}},
		{func(w *world, q provision.Queues) { // says the same in other words
			w.setQueue(q.URL, "RedrivePolicy", `{"maxReceiveCount":"10","deadLetterTargetArn":"arn:aws:sqs:eu-central-1:000000000000:`+dlq+`"}`)
		}, nil},
		{func(w *world, q provision.Queues) {
			w.setQueue(q.URL, "RedriveAllowPolicy", `{"redrivePermission":"allowAll"}`)
		}, []string{"warning queue_attribute " + queue + " RedriveAllowPolicy"}},
		{func(w *world, q provision.Queues) {
			w.setQueue(q.DLQURL, "RedriveAllowPolicy", `{"redrivePermission":"allowAll"}`)
		}, []string{"warning queue_attribute " + dlq + " RedriveAllowPolicy"}},
		{func(w *world, q provision.Queues) { w.setQueue(q.URL, "Policy", "") }, []string{"error queue_policy " + queue + " Policy"}},
		{func(w *world, q provision.Queues) { w.setQueue(q.DeliveryDLQURL, "Policy", "") }, []string{"error queue_policy " + delivery + " Policy"}},
		{func(w *world, q provision.Queues) {
			w.setQueue(q.DLQURL, "Policy", `{"Statement":{"Effect":"Allow","Principal":"*","Action":"sqs:*"}}`)
		}, []string{"error queue_policy " + dlq + " Policy"}},
		{func(w *world, q provision.Queues) {
			w.setQueue(q.DLQURL, "Policy", `{"Statement":[{"Effect":"Allow","Principal":{"AWS":"arn:aws:iam::999999999999:root"},"Action":["sqs:SendMessage"]}]}`)
		}, []string{"warning queue_policy " + dlq + " Policy"}},
		{func(w *world, q provision.Queues) { w.setQueue(q.DLQURL, "MessageRetentionPeriod", "3600") }, []string{"error queue_attribute " + dlq + " MessageRetentionPeriod"}},

		{func(w *world, _ provision.Queues) { w.setTopic("ContentBasedDeduplication", "true") }, []string{"error topic_attribute " + topic + " ContentBasedDeduplication"}},
		{func(w *world, _ provision.Queues) {
			w.setTopic("Policy", `{"Statement":[{"Effect":"Allow","Principal":"*","Action":"sns:Publish"}]}`)
		}, []string{"error topic_policy " + topic + " Policy"}},
		{func(w *world, _ provision.Queues) {
			w.setTopic("Policy", `{"Statement":[{"Effect":"Allow","Principal":{"AWS":"999999999999"},"Action":"sns:Publish"}]}`)
		}, []string{"warning topic_policy " + topic + " Policy"}},

		{func(w *world, _ provision.Queues) { w.setSubscription("push", "RawMessageDelivery", "false") }, []string{"error subscription_attribute " + subscription + " RawMessageDelivery"}},
		{func(w *world, _ provision.Queues) { w.setSubscription("push", "FilterPolicyScope", "MessageBody") }, []string{"error subscription_attribute " + subscription + " FilterPolicyScope"}},
		{func(w *world, _ provision.Queues) { w.setSubscription("push", "FilterPolicy", `{"type":["x"]}`) }, []string{"error subscription_attribute " + subscription + " FilterPolicy"}},
		{func(w *world, _ provision.Queues) { w.setSubscription("push", "FilterPolicy", "{}") }, []string{"error subscription_attribute " + subscription + " FilterPolicy"}},
		{func(w *world, _ provision.Queues) { w.setSubscription("push", "RedrivePolicy", "{}") }, []string{"error subscription_attribute " + subscription + " RedrivePolicy"}},
		{func(w *world, _ provision.Queues) {
			_, err := w.SNS.Unsubscribe(w.t.Context(), &sns.UnsubscribeInput{SubscriptionArn: aws.String(w.subscription("push"))})
			if err != nil {
				w.t.Fatal(err)
			}
		}, []string{"error subscription_missing " + queue + " "}},
		{func(w *world, _ provision.Queues) {
			w.subscribe("arn:aws:sqs:eu-central-1:000000000000:somebody.fifo")
		}, []string{"warning subscription_unknown other Endpoint"}},
		{func(w *world, _ provision.Queues) { // with the beginning of another environment
			w.subscribe("arn:aws:sqs:eu-central-1:000000000000:feature-xy-push.fifo")
		}, []string{"warning subscription_unknown other Endpoint"}},
		{func(w *world, _ provision.Queues) { w.create("feature-xy-push.fifo") }, nil},
		{func(w *world, _ provision.Queues) { w.create("feature-x-lights-dlq.fifo") }, []string{"warning service_removed feature-x-lights "}},

		{func(w *world, q provision.Queues) { w.delete(q.URL) }, []string{"error queue_missing " + queue + " "}},
		{func(w *world, q provision.Queues) { w.delete(q.DeliveryDLQURL) }, []string{"error queue_missing " + delivery + " "}},
		{func(w *world, q provision.Queues) {
			w.delete(q.URL)
			w.delete(q.DLQURL)
			w.delete(q.DeliveryDLQURL)
		}, []string{"error service_missing " + queue + " "}},
		{func(w *world, _ provision.Queues) {
			if _, err := w.SNS.DeleteTopic(w.t.Context(), &sns.DeleteTopicInput{TopicArn: &w.TopicARN}); err != nil {
				w.t.Fatal(err)
			}
		}, []string{"error topic_missing " + topic + " "}},

		{func(w *world, q provision.Queues) { w.send(q.URL, "lamp-1") }, []string{"warning not_read " + queue + " "}},
		{func(w *world, q provision.Queues) { // one is being handled
			w.send(q.URL, "lamp-1")
			w.send(q.URL, "lamp-2")
			if _, err := w.SQS.ReceiveMessage(w.t.Context(), &sqs.ReceiveMessageInput{QueueUrl: &q.URL}); err != nil {
				w.t.Fatal(err)
			}
		}, nil},
		{func(w *world, q provision.Queues) { w.send(q.DLQURL, "lamp-1") }, []string{"warning dead_letters " + dlq + " "}},
		{func(w *world, q provision.Queues) { w.send(q.DeliveryDLQURL, "lamp-1") }, []string{"warning undelivered " + delivery + " "}},
	} {
		w := newWorld(t)
		mine := w.subscription("push")
		row.change(w, w.Queues["push"])
		r := w.look()
		got := found(r)
		for i := range got {
			got[i] = strings.Replace(strings.Replace(got[i], mine, subscription, 1), w.other(), "other", 1)
		}
		if !slices.Equal(got, row.want) {
			t.Errorf("got %q, want %q", got, row.want)
		}
		if r.Well() != (row.want == nil) {
			t.Errorf("%q: got well %t", row.want, r.Well())
		}
		for _, f := range r.Findings {
			if f.Severity != doctor.Note && (f.Text == "" || f.Advice == "") {
				t.Errorf("%+v does not say what is wrong and what to do", f)
			}
		}
	}
}

// other is the ARN of a subscription that is not declared, or a text that is not there.
func (w *world) other() string {
	out, err := w.SNS.ListSubscriptionsByTopic(w.t.Context(), &sns.ListSubscriptionsByTopicInput{TopicArn: &w.TopicARN})
	if err == nil {
		for _, s := range out.Subscriptions {
			name := aws.ToString(s.Endpoint)
			if !strings.Contains(name, ":feature-x-") {
				return aws.ToString(s.SubscriptionArn)
			}
		}
	}
	return "nothing of the kind"
}

func (w *world) subscribe(endpoint string) {
	w.t.Helper()
	_, err := w.SNS.Subscribe(w.t.Context(), &sns.SubscribeInput{TopicArn: &w.TopicARN, Protocol: aws.String("sqs"), Endpoint: &endpoint})
	if err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) create(name string) {
	w.t.Helper()
	if _, err := w.SQS.CreateQueue(w.t.Context(), &sqs.CreateQueueInput{QueueName: &name, Attributes: map[string]string{"FifoQueue": "true"}}); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) delete(url string) {
	w.t.Helper()
	if _, err := w.SQS.DeleteQueue(w.t.Context(), &sqs.DeleteQueueInput{QueueUrl: &url}); err != nil {
		w.t.Fatal(err)
	}
}

// TestLook_KnowsARenamedService: what it was called is told, and how it ends; afterwards nothing is.
func TestLook_KnowsARenamedService(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	renamed := w.d
	renamed.Services = slices.Clone(w.d.Services)
	renamed.Services[2].Name = "phones" // was push
	w.send(w.Queues["push"].URL, "lamp-1")
	if _, err := provision.Apply(t.Context(), w.SNS, w.SQS, renamed); err != nil {
		t.Fatal(err)
	}
	r := w.lookAs(renamed)
	if got, want := found(r), []string{"error service_removed feature-x-push "}; !slices.Equal(got, want) {
		t.Fatalf("got %q, want %q", got, want)
	}
	f := r.Findings[0]
	for _, part := range []string{"feature-x-push.fifo with 1 message,", "feature-x-push-delivery-dlq.fifo", "its subscription", "events that nobody reads"} {
		if !strings.Contains(f.Text, part) {
			t.Errorf("got %q, want it to say %q", f.Text, part)
		}
	}
	if len(f.Commands) != 4 || !strings.HasPrefix(f.Commands[0], "aws sns unsubscribe ") || !strings.HasPrefix(f.Commands[1], "aws sqs delete-queue ") {
		t.Errorf("got the commands %q, want one that unsubscribes, then three that delete", f.Commands)
	}
	if _, err := w.SNS.Unsubscribe(t.Context(), &sns.UnsubscribeInput{SubscriptionArn: aws.String(w.subscription("push"))}); err != nil {
		t.Fatal(err)
	}
	q := w.Queues["push"]
	for _, url := range []string{q.URL, q.DLQURL, q.DeliveryDLQURL} {
		w.delete(url)
	}
	if got := found(w.lookAs(renamed)); len(got) > 0 {
		t.Errorf("afterwards: got %q", got)
	}
}

func TestLook_SaysThatNothingIsDeployed(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	other, err := declaration.Topology().In("feature-xy")
	if err != nil {
		t.Fatal(err)
	}
	r := w.lookAs(other)
	if got, want := found(r), []string{"error not_deployed feature-xy "}; !slices.Equal(got, want) || r.Deployed {
		t.Errorf("got %q, deployed %t, want %q", got, r.Deployed, want)
	}
}
