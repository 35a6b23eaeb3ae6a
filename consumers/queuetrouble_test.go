package consumers_test

import (
	"context"
	"strings"

	"github.com/aws/aws-sdk-go-v2/service/sqs"

	"github.com/device-fanout/fanout/consumers"
)

// meddler stands between a consumer and its queue and makes trouble where a test asks for it. Requests come concurrently, so what
// its funcs share must be locked.
type meddler struct {
	consumers.QueueAPI
	change       func(context.Context, *sqs.ChangeMessageVisibilityBatchInput) (*sqs.ChangeMessageVisibilityBatchOutput, error) // nil, nil lets it pass
	changeReply  func(*sqs.ChangeMessageVisibilityBatchOutput) (*sqs.ChangeMessageVisibilityBatchOutput, error)
	send         func(*sqs.SendMessageInput) error // an error is not carried out
	afterSend    func() error                      // an error loses the reply
	delete       func(*sqs.DeleteMessageBatchInput)
	deleteReply  func(*sqs.DeleteMessageBatchOutput) (*sqs.DeleteMessageBatchOutput, error)
	receive      func(context.Context, *sqs.ReceiveMessageInput) error // an error is not carried out
	receiveReply func(*sqs.ReceiveMessageOutput) (*sqs.ReceiveMessageOutput, error)
}

func (m *meddler) ChangeMessageVisibilityBatch(ctx context.Context, in *sqs.ChangeMessageVisibilityBatchInput, o ...func(*sqs.Options)) (*sqs.ChangeMessageVisibilityBatchOutput, error) {
	if m.change != nil {
		if out, err := m.change(ctx, in); out != nil || err != nil {
			return out, err
		}
	}
	out, err := m.QueueAPI.ChangeMessageVisibilityBatch(ctx, in, o...)
	if err == nil && m.changeReply != nil {
		return m.changeReply(out)
	}
	return out, err
}

func (m *meddler) SendMessage(ctx context.Context, in *sqs.SendMessageInput, o ...func(*sqs.Options)) (*sqs.SendMessageOutput, error) {
	if m.send != nil {
		if err := m.send(in); err != nil {
			return nil, err
		}
	}
	out, err := m.QueueAPI.SendMessage(ctx, in, o...)
	if err == nil && m.afterSend != nil {
		if err := m.afterSend(); err != nil {
			return nil, err
		}
	}
	return out, err
}

func (m *meddler) DeleteMessageBatch(ctx context.Context, in *sqs.DeleteMessageBatchInput, o ...func(*sqs.Options)) (*sqs.DeleteMessageBatchOutput, error) {
	if m.delete != nil {
		m.delete(in)
	}
	out, err := m.QueueAPI.DeleteMessageBatch(ctx, in, o...)
	if err == nil && m.deleteReply != nil {
		return m.deleteReply(out)
	}
	return out, err
}

func (m *meddler) ReceiveMessage(ctx context.Context, in *sqs.ReceiveMessageInput, o ...func(*sqs.Options)) (*sqs.ReceiveMessageOutput, error) {
	if m.receive != nil {
		if err := m.receive(ctx, in); err != nil {
			return nil, err
		}
	}
	out, err := m.QueueAPI.ReceiveMessage(ctx, in, o...)
	if err == nil && m.receiveReply != nil {
		return m.receiveReply(out)
	}
	return out, err
}

func containsText(err error, text string) bool { return strings.Contains(err.Error(), text) }
