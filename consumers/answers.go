package consumers

import (
	"cmp"
	"errors"
	"fmt"
	"strconv"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"
)

// answer is what a batch request meant for one of its entries.
type answer struct {
	err       error // nil when it was done
	leaseOver bool  // it was refused because the receipt handle is not valid any more
}

// answers has one answer for every entry of a request, whose IDs are their indices.
type answers []answer

var errNotMentioned = errors.New("the response does not mention the entry")

// answersOf begins with err for every entry, or with the assumption that none is mentioned.
func answersOf(n int, err error) answers {
	list := make(answers, n)
	for i := range list {
		list[i].err = cmp.Or(err, errNotMentioned)
	}
	return list
}

func (a answers) succeeded(id *string) {
	if i, ok := a.index(id); ok {
		a[i] = answer{}
	}
}

func (a answers) failed(f types.BatchResultErrorEntry) {
	i, ok := a.index(f.Id)
	if !ok {
		return
	}
	code := aws.ToString(f.Code)
	a[i] = answer{err: fmt.Errorf("%s: %s", code, aws.ToString(f.Message))}
	switch code {
	case "ReceiptHandleIsInvalid", "InvalidParameterValue", "MessageNotInflight", "AWS.SimpleQueueService.MessageNotInflight":
		a[i].leaseOver = true
	}
}

func (a answers) index(id *string) (int, bool) {
	i, err := strconv.Atoi(aws.ToString(id))
	return i, err == nil && i >= 0 && i < len(a)
}
