package deadletter

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"
	"github.com/aws/smithy-go"
)

// pickyQueue refuses every request with a body that it does not like, as a whole, and takes all others.
type pickyQueue struct {
	QueueAPI
	taken   []string
	refused int // requests
}

func (q *pickyQueue) SendMessageBatch(_ context.Context, in *sqs.SendMessageBatchInput, _ ...func(*sqs.Options)) (*sqs.SendMessageBatchOutput, error) {
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
	queue := &pickyQueue{}
	s := &sender{api: queue, url: "https://sqs/q.fifo"}
	var jobs []*sendJob
	for _, body := range []string{"good 1", "good 2", "bad", "good 3"} {
		jobs = append(jobs, &sendJob{outgoing: outgoing{group: body, dedup: body, body: body, deadline: time.Now().Add(time.Minute)}, reply: make(chan sendResult, 1)})
	}
	s.deliver(slices.Clone(jobs))
	for _, job := range jobs {
		err := (<-job.reply).err
		if refused := (*smithy.GenericAPIError)(nil); errors.As(err, &refused) != (job.body == "bad") {
			t.Errorf("%s: got error %v", job.body, err)
		}
	}
	if want := []string{"good 1", "good 2", "good 3"}; !slices.Equal(queue.taken, want) || queue.refused != 2 {
		t.Errorf("the queue took %v and refused %d requests, want %v and 2", queue.taken, queue.refused, want)
	}
}
