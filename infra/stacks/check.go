package stacks

import (
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/device-fanout/fanout/consumers"
	"github.com/device-fanout/fanout/infra/topology"
)

// The checks look at the synthesized templates, which are what will be deployed, whatever wrote them: a construct, an escape hatch,
// a stack that somebody added. Each finds a way to lose or to stall events that AWS would accept. They look at the topic, at the
// queues of its services, and at whatever is attached to these; a team's other resources are its own business.

// finding is what a check has found, and what to change.
type finding struct {
	resource
	text string
}

// Quotas of SNS. See https://docs.aws.amazon.com/general/latest/gr/sns.html and
// https://docs.aws.amazon.com/sns/latest/dg/sns-large-payload-raw-message-delivery.html.
const (
	maxSubscriptions = 100
	maxAttributes    = 10 // with raw delivery
)

// checker looks at the resources of one environment.
type checker struct {
	target
	attributes []string // that producers set
	all        []resource
	topic      string                      // the ARN of the topic
	services   map[string]topology.Service // by the ARN of each of their queues
	queues     map[string]resource         // by ARN
	topics     map[string]resource         // by ARN
	keys       map[string]resource         // by ARN
	policies   map[string][]resource       // by name of the queue
	findings   []finding
}

// check lists everything that is wrong with the resources of a target.
func check(t target, attributes []string, all []resource) []finding {
	c := &checker{
		target: t, attributes: attributes, all: all, services: map[string]topology.Service{}, policies: map[string][]resource{},
		queues: map[string]resource{}, topics: map[string]resource{}, keys: map[string]resource{},
	}
	c.topic = c.arnOf("sns", t.TopicName())
	for _, s := range t.Services {
		for _, name := range []string{t.QueueName(s.Name), t.DLQName(s.Name), t.DeliveryDLQName(s.Name)} {
			c.services[c.arnOf("sqs", name)] = s
		}
	}
	region, account := t.place()
	for _, r := range all {
		switch r.kind {
		case "AWS::SQS::Queue":
			if other, twice := c.queues[r.arn()]; twice {
				c.fault(r, "the queue %s is declared twice, here and in %s; rename one of them", r.name(), other.stack)
			}
			c.queues[r.arn()] = r
		case "AWS::SNS::Topic":
			c.topics[r.arn()] = r
		case "AWS::KMS::Key":
			c.keys[r.arn()] = r
		case "AWS::SQS::QueuePolicy", "AWS::SQS::QueueInlinePolicy":
			if r.region != region || r.account != account {
				continue // queues of the same names elsewhere are not ours
			}
			for _, url := range append(r.list("Queues"), r.list("Queue")...) {
				name := path.Base(fmt.Sprint(url))
				c.policies[name] = append(c.policies[name], r)
			}
		}
	}
	c.checkTopic()
	c.checkSubscriptions()
	c.checkConsumers()
	c.checkAlarmTarget()
	return c.findings
}

func (c *checker) fault(r resource, format string, args ...any) {
	c.findings = append(c.findings, finding{r, fmt.Sprintf(format, args...)})
}

func (c *checker) checkTopic() {
	topic, declared := c.topics[c.topic]
	if !declared {
		return
	}
	if topic.text("FifoTopic") != "true" {
		c.fault(topic, "%s is no FIFO topic; set FifoTopic: without it the order of a device's events is lost", topic.name())
	}
	if topic.text("ContentBasedDeduplication") == "true" {
		c.fault(topic, "%s deduplicates by content; unset ContentBasedDeduplication: on, off, on within five minutes would lose the second on", topic.name())
	}
	if topic.text("FifoThroughputScope") != "MessageGroup" {
		c.fault(topic, "%s deduplicates over the whole topic, and its queues within a device; set FifoThroughputScope to MessageGroup", topic.name())
	}
	if topic.at("Subscription") != nil {
		c.fault(topic, "%s has subscriptions among its own properties, where they can be neither raw nor filtered; declare a service for each", topic.name())
	}
	c.checkKey(topic, "KmsMasterKeyId")
}

