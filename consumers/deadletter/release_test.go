package deadletter_test

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sqs"

	"github.com/device-fanout/fanout/consumers/deadletter"
)

// tailFirst watches that no message is made visible again while a later one of its device, from the same receive or another, is still held.
type tailFirst struct {
	deadletter.QueueAPI
	t *testing.T

	mu       sync.Mutex
	held     map[string]map[string]string // by device: the handles of what is held, by sequence number
	of       map[string][2]string         // device and sequence number, by handle
	released int
}

func (w *tailFirst) ReceiveMessage(ctx context.Context, in *sqs.ReceiveMessageInput, o ...func(*sqs.Options)) (*sqs.ReceiveMessageOutput, error) {
	out, err := w.QueueAPI.ReceiveMessage(ctx, in, o...)
	if err != nil {
		return nil, err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.held == nil {
		w.held, w.of = map[string]map[string]string{}, map[string][2]string{}
	}
	for _, m := range out.Messages {
		device, sequence, handle := m.Attributes["MessageGroupId"], m.Attributes["SequenceNumber"], aws.ToString(m.ReceiptHandle)
		if w.held[device] == nil {
			w.held[device] = map[string]string{}
		}
		w.held[device][sequence] = handle
		w.of[handle] = [2]string{device, sequence}
	}
	return out, nil
}

func (w *tailFirst) ChangeMessageVisibilityBatch(ctx context.Context, in *sqs.ChangeMessageVisibilityBatchInput, o ...func(*sqs.Options)) (*sqs.ChangeMessageVisibilityBatchOutput, error) {
	w.mu.Lock()
	for _, e := range in.Entries { // SQS goes through them in this order
		at, ok := w.of[aws.ToString(e.ReceiptHandle)]
		if !ok || e.VisibilityTimeout > 0 {
			continue
		}
		for sequence := range w.held[at[0]] {
			if sequence > at[1] {
				w.t.Errorf("device %s: %s is released while %s is held", at[0], at[1], sequence)
			}
		}
		delete(w.held[at[0]], at[1])
		w.released++
	}
	w.mu.Unlock()
	return w.QueueAPI.ChangeMessageVisibilityBatch(ctx, in, o...)
}

func (w *tailFirst) DeleteMessageBatch(ctx context.Context, in *sqs.DeleteMessageBatchInput, o ...func(*sqs.Options)) (*sqs.DeleteMessageBatchOutput, error) {
	w.mu.Lock()
	for _, e := range in.Entries {
		if at, ok := w.of[aws.ToString(e.ReceiptHandle)]; ok {
			delete(w.held[at[0]], at[1])
		}
	}
	w.mu.Unlock()
	return w.QueueAPI.DeleteMessageBatch(ctx, in, o...)
}

// TestRelease_TailFirst: whoever reads a dead-letter queue, to look at it, to redrive a part of it or to write it down, and whether it
// comes to its end or is interrupted, gives each device's messages back the last one first. Else another reader, or a native redrive, gets
// the first of a device while what comes behind it is hidden.
func TestRelease_TailFirst(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	none := deadletter.Filter{Code: "another"}
	for name, read := range map[string]func(context.Context, *bench, deadletter.QueueAPI) error{
		"scan": func(ctx context.Context, b *bench, api deadletter.QueueAPI) error {
			return deadletter.Scan(ctx, api, b.from, nil)
		},
		"scan of a part": func(ctx context.Context, b *bench, api deadletter.QueueAPI) error {
			n := 0
			return deadletter.Scan(ctx, api, b.from, func(*deadletter.Message) bool { n++; return n < 15 })
		},
		"scan, interrupted": func(ctx context.Context, b *bench, api deadletter.QueueAPI) error {
			ctx, cancel := context.WithCancel(ctx)
			defer cancel()
			n := 0
			_ = deadletter.Scan(ctx, api, b.from, func(*deadletter.Message) bool {
				if n++; n == 12 {
					cancel()
				}
				return true
			})
			return nil
		},
		"export": func(ctx context.Context, b *bench, api deadletter.QueueAPI) error {
			archive, err := deadletter.CreateArchive(filepath.Join(folder, "archive"))
			if err != nil {
				return err
			}
			_, err = deadletter.Export(ctx, api, b.from, archive, deadletter.Config{})
			return errors.Join(err, archive.Close())
		},
		"redrive of nothing": func(ctx context.Context, b *bench, api deadletter.QueueAPI) error {
			_, err := deadletter.Redrive(ctx, api, b.from, deadletter.Config{Filter: none})
			return err
		},
		"redrive of some": func(ctx context.Context, b *bench, api deadletter.QueueAPI) error {
			_, err := deadletter.Redrive(ctx, api, b.from, deadletter.Config{Filter: deadletter.Filter{Limit: 7}})
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				b := newBench(t)
				for i := range 24 { // receives end in the middle of a device
					b.bury(fmt.Sprintf("four-%d", i/4), fmt.Sprintf("f%02d", i), record("bad"))
				}
				for i := range 60 {
					b.bury(fmt.Sprintf("d%d", i%7), fmt.Sprintf("e%02d", i), record("bad"))
				}
				for i := range 25 { // more than one receive can bring
					b.bury("deep", fmt.Sprintf("x%02d", i), record("bad"))
				}
				watch := &tailFirst{QueueAPI: b.api, t: t}
				if err := read(t.Context(), b, watch); err != nil {
					t.Fatal(err)
				}
				if watch.released < 8 {
					t.Errorf("%d messages were released: the test shows little", watch.released)
				}
				time.Sleep(2 * time.Minute)
				if s := b.status(dlqName); s.InFlight != 0 {
					t.Errorf("%d messages are in flight", s.InFlight)
				}
			})
		})
	}
}
