package consumers_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/sqs"

	"github.com/device-fanout/fanout/consumers"
	"github.com/device-fanout/fanout/events"
)

var errNoDevice = errors.New("no such device")

// TestVerdicts is the table of the package comment, a case for each row: what becomes of e1, when its follower e2 runs, and how
// often each was received in the end.
func TestVerdicts(t *testing.T) {
	t.Parallel()
	never := func(context.Context, int) error { return errBroken }
	for _, row := range []struct {
		name     string
		handle   func(ctx context.Context, attempt int) error // of e1
		cfg      consumers.Config
		garbage  bool          // e1 can't be decoded
		handled  []string      // in the order of handlers' starts
		dead     string        // dead letters
		receives [2]int        // of e1 and e2, at most
		follows  time.Duration // when e2 runs, at the earliest: zero for never, -1 for at once
		left     int           // messages in the queue in the end
	}{
		{
			name:   "nil",
			handle: func(context.Context, int) error { return nil }, handled: []string{"e1", "e2"}, receives: [2]int{1, 1}, follows: -1,
		},
		{
			name:   "a Known error",
			handle: func(context.Context, int) error { return consumers.Known("refused", errBroken) },
			dead:   "e1 known", handled: []string{"e1", "e2"}, receives: [2]int{1, 1}, follows: -1,
		},
		{
			name:   "a registered sentinel",
			handle: func(context.Context, int) error { return fmt.Errorf("save: %w", errNoDevice) },
			cfg:    consumers.Config{Known: map[string]error{"no_such_device": errNoDevice}},
			dead:   "e1 known", handled: []string{"e1", "e2"}, receives: [2]int{1, 1}, follows: -1,
		},
		{
			name: "what can't be decoded", garbage: true,
			dead: " known", handled: []string{"e2"}, receives: [2]int{1, 1}, follows: -1,
		},
		{
			name: "any other error", handle: never,
			dead: "e1 exhausted", handled: []string{"e1", "e1", "e1", "e1", "e1", "e2"}, receives: [2]int{1, 1}, follows: 700 * time.Millisecond,
		},
		{
			name:   "a panic",
			handle: func(context.Context, int) error { panic("nil map") },
			dead:   "e1 exhausted", handled: []string{"e1", "e1", "e1", "e1", "e1", "e2"}, receives: [2]int{1, 1}, follows: 700 * time.Millisecond,
		},
		{
			name: "RetryAfter",
			handle: func(_ context.Context, attempt int) error {
				if attempt == 1 {
					return consumers.RetryAfter(5*time.Second, errBroken)
				}
				return nil
			},
			handled: []string{"e1", "e1", "e2"}, receives: [2]int{2, 2}, follows: 5 * time.Second,
		},
		{
			name: "Unavailable",
			handle: func(_ context.Context, attempt int) error {
				if attempt <= 3 {
					return consumers.Unavailable(errBroken)
				}
				return nil
			},
			handled: []string{"e1", "e1", "e1", "e1", "e2"}, receives: [2]int{1, 1}, follows: 7 * time.Second,
		},
		{
			name: "stopping",
			handle: func(ctx context.Context, _ int) error {
				<-ctx.Done()
				return consumers.Known("refused", ctx.Err()) // whatever it says now
			},
			cfg:     consumers.Config{HandlerTimeout: 30 * time.Second, DrainTimeout: 3 * time.Second},
			handled: []string{"e1"}, receives: [2]int{1, 1}, left: 2,
		},
		{
			name: "park", handle: never, cfg: consumers.Config{GroupPolicy: consumers.Park, Parking: newStore()},
			dead: "e1 exhausted, e2 parked", handled: []string{"e1", "e1", "e1", "e1", "e1"}, receives: [2]int{1, 1},
		},
		{
			name: "block",
			handle: func(_ context.Context, attempt int) error {
				if attempt <= 8 {
					return errBroken
				}
				return nil
			},
			cfg:     consumers.Config{GroupPolicy: consumers.Block},
			handled: []string{"e1", "e1", "e1", "e1", "e1", "e1", "e1", "e1", "e1", "e2"}, receives: [2]int{1, 2}, follows: 4 * time.Second,
		},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				b := newBench(t)
				if row.garbage {
					b.sendBody("d1", "e1", "device.motion.changed.v1", "{")
				} else {
					b.send(motion("d1", "e1"))
				}
				b.send(motion("d1", "e2"))
				api := &meddler{QueueAPI: b.api}
				var mu sync.Mutex
				received := map[string]int{} // by message ID
				var order []string
				api.receiveReply = func(out *sqs.ReceiveMessageOutput) (*sqs.ReceiveMessageOutput, error) {
					mu.Lock()
					defer mu.Unlock()
					for _, m := range out.Messages {
						if received[*m.MessageId]++; received[*m.MessageId] == 1 {
							order = append(order, *m.MessageId)
						}
					}
					return out, nil
				}
				var j journal
				start := time.Now()
				var followed time.Duration
				cfg := row.cfg
				cfg.WaitTime = time.Second
				_, stop := b.start(api, func(ctx context.Context, e events.Event) error {
					j.add(e.ID)
					if e.ID == "e2" {
						mu.Lock()
						defer mu.Unlock()
						followed = time.Since(start)
						return nil
					}
					attempt := 0
					for _, id := range j.all() {
						if id == "e1" {
							attempt++
						}
					}
					return row.handle(ctx, attempt)
				}, cfg)
				time.Sleep(20 * time.Second)
				stop()
				j.want(t, row.handled...)
				if got := b.dead(); got != row.dead {
					t.Errorf("dead letters: got %q, want %q", got, row.dead)
				}
				if n := b.depth("test.fifo"); n != row.left {
					t.Errorf("%d messages are left, want %d", n, row.left)
				}
				mu.Lock()
				defer mu.Unlock()
				for i, id := range order {
					if received[id] != row.receives[i] {
						t.Errorf("message %d was received %d times, want %d", i+1, received[id], row.receives[i])
					}
				}
				if followed < row.follows || row.follows == 0 && slices.Contains(j.all(), "e2") {
					t.Errorf("the follower ran after %v, want not before %v", followed, row.follows)
				}
			})
		})
	}
}

