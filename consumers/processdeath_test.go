package consumers_test

import (
	"context"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/sqs"

	"github.com/device-fanout/fanout/consumers"
	"github.com/device-fanout/fanout/events"
)

// killable is a process's way to its queue. Once it is dead nothing that the process asks for is carried out any more.
type killable struct {
	consumers.QueueAPI
	once sync.Once
	dead chan struct{}
	last string // the request at which it dies
}

func newKillable(api consumers.QueueAPI) *killable {
	return &killable{QueueAPI: api, dead: make(chan struct{})}
}

func (m *killable) dieAt(request string) { m.last = request }

func (m *killable) die() { m.once.Do(func() { close(m.dead) }) }

func (m *killable) before(ctx context.Context, request string) error {
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

func (m *killable) ReceiveMessage(ctx context.Context, in *sqs.ReceiveMessageInput, o ...func(*sqs.Options)) (*sqs.ReceiveMessageOutput, error) {
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

func (m *killable) DeleteMessageBatch(ctx context.Context, in *sqs.DeleteMessageBatchInput, o ...func(*sqs.Options)) (*sqs.DeleteMessageBatchOutput, error) {
	if err := m.before(ctx, "DeleteMessageBatch"); err != nil {
		return nil, err
	}
	return m.QueueAPI.DeleteMessageBatch(ctx, in, o...)
}

func (m *killable) ChangeMessageVisibilityBatch(ctx context.Context, in *sqs.ChangeMessageVisibilityBatchInput, o ...func(*sqs.Options)) (*sqs.ChangeMessageVisibilityBatchOutput, error) {
	if err := m.before(ctx, "ChangeMessageVisibilityBatch"); err != nil {
		return nil, err
	}
	return m.QueueAPI.ChangeMessageVisibilityBatch(ctx, in, o...)
}

func (m *killable) SendMessage(ctx context.Context, in *sqs.SendMessageInput, o ...func(*sqs.Options)) (*sqs.SendMessageOutput, error) {
	if err := m.before(ctx, "SendMessage"); err != nil {
		return nil, err
	}
	return m.QueueAPI.SendMessage(ctx, in, o...)
}

// processes runs one process after the other, each until its handler kills it, until the queue is empty. A process dies by calling its
// killable's die; what its handler does then has no effect any more. set may be nil.
func (b *bench) processes(handle func(context.Context, *killable, events.Event) error, set func(*killable, *consumers.Config)) (deaths int) {
	b.t.Helper()
	for b.depth("test.fifo") > 0 && deaths < 100 {
		api := newKillable(b.api)
		cfg := consumers.Config{WaitTime: time.Second, DrainTimeout: time.Second, Check: works}
		if set != nil {
			set(api, &cfg)
		}
		c, err := consumers.New(api, b.queue, func(ctx context.Context, e events.Event) error { return handle(ctx, api, e) }, cfg)
		if err != nil {
			b.t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(b.t.Context())
		done := make(chan error)
		go func() { done <- c.Run(ctx) }()
		for alive := true; alive && b.depth("test.fifo") > 0; {
			select {
			case <-api.dead:
				alive = false
				deaths++
			case <-time.After(time.Second):
			}
		}
		cancel()
		<-done
	}
	return deaths
}