func (c *checker) checkSubscriptions() {
	byTopic := map[string]int{}
	subscribed := map[string]resource{} // by the ARN of the queue
	for _, sub := range c.all {
		if sub.kind != "AWS::SNS::Subscription" || sub.text("Protocol") != "sqs" {
			continue
		}
		topic, endpoint := sub.text("TopicArn"), sub.text("Endpoint")
		if _, ours := c.services[endpoint]; !ours && topic != c.topic {
			continue // a team's own queue at a team's own topic
		}
		if byTopic[topic]++; byTopic[topic] == maxSubscriptions+1 {
			c.fault(sub, "%s has more than %d subscriptions, which a FIFO topic does not carry; let several services share a queue, or add a topic", topic, maxSubscriptions)
		}
		if topic != c.topic {
			c.fault(sub, "it subscribes to %s, want %s", topic, c.TopicName())
		}
		other, twice := subscribed[endpoint]
		if twice {
			c.fault(sub, "%s is subscribed twice, here and in %s; remove one: nothing but the topic sends to a queue, and SNS keeps one subscription for both",
				endpoint[strings.LastIndex(endpoint, ":")+1:], other.stack)
		}
		subscribed[endpoint] = sub
		if sub.text("RawMessageDelivery") != "true" {
			c.fault(sub, "it wraps events in SNS's own JSON; set RawMessageDelivery")
		} else if n := len(c.attributes) + 1; n > maxAttributes {
			c.fault(sub, "with raw delivery a message may have %d attributes, but producers set %d and a dead letter one more; with more, SNS drops the event: set fewer",
				maxAttributes, len(c.attributes))
		}
		filter, _ := sub.at("FilterPolicy").(map[string]any)
		for _, key := range slices.Sorted(maps.Keys(filter)) {
			if sub.text("FilterPolicyScope") != "MessageBody" && !slices.Contains(c.attributes, key) {
				c.fault(sub, "it filters by the attribute %q, which producers never set, so that nothing would pass; they set %q", key, c.attributes)
			}
		}
		queue, known := c.queues[endpoint]
		if !known {
			c.fault(sub, "it delivers to %s, which is no queue of this environment", endpoint)
			continue
		}
		if !twice {
			c.checkQueue(queue)
		}
		c.checkDelivery(sub, queue)
	}
	for _, s := range c.Services {
		if _, ok := subscribed[c.arnOf("sqs", c.QueueName(s.Name))]; !ok {
			c.fault(resource{stack: c.ServiceStack(s.Name)}, "%s is not subscribed to %s, so that %s would get no event", c.QueueName(s.Name), c.TopicName(), s.Name)
		}
	}
}

// checkConsumers wants a queue to have one consumer: a second one takes events away from the first, and breaks their order.
func (c *checker) checkConsumers() {
	consumed := map[string]resource{} // by the ARN of the queue
	for _, mapping := range c.all {
		if mapping.kind != "AWS::Lambda::EventSourceMapping" {
			continue
		}
		queue := mapping.text("EventSourceArn")
		s, ours := c.services[queue]
		if !ours || queue != c.arnOf("sqs", c.QueueName(s.Name)) {
			continue
		}
		other, twice := consumed[queue]
		switch {
		case twice:
			c.fault(mapping, "%s has a second consumer, here and in %s, which would take events away from the first; declare a service for each", c.QueueName(s.Name), other.stack)
		case s.Compute.Kind == topology.Fargate:
			c.fault(mapping, "%s has a second consumer: a function would take events away from the tasks of %s; declare a service for it", c.QueueName(s.Name), s.Name)
		}
		consumed[queue] = mapping
	}
}

// checkQueue checks a service's queue and its dead-letter queue.
func (c *checker) checkQueue(queue resource) {
	s, declared := c.services[queue.arn()]
	if !declared || queue.name() != c.QueueName(s.Name) {
		c.fault(queue, "%s is subscribed, but is the queue of no service of the topology; add an entry", queue.name())
		return
	}
	if fifo := queue.text("FifoQueue") == "true"; fifo == s.Standard {
		c.fault(queue, "%s: FifoQueue is %v, but the topology says Standard: %v; a standard queue loses the order of a device's events", queue.name(), fifo, s.Standard)
	}
	if !s.Standard && (queue.text("DeduplicationScope") != "messageGroup" || queue.text("FifoThroughputLimit") != "perMessageGroupId") {
		c.fault(queue, "%s deduplicates over the whole queue, and the topic within a device; set DeduplicationScope to messageGroup and FifoThroughputLimit to perMessageGroupId", queue.name())
	}
	if queue.text("ContentBasedDeduplication") == "true" {
		c.fault(queue, "%s deduplicates by content; unset ContentBasedDeduplication", queue.name())
	}
	if got, want := queue.seconds("VisibilityTimeout", 30), s.VisibilityTimeout().Seconds(); got < want {
		c.fault(queue, "%s: VisibilityTimeout is %v s, want at least %v s: the handling of one event may take %v with its retries, and a message that comes back meanwhile is handled twice",
			queue.name(), got, want, s.HandlerTimeout)
	}
	c.checkPolicy(queue)
	c.checkKey(queue, "KmsMasterKeyId")

	dlq, known := c.queues[queue.text("RedrivePolicy", "deadLetterTargetArn")]
	if !known {
		c.fault(queue, "%s has no dead-letter queue in this environment; set RedrivePolicy: an event that crashes its consumer would block its device until it expires", queue.name())
		return
	}
	if count, _ := queue.at("RedrivePolicy", "maxReceiveCount").(float64); count < topology.MinReceiveCount || count <= consumers.DefaultRetries+1 {
		c.fault(queue, "%s: maxReceiveCount is %v, want at least %d: consumers try an event %d times themselves, and a receive counts for all messages that it returns, so that a low count dead-letters events that nobody tried",
			queue.name(), count, topology.MinReceiveCount, consumers.DefaultRetries+1)
	}
	c.checkDLQ(dlq, queue)
	sources := dlq.list("RedriveAllowPolicy", "sourceQueueArns")
	if dlq.text("RedriveAllowPolicy", "redrivePermission") != "byQueue" || len(sources) != 1 || sources[0] != any(c.arnOf("sqs", queue.name())) {
		c.fault(dlq, "%s may be used by other queues than %s; set RedriveAllowPolicy to byQueue with that queue: redrive would send events to the wrong service", dlq.name(), queue.name())
	}
}

