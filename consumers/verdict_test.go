package consumers_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/device-fanout/fanout/consumers"
	"github.com/device-fanout/fanout/consumers/deadletter"
	"github.com/device-fanout/fanout/events"
)

func TestVerdict_KnownErrorGoesStraightToTheDLQ(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		b.send(motion("d1", "e1"), motion("d1", "e2"))
		var j journal
		_, stop := b.start(b.api, func(_ context.Context, e events.Event) error {
			j.add(e.ID)
			if e.ID == "e1" {
				return consumers.Known("no_such_device", errors.New("device d1 was sold"))
			}
			return nil
		}, consumers.Config{})
		time.Sleep(time.Second)
		stop()
		j.want(t, "e1", "e2")
		deadLetters := b.deadLetters()
		if len(deadLetters) != 1 {
			t.Fatalf("%d dead letters, want 1", len(deadLetters))
		}
		r := deadLetters[0].Record
		if r.Class != deadletter.Known || r.Code != "no_such_device" || r.Error != "device d1 was sold" || r.Attempts != 1 || r.ReceiveCount != 1 {
			t.Errorf("got record %+v", r)
		}
		if r.Service != "test" || r.Queue != "arn:aws:sqs:eu-central-1:000000000000:test.fifo" || r.MessageID == "" || r.SentAt.IsZero() || r.FailedAt.IsZero() {
			t.Errorf("got record %+v, want it to tell where the event came from and when", r)
		}
		if deadLetters[0].EventID != "e1" || deadLetters[0].DeviceID != "d1" || deadLetters[0].Type != "device.motion.changed.v1" {
			t.Errorf("got dead letter %+v", deadLetters[0])
		}
	})
}

func TestVerdict_WhatCannotBeDecodedIsKnown(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		envelope := `{"specversion":"1.0","id":"%s","source":"x","subject":"%s","time":"2026-01-01T00:00:00Z","type":"%s","data":%s}`
		b.sendBody("d1", "1", "device.power.changed.v1", "no JSON at all")
		b.sendBody("d1", "2", "device.teleport.v1", fmt.Sprintf(envelope, "2", "d1", "device.teleport.v1", "{}"))
		b.sendBody("d1", "3", "device.humidity.measured.v1", fmt.Sprintf(envelope, "3", "d1", "device.humidity.measured.v1", `{"percent":140}`))
		b.sendBody("d1", "4", "device.motion.changed.v1", fmt.Sprintf(envelope, "4", "other", "device.motion.changed.v1", `{"detected":true}`))
		b.send(motion("d1", "5"))
		var j journal
		_, stop := b.start(b.api, func(_ context.Context, e events.Event) error { j.add(e.ID); return nil }, consumers.Config{})
		time.Sleep(time.Second)
		stop()
		j.want(t, "5")
		var got []string
		for _, l := range b.deadLetters() {
			got = append(got, string(l.Record.Class)+" "+l.Record.Code)
		}
		want := []string{"known malformed_json", "known unknown_type", "known invalid_data", "known group_mismatch"}
		if !slices.Equal(got, want) {
			t.Errorf("dead letters: got %q, want %q", got, want)
		}
	})
}

func TestVerdict_UnknownErrorIsRetriedAtOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		b.send(motion("d1", "e1"), motion("d1", "e2"))
		var j journal
		start := time.Now()
		c, stop := b.start(b.api, func(_ context.Context, e events.Event) error {
			j.add(e.ID)
			if e.ID == "e1" && len(j.all()) < 3 {
				return errBroken
			}
			return nil
		}, consumers.Config{})
		for b.depth("test.fifo") > 0 {
			time.Sleep(10 * time.Millisecond)
		}
		if took := time.Since(start); took > time.Second {
			t.Errorf("two retries took %v of simulated time, want less than a second", took)
		}
		stop()
		j.want(t, "e1", "e1", "e1", "e2")
		if s := c.Stats(); s.Handled != 2 || s.Redelivered != 0 || s.Retries != 2 || s.DeadLettered != 0 {
			t.Errorf("got %+v, want two handled after two retries and nothing redelivered", s)
		}
	})
}

func TestVerdict_ExhaustedGoesToTheDLQAndTheDeviceGoesOn(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		b.send(motion("d1", "e1"), motion("d1", "e2"))
		var j journal
		_, stop := b.start(b.api, func(_ context.Context, e events.Event) error {
			j.add(e.ID)
			if e.ID == "e1" {
				return errBroken
			}
			return nil
		}, consumers.Config{})
		time.Sleep(2 * time.Second)
		stop()
		j.want(t, "e1", "e1", "e1", "e1", "e1", "e2")
		deadLetters := b.deadLetters()
		if len(deadLetters) != 1 || deadLetters[0].Record.Class != deadletter.Exhausted || deadLetters[0].Record.Attempts != 5 || deadLetters[0].Record.Code != consumers.CodeError {
			t.Errorf("got %+v, want one exhausted dead letter after four tries and one on the check's word", deadLetters)
		}
	})
}

func TestVerdict_PanicIsAnUnknownError(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		b.send(motion("d1", "e1"))
		_, stop := b.start(b.api, func(context.Context, events.Event) error { panic("nil map") }, consumers.Config{})
		time.Sleep(2 * time.Second)
		stop()
		deadLetters := b.deadLetters()
		if len(deadLetters) != 1 || deadLetters[0].Record.Class != deadletter.Exhausted || deadLetters[0].Record.Code != consumers.CodePanic {
			t.Fatalf("got %+v, want one exhausted dead letter with code panic", deadLetters)
		}
	})
}

func TestVerdict_BudgetBoundsAllAttempts(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		b.send(motion("d1", "e1"))
		_, stop := b.start(b.api, func(ctx context.Context, _ events.Event) error {
			<-ctx.Done()
			return ctx.Err()
		}, consumers.Config{HandlerTimeout: 3 * time.Second})
		time.Sleep(8 * time.Second)
		stop()
		deadLetters := b.deadLetters()
		if len(deadLetters) != 1 || deadLetters[0].Record.Class != deadletter.Exhausted || deadLetters[0].Record.Code != consumers.CodeTimeout || deadLetters[0].Record.Attempts != 2 {
			t.Fatalf("got %d, want one dead letter that timed out at both attempts, each of them one try", len(deadLetters))
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
		deadLetters := b.deadLetters()
		if len(deadLetters) != 2 || deadLetters[0].Record.Code != consumers.CodePanic || deadLetters[0].Record.Class != deadletter.Exhausted ||
			deadLetters[1].Record.Code != consumers.CodePanic {
			t.Fatalf("got %+v, want two dead letters with code panic", deadLetters)
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
		j.want(t, "e1", "e1", "e2")
		deadLetters := b.deadLetters()
		if len(deadLetters) != 1 || deadLetters[0].Record.Code != consumers.CodePanic || deadLetters[0].Record.Attempts != 2 {
			t.Fatalf("got %+v, want one dead letter with code panic", deadLetters)
		}
	})
}
