package wire

import (
	"context"

	"github.com/device-fanout/fanout/infra/local/internal/apierr"
	"github.com/device-fanout/fanout/infra/local/internal/queue"
	"github.com/device-fanout/fanout/infra/local/internal/topic"
)

// snsActions are the actions of SNS that the engine carries out. A nil result has no Result element.
var snsActions = map[string]action{
	"AddPermission":             does((*Handler).addTopicPermission),
	"CreateTopic":               does((*Handler).createTopic),
	"DeleteTopic":               does((*Handler).deleteTopic),
	"GetSubscriptionAttributes": does((*Handler).getSubscriptionAttributes),
	"GetTopicAttributes":        does((*Handler).getTopicAttributes),
	"ListSubscriptions":         does((*Handler).listSubscriptions),
	"ListSubscriptionsByTopic":  does((*Handler).listSubscriptionsByTopic),
	"ListTagsForResource":       does((*Handler).listTagsForResource),
	"ListTopics":                does((*Handler).listTopics),
	"Publish":                   does((*Handler).publish),
	"PublishBatch":              does((*Handler).publishBatch),
	"RemovePermission":          does((*Handler).removeTopicPermission),
	"SetSubscriptionAttributes": does((*Handler).setSubscriptionAttributes),
	"SetTopicAttributes":        does((*Handler).setTopicAttributes),
	"Subscribe":                 does((*Handler).subscribe),
	"TagResource":               does((*Handler).tagResource),
	"Unsubscribe":               does((*Handler).unsubscribe),
	"UntagResource":             does((*Handler).untagResource),
}

// snsUnsupported are the actions of SNS that exist but that the engine does not carry out.
var snsUnsupported = map[string]bool{
	"CheckIfPhoneNumberIsOptedOut": true, "ConfirmSubscription": true,
	"CreatePlatformApplication": true, "CreatePlatformEndpoint": true, "CreateSMSSandboxPhoneNumber": true,
	"DeleteEndpoint": true, "DeletePlatformApplication": true, "DeleteSMSSandboxPhoneNumber": true,
	"GetDataProtectionPolicy": true, "GetEndpointAttributes": true, "GetPlatformApplicationAttributes": true,
	"GetSMSAttributes": true, "GetSMSSandboxAccountStatus": true, "ListEndpointsByPlatformApplication": true,
	"ListOriginationNumbers": true, "ListPhoneNumbersOptedOut": true, "ListPlatformApplications": true,
	"ListSMSSandboxPhoneNumbers": true, "OptInPhoneNumber": true, "PutDataProtectionPolicy": true,
	"SetEndpointAttributes": true, "SetPlatformApplicationAttributes": true,
	"SetSMSAttributes": true, "VerifySMSSandboxPhoneNumber": true,
}

// topicPage is how many topics or subscriptions one page of a list holds.
const topicPage = 100

func (h *Handler) createTopic(_ context.Context, _ *call, in *createTopicInput) (*topicArnOutput, error) {
	tags, err := tagMap(in.Tags)
	if err != nil {
		return nil, err
	}
	arn, err := h.Topics.Create(in.Name, in.Attributes, tags)
	if err != nil {
		return nil, err
	}
	return &topicArnOutput{arn}, nil
}

func tagMap(tags []tag) (map[string]string, error) {
	m := make(map[string]string, len(tags))
	for _, t := range tags {
		if _, ok := m[t.Key]; ok {
			return nil, apierr.New(topic.CodeInvalidParameter, "Invalid parameter: Duplicated keys are not allowed.")
		}
		m[t.Key] = t.Value
	}
	return m, nil
}

func (h *Handler) deleteTopic(_ context.Context, _ *call, in *topicRef) (*emptyOutput, error) {
	return nil, h.Topics.Delete(in.TopicARN)
}

func (h *Handler) listTopics(_ context.Context, _ *call, in *pageInput) (*listTopicsOutput, error) {
	arns, next, err := page(sns, h.Topics.Topics(), itself, topicPage, in.NextToken)
	if err != nil {
		return nil, err
	}
	out := &listTopicsOutput{NextToken: next}
	for _, arn := range arns {
		out.Topics = append(out.Topics, topicArnOutput{arn})
	}
	return out, nil
}

func (h *Handler) getTopicAttributes(_ context.Context, _ *call, in *topicRef) (*attributesOutput, error) {
	attributes, err := h.Topics.Attributes(in.TopicARN)
	return &attributesOutput{attributes}, err
}

func (h *Handler) setTopicAttributes(_ context.Context, _ *call, in *setTopicAttributeInput) (*emptyOutput, error) {
	return nil, h.Topics.SetAttribute(in.TopicARN, in.Name, in.Value)
}

func (h *Handler) subscribe(_ context.Context, _ *call, in *subscribeInput) (*subscriptionARNOutput, error) {
	arn, err := h.Topics.Subscribe(in.TopicARN, in.Protocol, in.Endpoint, in.Attributes)
	if err != nil {
		return nil, err
	}
	return &subscriptionARNOutput{arn}, nil
}

func (h *Handler) unsubscribe(_ context.Context, _ *call, in *subscriptionRef) (*emptyOutput, error) {
	return nil, h.Topics.Unsubscribe(in.SubscriptionARN)
}

func (h *Handler) getSubscriptionAttributes(_ context.Context, _ *call, in *subscriptionRef) (*attributesOutput, error) {
	attributes, err := h.Topics.SubscriptionAttributes(in.SubscriptionARN)
	return &attributesOutput{attributes}, err
}

