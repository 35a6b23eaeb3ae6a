package topic

import (
	"encoding/json"
	"maps"
	"strconv"
	"strings"

	"github.com/device-fanout/fanout/infra/local/internal/apierr"
)

// Names of topic attributes that mean something to the engine.
const (
	attrFifoTopic    = "FifoTopic"
	attrContentDedup = "ContentBasedDeduplication"
	attrThroughput   = "FifoThroughputScope"
	attrMaxBytes     = "MaximumMessageSize"
	attrDisplayName  = "DisplayName"
	attrPolicy       = "Policy"
)

const defaultMaxBytes = 256 << 10

// set sets an attribute. The service's lock is held.
func (t *topic) set(name, value string) error {
	fifoOnly := name == attrFifoTopic || name == attrContentDedup || name == attrThroughput
	if fifoOnly && !t.fifo && !(name == attrFifoTopic && strings.EqualFold(value, "false")) {
		return errInvalid("%s", "AttributeName")
	}
	switch name {
	case attrFifoTopic:
		return nil // decided at creation
	case attrContentDedup:
		b, err := strconv.ParseBool(strings.ToLower(value))
		if err != nil {
			return errInvalid("Attributes Reason: %s: Invalid value [%s]. Must be true or false.", name, value)
		}
		t.contentDedup = b
		value = strconv.FormatBool(b)
	case attrThroughput:
		if value != "Topic" && value != "MessageGroup" || value == "Topic" && t.perGroup {
			return errInvalid("Attributes Reason: %s: Invalid value [%s].", name, value)
		}
		t.perGroup = value == "MessageGroup"
	case attrMaxBytes:
		n, err := strconv.Atoi(value)
		if err != nil || n < 1024 || n > 1<<20 {
			return errInvalid("Attributes Reason: %s: Invalid value [%s]. Must be 1024 to 1048576.", name, value)
		}
		t.maxBytes = n
	case attrDisplayName, attrPolicy, "DeliveryPolicy", "KmsMasterKeyId", "SignatureVersion", "TracingConfig":
	case "ArchivePolicy":
		return apierr.New(CodeInvalidParameter, "Invalid parameter: ArchivePolicy is not supported by the local engine")
	default:
		return errInvalid("AttributeName")
	}
	t.attributes[name] = value
	return nil
}

// SetAttribute changes an attribute of a topic.
func (s *Service) SetAttribute(arn, name, value string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	t, err := s.lookup(arn)
	if err != nil {
		return err
	}
	if name == attrFifoTopic {
		return errInvalid("AttributeName")
	}
	return t.set(name, value)
}

// sameAs returns nil when a repeated creation asks for nothing new.
func (t *topic) sameAs(attributes, tags map[string]string) error {
	for name, value := range attributes {
		if name == attrFifoTopic {
			continue
		}
		current, ok := t.attributes[name]
		if !ok || !strings.EqualFold(current, value) {
			return errInvalid("Attributes Reason: Topic already exists with different attributes")
		}
	}
	if len(tags) > 0 && !maps.Equal(tags, t.tags) {
		return errInvalid("Tags Reason: Topic already exists with different tags")
	}
	return nil
}

// Attributes returns all attributes of a topic.
func (s *Service) Attributes(arn string) (map[string]string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	t, err := s.lookup(arn)
	if err != nil {
		return nil, err
	}
	all := map[string]string{
		"TopicArn":                arn,
		"Owner":                   s.account,
		attrDisplayName:           "",
		attrPolicy:                defaultPolicy(arn, s.account),
		"EffectiveDeliveryPolicy": effectiveDeliveryPolicy,
		"SubscriptionsConfirmed":  strconv.Itoa(len(t.subscriptions)),
		"SubscriptionsPending":    "0",
		"SubscriptionsDeleted":    strconv.Itoa(t.unsubscribed),
	}
	if t.fifo {
		all[attrFifoTopic] = "true"
		all[attrContentDedup] = strconv.FormatBool(t.contentDedup)
	}
	maps.Copy(all, t.attributes)
	return all, nil
}

const effectiveDeliveryPolicy = `{"http":{"defaultHealthyRetryPolicy":{"minDelayTarget":20,"maxDelayTarget":20,` +
	`"numRetries":3,"numMaxDelayRetries":0,"numNoDelayRetries":0,"numMinDelayRetries":0,"backoffFunction":"linear"},` +
	`"disableSubscriptionOverrides":false,"defaultRequestPolicy":{"headerContentType":"text/plain; charset=UTF-8"}}}`

func defaultPolicy(arn, account string) string {
	type object = map[string]any
	policy, _ := json.Marshal(object{ // strings always marshal
		"Version": "2008-10-17",
		"Id":      "__default_policy_ID",
		"Statement": []object{{
			"Sid":       "__default_statement_ID",
			"Effect":    "Allow",
			"Principal": object{"AWS": "*"},
			"Action": []string{
				"SNS:GetTopicAttributes", "SNS:SetTopicAttributes", "SNS:AddPermission", "SNS:RemovePermission",
				"SNS:DeleteTopic", "SNS:Subscribe", "SNS:ListSubscriptionsByTopic", "SNS:Publish",
			},
			"Resource":  arn,
			"Condition": object{"StringEquals": object{"AWS:SourceOwner": account}},
		}},
	})
	return string(policy)
}
