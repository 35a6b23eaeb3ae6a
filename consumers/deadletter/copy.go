package deadletter

import (
	"cmp"
	"maps"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"

	awsx "github.com/device-fanout/fanout/internal/aws"
)

// Failed is a message that goes to a dead-letter queue, as it was received.
type Failed struct {
	Body, Group string
	Attributes  map[string]types.MessageAttributeValue
}

// To makes what is sent to the dead-letter queue at dlqURL: body, group and attributes of the failed message as they are, and its
// record as one more attribute. A message that has been redriven goes on counting where its old record stood. A message that
// has ten attributes already has no room for the record, and goes without; recorded tells.
//
// The deduplication ID is the failed message's own ID, as it is when SQS itself moves a message. So a second attempt within
// five minutes is no second copy; and an event that fails again after a redrive, as another message, is not dropped for
// its old copy.
func (f Failed) To(dlqURL string, r Record) (in *sqs.SendMessageInput, recorded bool) {
	all := maps.Clone(f.Attributes)
	if all == nil {
		all = map[string]types.MessageAttributeValue{}
	}
	if before, ok := all[Attribute]; ok {
		if old, err := ParseRecord(aws.ToString(before.StringValue)); err == nil {
			r.Redrives, r.RedrivenAt, r.Release = old.Redrives, old.RedrivenAt, old.Release
		}
		delete(all, Attribute)
	}
	if recorded = len(all) < maxAttributes; recorded {
		all[Attribute] = types.MessageAttributeValue{DataType: aws.String("String"), StringValue: aws.String(r.Encode())}
	}
	return &sqs.SendMessageInput{
		QueueUrl: &dlqURL,
		// SQS takes no body that is not UTF-8, so that there should be none; but if there is, it must not hold its device up for ever.
		MessageBody:            aws.String(strings.ToValidUTF8(f.Body, "\uFFFD")),
		MessageGroupId:         aws.String(cmp.Or(f.Group, r.MessageID)),
		MessageDeduplicationId: &r.MessageID,
		MessageAttributes:      all,
	}, recorded
}

// WithoutRecord takes the record off a copy that the queue has refused with err for what it is, and tells whether it could:
// a message can be so large that the record makes it too large. It counts more than its record.
func WithoutRecord(in *sqs.SendMessageInput, err error) bool {
	if awsx.VerdictOf(err).Class != awsx.Final {
		return false
	}
	_, recorded := in.MessageAttributes[Attribute]
	delete(in.MessageAttributes, Attribute)
	return recorded
}
