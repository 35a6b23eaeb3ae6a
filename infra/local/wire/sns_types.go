package wire

// The requests and answers of SNS, by their places in the Query protocol.

type createTopicInput struct {
	Name       string            `query:"Name"`
	Attributes map[string]string `query:"Attributes.entry,key,value"`
	Tags       []tag             `query:"Tags.member"`
}

type tag struct {
	Key   string `query:"Key" xml:"Key,always"`
	Value string `query:"Value" xml:"Value,always"`
}

type topicArnOutput struct {
	TopicARN string `xml:"TopicArn"`
}

type topicRef struct {
	TopicARN string `query:"TopicArn"`
}

type pageInput struct {
	NextToken string `query:"NextToken"`
}

type listTopicsOutput struct {
	Topics    []topicArnOutput `xml:"Topics>member"`
	NextToken string           `xml:"NextToken"`
}

type attributesOutput struct {
	Attributes map[string]string `xml:"Attributes>entry,key,value"`
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
	SubscriptionARN string `xml:"SubscriptionArn"`
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
	Subscriptions []subscriptionMember `xml:"Subscriptions>member"`
	NextToken     string               `xml:"NextToken"`
}

type subscriptionMember struct {
	SubscriptionARN string `xml:"SubscriptionArn"`
	Owner           string `xml:"Owner"`
	Protocol        string `xml:"Protocol"`
	Endpoint        string `xml:"Endpoint"`
	TopicARN        string `xml:"TopicArn"`
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
	MessageID      string `xml:"MessageId"`
	SequenceNumber string `xml:"SequenceNumber"`
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
	Successful []publishBatchResult `xml:"Successful>member"`
	Failed     []batchError         `xml:"Failed>member"`
}

type publishBatchResult struct {
	ID string `xml:"Id"`
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
	Tags []tag `xml:"Tags>member"`
}

type emptyOutput struct{}
