package deadletter

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"
	"github.com/aws/smithy-go"
)

// pickyQueue refuses every request with a body that it does not like, as a whole, and takes all others.
type pickyQueue struct {
	QueueAPI
	mu      sync.Mutex
	taken   []string
	refused int // requests
}

func (q *pickyQueue) SendMessageBatch(_ context.Context, in *sqs.SendMessageBatchInput, _ ...func(*sqs.Options)) (*sqs.SendMessageBatchOutput, error) {
	time.Sleep(time.Millisecond) // more messages come meanwhile
	q.mu.Lock()
	defer q.mu.Unlock()
	if slices.ContainsFunc(in.Entries, func(e types.SendMessageBatchRequestEntry) bool { return *e.MessageBody == "bad" }) {
		q.refused++
		return nil, &smithy.OperationError{ServiceID: "SQS", Err: &smithy.GenericAPIError{
			Code: "InvalidParameterValue", Message: "Message (user) attribute 'a' must contain a non-empty type.", Fault: smithy.FaultClient,
		}}
	}
	out := &sqs.SendMessageBatchOutput{}
	for _, e := range in.Entries {
		q.taken = append(q.taken, *e.MessageBody)
		out.Successful = append(out.Successful, types.SendMessageBatchResultEntry{Id: e.Id})
	}
	return out, nil
}

// TestSender_WholeRefusalIsNoVerdictOnAnEntry: a request that was refused for one of its messages refuses no other one.
func TestSender_WholeRefusalIsNoVerdictOnAnEntry(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		queue := &pickyQueue{}
		s := newSender(queue, "https://sqs/q.fifo")
		var sending sync.WaitGroup
		for _, body := range strings.Fields(strings.Repeat("good ", 15) + "bad " + strings.Repeat("good ", 15)) {
			sending.Go(func() {
				_, err := s.send(outgoing{group: "g", dedup: "d", body: body, deadline: time.Now().Add(time.Minute)})
				if refused := (*smithy.GenericAPIError)(nil); errors.As(err, &refused) != (body == "bad") {
					t.Errorf("%s: got error %v", body, err)
				}
			})
		}
		sending.Wait()
		s.close()
		if queue.refused < 2 {
			t.Error("the bad message was in no batch with others: the test shows nothing")
		}
		if len(queue.taken) != 30 {
			t.Errorf("the queue took %d messages, want 30", len(queue.taken))
		}
	})
}
