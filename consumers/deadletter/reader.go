package deadletter

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"slices"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"
	"github.com/google/uuid"

	"github.com/device-fanout/fanout/consumers/internal/batch"
	awsx "github.com/device-fanout/fanout/internal/aws"
)

const (
	batchSize = awsx.MaxBatch
	// visibility is how long received messages stay hidden from others if the reader dies. It is well below the five minutes for which
	// SQS recognizes a deduplication ID, so that a redrive that was killed between send and delete can be run again in time.
	visibility = time.Minute
	// beat is how often held messages are hidden for another visibility.
	beat = visibility / 3
	// receiveWait makes a receive a long poll. A short poll asks only some of the servers, and may miss messages.
	receiveWait = time.Second
	// requestTimeout bounds every request.
	requestTimeout = 10 * time.Second
	// tries is how often a request is made before it counts as failed.
	tries = 4
	// maxHeld keeps a reader below the 120,000 messages of a FIFO queue that may be in flight; beyond that, receives return nothing.
	// See https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/quotas-messages.html.
	maxHeld = 100_000
	// releasers is how many goroutines make messages visible again.
	releasers = 8
)

// pause is how long to wait between tries.
var pause = awsx.Backoff{First: 200 * time.Millisecond, Most: 5 * time.Second}

// reader receives from a dead-letter queue. It holds messages that are not to be visible yet: a heartbeat keeps them hidden.
type reader struct {
	api  QueueAPI
	from Source

	mu   sync.Mutex
	byID map[string]*Message // what is held, by message ID
	held []*Message          // the same, in the order in which it was held
}

func newReader(api QueueAPI, from Source) *reader {
	return &reader{api: api, from: from, byID: map[string]*Message{}}
}

// hold keeps messages until [reader.releaseHeld].
func (r *reader) hold(messages ...*Message) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, m := range messages {
		if !m.held {
			m.held = true
			r.byID[m.MessageID] = m
			r.held = append(r.held, m)
		}
	}
}

func (r *reader) holding() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.held)
}

// heldFor returns the held message of which fresh is a second receive, or nil. It was received again because its heartbeat failed, and
// takes over the new receipt handle.
func (r *reader) heldFor(fresh *Message) *Message {
	r.mu.Lock()
	defer r.mu.Unlock()
	m := r.byID[fresh.MessageID]
	if m != nil {
		m.handle, m.hiddenUntil = fresh.handle, fresh.hiddenUntil
	}
	return m
}

// heartbeat keeps held messages hidden until stop is called. When stop returns, none of its requests is under way, so that none can hide
// again what is released afterwards.
func (r *reader) heartbeat(ctx context.Context) (stop func()) {
	ctx = context.WithoutCancel(ctx)
	done, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		tick := time.NewTicker(beat)
		defer tick.Stop()
		for {
			select {
			case <-done:
				return
			case <-tick.C:
			}
			r.mu.Lock()
			all := r.held[:len(r.held):len(r.held)]
			r.mu.Unlock()
			for some := range slices.Chunk(all, batchSize) {
				_, _ = r.change(ctx, some, visibility) // what fails is received again, and held again
				select {
				case <-done:
					return
				default:
				}
			}
		}
	}()
	return func() {
		close(done)
		<-ended
	}
}

// receive makes one receive. It does not end with ctx, because a canceled receive may have hidden messages. If no answer came, the same
// attempt ID asks again for the messages of the lost reply; after an answer that ID is no longer valid.
func (r *reader) receive(ctx context.Context) ([]*Message, error) {
	attempt := uuid.NewString()
	for try := 1; ; try++ {
		before := time.Now()
		out, err := r.receiveOnce(ctx, attempt)
		if err == nil {
			messages := make([]*Message, len(out.Messages))
			for i, m := range out.Messages {
				messages[i] = newMessage(r.from, m)
				messages[i].hiddenUntil = before.Add(visibility)
			}
			return messages, nil
		}
		verdict := awsx.VerdictOf(err)
		if verdict.Answered {
			attempt = uuid.NewString()
		}
		if try == tries || !verdict.Again() {
			return nil, fmt.Errorf("deadletter: receive from %s: %w", r.from.URL, err)
		}
		time.Sleep(pause.After(try))
	}
}