func (h *Handler) setSubscriptionAttributes(_ context.Context, _ *call, in *setSubscriptionAttributeInput) (*emptyOutput, error) {
	return nil, h.Topics.SetSubscriptionAttribute(in.SubscriptionARN, in.Name, in.Value)
}

func (h *Handler) listSubscriptions(_ context.Context, _ *call, in *pageInput) (*listSubscriptionsOutput, error) {
	list, err := h.Topics.Subscriptions("")
	return subscriptionPage(list, in.NextToken, err)
}

func (h *Handler) listSubscriptionsByTopic(_ context.Context, _ *call, in *listByTopicInput) (*listSubscriptionsOutput, error) {
	list, err := h.Topics.Subscriptions(in.TopicARN)
	return subscriptionPage(list, in.NextToken, err)
}

func subscriptionPage(list []topic.Subscription, token string, err error) (*listSubscriptionsOutput, error) {
	if err != nil {
		return nil, err
	}
	list, next, err := page(sns, list, func(s topic.Subscription) string { return s.ARN }, topicPage, token)
	if err != nil {
		return nil, err
	}
	out := &listSubscriptionsOutput{NextToken: next}
	for _, sub := range list {
		out.Subscriptions = append(out.Subscriptions,
			subscriptionMember{sub.ARN, sub.Owner, sub.Protocol, sub.Endpoint, sub.TopicARN})
	}
	return out, nil
}

func (h *Handler) publish(_ context.Context, c *call, in *publishInput) (*publishOutput, error) {
	arn := in.TopicARN
	if arn == "" {
		arn = in.TargetARN
	}
	if arn == "" && in.PhoneNumber != nil {
		return nil, apierr.New(codeInvalidAction, messageNotImplemented, "Publish to a phone number")
	}
	message, err := in.message(c.trace)
	if err != nil {
		return nil, err
	}
	c.bytes = message.Size()
	result, err := h.Topics.Publish(arn, message)
	if err != nil {
		return nil, err
	}
	out := published(result)
	return &out, nil
}

func (h *Handler) publishBatch(_ context.Context, c *call, in *publishBatchInput) (*publishBatchOutput, error) {
	b := newBatch(c, len(in.Entries), func(i int) string { return in.Entries[i].ID })
	if err := topic.CheckBatch(b.ids); err != nil {
		return nil, err
	}
	entries := make([]topic.BatchEntry, 0, len(b.going))
	for _, i := range b.going {
		message, err := in.Entries[i].message(c.trace)
		if err != nil {
			return nil, err
		}
		c.bytes += message.Size()
		entries = append(entries, topic.BatchEntry{ID: in.Entries[i].ID, Message: message})
	}
	results, err := h.Topics.PublishBatch(in.TopicARN, entries)
	if err != nil {
		return nil, err
	}
	out := &publishBatchOutput{Failed: b.failed}
	for k, result := range results {
		id := entries[k].ID
		if result.Err != nil {
			out.Failed = append(out.Failed, newBatchError(id, result.Err))
		} else {
			out.Successful = append(out.Successful, publishBatchResult{id, published(result.Result)})
		}
	}
	return out, nil
}

func published(r topic.Result) publishOutput {
	out := publishOutput{MessageID: r.MessageID.String()}
	if r.Sequence != 0 {
		out.SequenceNumber = r.Sequence.String()
	}
	return out
}

// message is the message to publish. A missing text is not an empty one.
func (p *publication) message(trace string) (topic.Message, error) {
	if p.Message == nil {
		return topic.Message{}, apierr.New(codeValidation, "1 validation error detected: Value null at 'message' failed "+
			"to satisfy constraint: Member must not be null")
	}
	attributes := make([]queue.Attribute, 0, len(p.Attributes))
	for name, value := range p.Attributes {
		a := queue.Attribute{Name: name, Type: value.DataType}
		switch {
		case a.IsBinary() && value.StringValue != nil:
			return topic.Message{}, apierr.New(topic.CodeParameterValueInvalid,
				"The message attribute '%s' with type 'Binary' must use field 'Binary'.", name)
		case a.IsBinary():
			a.Value = string(value.BinaryValue)
		case len(value.BinaryValue) > 0:
			return topic.Message{}, apierr.New(topic.CodeParameterValueInvalid,
				"The message attribute '%s' with type '%s' must use field 'String'.", name, a.Type)
		case value.StringValue != nil:
			a.Value = *value.StringValue
		}
		attributes = append(attributes, a)
	}
	return topic.Message{
		Text:            *p.Message,
		Subject:         p.Subject,
		Structure:       p.Structure,
		Attributes:      attributes,
		TraceHeader:     trace,
		GroupID:         p.GroupID,
		DeduplicationID: p.DeduplicationID,
	}, nil
}

func (h *Handler) tagResource(_ context.Context, _ *call, in *tagResourceInput) (*emptyOutput, error) {
	tags, err := tagMap(in.Tags)
	if err != nil {
		return nil, err
	}
	if err := h.Topics.Tag(in.ResourceARN, tags); err != nil {
		return nil, err
	}
	return &emptyOutput{}, nil
}

func (h *Handler) untagResource(_ context.Context, _ *call, in *untagResourceInput) (*emptyOutput, error) {
	if err := h.Topics.Untag(in.ResourceARN, in.TagKeys); err != nil {
		return nil, err
	}
	return &emptyOutput{}, nil
}

func (h *Handler) listTagsForResource(_ context.Context, _ *call, in *resourceRef) (*tagsOutput, error) {
	tags, err := h.Topics.Tags(in.ResourceARN)
	if err != nil {
		return nil, err
	}
	out := &tagsOutput{}
	for _, t := range tags {
		out.Tags = append(out.Tags, tag(t))
	}
	return out, nil
}
