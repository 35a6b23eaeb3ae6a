package local_test

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/sqs"
)

func redriveTo(name string, count int) attrs { return attrs{"RedrivePolicy": redrive(name, count)} }

func TestDeadLetters(t *testing.T) {
	t.Parallel()
	byContent := attrs{"ContentBasedDeduplication": "true"}
	check(t, []behaviour{
		{"a standard message moves at the receive that would be one too many", func(w *world) {
			dlq := w.queue("dlq")
			url := w.standard(redriveTo("dlq", 1))
			w.send(url, "m", withAttribute("a", "Number", "1"))
			sent := w.gets(url, "m")[0]
			w.sleep(30 * time.Second)
			w.holds("q", 1, 0, 0) // the end of its visibility does not move it
			w.gets(url)
			w.holds("q", 0, 0, 0)
			dead := w.gets(dlq, "m")[0]
			if *dead.MessageId != *sent.MessageId || *dead.MD5OfMessageAttributes != *sent.MD5OfMessageAttributes ||
				dead.Attributes["SentTimestamp"] != sent.Attributes["SentTimestamp"] {
				w.Errorf("got %v, want what was %v", dead, sent)
			}
			if got := dead.Attributes["ApproximateReceiveCount"]; got != "2" {
				w.Errorf("receive count is %s, want 2", got)
			}
			if got := dead.Attributes["DeadLetterQueueSourceArn"]; got != arnPrefix+"q" {
				w.Errorf("source is %s", got)
			}
		}},
		{"a FIFO message moves, and its group goes on at once", func(w *world) {
			dlq := w.queue("dlq.fifo", byContent)
			url := w.fifo(redriveTo("dlq.fifo", 2), byContent)
			w.send(url, "m1@g", withDedup("d"))
			first := w.gets(url, "m1@g")[0]
			w.hide(url, first, 0)
			w.hide(url, w.gets(url, "m1@g")[0], 0)
			w.gets(url)
			dead := w.gets(dlq, "m1@g")[0]
			if *dead.MessageId != *first.MessageId || dead.Attributes["MessageDeduplicationId"] != *first.MessageId {
				w.Errorf("message ID %s, deduplication ID %s, want both %s",
					*dead.MessageId, dead.Attributes["MessageDeduplicationId"], *first.MessageId)
			}
			if dead.Attributes["SequenceNumber"] == first.Attributes["SequenceNumber"] {
				w.Error("the sequence number is the old one")
			}
			w.send(url, "m2@g")
			w.gets(url, "m2@g")
		}},
		{"the poisoned message moves and those behind it are delivered by the same receive", func(w *world) {
			w.queue("dlq.fifo")
			url := w.fifo(redriveTo("dlq.fifo", 1))
			w.sendAll(url, "m1@g", "m2@g", "m3@g")
			w.hide(url, w.receive(url, 1)[0], 0)
			w.gets(url, "m2@g", "m3@g")
			w.holds("dlq.fifo", 1, 0, 0)
		}},
		{"exactly as many deliveries as allowed", func(w *world) {
			w.queue("dlq.fifo")
			url := w.fifo(redriveTo("dlq.fifo", 3))
			w.send(url, "m@g")
			for range 3 {
				w.hide(url, w.gets(url, "m@g")[0], 0)
			}
			w.gets(url)
			w.holds("dlq.fifo", 1, 0, 0)
		}},
		{"messages that shared a deduplication ID both arrive", func(w *world) {
			dlq := w.queue("dlq.fifo")
			url := w.fifo(redriveTo("dlq.fifo", 1), attrs{"VisibilityTimeout": "600"})
			w.send(url, "m1@g", withDedup("d"))
			held := w.gets(url, "m1@g")
			w.sleep(6 * time.Minute)
			w.send(url, "m2@g2", withDedup("d"))
			w.hide(url, held[0], 0)
			w.hide(url, w.receive(url, 10)[0], 0)
			w.gets(url)
			if got := len(w.receive(dlq, 10)); got != 2 {
				w.Errorf("the dead-letter queue has %d messages, want 2", got)
			}
		}},
		{"retention starts anew on FIFO, and goes on on standard", func(w *world) {
			short := attrs{"MessageRetentionPeriod": "60"}
			w.queue("dlq.fifo", short)
			w.queue("dlq", short)
			fifo, standard := w.fifo(redriveTo("dlq.fifo", 1)), w.standard(redriveTo("dlq", 1))
			for _, url := range []string{fifo, standard} {
				w.send(url, "m@g")
				w.gets(url, "m@g")
			}
			w.sleep(40 * time.Second)
			w.gets(fifo)
			w.gets(standard)
			w.sleep(20 * time.Second)
			w.holds("dlq.fifo", 1, 0, 0)
			w.holds("dlq", 0, 0, 0)
			w.sleep(40 * time.Second)
			w.holds("dlq.fifo", 0, 0, 0)
		}},
		{"on a standard dead-letter queue an old message expires before newer ones that came earlier", func(w *world) {
			dlq := w.queue("dlq", attrs{"MessageRetentionPeriod": "60"})
			url := w.standard(redriveTo("dlq", 1))
			w.send(url, "old")
			w.gets(url, "old")
			w.sleep(50 * time.Second)
			w.send(dlq, "new")
			w.gets(url)
			w.holds("dlq", 2, 0, 0)
			w.sleep(10 * time.Second)
			w.gets(dlq, "new")
		}},
		{"without the dead-letter queue the source goes on delivering", func(w *world) {
			dlq := w.queue("dlq.fifo")
			url := w.fifo(redriveTo("dlq.fifo", 1))
			_, err := w.sqs.DeleteQueue(w.Context(), &sqs.DeleteQueueInput{QueueUrl: &dlq})
			w.must(err)
			w.send(url, "m@g")
			w.hide(url, w.gets(url, "m@g")[0], 0)
			w.gets(url, "m@g")
		}},
		{"a poll on the dead-letter queue is woken by the move", func(w *world) {
			dlq := w.queue("dlq.fifo")
			url := w.fifo(redriveTo("dlq.fifo", 1))
			w.send(url, "m@g")
			w.receive(url, 1, visibleAfter(3))
			w.took(3*time.Second, func() {
				w.while(
					func() { w.are(w.receive(dlq, 1, waiting(20)), "m@g") },
					func() { w.are(w.receive(url, 1, waiting(3))) },
				)
			})
		}},
		{"a poll on the dead-letter queue is woken by the move, whoever looks at the queues meanwhile", func(w *world) {
			dlq := w.queue("dlq")
			url := w.standard(redriveTo("dlq", 1), attrs{"VisibilityTimeout": "1"})
			for range 20 { // queues are looked after in no particular order
				w.send(url, "m")
				w.are(w.receive(url, 1), "m")
				start := time.Now()
				w.while(
					func() { w.are(w.receive(url, 1, waiting(20))) },
					func() {
						got := w.receive(dlq, 1, waiting(20))
						w.are(got, "m")
						w.delete(dlq, got...)
						if late := time.Since(start); late > 2*time.Second {
							w.Errorf("the message came after %v", late)
						}
					},
					func() {
						time.Sleep(time.Second) // the moment in which the message becomes visible
						w.engine.Idle()
					},
				)
			}
		}},
		{"a cycle of policies ends", func(w *world) {
			a, b := w.queue("a.fifo"), w.queue("b.fifo")
			w.set(a, redriveTo("b.fifo", 1))
			w.set(b, redriveTo("a.fifo", 1))
			w.send(a, "m@g")
			w.receive(a, 1, visibleAfter(1))
			w.while(
				func() { w.receive(a, 1, waiting(5)) },
				func() { w.receive(b, 1, waiting(5)) },
			)
			total := 0
			for _, s := range w.engine.Queues() {
				total += s.Visible + s.InFlight
			}
			if total != 1 {
				w.Errorf("the queues hold %d messages, want 1", total)
			}
		}},
		{"a queue can be its own dead-letter queue", func(w *world) {
			url := w.fifo(redriveTo("q.fifo", 1))
			w.sendAll(url, "m1@g", "m2@g")
			for _, m := range w.gets(url, "m1@g", "m2@g") {
				defer func() { _ = w.tryHide(url, m, 0) }()
			}
			w.sleep(time.Minute)
			w.gets(url)
			w.holds("q.fifo", 2, 0, 0)
		}},
	})
}

func TestDeadLetters_AMoveIsSeenInOneQueueOrTheOther(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.queue("dlq.fifo")
		url := w.fifo(redriveTo("dlq.fifo", 1))
		const n = 200
		for i := range n {
			w.send(url, fmt.Sprintf("m@g%d", i))
		}
		for range n / 10 {
			w.receive(url, 10, visibleAfter(20))
		}
		w.holds("q.fifo", 0, n, 0)
		w.sleep(time.Minute)
		w.while(func() { w.gets(url) }, func() {
			for range 100 {
				total := 0
				for _, s := range w.engine.Queues() {
					total += s.Visible + s.InFlight
				}
				if total != n {
					t.Errorf("the queues hold %d messages, want %d", total, n)
					return
				}
			}
		})
	})
}
