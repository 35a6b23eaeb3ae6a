package local_test

import (
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/sqs"

	"github.com/device-fanout/fanout/infra/local"
)

// timed is a world whose time the test moves by hand, without testing/synctest.
type timed struct {
	*world
	clock *local.Clock
}

func newTimed(t *testing.T) *timed {
	t.Helper()
	c := local.NewClock(time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC))
	l := local.Start(t, local.Options{Clock: c})
	return &timed{world: worldOf(t, l.Engine), clock: c}
}

// polling starts a long poll and returns once it waits. The channel gives what it received.
func (w *timed) polling(url string, seconds int32, timers int) <-chan []string {
	w.Helper()
	got := make(chan []string, 1)
	go func() {
		messages, err := w.tryReceive(url, 10, waiting(seconds))
		if err != nil {
			w.Errorf("receive: %v", err)
		}
		got <- names(messages)
	}()
	w.must(w.clock.AwaitTimers(w.Context(), timers))
	return got
}

func (w *timed) polled(got <-chan []string, want ...string) {
	w.Helper()
	select {
	case messages := <-got:
		if len(messages) != len(want) {
			w.Fatalf("the long poll got %q, want %q", messages, want)
		}
		for i := range want {
			if messages[i] != want[i] {
				w.Fatalf("the long poll got %q, want %q", messages, want)
			}
		}
	case <-w.Context().Done():
		w.Fatal("the long poll still waits")
	}
}

func TestClock(t *testing.T) {
	t.Parallel()
	const day = 24 * time.Hour
	for _, c := range []struct {
		name string
		test func(w *timed)
	}{
		{"a deduplication ID is free again after five minutes, on queues and topics", func(w *timed) {
			url, topic := w.fifo(), w.topic("t.fifo")
			w.queue("copy.fifo")
			w.subscribe(topic, "copy.fifo", raw)
			send := func() { w.send(url, "m@g"); w.publish(topic, "m@g") }
			send()
			w.clock.Advance(5*time.Minute - time.Nanosecond)
			send()
			w.holds("q.fifo", 1, 0, 0)
			w.holds("copy.fifo", 1, 0, 0)
			w.clock.Advance(time.Nanosecond)
			send()
			w.holds("q.fifo", 2, 0, 0)
			w.holds("copy.fifo", 2, 0, 0)
		}},
		{"retention is four days from a message's own send time, on a queue that is much older", func(w *timed) {
			url := w.fifo()
			w.clock.Advance(300 * day)
			w.send(url, "m1@g")
			w.clock.Advance(day)
			w.send(url, "m2@g")
			w.clock.Advance(3*day - time.Nanosecond)
			w.holds("q.fifo", 2, 0, 0)
			w.clock.Advance(time.Nanosecond)
			w.gets(url, "m2@g")
			w.clock.Advance(day)
			w.holds("q.fifo", 0, 0, 0)
		}},
		{"a dead-letter queue keeps a message fourteen days from the move", func(w *timed) {
			dlq := w.queue("dlq.fifo", attrs{"MessageRetentionPeriod": "1209600"})
			url := w.fifo(redriveTo("dlq.fifo", 1))
			w.send(url, "m@g")
			w.clock.Advance(3 * day)
			w.receive(url, 1, visibleAfter(1))
			w.clock.Advance(time.Second)
			w.gets(url)
			w.clock.Advance(14*day - time.Nanosecond)
			w.holds("dlq.fifo", 1, 0, 0)
			w.receive(dlq, 1) // being in flight does not keep it
			w.clock.Advance(time.Nanosecond)
			w.holds("dlq.fifo", 0, 0, 0)
		}},
		{"a long poll ends with its time", func(w *timed) {
			poll := w.polling(w.fifo(), 20, 1)
			w.clock.Advance(20 * time.Second)
			w.polled(poll)
		}},
		{"a long poll gets what becomes visible", func(w *timed) {
			url := w.fifo()
			w.send(url, "m@g")
			w.receive(url, 1, visibleAfter(7))
			poll := w.polling(url, 20, 2)
			w.clock.Advance(7*time.Second - time.Nanosecond)
			w.holds("q.fifo", 0, 1, 0)
			w.clock.Advance(time.Nanosecond)
			w.holds("q.fifo", 0, 1, 0) // it is with the long poll now
			w.polled(poll, "m@g")
			w.clock.Advance(30*time.Second - time.Nanosecond)
			w.gets(url)
			w.clock.Advance(time.Nanosecond)
			w.gets(url, "m@g")
		}},
		{"within one step all happens at its own moment", func(w *timed) {
			url := w.standard(attrs{"VisibilityTimeout": "60"})
			w.send(url, "late", withDelay(10))
			w.send(url, "early", withDelay(5))
			poll := w.polling(url, 20, 2)
			w.clock.Advance(time.Minute)
			w.polled(poll, "early") // the second was not visible yet when the first came
			w.gets(url, "late")
			w.clock.Advance(5 * time.Second)
			w.gets(url, "early") // its minute began with the fifth second
		}},
		{"a deleted queue's name is free again after a minute", func(w *timed) {
			url := w.fifo()
			w.deleteQueue(url)
			_, err := w.tryQueue("q.fifo")
			w.refused(err, "AWS.SimpleQueueService.QueueDeletedRecently", "")
			w.clock.Advance(time.Minute)
			w.fifo()
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			c.test(newTimed(t))
		})
	}
}

func TestStart_ClosesTheEngineAfterTheTest(t *testing.T) {
	t.Parallel()
	var l *local.Instance
	t.Run("inner", func(t *testing.T) {
		l = local.Start(t, local.Options{})
		local.Start(t, local.Options{}) // one that nobody uses does no harm
		t.Cleanup(func() {
			if _, err := l.Engine.Listen("127.0.0.1:0"); err != nil {
				t.Errorf("the engine was closed before the test was over: %v", err)
			}
		})
	})
	if _, err := l.Engine.Listen("127.0.0.1:0"); err == nil {
		t.Error("the engine is open after the test")
	}
}

func (w *world) deleteQueue(url string) {
	w.Helper()
	_, err := w.sqs.DeleteQueue(w.Context(), &sqs.DeleteQueueInput{QueueUrl: &url})
	w.must(err)
}
