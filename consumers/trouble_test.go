package consumers_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"

	"github.com/device-fanout/fanout/consumers"
	"github.com/device-fanout/fanout/consumers/deadletter"
	"github.com/device-fanout/fanout/events"
)

var errReset = errors.New("read: connection reset by peer")

// TestReceive_EveryLostReplyIsAskedForAgain: four receives lose their replies at once; none of their devices may wait for the
// visibility timeout.
func TestReceive_EveryLostReplyIsAskedForAgain(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		api := &meddler{QueueAPI: b.api}
		var full, lose atomic.Int64
		api.receive = func(context.Context, *sqs.ReceiveMessageInput) error {
			if full.Load() >= 3 { // by now there are several receives at once
				time.Sleep(time.Second)
			}
			return nil
		}
		api.receiveReply = func(out *sqs.ReceiveMessageOutput) (*sqs.ReceiveMessageOutput, error) {
			if full.Add(1) > 3 && lose.Add(1) <= 4 && len(out.Messages) > 0 {
				return nil, errReset
			}
			return out, nil
		}
		for i := range 100 {
			b.send(motion(fmt.Sprintf("d%03d", i), fmt.Sprintf("e%03d", i)))
		}
		var j journal
		_, stop := b.start(api, func(_ context.Context, e events.Event) error { j.add(e.ID); return nil }, consumers.Config{Slots: 64})
		time.Sleep(15 * time.Second) // half the visibility timeout
		if n := len(j.all()); n != 100 {
			t.Errorf("handled %d of 100 events; the others wait for their visibility timeout", n)
		}
		stop()
	})
}

// TestDrain_HandsBackWhatALostReplyHeld: the last receive got a message, and its reply was lost.
func TestDrain_HandsBackWhatALostReplyHeld(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		api := &meddler{QueueAPI: b.api}
		var lost atomic.Bool
		api.receiveReply = func(out *sqs.ReceiveMessageOutput) (*sqs.ReceiveMessageOutput, error) {
			if len(out.Messages) > 0 && !lost.Swap(true) {
				return nil, errReset
			}
			return out, nil
		}
		c, err := consumers.New(api, b.queue, func(context.Context, events.Event) error { return nil }, consumers.Config{})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- c.Run(ctx) }()
		synctest.Wait()
		cancel()
		synctest.Wait()
		b.send(motion("d1", "e1"))
		if err := <-done; err != nil {
			t.Error(err)
		}
		if !lost.Load() {
			t.Fatal("no reply was lost")
		}
		if n := b.visible("test.fifo"); n != 1 {
			t.Errorf("%d messages are visible after the drain, want 1: its device stands still until the visibility timeout", n)
		}
	})
}

// TestDrain_TriesAReleaseAgain: throttled, failed in part and not answered.
func TestDrain_TriesAReleaseAgain(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		for i := range 8 {
			b.send(motion("d1", fmt.Sprintf("e%d", i)))
		}
		api := &meddler{QueueAPI: b.api}
		var releases atomic.Int64
		api.change = func(_ context.Context, in *sqs.ChangeMessageVisibilityBatchInput) (*sqs.ChangeMessageVisibilityBatchOutput, error) {
			if in.Entries[0].VisibilityTimeout > 0 {
				return nil, nil
			}
			switch releases.Add(1) {
			case 1:
				return nil, errReset
			case 2: // the tail is not released
				in.Entries = in.Entries[2:]
			}
			return nil, nil
		}
		_, stop := b.start(api, func(context.Context, events.Event) error { time.Sleep(5 * time.Second); return nil },
			consumers.Config{WaitTime: time.Second})
		time.Sleep(2 * time.Second)
		stop()
		if n := b.visible("test.fifo"); n != 7 {
			t.Errorf("%d messages are visible after the drain, want 7", n)
		}
	})
}

// TestRelease_IsNotTriedForEver: a queue that refuses all releases does not keep the consumer from stopping; the leases end by themselves.
func TestRelease_IsNotTriedForEver(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		b.send(motion("d1", "e1"), motion("d1", "e2"))
		api := &meddler{QueueAPI: b.api}
		api.change = func(_ context.Context, in *sqs.ChangeMessageVisibilityBatchInput) (*sqs.ChangeMessageVisibilityBatchOutput, error) {
			if in.Entries[0].VisibilityTimeout > 0 {
				return nil, nil
			}
			return nil, errReset
		}
		_, stop := b.start(api, func(context.Context, events.Event) error { time.Sleep(2 * time.Second); return nil },
			consumers.Config{WaitTime: time.Second, DrainTimeout: 5 * time.Minute})
		time.Sleep(time.Second)
		start := time.Now()
		stop()
		if took := time.Since(start); took > 36*time.Second {
			t.Errorf("the drain took %v, want at most the visibility timeout of 30s and one more pause", took)
		}
	})
}

