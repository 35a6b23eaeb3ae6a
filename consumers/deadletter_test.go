package consumers_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/sqs"

	"github.com/device-fanout/fanout/consumers"
	"github.com/device-fanout/fanout/consumers/deadletter"
	"github.com/device-fanout/fanout/events"
)

func TestDeadLetter_IsConfirmedBeforeTheDelete(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		b.send(motion("d1", "bad"), motion("d1", "good"))
		api := &meddler{QueueAPI: b.api}
		sends := 0
		api.send = func(*sqs.SendMessageInput) error {
			if sends++; sends <= 5 {
				return errors.New("service unavailable")
			}
			return nil
		}
		api.delete = func(*sqs.DeleteMessageBatchInput) {
			if b.depth("test-dlq.fifo") == 0 {
				t.Error("a message was deleted before its dead letter was confirmed")
			}
		}
		var j journal
		_, stop := b.start(api, func(_ context.Context, e events.Event) error {
			j.add(fmt.Sprintf("%s with %d sends", e.ID, sends))
			if e.ID == "bad" {
				return consumers.Known("bad", errBroken)
			}
			return nil
		}, consumers.Config{})
		time.Sleep(time.Minute)
		stop()
		j.want(t, "bad with 0 sends", "good with 6 sends")
		if n := len(b.deadLetters()); n != 1 {
			t.Errorf("%d dead letters, want 1", n)
		}
	})
}

func TestDeadLetter_LostReplyMakesNoSecondCopy(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		b.send(motion("d1", "bad"))
		api := &meddler{QueueAPI: b.api}
		sends := 0
		api.afterSend = func() error {
			if sends++; sends <= 2 {
				return errors.New("connection reset by peer")
			}
			return nil
		}
		_, stop := b.start(api, func(context.Context, events.Event) error { return consumers.Known("bad", errBroken) }, consumers.Config{})
		time.Sleep(time.Minute)
		stop()
		if n := len(b.deadLetters()); n != 1 || sends != 3 {
			t.Errorf("%d dead letters after %d sends, want 1 after 3", n, sends)
		}
	})
}

func TestDeadLetter_FailsAgainAfterARedriveInsideTheDeduplicationWindow(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		b.send(motion("d1", "bad"))
		_, stop := b.start(b.api, func(context.Context, events.Event) error { return consumers.Known("bad", errBroken) }, consumers.Config{})
		defer stop()
		from := deadletter.Source{Service: "test", URL: b.queue.DLQURL, Queue: "test.fifo"}
		for round := range 3 {
			time.Sleep(2 * time.Second)
			deadLetters := b.deadLetters()
			if len(deadLetters) != 1 || deadLetters[0].Record.Redrives != round {
				t.Fatalf("round %d: got %+v, want one dead letter with that many redrives", round, deadLetters)
			}
			sum, err := deadletter.Redrive(t.Context(), b.api, from, deadletter.Config{})
			if err != nil || sum.Moved != 1 {
				t.Fatalf("round %d: redrive: %+v, %v", round, sum, err)
			}
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
				deadLetters := b.deadLetters()
				if len(deadLetters) != 2 || deadLetters[0].Record.Class != deadletter.Known || deadLetters[1].Record.Class != deadletter.Known {
					t.Errorf("got %d dead letters %.500v, want 2 with their records", len(deadLetters), deadLetters)
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
		if deadLetters := b.deadLetters(); len(deadLetters) != 1 || deadLetters[0].Body != body {
			t.Errorf("%d dead letters, want the one whose body is no JSON", len(deadLetters))
		}
	})
}
