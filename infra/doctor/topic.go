package doctor

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/device-fanout/fanout/infra/provision"
	"github.com/device-fanout/fanout/infra/topology"
)

// consequence is how bad it is that an attribute is not as declared, and why.
type consequence struct {
	Severity
	why string
}

// consequences are those of queues, of topics and of subscriptions, by attribute.
var consequences = map[string]consequence{
	"FifoQueue":                     {Error, "a device's events would not stay in order"},
	"FifoTopic":                     {Error, "a device's events would not stay in order"},
	"ContentBasedDeduplication":     {Error, "what is sent without a deduplication ID is taken for a repeat of a message with the same body, and dropped"},
	"DeduplicationScope":            {Error, "events of two devices with one deduplication ID are taken for repeats, and dropped"},
	"FifoThroughputLimit":           {Warning, "the whole queue takes no more than a single group would, 300 requests a second"},
	"FifoThroughputScope":           {Warning, "the whole topic takes no more than a single group would"},
	"VisibilityTimeout":             {Error, "a shorter one ends while an event is still handled; after a longer one a device waits longer when its consumer has died"},
	"MessageRetentionPeriod":        {Error, "events expire unread after that"},
	"ReceiveMessageWaitTimeSeconds": {Warning, "receives that find nothing cost more, or a consumer takes longer to stop"},
	"RedrivePolicy":                 {Error, "it says when a message that nobody can take is set aside, and where"},
	"RedriveAllowPolicy":            {Warning, "it says which queues may use this one as their dead-letter queue"},
	"RawMessageDelivery":            {Error, "consumers take the event as it was published, without an envelope of SNS"},
	"FilterPolicy":                  {Error, "the service gets other events than it is declared to hear"},
	"FilterPolicyScope":             {Error, "the filter looks at something else than the message attributes"},
	"ArchivePolicy":                 {Warning, "it says how long events can be replayed"},
	"KmsMasterKeyId":                {Error, "messages are not encrypted as declared"},
	"KmsDataKeyReusePeriodSeconds":  {Warning, "it says how soon a revoked key is noticed, and what its use costs"},
}

// compare reports every attribute that is not as it is to be. set gives the command that puts it right.
func (j *judge) compare(service, resource, code string, is, want map[string]string, set func(attribute, value string) string) {
	for _, attribute := range slices.Sorted(maps.Keys(want)) {
		wanted := want[attribute]
		if attribute == "Policy" || same(is[attribute], wanted) {
			continue
		}
		if attribute == "FilterPolicyScope" && is[attribute] == "" { // SNS leaves the default out
			continue
		}
		c := consequences[attribute]
		f := Finding{
			Severity: c.Severity, Code: code, Service: service, Resource: resource, Attribute: attribute, Is: is[attribute], Want: wanted,
			Text: c.why, Advice: "set it back", Commands: []string{set(attribute, wanted)},
		}
		if attribute == "FifoQueue" || attribute == "FifoTopic" {
			f.Advice, f.Commands = "it can't be changed: move what it holds elsewhere, delete it, and deploy anew", nil
		}
		j.add(f)
	}
}

// topic judges the topic and its subscriptions.
func (j *judge) topic() {
	name, want := j.d.TopicName(), provision.TopicAttributes()
	t := j.o.Topic
	if t == nil {
		if !j.o.TopicsSeen {
			return
		}
		f := Finding{
			Severity: Error, Code: "topic_missing", Resource: name,
			Text:   "the topic is not there: no event can be published",
			Advice: "deploy it", Commands: j.deploy(j.d.TopicStack()),
		}
		if j.o.filled(j.d.TopicStack()) { // which another deployment of the same template does not mend
			f.Advice = "make it anew; the policy and the subscriptions that it had are missing then, and the next run says how to make them"
			f.Commands = []string{j.do.aws("sns", "create-topic", "--name", name, "--attributes", object(want), "--tags", "Key=app,Value=fanout",
				"Key="+tagEnvironment+",Value="+j.d.Environment.Name)}
		}
		j.add(f)
		return
	}
	set := func(attribute, value string) string {
		return j.do.aws("sns", "set-topic-attributes", "--topic-arn", t.ARN, "--attribute-name", attribute, "--attribute-value", value)
	}
	if t.Attributes != nil {
		j.compare("", name, "topic_attribute", t.Attributes, want, set)
		if !j.o.Bare {
			j.archive(t.Attributes["ArchivePolicy"], set)
			j.key("", name, j.d.TopicStack(), t.Attributes["KmsMasterKeyId"], func(key string) string { return set("KmsMasterKeyId", key) })
		}
		j.topicPolicy(set)
	}
	if t.SubscriptionsSeen {
		for _, s := range j.services {
			j.subscription(s)
		}
		j.strangers()
	}
}

