package topic

import (
	"encoding/json"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/device-fanout/fanout/infra/local/internal/apierr"
	"github.com/device-fanout/fanout/infra/local/internal/filter"
	"github.com/device-fanout/fanout/infra/local/internal/queue"
)

// Names of subscription attributes.
const (
	attrRaw         = "RawMessageDelivery"
	attrFilter      = "FilterPolicy"
	attrFilterScope = "FilterPolicyScope"
	attrRedrive     = "RedrivePolicy"
)

const (
	protocolSQS     = "sqs"
	scopeAttributes = "MessageAttributes"
	scopeBody       = "MessageBody"
)

// subscription is one subscription. The service's mutex guards it.
type subscription struct {
	arn, topicARN, endpoint string
	orphaned                time.Time // when its topic was deleted, if it was
	settings
}

// Subscription is a subscription as lists show it.
type Subscription struct {
	ARN, TopicARN, Protocol, Endpoint, Owner string
}

// Subscribe subscribes a queue, by its ARN, and returns the subscription's ARN. Doing the same again returns the same.
// Whether the queue exists is not checked.
func (s *Service) Subscribe(topicARN, protocol, endpoint string, attributes map[string]string) (string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	t, err := s.lookup(topicARN)
	if err != nil {
		return "", err
	}
	if err := checkEndpoint(t, protocol, endpoint); err != nil {
		return "", err
	}
	var wanted settings
	names := slices.Sorted(maps.Keys(attributes)) // FilterPolicy before its scope: the scope is applied to both at the end
	for _, name := range names {
		if err := wanted.set(name, attributes[name]); err != nil {
			return "", prefixed(err)
		}
	}
	if err := wanted.check(t, endpoint); err != nil {
		return "", prefixed(err)
	}
	for _, sub := range t.subscriptions {
		if sub.endpoint != endpoint {
			continue
		}
		for _, name := range names {
			if sub.text(name) != wanted.text(name) {
				return "", errInvalid("Attributes Reason: Subscription already exists with different attributes")
			}
		}
		return sub.arn, nil
	}
	sub := &subscription{
		arn:      topicARN + ":" + queue.NewID().String(),
		topicARN: topicARN,
		endpoint: endpoint,
		settings: wanted,
	}
	t.subscriptions = append(t.subscriptions, sub)
	s.subscriptions[sub.arn] = sub
	return sub.arn, nil
}

// prefixed makes the text of a refused attribute what Subscribe says, given what SetSubscriptionAttributes says.
func prefixed(err error) error {
	e := err.(*apierr.Error) //nolint:errorlint // settings.set returns nothing else
	if reason, ok := strings.CutPrefix(e.Message, "Invalid parameter: "); ok && reason != "AttributeName" {
		return apierr.New(e.Code, "Invalid parameter: Attributes Reason: %s", reason)
	}
	return e
}

func checkEndpoint(t *topic, protocol, endpoint string) error {
	switch protocol {
	case protocolSQS:
	case "http", "https", "email", "email-json", "sms", "application", "lambda", "firehose":
		return errInvalid("protocol %s is not supported by the local engine", protocol)
	default:
		return errInvalid("Amazon SNS does not support this protocol string: %s", protocol)
	}
	parts := strings.Split(endpoint, ":")
	if len(parts) != 6 || parts[0] != "arn" || parts[2] != "sqs" || parts[5] == "" {
		return errInvalid("SQS endpoint ARN")
	}
	if !t.fifo && strings.HasSuffix(endpoint, ".fifo") {
		return errInvalid("Invalid parameter: Endpoint Reason: FIFO SQS Queues can not be subscribed to standard SNS topics")
	}
	return nil
}

// settings are the attributes of a subscription.
type settings struct {
	raw           bool
	filterText    string
	filterScope   string // "" is MessageAttributes
	redriveText   string
	deadLetterARN string
	filter        *filter.Policy
}

// set sets one attribute. Its errors are *apierr.Error.
func (c *settings) set(name, value string) error {
	switch name {
	case attrRaw:
		b, err := strconv.ParseBool(strings.ToLower(value))
		if err != nil {
			return errInvalid("%s: Invalid value [%s]. Must be true or false.", name, value)
		}
		c.raw = b
	case attrFilter:
		c.filterText = value
	case attrFilterScope:
		if value != scopeAttributes && value != scopeBody {
			return errInvalid("%s: Invalid value [%s]. Please use either MessageBody or MessageAttributes", name, value)
		}
		c.filterScope = value
	case attrRedrive:
		return c.setRedrive(value)
	case "DeliveryPolicy", "SubscriptionRoleArn", "ReplayPolicy":
		return errInvalid("%s is not supported by the local engine", name)
	default:
		return errInvalid("AttributeName")
	}
	return nil
}

