package wire

// The requests and answers of SNS, by their places in the Query protocol.

type createTopicInput struct {
	Name       string            `query:"Name"`
	Attributes map[string]string `query:"Attributes.entry,key,value"`
	Tags       []tag             `query:"Tags.member"`
}

type tag struct {
	Key   string `query:"Key" element:"Key,always"`
	Value string `query:"Value" element:"Value,always"`
}

type topicArnOutput struct {
	TopicARN string `element:"TopicArn"`
}

type topicRef struct {
	TopicARN string `query:"TopicArn"`
}

type pageInput struct {
	NextToken string `query:"NextToken"`
}

type listTopicsOutput struct {
	Topics    []topicArnOutput `element:"Topics>member"`
	NextToken string           `element:"NextToken"`
}

type attributesOutput struct {
	Attributes map[string]string `element:"Attributes>entry,key,value"`
}

type setTopicAttributeInput struct {
	TopicARN string `query:"TopicArn"`
	Name     string `query:"AttributeName"`
	Value    string `query:"AttributeValue"`
}

type subscribeInput struct {
	TopicARN   string            `query:"TopicArn"`
	Protocol   string            `query:"Protocol"`
	Endpoint   string            `query:"Endpoint"`
	Attributes map[string]string `query:"Attributes.entry,key,value"`
	ReturnARN  bool              `query:"ReturnSubscriptionArn"`
}

type subscriptionARNOutput struct {
	SubscriptionARN string `element:"SubscriptionArn"`
}

type subscriptionRef struct {
	SubscriptionARN string `query:"SubscriptionArn"`
}

type setSubscriptionAttributeInput struct {
	SubscriptionARN string `query:"SubscriptionArn"`
	Name            string `query:"AttributeName"`
	Value           string `query:"AttributeValue"`
}

type listByTopicInput struct {
	TopicARN  string `query:"TopicArn"`
	NextToken string `query:"NextToken"`
}

type listSubscriptionsOutput struct {
	Subscriptions []subscriptionMember `element:"Subscriptions>member"`
	NextToken     string               `element:"NextToken"`
}

type subscriptionMember struct {
	SubscriptionARN string `element:"SubscriptionArn"`
	Owner           string `element:"Owner"`
	Protocol        string `element:"Protocol"`
	Endpoint        string `element:"Endpoint"`
	TopicARN        string `element:"TopicArn"`
}

type publication struct {
	Message         *string                   `query:"Message"`
	Subject         *string                   `query:"Subject"`
	Structure       string                    `query:"MessageStructure"`
	Attributes      map[string]attributeValue `query:"MessageAttributes.entry,Name,Value"`
	GroupID         *string                   `query:"MessageGroupId"`
	DeduplicationID *string                   `query:"MessageDeduplicationId"`
}

type publishInput struct {
	TopicARN    string  `query:"TopicArn"`
	TargetARN   string  `query:"TargetArn"`
	PhoneNumber *string `query:"PhoneNumber"`
	publication
}

type publishOutput struct {
	MessageID      string `element:"MessageId"`
	SequenceNumber string `element:"SequenceNumber"`
}

type publishBatchInput struct {
	TopicARN string              `query:"TopicArn"`
	Entries  []publishBatchEntry `query:"PublishBatchRequestEntries.member"`
}

type publishBatchEntry struct {
	ID string `query:"Id"`
	publication
}

type publishBatchOutput struct {
	Successful []publishBatchResult `element:"Successful>member"`
	Failed     []batchError         `element:"Failed>member"`
}

type publishBatchResult struct {
	ID string `element:"Id"`
	publishOutput
}

type resourceRef struct {
	ResourceARN string `query:"ResourceArn"`
}

type tagResourceInput struct {
	ResourceARN string `query:"ResourceArn"`
	Tags        []tag  `query:"Tags.member"`
}

type untagResourceInput struct {
	ResourceARN string   `query:"ResourceArn"`
	TagKeys     []string `query:"TagKeys.member"`
}

type tagsOutput struct {
	Tags []tag `element:"Tags>member"`
}

type emptyOutput struct{}
