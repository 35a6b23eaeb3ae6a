package producer_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/device-fanout/fanout/infra/local/faults"
	"github.com/device-fanout/fanout/producer"
)

// troubles are the ways in which a request can go wrong, as the local engine makes them.
var troubles = map[string]struct {
	rule    faults.Rule
	loses   float64 // the chance that the answer does not mention an entry
	unknown bool    // nobody can know whether the event was accepted
}{
	"entry failed":           {rule: faults.Rule{Kind: faults.FailEntry}, unknown: true},
	"entry throttled":        {rule: faults.Rule{Kind: faults.FailEntry, Code: "Throttled", SenderFault: true}},
	"entry in neither list":  {loses: 1, unknown: true},
	"request throttled":      {rule: faults.Rule{Kind: faults.Throttle}},
	"internal error":         {rule: faults.Rule{Kind: faults.Error500}, unknown: true},
	"connection reset":       {rule: faults.Rule{Kind: faults.CloseConnection}, unknown: true},
	"reply lost after doing": {rule: faults.Rule{Kind: faults.DropReply}, unknown: true},
}

// TestTrouble_PassesWithoutLossDoublingOrOvertaking: it happens for a while, and then not any more.
func TestTrouble_PassesWithoutLossDoublingOrOvertaking(t *testing.T) {
	t.Parallel()
	for name, trouble := range troubles {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				if trouble.rule.Kind != 0 {
					trouble.rule.Action, trouble.rule.Count = "PublishBatch", 12
					w.Engine.Faults().Add(trouble.rule)
				}
				link := &connection{TopicAPI: w.SNS, loses: trouble.loses / 2, rand: rand.New(rand.NewPCG(1, 1))}
				p := w.producer(t, link, producer.Config{})
				want := map[string][]string{}
				for i := range 60 {
					device, id := fmt.Sprintf("d%d", i%12), fmt.Sprintf("e%02d", i)
					want[device] = append(want[device], id)
					if err := p.Enqueue(t.Context(), motion(device, id), func(r producer.Result) {
						if r.Err != nil {
							t.Errorf("event %s: %v", r.Event.ID, r.Err)
						}
					}); err != nil {
						t.Fatal(err)
					}
				}
				if err := p.Close(t.Context()); err != nil {
					t.Fatal(err)
				}
				if s := p.Stats(); s.Confirmed != 60 || s.Retried == 0 {
					t.Errorf("got %+v, want all confirmed, some of them after a retry", s)
				}
				for _, queue := range w.queues {
					if n := w.visible(queue); n != 60 {
						t.Errorf("%s has %d messages, want 60", queue, n)
					}
				}
				w.expect(t, want)
			})
		})
	}
}

// TestTrouble_EndsInsideTheDeduplicationWindow: when it does not pass, the event fails in time, and the error tells whether anybody knows.
func TestTrouble_EndsInsideTheDeduplicationWindow(t *testing.T) {
	t.Parallel()
	for name, trouble := range troubles {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				if trouble.rule.Kind != 0 {
					trouble.rule.Action = "PublishBatch"
					w.Engine.Faults().Add(trouble.rule)
				}
				p := w.producer(t, &connection{TopicAPI: w.SNS, loses: trouble.loses, rand: rand.New(rand.NewPCG(1, 1))}, producer.Config{})
				start := time.Now()
				err := p.Publish(t.Context(), motion("d1", "e1"))
				var failed *producer.PublishError
				if !errors.As(err, &failed) || failed.EventID != "e1" || failed.DeviceID != "d1" || failed.Attempts < 10 {
					t.Errorf("got %v, want a PublishError after many attempts", err)
				}
				if got := errors.Is(err, producer.ErrUnknownOutcome); got != trouble.unknown {
					t.Errorf("got %v, which says unknown: %v, want %v", err, got, trouble.unknown)
				}
				if took := time.Since(start); took > producer.MaxGiveUpAfter || took < producer.DefaultGiveUpAfter/2 {
					t.Errorf("it took %v, want about %v", took, producer.DefaultGiveUpAfter)
				}
				if err := p.Close(t.Context()); err != nil {
					t.Fatal(err)
				}
				for _, queue := range w.queues {
					if n := w.visible(queue); n > 1 {
						t.Errorf("%s has %d messages of one event", queue, n)
					}
				}
			})
		})
	}
}

