package producer

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/sns"
)

// TestUnknownOutcome_NoRetryOutsideTheWindowUnderLoad: in an outage with slow timeouts a retry waits behind the batches of many
// other devices. It must not go out when SNS may have forgotten the deduplication ID.
func TestUnknownOutcome_NoRetryOutsideTheWindowUnderLoad(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		first, last := map[string]time.Time{}, map[string]time.Time{}
		topic := &fakeTopic{script: func(_ int, in *sns.PublishBatchInput) *reply {
			mu.Lock()
			defer mu.Unlock()
			for _, e := range in.PublishBatchRequestEntries {
				id := sentID(e)
				if _, ok := first[id]; !ok {
					first[id] = time.Now()
				}
				last[id] = time.Now()
			}
			return &reply{holdUntil: make(chan struct{})} // nothing is answered
		}}
		p := newProducer(t, topic, Config{MaxBatches: 1, RequestTimeout: 20 * time.Second, GiveUpAfter: MaxGiveUpAfter})
		var got answers
		for i := range 60 {
			if err := p.Enqueue(t.Context(), motion(fmt.Sprintf("d%02d", i), fmt.Sprintf("e%02d", i)), got.add); err != nil {
				t.Fatal(err)
			}
		}
		mustClose(t, p)
		for id := range first {
			if after := last[id].Sub(first[id]); after > MaxGiveUpAfter {
				t.Errorf("event %s was sent again %v after its first request, want at most %v", id, after, MaxGiveUpAfter)
			}
		}
		for _, r := range got.all() {
			if !errors.Is(r.Err, ErrUnknownOutcome) || !errors.Is(r.Err, context.DeadlineExceeded) {
				t.Errorf("event %s: got %v, want an unknown outcome with its cause", r.Event.ID, r.Err)
			}
		}
		if n := len(got.all()); n != 60 {
			t.Errorf("%d answers, want 60", n)
		}
	})
}

// TestClose_AnswersADeviceInOrder also when it runs out of patience while the device's first event is under way.
func TestClose_AnswersADeviceInOrder(t *testing.T) {
	t.Parallel()
	for name, outcome := range map[string]*reply{
		"cut off":            {holdUntil: make(chan struct{})},
		"confirmed just now": nil,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				slow := make(chan struct{})
				topic := &fakeTopic{script: func(int, *sns.PublishBatchInput) *reply {
					<-slow // whatever its context says
					return outcome
				}}
				if outcome != nil {
					outcome.holdUntil = make(chan struct{})
				}
				p := newProducer(t, topic, Config{})
				var got answers
				for _, id := range []string{"e1", "e2", "e3"} {
					if err := p.Enqueue(t.Context(), motion("d1", id), got.add); err != nil {
						t.Fatal(err)
					}
				}
				impatient, cancel := context.WithTimeout(t.Context(), time.Second)
				defer cancel()
				closed := make(chan error)
				go func() { closed <- p.Close(impatient) }()
				time.Sleep(2 * time.Second)
				close(slow)
				if err := <-closed; !errors.Is(err, context.DeadlineExceeded) {
					t.Errorf("close: got %v", err)
				}
				var order []string
				for _, r := range got.all() {
					order = append(order, r.Event.ID)
					if r.Event.ID != "e1" && (!errors.Is(r.Err, ErrClosed) || errors.Is(r.Err, ErrUnknownOutcome) && !strings.Contains(r.Err.Error(), "e1")) {
						t.Errorf("event %s: got %v, want ErrClosed; it was never sent", r.Event.ID, r.Err)
					}
				}
				if !slices.Equal(order, []string{"e1", "e2", "e3"}) {
					t.Errorf("answers came for %v, want the device's order", order)
				}
				if calls, _, _ := topic.snapshot(); calls != 1 {
					t.Errorf("%d requests, want no more after Close had given up", calls)
				}
				if s := p.Stats(); s.Buffered != 0 || s.Accepted != s.Confirmed+s.Failed {
					t.Errorf("got %+v, want every event answered", s)
				}
			})
		})
	}
}

// TestPublish_TellsWhatItKnows also when the caller's context has ended in the same moment.
func TestPublish_TellsWhatItKnows(t *testing.T) {
	t.Parallel()
	for range 50 {
		ctx, cancel := context.WithCancel(t.Context())
		topic := &fakeTopic{}
		p := newProducer(t, topic, Config{Hooks: Hooks{Resolved: func(Resolved) { cancel() }}}) // as soon as it is answered
		if err := p.Publish(ctx, motion("d1", "e1")); err != nil {
			t.Fatalf("got %v for an event that is confirmed", err)
		}
		mustClose(t, p)
	}
	answers := make(chan int, 1)
	for range 50 {
		answers <- 1
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if _, ok := receive(ctx, answers); !ok {
			t.Fatal("an answer that was there is not taken")
		}
	}
}
