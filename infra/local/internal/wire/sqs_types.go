package wire

// The requests and answers of SQS. One declaration serves both protocols: the json tags are the API's names, the query
// and element tags say where the same stands in the Query protocol.

// queueRef is the queue that a request is about.
type queueRef struct {
	QueueURL string `json:"QueueUrl" query:"QueueUrl"`
}

func (in *queueRef) url() string { return in.QueueURL }

type attributeValue struct {
	DataType    string   `json:"DataType" query:"DataType" element:"DataType"`
	StringValue *string  `json:"StringValue,omitempty" query:"StringValue"`
	BinaryValue []byte   `json:"BinaryValue,omitempty" query:"BinaryValue"`
	StringList  []string `json:"StringListValues,omitempty" query:"StringListValue"`
	BinaryList  [][]byte `json:"BinaryListValues,omitempty" query:"BinaryListValue"`
}

type createQueueInput struct {
	QueueName  string            `json:"QueueName" query:"QueueName"`
	Attributes map[string]string `json:"Attributes" query:"Attribute,Name,Value"`
	Tags       map[string]string `json:"tags" query:"Tag,Key,Value"`
}

type queueURLOutput struct {
	QueueURL string `json:"QueueUrl" element:"QueueUrl"`
}

type getQueueURLInput struct {
	QueueName string `json:"QueueName" query:"QueueName"`
	Owner     string `json:"QueueOwnerAWSAccountId" query:"QueueOwnerAWSAccountId"`
}

type listQueuesInput struct {
	Prefix     string `json:"QueueNamePrefix" query:"QueueNamePrefix"`
	MaxResults *int   `json:"MaxResults" query:"MaxResults"`
	NextToken  string `json:"NextToken" query:"NextToken"`
}

type listQueuesOutput struct {
	QueueURLs []string `json:"QueueUrls,omitempty" element:"QueueUrl"`
	NextToken string   `json:"NextToken,omitempty" element:"NextToken"`
}

type listSourcesInput struct {
	queueRef
	MaxResults *int   `json:"MaxResults" query:"MaxResults"`
	NextToken  string `json:"NextToken" query:"NextToken"`
}

type listSourcesOutput struct {
	QueueURLs []string `json:"queueUrls,omitempty" element:"QueueUrl"` // lower case, unlike its sister
	NextToken string   `json:"NextToken,omitempty" element:"NextToken"`
}

type getAttributesInput struct {
	queueRef
	Names []string `json:"AttributeNames" query:"AttributeName"`
}

type getAttributesOutput struct {
	Attributes map[string]string `json:"Attributes,omitempty" element:"Attribute,Name,Value"`
}

type setAttributesInput struct {
	queueRef
	Attributes map[string]string `json:"Attributes" query:"Attribute,Name,Value"`
}

type messageInput struct {
	Body             string                    `json:"MessageBody" query:"MessageBody"`
	Delay            *int                      `json:"DelaySeconds" query:"DelaySeconds"`
	Attributes       map[string]attributeValue `json:"MessageAttributes" query:"MessageAttribute,Name,Value"`
	SystemAttributes map[string]attributeValue `json:"MessageSystemAttributes" query:"MessageSystemAttribute,Name,Value"`
	DeduplicationID  *string                   `json:"MessageDeduplicationId" query:"MessageDeduplicationId"`
	GroupID          *string                   `json:"MessageGroupId" query:"MessageGroupId"`
}

type sendMessageInput struct {
	queueRef
	messageInput
}

type sendMessageOutput struct {
	MessageID             string `json:"MessageId" element:"MessageId"`
	MD5OfBody             string `json:"MD5OfMessageBody" element:"MD5OfMessageBody"`
	MD5OfAttributes       string `json:"MD5OfMessageAttributes,omitempty" element:"MD5OfMessageAttributes"`
	MD5OfSystemAttributes string `json:"MD5OfMessageSystemAttributes,omitempty" element:"MD5OfMessageSystemAttributes"`
	SequenceNumber        string `json:"SequenceNumber,omitempty" element:"SequenceNumber"`
}

