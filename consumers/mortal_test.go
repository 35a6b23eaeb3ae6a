package consumers_test

import (
	"context"
	"sync"

	"github.com/aws/aws-sdk-go-v2/service/sqs"

	"github.com/device-fanout/fanout/consumers"
)

// mortal is a process's way to its queue. Once it is dead nothing that the process asks for is carried out any more.
type mortal struct {
	consumers.QueueAPI
	once sync.Once
	dead chan struct{}
	last string // the request at which it dies
}

func newMortal(api consumers.QueueAPI) *mortal {
	return &mortal{QueueAPI: api, dead: make(chan struct{})}
}

func (m *mortal) dieAt(request string) { m.last = request }

func (m *mortal) die() { m.once.Do(func() { close(m.dead) }) }

func (m *mortal) before(ctx context.Context, request string) error {
	if request == m.last {
		m.die()
	}
	select {
	case <-m.dead:
		<-ctx.Done()
		return ctx.Err()
	default:
		return nil
	}
}

func (m *mortal) ReceiveMessage(ctx context.Context, in *sqs.ReceiveMessageInput, o ...func(*sqs.Options)) (*sqs.ReceiveMessageOutput, error) {
	if err := m.before(ctx, "ReceiveMessage"); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(ctx) // a receive under way ends with its process
	defer cancel()
	ended := make(chan struct{})
	defer close(ended)
	go func() {
		select {
		case <-m.dead:
			cancel()
		case <-ended:
		}
	}()
	return m.QueueAPI.ReceiveMessage(ctx, in, o...)
}

func (m *mortal) DeleteMessageBatch(ctx context.Context, in *sqs.DeleteMessageBatchInput, o ...func(*sqs.Options)) (*sqs.DeleteMessageBatchOutput, error) {
	if err := m.before(ctx, "DeleteMessageBatch"); err != nil {
		return nil, err
	}
	return m.QueueAPI.DeleteMessageBatch(ctx, in, o...)
}

func (m *mortal) ChangeMessageVisibilityBatch(ctx context.Context, in *sqs.ChangeMessageVisibilityBatchInput, o ...func(*sqs.Options)) (*sqs.ChangeMessageVisibilityBatchOutput, error) {
	if err := m.before(ctx, "ChangeMessageVisibilityBatch"); err != nil {
		return nil, err
	}
	return m.QueueAPI.ChangeMessageVisibilityBatch(ctx, in, o...)
}

func (m *mortal) SendMessage(ctx context.Context, in *sqs.SendMessageInput, o ...func(*sqs.Options)) (*sqs.SendMessageOutput, error) {
	if err := m.before(ctx, "SendMessage"); err != nil {
		return nil, err
	}
	return m.QueueAPI.SendMessage(ctx, in, o...)
}
