package consumers

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"

	"github.com/device-fanout/fanout/consumers/internal/attempt"
	"github.com/device-fanout/fanout/consumers/internal/core"
	"github.com/device-fanout/fanout/consumers/parking"
)

// message is a received message with what the shell needs of it. Where it stands is the core's business.
type message struct {
	core.Message
	in     attempt.Message // what SQS delivered; never changed
	handle string

	// lease is when the visibility timeout ends. The loop writes, the handler's goroutine reads.
	lease     atomic.Pointer[time.Time]
	goroutine atomic.Uint64           // of its handler
	cancel    context.CancelCauseFunc // ends the context of its handler
	parked    parking.Device          // what the parking store said last
}

func newMessage(in types.Message, lease time.Time) *message {
	m := &message{in: attempt.NewMessage(in), handle: aws.ToString(in.ReceiptHandle)}
	m.Message = core.Message{
		ID: m.in.ID, Group: m.in.Group, Device: m.in.Device, Type: m.in.Type(), ReceiveCount: m.in.ReceiveCount, Released: m.in.IsReleased, Mark: m.in.IsMark(),
		Sequence:   in.Attributes[string(types.MessageSystemAttributeNameSequenceNumber)],
		ReceivedAt: time.Now(), Ref: m,
	}
	m.lease.Store(&lease)
	return m
}

// of is the shell's message of the core's.
func of(m *core.Message) *message { return m.Ref.(*message) }

func (m *message) leaseEnd() time.Time { return *m.lease.Load() }
