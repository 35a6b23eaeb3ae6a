package consumers

import (
	"context"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"

	"github.com/device-fanout/fanout/consumers/deadletter"
	"github.com/device-fanout/fanout/consumers/internal/batch"
	"github.com/device-fanout/fanout/consumers/internal/core"
	awsx "github.com/device-fanout/fanout/internal/aws"
)

// The requests that the core asks for, one func each. All block, run on goroutines of their own and end with a report.

// receive makes one long poll. Its context does not end with Run's: a poll cut off may have got messages already, and their devices would
// stand still until the visibility timeout.
func (r *run) receive(c core.Receive) {
	ctx, cancel := context.WithTimeout(r.requests, c.Wait+requestTimeout)
	defer cancel()
	out, err := r.api.ReceiveMessage(ctx, &sqs.ReceiveMessageInput{
		QueueUrl:                    &r.queue.URL,
		MaxNumberOfMessages:         int32(c.Max),
		WaitTimeSeconds:             int32(c.Wait / time.Second),
		VisibilityTimeout:           int32(r.facts.visibility / time.Second), // the queue's own may change while we run
		MessageAttributeNames:       []string{"All"},
		MessageSystemAttributeNames: []types.MessageSystemAttributeName{types.MessageSystemAttributeNameAll},
		ReceiveRequestAttemptId:     &c.Attempt,
	}, func(o *sqs.Options) {
		// The SDK would repeat the request with the same attempt ID also where that is not allowed; the core knows where it is.
		o.Retryer = aws.NopRetryer{}
		// A wrong checksum would fail the whole receive, with its messages in flight. Bodies are checked by decoding them.
		o.DisableMessageChecksumValidation = true
	})
	if err != nil {
		r.receiveFailed.Store(&err)
		r.post(core.ReceiveFailed{Receive: c, Lost: !awsx.VerdictOf(err).Answered, Err: err})
		return
	}
	r.receiveFailed.Store(nil)
	in := core.Received{Asked: c.Max, Lease: time.Now().Add(r.facts.visibility), Messages: make([]*core.Message, len(out.Messages))}
	for i := range out.Messages {
		in.Messages[i] = &newMessage(out.Messages[i], in.Lease).Message
	}
	in.Parked, in.Err = r.parked(ctx, in.Messages)
	r.post(in)
}

// delete makes one request.
func (r *run) delete(messages []*core.Message) {
	handles := make([]string, len(messages))
	for i, m := range messages {
		handles[i] = of(m).handle
	}
	ctx, cancel := context.WithTimeout(r.requests, requestTimeout)
	defer cancel()
	r.post(core.Deleted{Messages: messages, Answers: batch.Delete(ctx, r.api, r.queue.URL, handles)})
}

// change makes one request.
func (r *run) change(c core.Change) {
	hidden := make([]batch.Hidden, len(c.Messages))
	for i, m := range c.Messages {
		hidden[i] = batch.Hidden{Handle: of(m).handle, For: c.For[i]}
	}
	// One that hangs must leave time for others before leases end.
	ctx, cancel := context.WithTimeout(r.requests, min(requestTimeout, r.facts.visibility/6))
	defer cancel()
	sent := time.Now()
	r.post(core.Changed{Change: c, Answers: batch.Hide(ctx, r.api, r.queue.URL, hidden), Sent: sent})
}

// deadLetter makes one attempt to copy a message to the dead-letter queue. Its context does not end with a handler's: one cut off may have been
// carried out.
func (r *run) deadLetter(c core.Send) {
	m, v := of(c.Message), c.Verdict
	if v == nil {
		v = parkedVerdict(m)
	}
	in, recorded := m.in.DeadLetter(r.queue.DLQURL, r.queue.Service, r.facts.arn, v)
	if !recorded {
		r.cfg.Logger.Warn("no room for the dead-letter record: the message has ten attributes already", "message_id", m.ID)
	}
	for {
		ctx, cancel := context.WithTimeout(r.requests, requestTimeout)
		_, err := r.api.SendMessage(ctx, in)
		cancel()
		if err == nil || !deadletter.WithoutRecord(in, err) {
			r.post(core.Sent{Message: c.Message, Err: err})
			return
		}
		r.cfg.Logger.Error("the dead-letter queue refuses a message with its record; sending it without", "message_id", m.ID,
			"group_id", m.Group, "err", err)
	}
}

// checkDependencies calls the service's check.
func (r *run) checkDependencies() {
	began := time.Now()
	r.post(core.Checked{Began: began, Err: r.guard.Call(r.requests, CheckTimeout)})
}
