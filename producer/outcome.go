package producer

import (
	"github.com/aws/aws-sdk-go-v2/service/sns"

	awsx "github.com/device-fanout/fanout/internal/aws"
)

// outcome is what has become of one entry of a batch.
type outcome int

const (
	confirmed       outcome = iota
	retryable               // not confirmed, and not by the topic's own verdict on this very event
	refusedTogether         // the whole request was refused for what may be one entry's fault
	refused                 // by the topic, for what the event is: no attempt can succeed
	overdue                 // not sent again: it had to wait until an attempt could have made a second message
	abandoned               // not sent: Close has given up
)

// entryResult is the answer to one entry, and what became of it.
type entryResult struct {
	outcome outcome
	*awsx.Answer
}

// readAnswer reads the answer to a request of n entries. Only the topic's own verdict on an event ends it. Trouble with the clock,
// credentials, permissions, keys or the topic's name is no verdict on it, whatever the status of the answer: it ends some time. Where the
// whole request was refused for what may lie in one of its entries, each is to be sent by itself.
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
		r := entryResult{retryable, &answers[i]}
		switch {
		case r.Class == awsx.OK:
			r.outcome = confirmed
		case r.Class == awsx.Final && r.Whole && n > 1:
			r.outcome = refusedTogether
		case r.Class == awsx.Final:
			r.outcome = refused
		}
		results[i] = r
	}
	return results
}
