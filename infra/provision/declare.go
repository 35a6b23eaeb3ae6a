package provision

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/device-fanout/fanout/infra/topology"
)

// Place is where resources are, as their ARNs have it.
type Place struct{ Partition, Region, Account string }

// PlaceOf is the place in an ARN. It is the zero value for what is no ARN.
func PlaceOf(arn string) Place {
	parts := strings.SplitN(arn, ":", 6)
	if len(parts) < 6 {
		return Place{}
	}
	return Place{Partition: parts[1], Region: parts[3], Account: parts[4]}
}

// ARN is that of a topic or a queue there; service is "sns" or "sqs".
func (p Place) ARN(service, name string) string {
	return fmt.Sprintf("arn:%s:%s:%s:%s:%s", p.Partition, service, p.Region, p.Account, name)
}

// Service is what belongs to a service, as it is to be.
type Service struct {
	Name                    string
	Queue, DLQ, DeliveryDLQ Queue
	// Subscription has the attributes of the queue's subscription to the topic.
	Subscription map[string]string
}

// Queue is a queue as it is to be.
type Queue struct {
	Name, ARN  string
	Attributes map[string]string
}

// TopicAttributes are the attributes that the topic of every deployment is to have, but for its encryption and its archive, which the
// local engine does not have.
func TopicAttributes() map[string]string {
	return map[string]string{
		"FifoTopic":                 "true",
		"ContentBasedDeduplication": "false",
		"FifoThroughputScope":       "MessageGroup",
	}
}

// Declare says how the queues and the subscription of a service are to be, but for what the local engine does not have: the queues'
// encryption, and a policy that wants TLS. It makes no request.
func Declare(d topology.Deployment, s topology.Service, p Place) Service {
	queue := func(name string, attributes map[string]string) Queue {
		if !s.Standard { // a FIFO queue for high throughput
			attributes["FifoQueue"] = "true"
			attributes["ContentBasedDeduplication"] = "false"
			attributes["DeduplicationScope"] = "messageGroup"
			attributes["FifoThroughputLimit"] = "perMessageGroupId"
		}
		return Queue{Name: name, ARN: p.ARN("sqs", name), Attributes: attributes}
	}
	arn := p.ARN("sqs", d.QueueName(s.Name))
	dlq := queue(d.DLQName(s.Name), map[string]string{
		"MessageRetentionPeriod": seconds(topology.DLQRetention),
		// Only this queue may use the dead-letter queue.
		"RedriveAllowPolicy": marshal(map[string]any{"redrivePermission": "byQueue", "sourceQueueArns": []string{arn}}),
	})
	deliveryARN, topicARN := p.ARN("sqs", d.DeliveryDLQName(s.Name)), p.ARN("sns", d.TopicName())
	subscription := map[string]string{
		"RawMessageDelivery": "true",
		"RedrivePolicy":      marshal(map[string]any{"deadLetterTargetArn": deliveryARN}),
		"FilterPolicyScope":  "MessageAttributes",
	}
	if filter := s.FilterPolicy(); filter != nil {
		subscription["FilterPolicy"] = marshal(filter)
	}
	return Service{
		Name: s.Name,
		Queue: queue(d.QueueName(s.Name), map[string]string{
			"MessageRetentionPeriod":        seconds(s.Retention),
			"VisibilityTimeout":             seconds(s.VisibilityTimeout()),
			"ReceiveMessageWaitTimeSeconds": seconds(d.Environment.WaitTime),
			"RedrivePolicy":                 marshal(map[string]any{"deadLetterTargetArn": dlq.ARN, "maxReceiveCount": s.MaxReceiveCount}),
			"RedriveAllowPolicy":            marshal(map[string]any{"redrivePermission": "denyAll"}), // no queue may use it as its dead-letter queue
			"Policy":                        marshal(queuePolicy(arn, topicARN)),
		}),
		DLQ: dlq,
		DeliveryDLQ: queue(d.DeliveryDLQName(s.Name), map[string]string{
			"MessageRetentionPeriod": seconds(topology.DLQRetention),
			"Policy":                 marshal(queuePolicy(deliveryARN, topicARN)),
		}),
		Subscription: subscription,
	}
}

// queuePolicy lets exactly this topic send to the queue.
func queuePolicy(queueARN, topicARN string) map[string]any {
	return map[string]any{
		"Version": "2012-10-17",
		"Statement": []map[string]any{{
			"Sid":       "FromTopic",
			"Effect":    "Allow",
			"Principal": map[string]string{"Service": "sns.amazonaws.com"},
			"Action":    "sqs:SendMessage",
			"Resource":  queueARN,
			"Condition": map[string]any{"ArnEquals": map[string]string{"aws:SourceArn": topicARN}},
		}},
	}
}

func seconds(d time.Duration) string { return strconv.Itoa(int(d / time.Second)) }

// marshal encodes a policy; its maps are sorted, so that equal policies are equal text.
func marshal(policy any) string {
	text, err := json.Marshal(policy)
	if err != nil {
		panic(err) // maps, strings and numbers always encode
	}
	return string(text)
}