func (r *reader) receiveOnce(ctx context.Context, attempt string) (*sqs.ReceiveMessageOutput, error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), receiveWait+requestTimeout)
	defer cancel()
	return r.api.ReceiveMessage(ctx, &sqs.ReceiveMessageInput{
		QueueUrl:                    &r.from.URL,
		MaxNumberOfMessages:         batchSize,
		WaitTimeSeconds:             int32(receiveWait / time.Second),
		VisibilityTimeout:           int32(visibility / time.Second),
		MessageAttributeNames:       []string{"All"},
		MessageSystemAttributeNames: []types.MessageSystemAttributeName{types.MessageSystemAttributeNameAll},
		ReceiveRequestAttemptId:     &attempt,
	}, func(o *sqs.Options) {
		batch.Once(o) // retries of the SDK would use the same attempt ID where that is not allowed
		o.DisableMessageChecksumValidation = true
	})
}

// releaseHeld makes all held messages visible again, several devices at a time.
func (r *reader) releaseHeld(ctx context.Context) error {
	r.mu.Lock()
	held := r.held
	r.held, r.byID = nil, map[string]*Message{}
	r.mu.Unlock()
	var shards [releasers][]*Message
	for _, m := range held {
		m.held = false
		h := fnv.New32a()
		h.Write([]byte(m.DeviceID))
		i := h.Sum32() % releasers
		shards[i] = append(shards[i], m)
	}
	var wait sync.WaitGroup
	var faults [releasers]error
	for i, messages := range shards {
		wait.Go(func() { faults[i] = r.release(ctx, messages) })
	}
	wait.Wait()
	return errors.Join(faults[:]...)
}

// release makes messages visible again, the last one first, so that nobody receives the first of a device while the rest is hidden.
// After ctx has ended it still works, for at most requestTimeout.
func (r *reader) release(ctx context.Context, messages []*Message) error {
	interrupted := ctx.Err() != nil
	ctx = context.WithoutCancel(ctx)
	if interrupted {
		limited, cancel := context.WithTimeout(ctx, requestTimeout)
		defer cancel()
		ctx = limited
	}
	failed := 0
	var cause error
	for end := len(messages); end > 0; {
		var some []*Message
		for end > 0 && len(some) < batchSize {
			end--
			if m := messages[end]; time.Now().Before(m.hiddenUntil) {
				some = append(some, m)
			}
		}
		if len(some) == 0 {
			break
		}
		n, err := r.change(ctx, some, 0)
		if failed += n; err != nil {
			cause = err
		}
	}
	if failed > 0 {
		return fmt.Errorf("deadletter: %d messages of %s could not be made visible again; wait %v until they are: %w", failed, r.from.URL, visibility, cause)
	}
	return nil
}

// change sets how long the messages of one batch stay hidden. It returns how many it could not change, without those that are visible
// already.
func (r *reader) change(ctx context.Context, messages []*Message, hidden time.Duration) (failed int, err error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	before := time.Now()
	changes := make([]batch.Hidden, len(messages))
	r.mu.Lock()
	for i, m := range messages {
		changes[i] = batch.Hidden{Handle: m.handle, For: hidden}
	}
	r.mu.Unlock()
	answers := batch.Hide(ctx, r.api, r.from.URL, changes)
	r.mu.Lock()
	defer r.mu.Unlock()
	for i, a := range answers {
		switch {
		case a.Err == nil:
			messages[i].hiddenUntil = before.Add(hidden)
		case a.HandleOver: // it is visible already
		default:
			failed++
			err = a.Err
		}
	}
	return failed, err
}

// remove deletes messages and returns those that could not be deleted, with the error of the last one. It does not end with ctx, because a
// canceled request may have been carried out.
func (r *reader) remove(ctx context.Context, messages []*Message) (left []*Message, cause error) {
	ctx = context.WithoutCancel(ctx)
	for some := range slices.Chunk(messages, batchSize) {
		for try := 1; len(some) > 0; try++ {
			var err error
			if some, err = r.removeOnce(ctx, some); len(some) == 0 {
				break
			}
			if try == tries {
				left, cause = append(left, some...), err
				break
			}
			time.Sleep(pause.After(try))
		}
	}
	return left, cause
}

func (r *reader) removeOnce(ctx context.Context, messages []*Message) (left []*Message, cause error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	handles := make([]string, len(messages))
	r.mu.Lock()
	for i, m := range messages {
		handles[i] = m.handle
	}
	r.mu.Unlock()
	for i, a := range batch.Delete(ctx, r.api, r.from.URL, handles, batch.Once) {
		if a.Err != nil {
			left, cause = append(left, messages[i]), a.Err
		}
	}
	return left, cause
}
