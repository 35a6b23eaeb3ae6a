package stacks

import (
	"fmt"
	"maps"
	"path"
	"slices"
	"time"

	"github.com/device-fanout/fanout/consumers"
	"github.com/device-fanout/fanout/infra/topology"
)

// The checks look at the synthesized templates, which are what will be deployed, whatever wrote them: a construct, an escape hatch,
// a stack that somebody added. Each finds a way to lose or to stall events that AWS would accept.

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
	queues     map[string]resource // by ARN
	topics     map[string]resource // by ARN
	keys       map[string]resource // by ARN
	policies   map[string][]any    // statements, by name of the queue
	findings   []finding
}

// check gives everything that is wrong with the resources of a target.
func check(t target, attributes []string, all []resource) []finding {
	c := &checker{
		target: t, attributes: attributes, all: all, policies: map[string][]any{},
		queues: map[string]resource{}, topics: map[string]resource{}, keys: map[string]resource{},
	}
	for _, r := range all {
		switch r.kind {
		case "AWS::SQS::Queue":
			arn := c.arnOf("sqs", r.text("QueueName"))
			if other, twice := c.queues[arn]; twice {
				c.fault(r, "the queue %s is declared twice, here and in %s; rename one of the services", r.name(), other.stack)
			}
			c.queues[arn] = r
		case "AWS::SNS::Topic":
			c.topics[c.arnOf("sns", r.text("TopicName"))] = r
		case "AWS::KMS::Key":
			c.keys[c.arnOf("kms", "key/"+r.stack+"."+r.id)] = r
		case "AWS::SQS::QueuePolicy":
			urls, _ := r.at("Queues").([]any)
			statements, _ := r.at("PolicyDocument", "Statement").([]any)
			for _, url := range urls {
				name := path.Base(fmt.Sprint(url))
				c.policies[name] = append(c.policies[name], statements...)
			}
		}
	}
	c.checkTopics()
	c.checkSubscriptions()
	c.checkAlarmTarget()
	return c.findings
}

func (c *checker) fault(r resource, format string, args ...any) {
	c.findings = append(c.findings, finding{r, fmt.Sprintf(format, args...)})
}

