package producer

import (
	"github.com/aws/aws-sdk-go-v2/service/sns"

	awsx "github.com/device-fanout/fanout/internal/aws"
)

// outcome is what has become of one entry of a batch.
type outcome int

const (
	confirmed       outcome = iota
	retryable               // not confirmed, but another attempt can succeed
	refusedTogether         // the whole request was refused for what may be one entry's fault
	refused                 // no attempt can succeed
	overdue                 // not sent again: it had to wait until an attempt could have made a second message
	abandoned               // not sent: Close has given up
)

// entryResult is the answer to one entry, and what became of it.
type entryResult struct {
	outcome outcome
	*awsx.Answer
}

// aboutEvent tells whether a refusal lies in this very event: another one would not have been refused.
func (o *entryResult) aboutEvent() bool { return o.Class == awsx.Final }

// readAnswer reads the answer to a request of n entries. Where the whole request was refused for what may lie in one of them, each is
// to be sent by itself. Whether a refusal is final depends on the spool: see sendAgain.
func readAnswer(n int, out *sns.PublishBatchOutput, err error) []entryResult {
	answers := awsx.AnswersOf(n, err)
	if err == nil {
		for _, ok := range out.Successful {
			answers.Succeed(ok.Id, ok.MessageId, ok.SequenceNumber)
		}
		for _, f := range out.Failed {
			answers.Fail(f.Id, f.Code, f.Message, f.SenderFault)
		}
	}
	results := make([]entryResult, n)
	for i := range answers {
		r := entryResult{refused, &answers[i]}
		switch {
		case r.Class == awsx.OK:
			r.outcome = confirmed
		case r.Class.Again():
			r.outcome = retryable
		case err != nil && r.Class == awsx.Final && n > 1:
			r.outcome = refusedTogether
		}
		results[i] = r
	}
	return results
}
