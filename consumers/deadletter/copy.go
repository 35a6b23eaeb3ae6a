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

// To makes the message for the dead-letter queue at dlqURL: body, group and attributes of the failed message as they are, and its record
// as one more attribute. The count of redrives goes on from an old record. A message that has ten attributes already has no room for
// the record, and goes without; then recorded is false.
//
// The deduplication ID is the failed message's own ID, as it is when SQS itself moves a message. So a second try within five minutes makes
// no second copy; and an event that fails again after a redrive, as another message, is not taken for its old copy.
func (f Failed) To(dlqURL string, r Record) (in *sqs.SendMessageInput, recorded bool) {
	all := map[string]types.MessageAttributeValue{}
	maps.Copy(all, f.Attributes)
	if old, err := ParseRecord(aws.ToString(all[Attribute].StringValue)); err == nil {
		r.Redrives, r.RedrivenAt, r.Release = old.Redrives, old.RedrivenAt, old.Release
	}
	delete(all, Attribute)
	if recorded = len(all) < maxAttributes; recorded {
		all[Attribute] = types.MessageAttributeValue{DataType: aws.String("String"), StringValue: aws.String(r.Encode())}
	}
	return &sqs.SendMessageInput{
		QueueUrl: &dlqURL,
		// SQS refuses a body that is not UTF-8. There should be none, but if there is, it must not block its device for ever.
		MessageBody:            aws.String(strings.ToValidUTF8(f.Body, "\uFFFD")),
		MessageGroupId:         aws.String(cmp.Or(f.Group, r.MessageID)),
		MessageDeduplicationId: &r.MessageID,
		MessageAttributes:      all,
	}, recorded
}

// WithoutRecord removes the record from a message that the queue has refused for good, since the record can make a message too large. It
// tells whether there was one to remove, so that sending it again makes sense.
func WithoutRecord(in *sqs.SendMessageInput, err error) bool {
	switch awsx.VerdictOf(err).Code {
	case "InvalidMessageContents", "InvalidParameterValue":
	default:
		return false
	}
	_, recorded := in.MessageAttributes[Attribute]
	delete(in.MessageAttributes, Attribute)
	return recorded
}