// checkDelivery checks where events go that SNS can't deliver to a queue.
func (c *checker) checkDelivery(sub, queue resource) {
	dlq, known := c.queues[sub.text("RedrivePolicy", "deadLetterTargetArn")]
	if !known {
		c.fault(sub, "it has no dead-letter queue in this environment; set RedrivePolicy: SNS drops what it can't deliver because a queue, a policy or a key is gone")
		return
	}
	c.checkDLQ(dlq, queue)
	c.checkPolicy(dlq)
	c.checkKey(dlq, "KmsMasterKeyId")
}

func (c *checker) checkDLQ(dlq, queue resource) {
	if got, want := dlq.text("FifoQueue") == "true", queue.text("FifoQueue") == "true"; got != want {
		c.fault(dlq, "%s: FifoQueue is %v, want %v, as its source %s", dlq.name(), got, want, queue.name())
	}
	if got, want := time.Duration(dlq.seconds("MessageRetentionPeriod", 345600))*time.Second, topology.DLQRetention; got < want {
		c.fault(dlq, "%s keeps dead letters for %v, want %v: set MessageRetentionPeriod to %v", dlq.name(), got, want, want.Seconds())
	}
}

// checkPolicy wants a queue to take messages from the topic, and from nobody else.
func (c *checker) checkPolicy(queue resource) {
	var fromTopic bool
	policies := c.policies[queue.name()]
	if len(policies) > 1 {
		c.fault(policies[1], "%s has two policies, here and in %s, and SQS keeps the one that is set last; have one, with the statements of both", queue.name(), policies[0].stack)
	}
	for _, policy := range policies {
		for _, statement := range policy.list("PolicyDocument", "Statement") {
			object, _ := statement.(map[string]any)
			s := resource{properties: object}
			switch {
			case s.text("Effect") == "Deny":
			case s.text("Principal", "Service") == "sns.amazonaws.com" && s.text("Action") == "sqs:SendMessage" && s.text("Condition", "ArnEquals", "aws:SourceArn") == c.topic:
				fromTopic = true
			default:
				c.fault(queue, "the policy of %s allows more than the topic to use it: %v; remove that", queue.name(), statement)
			}
		}
	}
	if !fromTopic {
		c.fault(queue, "the policy of %s does not let %s send to it; SNS would drop every event", queue.name(), c.topic)
	}
}

// checkKey wants the key of a queue or of the topic to let SNS use it.
func (c *checker) checkKey(r resource, property string) {
	if r.at(property) == nil {
		return
	}
	key, known := c.keys[r.text(property)]
	if !known {
		c.fault(r, "%s is encrypted with %s, a key that is not declared here; its policy can't be checked: declare it, or use SQS's own", r.name(), r.text(property))
		return
	}
	for _, statement := range key.list("KeyPolicy", "Statement") {
		object, _ := statement.(map[string]any)
		s := resource{properties: object}
		var actions []string
		for _, a := range s.list("Action") {
			actions = append(actions, fmt.Sprint(a))
		}
		generate := slices.Contains(actions, "kms:GenerateDataKey") || slices.Contains(actions, "kms:GenerateDataKey*")
		source := slices.Contains([]string{s.text("Condition", "ArnEquals", "aws:SourceArn"), s.text("Condition", "ArnLike", "aws:SourceArn")}, c.topic)
		if s.text("Effect") == "Allow" && s.text("Principal", "Service") == "sns.amazonaws.com" && generate && slices.Contains(actions, "kms:Decrypt") && source {
			return
		}
	}
	c.fault(r, "%s is encrypted with a key that does not let SNS use it for %s; allow sns.amazonaws.com kms:Decrypt and kms:GenerateDataKey in its policy, or every delivery fails", r.name(), c.topic)
}

// checkAlarmTarget wants somebody to be notified of alarms in production.
func (c *checker) checkAlarmTarget() {
	if !c.Environment.Production {
		return
	}
	alarms := c.arnOf("sns", c.AlarmTopicName())
	for _, r := range c.all {
		if r.kind == "AWS::SNS::Subscription" && r.text("TopicArn") == alarms {
			return
		}
	}
	if topic, ok := c.topics[alarms]; ok {
		c.fault(topic, "nobody is notified of alarms in production; declare an alarm_target for %q in environments.json", c.Environment.Name)
	}
}

// arnOf is the ARN that resolve gives to a name.
func (c *checker) arnOf(service, name string) string {
	region, account := c.place()
	return arnText(service, region, account, name)
}