// archivePolicy is the topic's, empty for none.
func archivePolicy(d topology.Deployment) string {
	if days := d.Environment.ArchiveDays; days > 0 {
		return object(map[string]any{"MessageRetentionPeriod": strconv.Itoa(days)})
	}
	return ""
}

func (j *judge) archive(is string, set func(attribute, value string) string) {
	want := archivePolicy(j.d)
	if is == "{}" {
		is = ""
	}
	if same(is, want) {
		return
	}
	value := want
	if value == "" {
		value = "{}"
	}
	j.add(Finding{
		Severity: Warning, Code: "topic_attribute", Resource: j.d.TopicName(), Attribute: "ArchivePolicy", Is: is, Want: want,
		Text: consequences["ArchivePolicy"].why, Advice: "set it back", Commands: []string{set("ArchivePolicy", value)},
	})
}

// key judges what a topic or a queue is encrypted with: a key of the stack, or none of its own.
func (j *judge) key(service, resource, stack, key string, set func(key string) string) {
	f := Finding{Severity: Error, Code: "encryption", Service: service, Resource: resource, Attribute: "KmsMasterKeyId", Is: key, Advice: "set it back"}
	switch customer := j.d.Environment.Encryption == topology.CustomerKey; {
	case customer && (key == "" || strings.Contains(key, "alias/aws/")):
		f.Want = "alias/" + stack
		f.Text = "it is not encrypted with a key of the environment, so that its use can't be revoked"
	case !customer && key != "":
		f.Text = "it is encrypted with a key that is not declared: whoever may not use that key can't publish, deliver or receive"
	default:
		return
	}
	f.Commands = []string{set(f.Want)}
	j.add(f)
}

func (j *judge) topicPolicy(set func(attribute, value string) string) {
	t, name := j.o.Topic, j.d.TopicName()
	list := statements(t.Attributes["Policy"])
	want := withTLS("{}", t.ARN, "sns:Publish")
	if who, everybody := others(list, func(s statement) bool { return s.withinAccount(j.place.Account) }); len(who) > 0 {
		f := Finding{
			Severity: Warning, Code: "topic_policy", Resource: name, Attribute: "Policy", Is: strings.Join(who, "; "), Want: "nobody of another account",
			Text: "somebody may use the topic whom the declaration does not know", Advice: "if that is not meant, set the policy back", Commands: []string{set("Policy", want)},
		}
		if everybody {
			f.Severity, f.Text, f.Advice = Error, "anybody may use the topic", "set the policy back"
		}
		j.add(f)
	}
	if !j.o.Bare && !slices.ContainsFunc(list, statement.wantsTLS) {
		j.add(Finding{
			Severity: Warning, Code: "topic_policy", Resource: name, Attribute: "Policy", Want: "TLS",
			Text: "events may be published without TLS", Advice: "set the policy back", Commands: []string{set("Policy", want)},
		})
	}
}

