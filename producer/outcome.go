package producer

import (
	"github.com/aws/aws-sdk-go-v2/service/sns"

	awsx "github.com/device-fanout/fanout/internal/aws"
)

// fate is what has become of one entry of a batch.
type fate int

const (
	confirmed       fate = iota
	retryable            // not confirmed, but another attempt can succeed
	refusedTogether      // the whole request was refused for what may be one entry's fault
	refused              // no attempt can succeed
	overdue              // not sent again: it had to wait until an attempt could have made a second message
	abandoned            // not sent: Close has given up
)

// outcome is the answer to one entry, and what becomes of it.
type outcome struct {
	fate fate
	*awsx.Answer
}

// aboutEvent tells whether a refusal lies in this very event: another would not have been refused.
func (o *outcome) aboutEvent() bool { return o.Class == awsx.Final }

// fates has what becomes of an entry by the class of its error, the same whoever said it. A refusal is final without a spool; with one
// only that which lies in the event is.
var fates = [...]fate{
	awsx.OK:          confirmed,
	awsx.Unknown:     retryable,
	awsx.Retry:       retryable,
	awsx.Throttled:   retryable,
	awsx.Expired:     retryable,
	awsx.Credentials: refused,
	awsx.Denied:      refused,
	awsx.Gone:        refused,
	awsx.Refused:     refused,
	awsx.Final:       refused,
}

// judge reads the answer to a request of n entries. Where the whole request was refused for what may lie in one of them, each is to be
// sent by itself.
func judge(n int, out *sns.PublishBatchOutput, err error) []outcome {
	answers := awsx.AnswersOf(n, err)
	if err == nil {
		for _, ok := range out.Successful {
			answers.Succeed(ok.Id, ok.MessageId, ok.SequenceNumber)
		}
		for _, f := range out.Failed {
			answers.Fail(f.Id, f.Code, f.Message, f.SenderFault)
		}
	}
	outcomes := make([]outcome, n)
	for i, a := range answers {
		outcomes[i] = outcome{fates[a.Class], &answers[i]}
		if err != nil && a.Class == awsx.Final && n > 1 {
			outcomes[i].fate = refusedTogether
		}
	}
	return outcomes
}