// TestLease_ExtendingWhatIsBeingDeletedIsNoLoss: the heartbeat and a delete cross each other.
func TestLease_ExtendingWhatIsBeingDeletedIsNoLoss(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		b.send(motion("d1", "e1"))
		api := &meddler{QueueAPI: b.api}
		api.deleteReply = func(out *sqs.DeleteMessageBatchOutput) (*sqs.DeleteMessageBatchOutput, error) {
			time.Sleep(5 * time.Second) // it is carried out at once and answered late
			return out, nil
		}
		c, stop := b.start(api, func(context.Context, events.Event) error { time.Sleep(9 * time.Second); return nil }, consumers.Config{})
		time.Sleep(30 * time.Second)
		stop()
		if s := c.Stats(); s.LeasesLost != 0 || s.Extensions == 0 {
			t.Errorf("got %+v, want an extension and no lease lost", s)
		}
	})
}

// TestLease_SurvivesRequestsThatHang: two heartbeats in a row get no answer at all.
func TestLease_SurvivesRequestsThatHang(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		b.send(motion("d1", "e1"))
		api := &meddler{QueueAPI: b.api}
		var calls atomic.Int64
		api.change = func(ctx context.Context, _ *sqs.ChangeMessageVisibilityBatchInput) (*sqs.ChangeMessageVisibilityBatchOutput, error) {
			if calls.Add(1) <= 2 {
				<-ctx.Done()
				return nil, ctx.Err()
			}
			return nil, nil
		}
		var j journal
		c, stop := b.start(api, func(context.Context, events.Event) error { j.add("run"); time.Sleep(time.Minute); return nil },
			consumers.Config{Budget: 2 * time.Minute, DrainTimeout: 2 * time.Minute})
		time.Sleep(2 * time.Minute)
		stop()
		j.want(t, "run")
		if s := c.Stats(); s.LeasesLost != 0 || s.Redelivered != 0 {
			t.Errorf("got %+v, want no lease lost", s)
		}
	})
}

// TestLease_IsAsLongAsTheConsumerThinks: the queue's setting changes under a running consumer.
func TestLease_IsAsLongAsTheConsumerThinks(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		var j journal
		c, stop := b.start(b.api, func(_ context.Context, e events.Event) error {
			j.add(e.ID)
			time.Sleep(8 * time.Second)
			return nil
		}, consumers.Config{WaitTime: time.Second})
		time.Sleep(time.Second)
		_, err := b.api.SetQueueAttributes(t.Context(), &sqs.SetQueueAttributesInput{
			QueueUrl: &b.queue.URL, Attributes: map[string]string{"VisibilityTimeout": "5"},
		})
		if err != nil {
			t.Fatal(err)
		}
		b.send(motion("d1", "e1"))
		time.Sleep(20 * time.Second)
		stop()
		j.want(t, "e1")
		if s := c.Stats(); s.Redelivered != 0 {
			t.Errorf("got %+v, want no second delivery", s)
		}
	})
}

// badError is an error whose methods panic, as those of a nil pointer in an error interface do.
type badError struct{ text string }

func (e *badError) Error() string { return e.text }

func (e *badError) Is(error) bool { return e.text == "" }

func TestVerdict_AnErrorThatPanicsIsUnknown(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		b.send(motion("d1", "e1"), motion("d1", "e2"), motion("d1", "e3"))
		_, stop := b.start(b.api, func(_ context.Context, e events.Event) error {
			switch e.ID {
			case "e1":
				var nilPointer *badError
				return nilPointer
			case "e2":
				var nilPointer *consumers.KnownError
				return nilPointer
			}
			return nil
		}, consumers.Config{})
		time.Sleep(5 * time.Second)
		stop()
		letters := b.letters()
		if len(letters) != 2 || letters[0].Record.Code != consumers.CodePanic || letters[0].Record.Class != deadletter.Exhausted ||
			letters[1].Record.Code != consumers.CodePanic {
			t.Fatalf("got %+v, want two letters with code panic", letters)
		}
	})
}

