package deadletter

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
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
	// visibility is how long what a reader receives is hidden from others, should it die before it has released it. It is well
	// inside the five minutes in which SQS recognizes a deduplication ID: a redrive that was killed between sending and deleting
	// can then be run again before they are over.
	visibility = time.Minute
	// beat is how often what is held is hidden anew.
	beat = visibility / 3
	// receiveWait makes a receive a long poll. A short one asks a part of the servers only, and may miss what there is.
	receiveWait = time.Second
	// requestTimeout bounds every request.
	requestTimeout = 10 * time.Second
	// tries is how often a request is made before it counts as failed.
	tries = 4
	// maxHeld keeps a reader below the 120,000 messages that a FIFO queue lets be in flight; beyond, receives just come back empty.
	// See https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/quotas-messages.html.
	maxHeld = 100_000
	// releasers is how many goroutines make letters visible again.
	releasers = 8
)

// pause is how long to wait between tries.
var pause = awsx.Backoff{First: 200 * time.Millisecond, Most: 5 * time.Second}

// reader receives from a dead-letter queue. What its user does not want to give back yet it holds: a heartbeat keeps it hidden.
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

// hold keeps letters until [reader.releaseHeld].
func (r *reader) hold(letters ...*Message) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, l := range letters {
		if !l.held {
			l.held = true
			r.byID[l.MessageID] = l
			r.held = append(r.held, l)
		}
	}
}

func (r *reader) holding() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.held)
}

// heldFor gives the letter that is held as a message. When that message was received again, since the heartbeat failed, the letter
// takes its new handle.
func (r *reader) heldFor(fresh *Message) *Message {
	r.mu.Lock()
	defer r.mu.Unlock()
	l := r.byID[fresh.MessageID]
	if l != nil {
		l.handle, l.hiddenUntil = fresh.handle, fresh.hiddenUntil
	}
	return l
}

// heartbeat keeps hidden what is held until stop is called, which waits for its end. After stop no request of it is under way, so
// none can hide again what is then released.
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
			for len(all) > 0 {
				n := min(len(all), batchSize)
				_, _ = r.change(ctx, all[:n], visibility) // what fails comes again, and is held again
				all = all[n:]
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

// receive makes one receive. It does not end with ctx: one cut off may have hidden messages already. When no answer came, the
// messages of the lost reply are asked for again by the same attempt ID; after an answer that ID is no longer valid.
func (r *reader) receive(ctx context.Context) ([]*Message, error) {
	attempt := uuid.NewString()
	for try := 1; ; try++ {
		before := time.Now()
		out, err := r.receiveOnce(ctx, attempt)
		if err == nil {
			letters := make([]*Message, len(out.Messages))
			for i, m := range out.Messages {
				letters[i] = newLetter(r.from, m)
				letters[i].hiddenUntil = before.Add(visibility)
			}
			return letters, nil
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
		batch.Once(o) // the SDK would use the same attempt ID also where that is not allowed
		o.DisableMessageChecksumValidation = true
	})
}

// releaseHeld makes everything that is held visible again, several devices at a time.
func (r *reader) releaseHeld(ctx context.Context) error {
	r.mu.Lock()
	held := r.held
	r.held, r.byID = nil, map[string]*Message{}
	r.mu.Unlock()
	var shards [releasers][]*Message
	for _, l := range held {
		l.held = false
		h := fnv.New32a()
		h.Write([]byte(l.DeviceID))
		i := h.Sum32() % releasers
		shards[i] = append(shards[i], l)
	}
	var wait sync.WaitGroup
	var faults [releasers]error
	for i, letters := range shards {
		wait.Go(func() { faults[i] = r.release(ctx, letters) })
	}
	wait.Wait()
	return errors.Join(faults[:]...)
}

// release makes letters visible again, last first, so that nobody gets the head of a device's letters while the rest is hidden.
// It works also after ctx has ended, but then not for long.
func (r *reader) release(ctx context.Context, letters []*Message) error {
	interrupted := ctx.Err() != nil
	ctx = context.WithoutCancel(ctx)
	if interrupted {
		limited, cancel := context.WithTimeout(ctx, requestTimeout)
		defer cancel()
		ctx = limited
	}
	failed := 0
	var cause error
	for end := len(letters); end > 0; {
		var some []*Message
		for end > 0 && len(some) < batchSize {
			end--
			if l := letters[end]; time.Now().Before(l.hiddenUntil) {
				some = append(some, l)
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
		return fmt.Errorf("deadletter: %d messages of %s were not made visible; they will be within %v: %w", failed, r.from.URL, visibility, cause)
	}
	return nil
}

// change sets how long the letters of one batch stay hidden. It returns how many it could not change, not counting those that are
// visible already.
func (r *reader) change(ctx context.Context, letters []*Message, hidden time.Duration) (failed int, err error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	before := time.Now()
	messages := make([]batch.Hidden, len(letters))
	r.mu.Lock()
	for i, l := range letters {
		messages[i] = batch.Hidden{Handle: l.handle, For: hidden}
	}
	r.mu.Unlock()
	answers := batch.Hide(ctx, r.api, r.from.URL, messages)
	r.mu.Lock()
	defer r.mu.Unlock()
	for i, a := range answers {
		switch a.Class {
		case awsx.OK:
			letters[i].hiddenUntil = before.Add(hidden)
		case awsx.Final: // its handle has expired: it is visible already
		default:
			failed++
			err = a.Err
		}
	}
	return failed, err
}

// remove deletes letters, entry by entry, and returns those that are still there, with the reason for the last of them. It does
// not end with ctx: a request cut off may have been carried out.
func (r *reader) remove(ctx context.Context, letters []*Message) (left []*Message, cause error) {
	ctx = context.WithoutCancel(ctx)
	for len(letters) > 0 {
		n := min(len(letters), batchSize)
		some, err := r.removeBatch(ctx, letters[:n])
		if err != nil {
			left, cause = append(left, some...), err
		}
		letters = letters[n:]
	}
	return left, cause
}

func (r *reader) removeBatch(ctx context.Context, letters []*Message) (left []*Message, cause error) {
	for try := 1; ; try++ {
		left, cause = r.removeOnce(ctx, letters)
		if len(left) == 0 || try == tries {
			return left, cause
		}
		letters = left
		time.Sleep(pause.After(try))
	}
}

func (r *reader) removeOnce(ctx context.Context, letters []*Message) (left []*Message, cause error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	handles := make([]string, len(letters))
	r.mu.Lock()
	for i, l := range letters {
		handles[i] = l.handle
	}
	r.mu.Unlock()
	for i, a := range batch.Delete(ctx, r.api, r.from.URL, handles, batch.Once) {
		if a.Err != nil {
			left, cause = append(left, letters[i]), a.Err
		}
	}
	return left, cause
}
