package aws

import (
	"cmp"
	"errors"
	"fmt"
	"strconv"

	"github.com/aws/aws-sdk-go-v2/aws"
)

// MaxBatch is the most entries that a batch request of SNS or SQS has, and the most messages that one receive returns.
// See https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_SendMessageBatch.html.
const MaxBatch = 10

var entryIDs = func() (ids [MaxBatch]*string) {
	for i := range ids {
		ids[i] = aws.String(strconv.Itoa(i))
	}
	return ids
}()

// EntryID is the ID of the entry at index i of a batch, below MaxBatch. What it points to must not be changed.
func EntryID(i int) *string { return entryIDs[i] }

// Answer is the answer to one entry of a batch.
type Answer struct {
	Verdict                          // of Err
	Err                       error  // nil when the entry was carried out
	Whole                     bool   // Err is of the request as a whole, and may be due to another entry
	MessageID, SequenceNumber string // of what was sent or published
	// HandleOver says that the entry was refused because its receipt handle is no longer valid: its message has been deleted, or may be
	// received again. What refused the request as a whole says nothing about a handle.
	HandleOver bool
}

// Answers has one answer for every entry of a batch whose entries have the IDs of [EntryID]. A batch that failed in part comes
// without an error, and an entry that the response does not mention may have been carried out or not.
type Answers []Answer

// ErrNotMentioned is the error of an entry that the response does not mention.
var ErrNotMentioned = errors.New("the response does not mention the entry")

// AnswersOf begins with err, of the request as a whole, for each of n entries; or, if that is nil, with [ErrNotMentioned].
func AnswersOf(n int, err error) Answers {
	list := make(Answers, n)
	answer := Answer{Verdict: VerdictOf(err), Err: err, Whole: true}
	if err == nil {
		answer = Answer{Verdict: Verdict{Class: Unknown}, Err: ErrNotMentioned}
	}
	for i := range list {
		list[i] = answer
	}
	return list
}

// Succeed notes that an entry was carried out; both IDs may be nil. An ID that is none of the batch is passed over.
func (a Answers) Succeed(id, messageID, sequenceNumber *string) {
	if i, ok := a.index(id); ok {
		a[i] = Answer{MessageID: aws.ToString(messageID), SequenceNumber: aws.ToString(sequenceNumber)}
	}
}

// Fail notes that an entry was not carried out.
func (a Answers) Fail(id, code, message *string, senderFault bool) {
	if i, ok := a.index(id); ok {
		c, m := aws.ToString(code), aws.ToString(message)
		a[i] = Answer{Verdict: EntryVerdict(c, m, senderFault), Err: fmt.Errorf("%s: %s", cmp.Or(c, "no code"), m), HandleOver: handleOver[bare(c)]}
	}
}

// handleOver has the codes of entries whose receipt handle is no longer valid.
var handleOver = map[string]bool{"ReceiptHandleIsInvalid": true, "InvalidParameterValue": true, "MessageNotInflight": true}

func (a Answers) index(id *string) (int, bool) {
	i, err := strconv.Atoi(aws.ToString(id))
	return i, err == nil && i >= 0 && i < len(a)
}

// AttributeBytes is how much a message attribute adds to the size of its message. SNS and SQS count the UTF-8 bytes of the body, and of
// every attribute's name, data type and value.
func AttributeBytes(name, dataType string, valueBytes int) int {
	return len(name) + len(dataType) + valueBytes
}