// TestVerdict_AHandlerThatEndsItsGoroutine: runtime.Goexit is what t.FailNow calls.
func TestVerdict_AHandlerThatEndsItsGoroutine(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		b.send(motion("d1", "e1"), motion("d1", "e2"))
		var j journal
		_, stop := b.start(b.api, func(_ context.Context, e events.Event) error {
			j.add(e.ID)
			if e.ID == "e1" {
				runtime.Goexit()
			}
			return nil
		}, consumers.Config{Slots: 1, WaitTime: time.Second})
		time.Sleep(5 * time.Second)
		stop()
		j.want(t, "e1", "e2")
		letters := b.letters()
		if len(letters) != 1 || letters[0].Record.Code != consumers.CodePanic || letters[0].Record.Attempts != 1 {
			t.Fatalf("got %+v, want one letter with code panic", letters)
		}
	})
}

// TestDeadLetter_UnreachableQueueDoesNotStopOtherDevices: more devices wait for the dead-letter queue than there are slots.
func TestDeadLetter_UnreachableQueueDoesNotStopOtherDevices(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		for i := range 20 {
			b.send(motion(fmt.Sprintf("bad-%d", i), fmt.Sprintf("e%d", i)))
		}
		api := &meddler{QueueAPI: b.api, send: func(*sqs.SendMessageInput) error { return errReset }}
		var j journal
		c, err := consumers.New(api, b.queue, func(_ context.Context, e events.Event) error {
			if strings.HasPrefix(e.DeviceID, "bad") {
				return consumers.Known("bad", errBroken)
			}
			j.add(e.ID)
			return nil
		}, consumers.Config{Slots: 16, WaitTime: time.Second})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- c.Run(ctx) }()
		time.Sleep(5 * time.Second)
		b.send(motion("good", "g1"))
		time.Sleep(5 * time.Second)
		j.want(t, "g1")
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		if n := b.visible("test.fifo"); n != 20 {
			t.Errorf("%d messages went back, want 20", n)
		}
	})
}

// TestDeadLetter_WhateverTheErrorSays: the record must be one that SQS accepts, or its device would wait for ever.
func TestDeadLetter_WhateverTheErrorSays(t *testing.T) {
	t.Parallel()
	for name, text := range map[string]string{
		"control characters": "a\x00b\x1b[31mc\x7f",
		"non-characters":     "\uFFFE\uFFFF",
		"no UTF-8":           "\xff\xfe\xc0",
		"markup":             strings.Repeat("<&\">", 2000),
		"huge":               strings.Repeat("ü", 1<<20),
		"empty":              "",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				b := newBench(t)
				b.send(motion("d1", "e1"), motion("d2", "e2"))
				_, stop := b.start(b.api, func(_ context.Context, e events.Event) error {
					if e.ID == "e1" {
						return consumers.Known("refused", errors.New(text))
					}
					return consumers.Known(text, errBroken)
				}, consumers.Config{WaitTime: time.Second})
				time.Sleep(2 * time.Second)
				stop()
				letters := b.letters()
				if len(letters) != 2 || letters[0].Record.Class != deadletter.Known || letters[1].Record.Class != deadletter.Known {
					t.Errorf("got %d letters %.500v, want 2 with their records", len(letters), letters)
				}
			})
		})
	}
}

// TestDeadLetter_OfTheLargestMessage: a message may be as large as the dead-letter queue takes; with its record it is too large.
func TestDeadLetter_OfTheLargestMessage(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		const largest = 1 << 20
		size := func(body string) int {
			return len(body) + len("type"+"String"+"x"+"source"+"String"+"test")
		}
		body := strings.Repeat("x", largest-size(""))
		b.sendBody("d1", "e1", "x", body)
		b.send(motion("d1", "e2"))
		var j journal
		_, stop := b.start(b.api, func(_ context.Context, e events.Event) error { j.add(e.ID); return nil }, consumers.Config{WaitTime: time.Second})
		time.Sleep(10 * time.Second)
		stop()
		j.want(t, "e2")
		if letters := b.letters(); len(letters) != 1 || letters[0].Body != body {
			t.Errorf("%d dead letters, want the one whose body is no JSON", len(letters))
		}
	})
}

// TestRun_ReportsAHandlerThatDoesNotEnd: nothing can be done about it, but somebody must hear of it.
func TestRun_ReportsAHandlerThatDoesNotEnd(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		b.send(motion("d1", "e1"), motion("d2", "e2"))
		var out lockedBuffer
		release := make(chan struct{})
		_, stop := b.start(b.api, func(_ context.Context, e events.Event) error {
			if e.ID == "e1" {
				<-release
			}
			return nil
		}, consumers.Config{Budget: 5 * time.Second, WaitTime: time.Second, Logger: out.logger()})
		time.Sleep(2 * time.Minute)
		close(release)
		stop()
		if n := strings.Count(out.String(), "handler does not end"); n != 1 {
			t.Errorf("the log tells %d times of the handler, want once:\n%s", n, out.String())
		}
		if !strings.Contains(out.String(), "group_id=d1") {
			t.Errorf("the log does not name the device:\n%s", out.String())
		}
	})
}

