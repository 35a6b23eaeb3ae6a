package local_test

import (
	"fmt"
	"math/big"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

func TestFIFO_Groups(t *testing.T) {
	t.Parallel()
	check(t, []behaviour{
		{"one receive returns several messages of a group in order", func(w *world) {
			q := w.fifo()
			w.sendAll(q, "m1@g1", "m2@g1", "m3@g1")
			w.gets(q, "m1@g1", "m2@g1", "m3@g1")
		}},
		{"one receive returns messages of several groups, each in order", func(w *world) {
			q := w.fifo()
			w.sendAll(q, "m1@g1", "m1@g2", "m2@g1", "m3@g1")
			got := names(w.receive(q, 10))
			if !slices.Contains(got, "m1@g2") {
				w.Errorf("received %q without m1@g2", got)
			}
			g1 := slices.DeleteFunc(got, func(n string) bool { return n == "m1@g2" })
			if want := []string{"m1@g1", "m2@g1", "m3@g1"}; !slices.Equal(g1, want) {
				w.Errorf("received %q of g1, want %q", g1, want)
			}
		}},
		{"a group in flight is withheld, another is not", func(w *world) {
			q := w.fifo()
			w.sendAll(q, "m1@g1", "m2@g1", "m1@g2")
			w.are(w.receive(q, 1), "m1@g1")
			w.are(w.receive(q, 1), "m1@g2")
			w.are(w.receive(q, 1))
		}},
		{"a new send does not unlock its group", func(w *world) {
			q := w.fifo()
			w.send(q, "m1@g1")
			w.gets(q, "m1@g1")
			w.send(q, "m2@g1")
			w.gets(q)
		}},
		{"deleting what is in flight wakes a long poll for the rest of the group", func(w *world) {
			q := w.fifo()
			w.sendAll(q, "m1@g1", "m2@g1")
			held := w.receive(q, 1)
			w.took(3*time.Second, func() {
				w.while(func() { w.are(w.receive(q, 10, waiting(20)), "m2@g1") }, func() {
					time.Sleep(3 * time.Second)
					w.delete(q, held...)
				})
			})
		}},
		{"after all received were deleted the rest of the group follows", func(w *world) {
			q := w.fifo()
			w.sendAll(q, "m1@g1", "m2@g1", "m3@g1", "m4@g1")
			w.delete(q, w.receive(q, 2)...)
			w.gets(q, "m3@g1", "m4@g1")
		}},
		{"deleting only some keeps the rest locked", func(w *world) {
			q := w.fifo()
			w.sendAll(q, "m1@g1", "m2@g1", "m3@g1")
			held := w.receive(q, 2)
			w.delete(q, held[1])
			w.gets(q)
			w.delete(q, held[0])
			w.gets(q, "m3@g1")
		}},
		{"one of three polls gets a message", func(w *world) {
			q := w.fifo()
			var mu sync.Mutex
			got := 0
			poll := func() {
				n := len(w.receive(q, 10, waiting(5)))
				mu.Lock()
				got += n
				mu.Unlock()
			}
			w.while(poll, poll, poll, func() {
				time.Sleep(time.Second)
				w.send(q, "m1@g1")
			})
			if got != 1 {
				w.Errorf("the polls got %d messages, want 1", got)
			}
		}},
		{"redelivery starts again from the oldest, in order", func(w *world) {
			q := w.fifo()
			w.sendAll(q, "m1@g1", "m2@g1", "m3@g1")
			w.receive(q, 10, visibleAfter(1))
			w.sleep(2 * time.Second)
			for _, m := range w.gets(q, "m1@g1", "m2@g1", "m3@g1") {
				if got := m.Attributes["ApproximateReceiveCount"]; got != "2" {
					w.Errorf("receive count of %s is %s, want 2", *m.Body, got)
				}
			}
		}},
		{"extending the first keeps all behind it locked", func(w *world) {
			q := w.fifo()
			w.sendAll(q, "m1@g1", "m2@g1", "m3@g1")
			held := w.receive(q, 10, visibleAfter(1))
			w.hide(q, held[0], 4)
			w.sleep(2500 * time.Millisecond)
			w.gets(q)
			w.sleep(2 * time.Second)
			w.gets(q, "m1@g1", "m2@g1", "m3@g1")
		}},
		{"extending the second lets only the first out", func(w *world) {
			q := w.fifo()
			w.sendAll(q, "m1@g1", "m2@g1", "m3@g1")
			held := w.receive(q, 10, visibleAfter(1))
			w.hide(q, held[1], 10)
			w.sleep(2 * time.Second)
			w.gets(q, "m1@g1")
		}},
		{"the first is deliverable again while a later one is in flight", func(w *world) {
			q := w.fifo()
			w.sendAll(q, "m1@g1", "m2@g1")
			held := w.receive(q, 2)
			w.hide(q, held[0], 0)
			w.gets(q, "m1@g1")
		}},
		{"a drained group delivers its next message", func(w *world) {
			q := w.fifo()
			w.send(q, "m1@g1")
			w.delete(q, w.gets(q, "m1@g1")...)
			w.gets(q)
			w.send(q, "m2@g1")
			w.gets(q, "m2@g1")
		}},
		{"a locked group never hides another", func(w *world) {
			q := w.fifo()
			w.sendAll(q, "m1@g1", "m2@g1")
			w.receive(q, 1)
			for i := range 10 {
				w.send(q, fmt.Sprintf("n%d@g2", i))
			}
			if got := len(w.receive(q, 10)); got != 10 {
				w.Errorf("received %d messages of g2, want 10", got)
			}
		}},
		{"a busy group does not starve the others", func(w *world) {
			q := w.fifo()
			for i := range 30 {
				w.send(q, fmt.Sprintf("n%d@busy", i))
			}
			w.send(q, "m@quiet")
			w.delete(q, w.receive(q, 10)...)
			if got := names(w.receive(q, 1)); !slices.Equal(got, []string{"m@quiet"}) {
				w.Errorf("received %q, want the other group's message", got)
			}
		}},
		{"a receive with visibility timeout 0 leaves the group available", func(w *world) {
			q := w.fifo()
			w.sendAll(q, "m1@g1", "m2@g1")
			if got, want := w.receiveNow(q), []string{"m1", "m2"}; !slices.Equal(got, want) {
				w.Errorf("received %q, want %q", got, want)
			}
			w.gets(q, "m1@g1", "m2@g1")
		}},
		{"counters count only what was received as in flight", func(w *world) {
			q := w.fifo()
			w.sendAll(q, "m1@g1", "m2@g1", "m3@g1")
			w.receive(q, 1)
			w.holds("q.fifo", 2, 1, 0)
			if got := w.engine.Queues()[0].LockedGroups; got != 1 {
				w.Errorf("%d groups are locked, want 1", got)
			}
		}},
		{"sequence numbers have 20 digits and grow", func(w *world) {
			q := w.fifo()
			last := new(big.Int)
			for i := range 3 {
				out := w.send(q, fmt.Sprintf("m%d@g1", i))
				n, ok := new(big.Int).SetString(*out.SequenceNumber, 10)
				if !ok || len(*out.SequenceNumber) != 20 || n.Cmp(last) <= 0 {
					w.Errorf("got sequence number %s after %v", *out.SequenceNumber, last)
				}
				last = n
			}
		}},
	})
}

// while runs functions at the same time and waits for all.
func (w *world) while(functions ...func()) {
	w.Helper()
	var wg sync.WaitGroup
	for _, f := range functions {
		wg.Go(f)
	}
	wg.Wait()
}

func TestFIFO_Delay(t *testing.T) {
	t.Parallel()
	check(t, []behaviour{
		{"the queue's delay keeps the order", func(w *world) {
			q := w.fifo(attrs{"DelaySeconds": "2"})
			w.sendAll(q, "m1@g1", "m2@g1", "m3@g1")
			w.gets(q)
			w.holds("q.fifo", 0, 0, 3)
			w.sleep(2 * time.Second)
			w.gets(q, "m1@g1", "m2@g1", "m3@g1")
		}},
		{"a delayed message does not hold back an older visible one", func(w *world) {
			q := w.fifo(attrs{"DelaySeconds": "10"})
			w.send(q, "m1@g1")
			w.sleep(8 * time.Second)
			w.send(q, "m2@g1")
			w.sleep(2 * time.Second)
			w.gets(q, "m1@g1")
		}},
		{"a changed delay counts for messages that are delayed already", func(w *world) {
			q := w.fifo(attrs{"DelaySeconds": "600"})
			w.sendAll(q, "m1@g1", "m2@g1")
			w.while(func() {
				w.are(w.receive(q, 10, waiting(20)), "m1@g1", "m2@g1")
			}, func() {
				time.Sleep(time.Second)
				w.set(q, attrs{"DelaySeconds": "5"})
			})
		}},
		{"a delay of one message is refused, 0 is not", func(w *world) {
			q := w.fifo()
			_, err := w.trySend(q, "m@g", withDelay(2))
			w.refused(err, "InvalidParameterValue", "Value 2 for parameter DelaySeconds is invalid. Reason: The request include parameter that is not valid for this queue type.")
			w.send(q, "m@g", withDelay(0))
		}},
	})
}

func TestFIFO_ReceiveAttempts(t *testing.T) {
	t.Parallel()
	check(t, []behaviour{
		{"a repeated attempt returns the same messages and handles", func(w *world) {
			q := w.fifo()
			w.sendAll(q, "m1@g1", "m1@g2")
			first := w.receive(q, 10, attempt("x"), visibleAfter(30))
			w.sleep(20 * time.Second)
			second := w.receive(q, 10, attempt("x"), visibleAfter(30))
			w.are(second, "m1@g1", "m1@g2")
			for i := range second {
				if *first[i].ReceiptHandle != *second[i].ReceiptHandle {
					w.Errorf("handle %d differs", i)
				}
			}
			w.sleep(20 * time.Second) // the visibility timeout was started anew
			w.gets(q)
			w.delete(q, second...)
			w.holds("q.fifo", 0, 0, 0)
		}},
		{"a deleted message voids the attempt", func(w *world) {
			q := w.fifo()
			w.sendAll(q, "m1@g1", "m1@g2")
			w.delete(q, w.receive(q, 10, attempt("x"))[0])
			w.are(w.receive(q, 10, attempt("x")))
		}},
		{"a changed visibility voids the attempt", func(w *world) {
			q := w.fifo()
			w.sendAll(q, "m1@g1", "m1@g2")
			w.hide(q, w.receive(q, 10, attempt("x"))[0], 60)
			w.are(w.receive(q, 10, attempt("x")))
		}},
		{"a visibility that ended voids the attempt", func(w *world) {
			q := w.fifo()
			w.send(q, "m1@g1")
			first := w.receive(q, 10, attempt("x"), visibleAfter(5))[0]
			w.sleep(5 * time.Second)
			second := w.receive(q, 10, attempt("x"))[0]
			if *first.ReceiptHandle == *second.ReceiptHandle || second.Attributes["ApproximateReceiveCount"] != "2" {
				w.Errorf("got the same receive again: %v", second.Attributes)
			}
		}},
		{"of two polls with one attempt ID the later answer is the one to repeat", func(w *world) {
			q := w.fifo()
			var first, second []message
			w.while(
				func() { first = w.receive(q, 1, attempt("x"), waiting(20)) },
				func() { time.Sleep(time.Second); second = w.receive(q, 1, attempt("x"), waiting(20)) },
				func() { time.Sleep(2 * time.Second); w.sendAll(q, "m@g1", "m@g2") },
			)
			w.are(first, "m@g1")
			w.delete(q, first...)
			w.are(w.receive(q, 1, attempt("x")), names(second)...)
		}},
		{"a repeat with a shorter visibility lets others have the message sooner", func(w *world) {
			q := w.fifo()
			w.send(q, "m@g")
			for _, seconds := range []int{2, 0} {
				w.receive(q, 1, attempt(fmt.Sprint("x", seconds)), visibleAfter(30))
				w.took(time.Duration(1+seconds)*time.Second, func() {
					w.while(
						func() { w.are(w.receive(q, 1, waiting(20), visibleAfter(1)), "m@g") },
						func() {
							time.Sleep(time.Second)
							a := w.json("ReceiveMessage", fmt.Sprintf(`{"QueueUrl":"q.fifo","ReceiveRequestAttemptId":"x%d","VisibilityTimeout":%d}`, seconds, seconds))
							w.is(a, 200, "", `"Body":"m"`)
						},
					)
				})
				w.sleep(time.Second)
			}
		}},
		{"another attempt is another receive", func(w *world) {
			q := w.fifo()
			w.send(q, "m1@g1")
			w.receive(q, 10, attempt("x"))
			w.are(w.receive(q, 10, attempt("y")))
		}},
		{"after five minutes the attempt is forgotten", func(w *world) {
			q := w.fifo()
			w.send(q, "m1@g1")
			w.receive(q, 10, attempt("x"), visibleAfter(600))
			w.sleep(5 * time.Minute)
			w.are(w.receive(q, 10, attempt("x")))
		}},
	})
}

func TestFIFO_Handles(t *testing.T) {
	t.Parallel()
	check(t, []behaviour{
		{"an expired handle does not delete", func(w *world) {
			q := w.fifo()
			w.send(q, "m@g")
			held := w.receive(q, 1, visibleAfter(1))[0]
			w.sleep(2 * time.Second)
			w.refused(w.tryDelete(q, held), "InvalidParameterValue",
				"Value "+*held.ReceiptHandle+" for parameter ReceiptHandle is invalid. Reason: The receipt handle has expired.")
			w.gets(q, "m@g")
		}},
		{"a handle of an earlier receive does not delete", func(w *world) {
			q := w.fifo()
			w.send(q, "m@g")
			first := w.receive(q, 1, visibleAfter(1))[0]
			w.sleep(2 * time.Second)
			second := w.gets(q, "m@g")
			w.refused(w.tryDelete(q, first), "InvalidParameterValue", "expired")
			w.delete(q, second...)
		}},
		{"an extended handle deletes", func(w *world) {
			q := w.fifo()
			w.send(q, "m@g")
			held := w.receive(q, 1, visibleAfter(1))[0]
			w.hide(q, held, 10)
			w.sleep(5 * time.Second)
			w.delete(q, held)
			w.holds("q.fifo", 0, 0, 0)
		}},
		{"an expired handle does not extend", func(w *world) {
			q := w.fifo()
			w.send(q, "m@g")
			held := w.receive(q, 1, visibleAfter(1))[0]
			w.sleep(2 * time.Second)
			w.refused(w.tryHide(q, held, 10), "InvalidParameterValue",
				"Reason: Message does not exist or is not available for visibility timeout change.")
		}},
		{"a handle of a deleted message is fine, any number of times", func(w *world) {
			q := w.fifo()
			w.send(q, "m@g")
			held := w.gets(q, "m@g")
			w.delete(q, held...)
			w.delete(q, held...)
		}},
		{"a visibility that a test expires is expired for its holder", func(w *world) {
			q := w.fifo()
			w.sendAll(q, "m1@g1", "m2@g1", "m1@g2")
			held := w.receive(q, 10)
			n, err := w.engine.ExpireVisibility("q.fifo", "g1")
			w.must(err)
			if n != 2 {
				w.Errorf("expired %d, want 2", n)
			}
			w.refused(w.tryDelete(q, held[0]), "InvalidParameterValue", "expired")
			w.gets(q, "m1@g1", "m2@g1")
		}},
	})
}

func TestFIFO_ConcurrentReceivesHandOutEachMessageOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		q := w.fifo()
		const groups, each = 20, 20
		for i := range each {
			for g := range groups {
				w.send(q, fmt.Sprintf("%d@g%d", i, g))
			}
		}
		var mu sync.Mutex
		next := make(map[string]int)
		var workers []func()
		for range 8 {
			workers = append(workers, func() {
				for {
					got := w.receive(q, 10, waiting(2))
					if len(got) == 0 {
						return
					}
					mu.Lock()
					for _, m := range got {
						var n int
						_, group, _ := strings.Cut(names([]message{m})[0], "@")
						_, err := fmt.Sscan(*m.Body, &n)
						if err != nil || n != next[group] {
							t.Errorf("received %s of %s, want %d", *m.Body, group, next[group])
						}
						next[group] = n + 1
					}
					mu.Unlock()
					w.delete(q, got...)
				}
			})
		}
		w.while(workers...)
		for g := range groups {
			if got := next[fmt.Sprintf("g%d", g)]; got != each {
				t.Errorf("group %d delivered %d messages, want %d", g, got, each)
			}
		}
		w.holds("q.fifo", 0, 0, 0)
	})
}