type sendBatchInput struct {
	queueRef
	Entries []sendBatchEntry `json:"Entries" query:"SendMessageBatchRequestEntry"`
}

type sendBatchEntry struct {
	ID string `json:"Id" query:"Id"`
	messageInput
}

type sendBatchOutput struct {
	Successful []sendBatchResult `json:"Successful,omitempty" element:"SendMessageBatchResultEntry"`
	Failed     []batchError      `json:"Failed,omitempty" element:"BatchResultErrorEntry"`
}

type sendBatchResult struct {
	ID string `json:"Id" element:"Id"`
	sendMessageOutput
}

type batchError struct {
	ID          string `json:"Id" element:"Id"`
	Code        string `json:"Code" element:"Code"`
	Message     string `json:"Message,omitempty" element:"Message"`
	SenderFault bool   `json:"SenderFault" element:"SenderFault,always"`
}

type receiveInput struct {
	queueRef
	MaxMessages          *int     `json:"MaxNumberOfMessages" query:"MaxNumberOfMessages"`
	VisibilityTimeout    *int     `json:"VisibilityTimeout" query:"VisibilityTimeout"`
	WaitTime             *int     `json:"WaitTimeSeconds" query:"WaitTimeSeconds"`
	AttributeNames       []string `json:"AttributeNames" query:"AttributeName"`
	SystemAttributeNames []string `json:"MessageSystemAttributeNames" query:"MessageSystemAttributeName"`
	MessageAttributes    []string `json:"MessageAttributeNames" query:"MessageAttributeName"`
	AttemptID            string   `json:"ReceiveRequestAttemptId" query:"ReceiveRequestAttemptId"`
}

type deleteInput struct {
	queueRef
	ReceiptHandle string `json:"ReceiptHandle" query:"ReceiptHandle"`
}

type deleteBatchInput struct {
	queueRef
	Entries []deleteBatchEntry `json:"Entries" query:"DeleteMessageBatchRequestEntry"`
}

type deleteBatchEntry struct {
	ID            string `json:"Id" query:"Id"`
	ReceiptHandle string `json:"ReceiptHandle" query:"ReceiptHandle"`
}

type deleteBatchOutput struct {
	Successful []batchID    `json:"Successful,omitempty" element:"DeleteMessageBatchResultEntry"`
	Failed     []batchError `json:"Failed,omitempty" element:"BatchResultErrorEntry"`
}

type batchID struct {
	ID string `json:"Id" element:"Id"`
}

type changeVisibilityInput struct {
	queueRef
	ReceiptHandle     string `json:"ReceiptHandle" query:"ReceiptHandle"`
	VisibilityTimeout *int   `json:"VisibilityTimeout" query:"VisibilityTimeout"`
}

type changeBatchInput struct {
	queueRef
	Entries []changeBatchEntry `json:"Entries" query:"ChangeMessageVisibilityBatchRequestEntry"`
}

type changeBatchEntry struct {
	ID                string `json:"Id" query:"Id"`
	ReceiptHandle     string `json:"ReceiptHandle" query:"ReceiptHandle"`
	VisibilityTimeout *int   `json:"VisibilityTimeout" query:"VisibilityTimeout"`
}

type changeBatchOutput struct {
	Successful []batchID    `json:"Successful,omitempty" element:"ChangeMessageVisibilityBatchResultEntry"`
	Failed     []batchError `json:"Failed,omitempty" element:"BatchResultErrorEntry"`
}

type tagQueueInput struct {
	queueRef
	Tags map[string]string `json:"Tags" query:"Tag,Key,Value"`
}

type untagQueueInput struct {
	queueRef
	TagKeys []string `json:"TagKeys" query:"TagKey"`
}

type listTagsOutput struct {
	Tags map[string]string `json:"Tags,omitempty" element:"Tag,Key,Value"`
}