// TestLease_ComesBackWhileItIsHeld: the service takes back everything, unnoticed, and delivers it again to the same consumer.
func TestLease_ComesBackWhileItIsHeld(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		for i := range 6 {
			b.send(motion("d1", fmt.Sprintf("e%d", i)))
		}
		var j journal
		var running atomic.Int64
		c, stop := b.start(b.api, func(ctx context.Context, e events.Event) error {
			if running.Add(1) > 1 {
				t.Error("two handlers of one device at once")
			}
			defer running.Add(-1)
			select {
			case <-time.After(2 * time.Second):
				j.add(e.ID)
				return nil
			case <-ctx.Done():
				j.add("cancelled " + e.ID)
				time.Sleep(time.Second) // it takes a while to end
				return ctx.Err()
			}
		}, consumers.Config{WaitTime: time.Second})
		time.Sleep(3 * time.Second) // e0 is done, e1 runs
		if _, err := b.engine.ExpireVisibility("test.fifo", "d1"); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		stop()
		j.want(t, "e0", "cancelled e1", "e1", "e2", "e3", "e4", "e5")
		if s := c.Stats(); s.LeasesLost == 0 || s.Redelivered == 0 {
			t.Errorf("got %+v", s)
		}
		if n := b.depth("test.fifo"); n != 0 {
			t.Errorf("%d messages are left", n)
		}
	})
}

// TestLease_EndsWhileTheDeadLetterIsBeingSent: the copy gets there late; the message must neither run again nor be copied again.
func TestLease_EndsWhileTheDeadLetterIsBeingSent(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		b.send(motion("d1", "bad"), motion("d1", "good"))
		api := &meddler{QueueAPI: b.api}
		var once sync.Once
		api.send = func(*sqs.SendMessageInput) error {
			once.Do(func() {
				time.Sleep(2 * time.Second)
				if _, err := b.engine.ExpireVisibility("test.fifo", ""); err != nil {
					t.Error(err)
				}
				time.Sleep(2 * time.Second)
			})
			return nil
		}
		var j journal
		_, stop := b.start(api, func(_ context.Context, e events.Event) error {
			j.add(e.ID)
			if e.ID == "bad" {
				return consumers.Known("bad", errBroken)
			}
			return nil
		}, consumers.Config{WaitTime: time.Second})
		time.Sleep(time.Minute)
		stop()
		j.want(t, "bad", "good")
		if n := len(b.letters()); n != 1 {
			t.Errorf("%d dead letters, want 1", n)
		}
		if n := b.depth("test.fifo"); n != 0 {
			t.Errorf("%d messages are left", n)
		}
	})
}

// TestDrain_ReleasesWhatAPollBringsLate: a receive that returns after draining began hands its messages back, the tail first.
func TestDrain_ReleasesWhatAPollBringsLate(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		api := &meddler{QueueAPI: b.api}
		var order []string
		ids := map[string]string{}
		var mu sync.Mutex
		api.receiveReply = func(out *sqs.ReceiveMessageOutput) (*sqs.ReceiveMessageOutput, error) {
			mu.Lock()
			defer mu.Unlock()
			for _, m := range out.Messages {
				e, err := events.Decode([]byte(aws.ToString(m.Body)))
				if err != nil {
					t.Error(err)
				}
				ids[aws.ToString(m.ReceiptHandle)] = e.ID
			}
			return out, nil
		}
		api.change = func(_ context.Context, in *sqs.ChangeMessageVisibilityBatchInput) (*sqs.ChangeMessageVisibilityBatchOutput, error) {
			mu.Lock()
			defer mu.Unlock()
			for _, e := range in.Entries {
				order = append(order, ids[aws.ToString(e.ReceiptHandle)])
			}
			return nil, nil
		}
		var j journal
		_, stop := b.start(api, func(_ context.Context, e events.Event) error { j.add(e.ID); return nil }, consumers.Config{})
		time.Sleep(time.Second)
		go func() {
			time.Sleep(5 * time.Second)
			body := func(id string) types.SendMessageBatchRequestEntry {
				e := motion("d1", id)
				e.Source = "test"
				text, err := events.Encode(e)
				if err != nil {
					t.Error(err)
				}
				return types.SendMessageBatchRequestEntry{
					Id: aws.String(id), MessageBody: aws.String(string(text)), MessageGroupId: aws.String("d1"), MessageDeduplicationId: aws.String(id),
				}
			}
			_, err := b.api.SendMessageBatch(context.Background(), &sqs.SendMessageBatchInput{
				QueueUrl: &b.queue.URL, Entries: []types.SendMessageBatchRequestEntry{body("e1"), body("e2"), body("e3")},
			})
			if err != nil {
				t.Error(err)
			}
		}()
		stop()
		j.want(t)
		if !slices.Equal(order, []string{"e3", "e2", "e1"}) {
			t.Errorf("released %v, want the tail first", order)
		}
		if n := b.visible("test.fifo"); n != 3 {
			t.Errorf("%d messages are visible, want 3", n)
		}
	})
}