func (c *checker) checkTopics() {
	for _, arn := range slices.Sorted(maps.Keys(c.topics)) {
		topic := c.topics[arn]
		if arn != c.arnOf("sns", c.TopicName()) {
			continue
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
		c.checkKey(topic, "KmsMasterKeyId", arn)
	}
}

func (c *checker) checkSubscriptions() {
	byTopic := map[string]int{}
	for _, sub := range c.all {
		if sub.kind != "AWS::SNS::Subscription" || sub.text("Protocol") != "sqs" {
			continue
		}
		topic := sub.text("TopicArn")
		if byTopic[topic]++; byTopic[topic] == maxSubscriptions+1 {
			c.fault(sub, "%s has more than %d subscriptions, which a FIFO topic does not carry; let several services share a queue, or add a topic", topic, maxSubscriptions)
		}
		if topic != c.arnOf("sns", c.TopicName()) {
			c.fault(sub, "it subscribes to %s, want %s", topic, c.TopicName())
		}
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
		queue, known := c.queues[sub.text("Endpoint")]
		if !known {
			c.fault(sub, "it delivers to %s, which is no queue of this environment", sub.text("Endpoint"))
			continue
		}
		c.checkQueue(queue, topic)
		c.checkDelivery(sub, queue, topic)
	}
}

// checkQueue checks a service's queue and its dead-letter queue.
func (c *checker) checkQueue(queue resource, topic string) {
	i := slices.IndexFunc(c.Services, func(s topology.Service) bool { return c.QueueName(s.Name) == queue.name() })
	if i < 0 {
		c.fault(queue, "%s is subscribed, but belongs to no service of the topology; add an entry", queue.name())
		return
	}
	s := c.Services[i]
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
	c.checkPolicy(queue, topic)
	c.checkKey(queue, "KmsMasterKeyId", topic)

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
	sources, _ := dlq.at("RedriveAllowPolicy", "sourceQueueArns").([]any)
	if dlq.text("RedriveAllowPolicy", "redrivePermission") != "byQueue" || len(sources) != 1 || sources[0] != any(c.arnOf("sqs", queue.name())) {
		c.fault(dlq, "%s may be used by other queues than %s; set RedriveAllowPolicy to byQueue with that queue: redrive would send events to the wrong service", dlq.name(), queue.name())
	}
}

// checkDelivery checks where events go that SNS can't deliver to a queue.
func (c *checker) checkDelivery(sub, queue resource, topic string) {
	dlq, known := c.queues[sub.text("RedrivePolicy", "deadLetterTargetArn")]
	if !known {
		c.fault(sub, "it has no dead-letter queue in this environment; set RedrivePolicy: SNS drops what it can't deliver because a queue, a policy or a key is gone")
		return
	}
	c.checkDLQ(dlq, queue)
	c.checkPolicy(dlq, topic)
	c.checkKey(dlq, "KmsMasterKeyId", topic)
}

func (c *checker) checkDLQ(dlq, queue resource) {
	if got, want := dlq.text("FifoQueue") == "true", queue.text("FifoQueue") == "true"; got != want {
		c.fault(dlq, "%s: FifoQueue is %v, want %v, as its source %s", dlq.name(), got, want, queue.name())
	}
	if got, want := time.Duration(dlq.seconds("MessageRetentionPeriod", 345600))*time.Second, topology.DLQRetention; got < want {
		c.fault(dlq, "%s keeps dead letters for %v, want %v: set MessageRetentionPeriod to %v", dlq.name(), got, want, want.Seconds())
	}
}

// checkPolicy wants a queue to take messages of its topic, and of nobody else.
func (c *checker) checkPolicy(queue resource, topic string) {
	var fromTopic bool
	for _, statement := range c.policies[queue.name()] {
		s := resource{properties: statement.(map[string]any)}
		switch {
		case s.text("Effect") != "Allow":
		case s.text("Principal", "Service") == "sns.amazonaws.com" && s.text("Action") == "sqs:SendMessage" && s.text("Condition", "ArnEquals", "aws:SourceArn") == topic:
			fromTopic = true
		default:
			c.fault(queue, "the policy of %s allows more than the topic to use it: %v; remove that", queue.name(), statement)
		}
	}
	if !fromTopic {
		c.fault(queue, "the policy of %s does not let %s send to it; SNS would drop every event", queue.name(), topic)
	}
}

// checkKey wants the key of a queue or of the topic to let SNS use it.
func (c *checker) checkKey(r resource, property, topic string) {
	if r.at(property) == nil {
		return
	}
	key, known := c.keys[r.text(property)]
	if !known {
		c.fault(r, "%s is encrypted with %s, a key that is not declared here; its policy can't be checked: declare it, or use SQS's own", r.name(), r.text(property))
		return
	}
	statements, _ := key.at("KeyPolicy", "Statement").([]any)
	for _, statement := range statements {
		s := resource{properties: statement.(map[string]any)}
		var actions []string
		switch list := s.at("Action").(type) {
		case []any:
			for _, a := range list {
				actions = append(actions, fmt.Sprint(a))
			}
		default:
			actions = []string{fmt.Sprint(list)}
		}
		generate := slices.Contains(actions, "kms:GenerateDataKey") || slices.Contains(actions, "kms:GenerateDataKey*")
		source := slices.Contains([]string{s.text("Condition", "ArnEquals", "aws:SourceArn"), s.text("Condition", "ArnLike", "aws:SourceArn")}, topic)
		if s.text("Effect") == "Allow" && s.text("Principal", "Service") == "sns.amazonaws.com" && generate && slices.Contains(actions, "kms:Decrypt") && source {
			return
		}
	}
	c.fault(r, "%s is encrypted with a key that does not let SNS use it for %s; allow sns.amazonaws.com kms:Decrypt and kms:GenerateDataKey in its policy, or every delivery fails", r.name(), topic)
}

// checkAlarmTarget wants somebody to hear of alarms in production.
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
		c.fault(topic, "nobody hears of alarms in production; declare an alarm_target for %q in environments.json", c.Environment.Name)
	}
}

// arnOf is the ARN that resolve gives to a name.
func (c *checker) arnOf(service, name string) string {
	region, account := c.place()
	return fmt.Sprintf("arn:aws:%s:%s:%s:%s", service, region, account, name)
}