func (c *settings) setRedrive(value string) error {
	if value == "" || value == "{}" {
		c.redriveText, c.deadLetterARN = "", ""
		return nil
	}
	var policy struct {
		Target string `json:"deadLetterTargetArn"`
	}
	if err := json.Unmarshal([]byte(value), &policy); err != nil {
		return errInvalid("%s: failed to parse JSON. %v", attrRedrive, err)
	}
	parts := strings.Split(policy.Target, ":")
	if len(parts) != 6 || parts[0] != "arn" || parts[2] != "sqs" || parts[5] == "" {
		return errInvalid("%s: deadLetterTargetArn is an invalid arn", attrRedrive)
	}
	c.redriveText, c.deadLetterARN = value, policy.Target
	return nil
}

// check checks what the attributes mean together, and compiles the filter policy.
func (c *settings) check(t *topic, endpoint string) error {
	grouped := t.fifo && strings.HasSuffix(endpoint, ".fifo") // only then has a delivery the IDs that a FIFO queue wants
	switch toFIFO := strings.HasSuffix(c.deadLetterARN, ".fifo"); {
	case c.deadLetterARN == "":
	case grouped && !toFIFO:
		return errInvalid("%s: must use a FIFO queue as DLQ for a FIFO Subscription to a FIFO Topic.", attrRedrive)
	case !grouped && toFIFO:
		return errInvalid("%s: must use a standard queue as DLQ for a Subscription without FIFO queue or FIFO Topic.", attrRedrive)
	}
	return c.compile()
}

// text is an attribute as it is compared and shown; "" when it is not set.
func (c *settings) text(name string) string {
	switch name {
	case attrRaw:
		return strconv.FormatBool(c.raw)
	case attrFilter:
		return c.filterText
	case attrFilterScope:
		if c.filterScope == "" {
			return scopeAttributes
		}
		return c.filterScope
	case attrRedrive:
		return c.redriveText
	default:
		return ""
	}
}

// Unsubscribe removes a subscription. Removing an unknown one is fine.
func (s *Service) Unsubscribe(arn string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	sub := s.subscriptions[arn]
	if sub == nil {
		return s.checkARN(arn, "SubscriptionArn")
	}
	delete(s.subscriptions, arn)
	if t := s.topics[sub.topicARN]; t != nil {
		t.subscriptions = slices.DeleteFunc(t.subscriptions, func(other *subscription) bool { return other == sub })
		t.unsubscribed++
	}
	return nil
}

// lookupSubscription finds a subscription. The lock is held.
func (s *Service) lookupSubscription(arn string) (*subscription, error) {
	s.dropOrphans("")
	if sub := s.subscriptions[arn]; sub != nil {
		return sub, nil
	}
	if err := s.checkARN(arn, "SubscriptionArn"); err != nil {
		return nil, err
	}
	return nil, apierr.New(CodeNotFound, "Subscription does not exist")
}

// SubscriptionAttributes returns the attributes of a subscription.
func (s *Service) SubscriptionAttributes(arn string) (map[string]string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	sub, err := s.lookupSubscription(arn)
	if err != nil {
		return nil, err
	}
	all := map[string]string{
		"ConfirmationWasAuthenticated": "true",
		"Endpoint":                     sub.endpoint,
		"Owner":                        s.account,
		"PendingConfirmation":          "false",
		"Protocol":                     protocolSQS,
		attrRaw:                        sub.text(attrRaw),
		"SubscriptionArn":              sub.arn,
		"SubscriptionPrincipal":        "arn:aws:iam::" + s.account + ":root",
		"TopicArn":                     sub.topicARN,
	}
	if sub.filterText != "" {
		all[attrFilter] = sub.filterText
		all[attrFilterScope] = sub.text(attrFilterScope)
	}
	if sub.redriveText != "" {
		all[attrRedrive] = sub.redriveText
	}
	return all, nil
}

// SetSubscriptionAttribute changes an attribute of a subscription.
func (s *Service) SetSubscriptionAttribute(arn, name, value string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	sub, err := s.lookupSubscription(arn)
	if err != nil {
		return err
	}
	changed := sub.settings
	if err := changed.set(name, value); err != nil {
		return err
	}
	t := s.topics[sub.topicARN]
	if t == nil {
		t = &topic{fifo: strings.Contains(sub.topicARN, ".fifo")}
	}
	if err := changed.check(t, sub.endpoint); err != nil {
		return err
	}
	sub.settings = changed
	return nil
}

// Subscriptions returns all subscriptions, or those of a topic, sorted by ARN.
func (s *Service) Subscriptions(topicARN string) ([]Subscription, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if topicARN != "" {
		if _, err := s.lookup(topicARN); err != nil {
			return nil, err
		}
	}
	s.dropOrphans("")
	var list []Subscription
	for _, arn := range slices.Sorted(maps.Keys(s.subscriptions)) {
		if sub := s.subscriptions[arn]; topicARN == "" || sub.topicARN == topicARN {
			list = append(list, Subscription{arn, sub.topicARN, protocolSQS, sub.endpoint, s.account})
		}
	}
	return list, nil
}
