//go:build !race

package stacks

import (
	"encoding/json"
	"fmt"
	"maps"
	"path"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sns"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"

	"github.com/device-fanout/fanout/infra/local"
	"github.com/device-fanout/fanout/infra/provision"
)

// onlyInAWS are the properties that the local environment has no use for. Every other property must be equal there.
var onlyInAWS = []string{
	"Tags", "KmsMasterKeyId", "KmsDataKeyReusePeriodSeconds", "SqsManagedSseEnabled", "DisplayName", "DeliveryStatusLogging", "ArchivePolicy",
	"QueueName", "TopicName", "Region", // how the resource is found
	"TopicArn", "Endpoint", "Protocol", // what the subscription is found by
}

// TestLocalEnvironment_EqualsTheTemplates provisions every environment on the local engine and compares each property.
func TestLocalEnvironment_EqualsTheTemplates(t *testing.T) {
	for _, name := range append(slices.Clone(environments), "compute") {
		var d deployed
		if name == "compute" { // the one with a standard queue
			d = withCompute(t)
		} else {
			d = environment(t, name)
		}
		region, account := d.place()
		engine := local.New(local.Options{Region: region, AccountID: account})
		r, err := provision.Apply(t.Context(), engine.SNS(), engine.SQS(), d.Deployment)
		if err != nil {
			t.Fatal(err)
		}
		topic, err := engine.SNS().GetTopicAttributes(t.Context(), &sns.GetTopicAttributesInput{TopicArn: &r.TopicARN})
		if err != nil {
			t.Fatal(err)
		}
		same(t, d.named(t, "AWS::SNS::Topic", "TopicName", d.TopicName()), topic.Attributes)

		queues := map[string]string{}
		for _, q := range r.Queues {
			for _, url := range []string{q.URL, q.DLQURL, q.DeliveryDLQURL} {
				out, err := engine.SQS().GetQueueAttributes(t.Context(), &sqs.GetQueueAttributesInput{
					QueueUrl: &url, AttributeNames: []types.QueueAttributeName{types.QueueAttributeNameAll},
				})
				if err != nil {
					t.Fatal(err)
				}
				name := nameOf(out.Attributes["QueueArn"])
				queues[name] = url
				same(t, d.named(t, "AWS::SQS::Queue", "QueueName", name), out.Attributes)
				sameSenders(t, d, name, out.Attributes["Policy"])
			}
		}
		if declared := d.resources("AWS::SQS::Queue"); len(declared) != len(queues) {
			t.Errorf("%s: the templates have %d queues, the local environment %d", name, len(declared), len(queues))
		}

		subs, err := engine.SNS().ListSubscriptionsByTopic(t.Context(), &sns.ListSubscriptionsByTopicInput{TopicArn: &r.TopicARN})
		if err != nil {
			t.Fatal(err)
		}
		if len(subs.Subscriptions) != len(d.Services) {
			t.Errorf("%s: there are %d subscriptions and %d services", name, len(subs.Subscriptions), len(d.Services))
		}
		for _, sub := range subs.Subscriptions {
			out, err := engine.SNS().GetSubscriptionAttributes(t.Context(), &sns.GetSubscriptionAttributesInput{SubscriptionArn: sub.SubscriptionArn})
			if err != nil {
				t.Fatal(err)
			}
			declared := d.named(t, "AWS::SNS::Subscription", "Endpoint", aws.ToString(sub.Endpoint))
			if declared.at("FilterPolicy") == nil { // SNS shows the scope of a filter only where there is one
				delete(declared.properties, "FilterPolicyScope")
			}
			same(t, declared, out.Attributes)
			if _, filters := out.Attributes["FilterPolicy"]; filters != (declared.at("FilterPolicy") != nil) {
				t.Errorf("%s: one has a filter, the other none", aws.ToString(sub.Endpoint))
			}
		}
	}
}

// same compares every property of a declared resource with the attribute of the same name.
func same(t *testing.T, declared resource, attributes map[string]string) {
	t.Helper()
	for _, property := range slices.Sorted(maps.Keys(declared.properties)) {
		if slices.Contains(onlyInAWS, property) {
			continue
		}
		var got, want any = attributes[property], declared.text(property)
		if object, ok := declared.at(property).(map[string]any); ok {
			want = object
			if err := json.Unmarshal([]byte(attributes[property]), &got); err != nil {
				t.Errorf("%s: %s: locally %q, want the object %v", declared.name(), property, attributes[property], object)
				continue
			}
		}
		if number, ok := declared.at(property).(float64); ok {
			want = fmt.Sprintf("%.0f", number)
		}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("%s: %s: locally %v, in the template %v", declared.name(), property, got, want)
		}
	}
}

// sameSenders compares who may send to a queue. The dead-letter queue of a consumer has no such policy; roles let it be used.
func sameSenders(t *testing.T, d deployed, queue, policy string) {
	t.Helper()
	var localPolicy struct{ Statement []map[string]any }
	if policy != "" {
		if err := json.Unmarshal([]byte(policy), &localPolicy); err != nil {
			t.Fatal(err)
		}
	}
	var declared []any
	for _, p := range d.resources("AWS::SQS::QueuePolicy") {
		if nameOfURL(p.at("Queues").([]any)[0].(string)) != queue {
			continue
		}
		for _, s := range p.at("PolicyDocument", "Statement").([]any) {
			if s.(map[string]any)["Effect"] == "Allow" {
				declared = append(declared, s)
			}
		}
	}
	if len(declared) != len(localPolicy.Statement) {
		t.Errorf("%s: locally %d may send, in the template %d", queue, len(localPolicy.Statement), len(declared))
		return
	}
	for i, s := range localPolicy.Statement {
		delete(s, "Sid")
		if !reflect.DeepEqual(any(s), declared[i]) {
			t.Errorf("%s: locally %v may send, in the template %v", queue, s, declared[i])
		}
	}
}

func nameOf(arn string) string    { return arn[strings.LastIndex(arn, ":")+1:] }
func nameOfURL(url string) string { return path.Base(url) }