// TestRetryAfter_TailFirstAndAnotherProcessMayTakeOver: the head is hidden, and the followers wait behind it at the broker.
func TestRetryAfter_TailFirstAndAnotherProcessMayTakeOver(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		b.send(motion("d1", "e1"), motion("d1", "e2"), motion("d1", "e3"))
		api := &meddler{QueueAPI: b.api}
		var timeouts []int32
		api.change = func(_ context.Context, in *sqs.ChangeMessageVisibilityBatchInput) (*sqs.ChangeMessageVisibilityBatchOutput, error) {
			for _, e := range in.Entries {
				timeouts = append(timeouts, e.VisibilityTimeout)
			}
			return nil, nil
		}
		_, stop := b.start(api, func(context.Context, events.Event) error {
			return consumers.RetryAfter(6500*time.Millisecond, errBroken)
		},
			consumers.Config{WaitTime: time.Second})
		time.Sleep(2 * time.Second)
		stop()
		if want := []int32{0, 0, 7}; !slices.Equal(timeouts, want) {
			t.Errorf("visibility timeouts: got %d, want %d: the tail first, the head last with its delay", timeouts, want)
		}
		var j journal
		start := time.Now()
		_, stop = b.start(b.api, func(_ context.Context, e events.Event) error {
			j.add(e.ID)
			if took := time.Since(start); took < 4*time.Second || took > 6*time.Second {
				t.Errorf("%s came after %v, want it when the delay is over", e.ID, took)
			}
			return nil
		}, consumers.Config{WaitTime: time.Second})
		time.Sleep(10 * time.Second)
		stop()
		j.want(t, "e1", "e2", "e3")
	})
}

// TestRetryAfter_EndsBeforeTheQueueWouldEndIt: SQS would move what is behind the event as well, untried.
func TestRetryAfter_EndsBeforeTheQueueWouldEndIt(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		b.maxReceives(5)
		b.send(motion("d1", "e1"), motion("d1", "e2"), motion("d1", "e3"))
		var j journal
		_, stop := b.start(b.api, func(_ context.Context, e events.Event) error {
			j.add(e.ID)
			if e.ID == "e1" {
				return consumers.RetryAfter(time.Second, errBroken)
			}
			return nil
		}, consumers.Config{WaitTime: time.Second})
		time.Sleep(time.Minute)
		stop()
		j.want(t, "e1", "e1", "e1", "e1", "e1", "e2", "e3")
		if got, want := b.dead(), "e1 exhausted"; got != want {
			t.Errorf("dead letters: got %q, want %q", got, want)
		}
	})
}

// TestDrain_KeepsWhatTheQueueWouldMoveUntried: it has been received as often as the queue allows, so it is run instead.
func TestDrain_KeepsWhatTheQueueWouldMoveUntried(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		b.maxReceives(2)
		b.send(motion("d1", "e1"), motion("d1", "e2"), motion("d1", "e3"))
		if _, err := b.api.ReceiveMessage(t.Context(), &sqs.ReceiveMessageInput{QueueUrl: &b.queue.URL, MaxNumberOfMessages: 2}); err != nil {
			t.Fatal(err)
		}
		if _, err := b.engine.ExpireVisibility("test.fifo", ""); err != nil {
			t.Fatal(err)
		}
		var j journal
		_, stop := b.start(b.api, func(_ context.Context, e events.Event) error {
			j.add(e.ID)
			time.Sleep(3 * time.Second)
			return nil
		}, consumers.Config{WaitTime: time.Second})
		time.Sleep(time.Second)
		stop()
		j.want(t, "e1", "e2")
		if n := b.visible("test.fifo"); n != 1 {
			t.Errorf("%d messages are visible, want e3", n)
		}
	})
}

// TestBlock_DoesNotStopTheOthers and holds nothing but the events that block.
func TestBlock_DoesNotStopTheOthers(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		for i := range 40 {
			for range 3 {
				b.send(motion(fmt.Sprintf("bad-%d", i), fmt.Sprintf("b%d-%d", i, time.Now().UnixNano())))
				time.Sleep(time.Millisecond)
			}
		}
		var j journal
		c, stop := b.start(b.api, func(_ context.Context, e events.Event) error {
			if e.DeviceID != "good" {
				return consumers.Known("refused", errBroken)
			}
			j.add(e.ID)
			return nil
		}, consumers.Config{GroupPolicy: consumers.Block, Slots: 2, WaitTime: time.Second})
		time.Sleep(10 * time.Second)
		b.send(motion("good", "g1"))
		time.Sleep(2 * time.Second)
		j.want(t, "g1")
		if s := c.Stats(); s.Held != 40 || s.DeadLettered != 0 {
			t.Errorf("got %+v, want the first event of each device held and none dead-lettered", s)
		}
		list, err := c.Blocked(t.Context())
		if err != nil || len(list) != 40 {
			t.Fatalf("blocked: got %d devices, %v, want 40", len(list), err)
		}
		if l := list[0]; l.Reason != consumers.BlockedPolicy || l.Code != "refused" || l.Attempts < 2 || l.EventID == "" || l.Since.IsZero() {
			t.Errorf("got %+v", l)
		}
		stop()
		if n := b.visible("test.fifo"); n != 120 {
			t.Errorf("%d messages are visible, want all 120", n)
		}
	})
}