// subscription judges those of a service's queue.
func (j *judge) subscription(s provision.Service) {
	var found []Subscription
	for _, sub := range j.o.Topic.Subscriptions {
		if sub.Endpoint == s.Queue.ARN && sub.Protocol == "sqs" {
			found = append(found, sub)
		}
	}
	subscribe := j.do.aws("sns", "subscribe", "--topic-arn", j.o.Topic.ARN, "--protocol", "sqs", "--notification-endpoint", s.Queue.ARN,
		"--attributes", object(s.Subscription), "--return-subscription-arn")
	if len(found) == 0 {
		if !j.absent(s) { // which is said already
			j.add(Finding{
				Severity: Error, Code: "subscription_missing", Service: s.Name, Resource: s.Queue.Name,
				Text: "its queue is not subscribed to the topic: the service misses every event meanwhile", Advice: "subscribe it",
				Commands: []string{subscribe},
			})
		}
		return
	}
	slices.SortStableFunc(found, func(a, b Subscription) int { return cmp.Compare(a.pending(), b.pending()) }) // the one that works is first
	for _, extra := range found[1:] {
		j.add(Finding{
			Severity: Error, Code: "subscription_twice", Service: s.Name, Resource: extra.ARN,
			Text: "the queue " + s.Queue.Name + " is subscribed a second time: events are delivered by either", Advice: "end one of them", Commands: j.unsubscribe(extra),
		})
	}
	first := found[0]
	if first.pending() > 0 {
		j.add(Finding{
			Severity: Error, Code: "subscription_attribute", Service: s.Name, Resource: first.ARN, Attribute: "PendingConfirmation", Is: "true", Want: "false",
			Text: "the subscription of " + s.Queue.Name + " was never confirmed, so that nothing is delivered", Advice: "subscribe the queue with the rights of its account",
			Commands: append(j.unsubscribe(first), subscribe),
		})
	}
	if first.Attributes == nil {
		return
	}
	set := func(attribute, value string) string {
		return j.do.aws("sns", "set-subscription-attributes", "--subscription-arn", first.ARN, "--attribute-name", attribute, "--attribute-value", value)
	}
	want := maps.Clone(s.Subscription)
	if _, filters := want["FilterPolicy"]; !filters {
		if is := first.Attributes["FilterPolicy"]; is != "" && is != "{}" {
			j.add(Finding{
				Severity: Error, Code: "subscription_attribute", Service: s.Name, Resource: first.ARN, Attribute: "FilterPolicy", Is: is,
				Text: "the service is declared to hear all events, and gets only those that the filter lets through", Advice: "set it back",
				Commands: []string{set("FilterPolicy", "{}")},
			})
		}
		delete(want, "FilterPolicyScope") // there is nothing to look at
	}
	j.compare(s.Name, first.ARN, "subscription_attribute", first.Attributes, want, set)
}

// unsubscribe is the command that ends a subscription. One that waits for its confirmation has no ARN and ends by itself.
func (j *judge) unsubscribe(s Subscription) []string {
	if !strings.HasPrefix(s.ARN, "arn:") {
		return nil
	}
	return []string{j.do.aws("sns", "unsubscribe", "--subscription-arn", s.ARN)}
}

// pending is 1 for a subscription that waits for its confirmation, else 0.
func (s Subscription) pending() int {
	if s.Attributes["PendingConfirmation"] == "true" || !strings.HasPrefix(s.ARN, "arn:") {
		return 1
	}
	return 0
}

// strangers reports subscriptions of what the declaration does not know. Those of removed services are reported with them.
func (j *judge) strangers() {
	left := j.leftovers()
	for _, sub := range j.o.Topic.Subscriptions {
		if sub.Protocol == "sqs" && slices.ContainsFunc(j.services, func(s provision.Service) bool { return s.Queue.ARN == sub.Endpoint }) {
			continue
		}
		if slices.ContainsFunc(left, func(l *leftover) bool {
			return slices.ContainsFunc(l.subscriptions, func(s Subscription) bool { return s.ARN == sub.ARN })
		}) {
			continue
		}
		f := Finding{
			Severity: Warning, Code: "subscription_unknown", Resource: sub.ARN, Attribute: "Endpoint", Is: sub.Endpoint,
			Text:   fmt.Sprintf("the topic delivers to %s (%s), which the declaration does not know", sub.Endpoint, sub.Protocol),
			Advice: "if it is not meant, end it", Commands: j.unsubscribe(sub),
		}
		j.add(f)
	}
}