// TestRun_WithOneSlot: one after the other, dead letters and retries included.
func TestRun_WithOneSlot(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		for i := range 30 {
			b.send(motion(fmt.Sprintf("d%d", i%7), fmt.Sprintf("e%02d", i)))
		}
		var running atomic.Int64
		c, stop := b.start(b.api, func(_ context.Context, e events.Event) error {
			if running.Add(1) > 1 {
				t.Error("two handlers at once, though there is one slot")
			}
			defer running.Add(-1)
			time.Sleep(10 * time.Millisecond)
			switch e.ID[2] {
			case '3':
				return consumers.Known("three", errBroken)
			case '4':
				return errBroken
			}
			return nil
		}, consumers.Config{Slots: 1, WaitTime: time.Second})
		time.Sleep(time.Minute)
		stop()
		if s := c.Stats(); s.Handled != 24 || s.DeadLettered != 6 || s.Redelivered != 0 {
			t.Errorf("got %+v, want 24 handled and 6 dead-lettered", s)
		}
	})
}

// TestDrain_AgainstARejectingQueue: everything fails from one moment on; Run still returns in time.
func TestDrain_EndsWhenNothingAnswers(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		for i := range 50 {
			b.send(motion(fmt.Sprintf("d%d", i%9), fmt.Sprintf("e%02d", i)))
		}
		api := &meddler{QueueAPI: b.api}
		var down atomic.Bool
		hang := func(ctx context.Context) error {
			if down.Load() {
				<-ctx.Done()
				return ctx.Err()
			}
			return nil
		}
		api.change = func(ctx context.Context, _ *sqs.ChangeMessageVisibilityBatchInput) (*sqs.ChangeMessageVisibilityBatchOutput, error) {
			return nil, hang(ctx)
		}
		api.receive = func(ctx context.Context, _ *sqs.ReceiveMessageInput) error { return hang(ctx) }
		c, err := consumers.New(api, b.queue, func(context.Context, events.Event) error {
			time.Sleep(time.Second)
			return nil
		}, consumers.Config{WaitTime: time.Second, DrainTimeout: 10 * time.Second})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- c.Run(ctx) }()
		time.Sleep(1500 * time.Millisecond)
		down.Store(true)
		cancel()
		start := time.Now()
		err = <-done
		if took := time.Since(start); took > 16*time.Second {
			t.Errorf("Run took %v to end (%v), want at most the drain timeout and a few seconds", took, err)
		}
	})
}

// TestRun_UsesEverySlot: handlers that take long leave a few slots; those must not lie idle.
func TestRun_UsesEverySlot(t *testing.T) {
	t.Parallel()
	for _, slots := range []int{2, 4, 16, 32} {
		t.Run(fmt.Sprintf("%d slots", slots), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				b := newBench(t)
				for i := range slots - 1 {
					b.send(motion(fmt.Sprintf("slow-%d", i), fmt.Sprintf("s%d", i)))
				}
				release := make(chan struct{})
				var j journal
				c, stop := b.start(b.api, func(_ context.Context, e events.Event) error {
					if strings.HasPrefix(e.DeviceID, "slow") {
						<-release
						return nil
					}
					j.add(e.ID)
					return nil
				}, consumers.Config{Slots: slots, WaitTime: time.Second})
				time.Sleep(10 * time.Second)
				b.send(motion("quick", "q1"), motion("quick", "q2"))
				time.Sleep(2 * time.Second)
				j.want(t, "q1", "q2")
				if s := c.Stats(); s.Receives > 40 {
					t.Errorf("%d receives in 12 seconds", s.Receives)
				}
				close(release)
				stop()
			})
		})
	}
}