func (w *world) visible(queue string) int {
	for _, s := range w.Engine.Queues() {
		if s.Name == queue[len(queue)-len(s.Name):] {
			return s.Visible
		}
	}
	return 0
}

// TestTrouble_OfOneDeviceIsNobodyElses: the others neither fail nor wait, also when the device in trouble is a hot one.
func TestTrouble_OfOneDeviceIsNobodyElses(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.Engine.Faults().Add(faults.Rule{Kind: faults.Delay, Action: "PublishBatch", Delay: 10 * time.Millisecond})
		w.Engine.Faults().Add(faults.Rule{Kind: faults.FailEntry, Action: "PublishBatch", Group: "hot", Code: "Throttled", SenderFault: true})
		p := w.producer(t, w.SNS, producer.Config{Buffer: 200, BufferPerDevice: 100})
		for i := range 100 { // it has filled its share
			if err := p.TryEnqueue(motion("hot", fmt.Sprintf("hot-%d", i)), nil); err != nil {
				t.Fatal(err)
			}
		}
		if err := p.TryEnqueue(motion("hot", "one-too-many"), nil); !errors.Is(err, producer.ErrBufferFull) {
			t.Errorf("beyond its share: got %v, want ErrBufferFull", err)
		}
		for i := range 300 {
			start := time.Now()
			if err := p.Publish(t.Context(), motion(fmt.Sprintf("d%d", i%30), fmt.Sprintf("e%d", i))); err != nil {
				t.Fatal(err)
			}
			if took := time.Since(start); took > 30*time.Millisecond { // simulated time
				t.Errorf("event %d took %v beside a device in trouble, want about the round trip of 10ms", i, took)
			}
		}
		w.Engine.Faults().Clear()
		if err := p.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
		if s := p.Stats(); s.Confirmed != 400 {
			t.Errorf("got %+v, want all confirmed in the end", s)
		}
	})
}

// TestHotDevice_GoesAtOneEventPerRoundTrip, which is what one device can reach, and the others do not notice.
func TestHotDevice_GoesAtOneEventPerRoundTrip(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const roundTrip = 10 * time.Millisecond
		w := newWorld(t)
		w.Engine.Faults().Add(faults.Rule{Kind: faults.Delay, Action: "PublishBatch", Delay: roundTrip})
		p := w.producer(t, w.SNS, producer.Config{Buffer: 1000, BufferPerDevice: 1000})
		start := time.Now()
		var mu sync.Mutex
		var hot, others time.Duration // until the last of them was confirmed
		for i := range 1000 {
			device := fmt.Sprintf("d%d", i%63)
			last := &others
			if i%100 < 37 {
				device, last = "hot", &hot
			}
			if err := p.Enqueue(t.Context(), motion(device, fmt.Sprintf("e%d", i)), func(producer.Result) {
				mu.Lock()
				defer mu.Unlock()
				*last = time.Since(start)
			}); err != nil {
				t.Fatal(err)
			}
		}
		if err := p.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
		if want := 370 * roundTrip; hot < want || hot > want+want/10 {
			t.Errorf("370 events of one device took %v, want one round trip of %v each", hot, roundTrip)
		}
		if others > 20*roundTrip { // ten events of each device, and some waiting for batches
			t.Errorf("the others took %v beside it, want no more than a few round trips", others)
		}
	})
}

// TestFailure_IsGaplessOrSkips: what an event that was refused for good does to those behind it is the caller's choice.
func TestFailure_IsGaplessOrSkips(t *testing.T) {
	t.Parallel()
	for policy, want := range map[producer.FailurePolicy][]string{
		producer.Gapless: {"e5"},
		producer.Skip:    {"e2", "e3", "e4", "e5"},
	} {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t)
			w.Engine.Faults().Add(faults.Rule{Kind: faults.Delay, Action: "PublishBatch", Delay: time.Millisecond})
			w.Engine.Faults().Add(faults.Rule{Kind: faults.FailEntry, Action: "PublishBatch", Group: "d1", Code: "InvalidParameter", SenderFault: true, Count: 1})
			p := w.producer(t, w.SNS, producer.Config{OnFailure: policy})
			var mu sync.Mutex
			var confirmed []string
			for _, id := range []string{"e1", "e2", "e3", "e4"} {
				if err := p.Enqueue(t.Context(), motion("d1", id), func(r producer.Result) {
					mu.Lock()
					defer mu.Unlock()
					var blocked *producer.BlockedError
					switch {
					case r.Err == nil:
						confirmed = append(confirmed, r.Event.ID)
					case r.Event.ID != "e1" && (!errors.As(r.Err, &blocked) || blocked.BlockedBy != "e1" || blocked.EventID != r.Event.ID):
						t.Errorf("event %s: got %v, want a BlockedError that names e1", r.Event.ID, r.Err)
					}
				}); err != nil {
					t.Fatal(err)
				}
			}
			time.Sleep(time.Second)
			if err := p.Publish(t.Context(), motion("d1", "e5")); err != nil { // who publishes on has seen the failure
				t.Fatal(err)
			}
			confirmed = append(confirmed, "e5")
			if !slices.Equal(confirmed, want) {
				t.Errorf("policy %d: confirmed %v, want %v", policy, confirmed, want)
			}
			w.expect(t, map[string][]string{"d1": want})
			if err := p.Close(t.Context()); err != nil {
				t.Fatal(err)
			}
		})
	}
}

// TestPublish_ContextEndsInFlight: the caller learns that nobody knows, the event goes out, and its followers behind it.
func TestPublish_ContextEndsInFlight(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.Engine.Faults().Add(faults.Rule{Kind: faults.Delay, Action: "PublishBatch", Delay: time.Second, Count: 1})
		p := w.producer(t, w.SNS, producer.Config{})
		short, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		if err := p.Publish(short, motion("d1", "e1")); !errors.Is(err, producer.ErrUnknownOutcome) || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v, want an unknown outcome because the context ended", err)
		}
		if err := p.Publish(t.Context(), motion("d1", "e2")); err != nil {
			t.Error(err)
		}
		w.expect(t, map[string][]string{"d1": {"e1", "e2"}})
		if err := p.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
	})
}

// TestThrottling_SlowsTheRightThing: a topic that throttles requests gets fewer of them, from all devices; one that throttles an entry
// slows that device alone.
func TestThrottling_SlowsTheRightThing(t *testing.T) {
	t.Parallel()
	// requests returns how many there were in the second minute for a thousand devices.
	requests := func(t *testing.T, rule faults.Rule) int64 {
		var n int64
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t)
			rule.Action = "PublishBatch"
			w.Engine.Faults().Add(rule)
			p := w.producer(t, w.SNS, producer.Config{})
			for i := range 1000 {
				if err := p.TryEnqueue(motion(fmt.Sprintf("d%d", i), fmt.Sprintf("e%d", i)), nil); err != nil {
					t.Fatal(err)
				}
			}
			time.Sleep(time.Minute)
			n = w.Engine.Requests()["sns.PublishBatch"]
			if confirmed := p.Stats().Confirmed; rule.Group != "" && confirmed != 999 {
				t.Errorf("%d are confirmed beside a device that is throttled, want 999", confirmed)
			}
			time.Sleep(time.Minute)
			n = w.Engine.Requests()["sns.PublishBatch"] - n
			w.Engine.Faults().Clear()
			if err := p.Close(t.Context()); err != nil {
				t.Fatal(err)
			}
			if s := p.Stats(); s.Confirmed != 1000 {
				t.Errorf("got %+v, want all confirmed once throttling ended", s)
			}
		})
		return n
	}
	all := requests(t, faults.Rule{Kind: faults.Throttle})
	one := requests(t, faults.Rule{Kind: faults.FailEntry, Group: "d7", Code: "Throttled", SenderFault: true})
	if all < 10 || all > 30 {
		t.Errorf("%d requests within a minute to a topic that throttles all, want one every few seconds", all)
	}
	if one < 10 || one > 30 {
		t.Errorf("%d requests within a minute for a device that is throttled, want one every few seconds", one)
	}
}
