package consumers_test

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/smithy-go"

	"github.com/device-fanout/fanout/consumers"
	"github.com/device-fanout/fanout/events"
	"github.com/device-fanout/fanout/internal/logtest"
)

var errGone = &smithy.OperationError{
	ServiceID: "SQS", Err: &smithy.GenericAPIError{Code: "AWS.SimpleQueueService.NonExistentQueue", Message: "scripted", Fault: smithy.FaultClient},
}

// TestHealth_OfReceives: a queue that is deleted, or can't be reached, makes a consumer not ready, and the log and the counts tell; it lives all the
// same, and is ready again when the queue answers.
func TestHealth_OfReceives(t *testing.T) {
	t.Parallel()
	for _, broken := range []error{errGone, errReset} {
		synctest.Test(t, func(t *testing.T) {
			b := newBench(t)
			var fails atomic.Bool
			api := &meddler{QueueAPI: b.api, receive: func(context.Context, *sqs.ReceiveMessageInput) error {
				if fails.Load() {
					return broken
				}
				return nil
			}}
			var out logtest.Log
			c, stop := b.start(api, func(context.Context, events.Event) error { return nil }, consumers.Config{WaitTime: time.Second, Logger: out.Logger()})
			time.Sleep(5 * time.Second)
			if h := c.Health(); !h.Started || h.Live != nil || h.Ready != nil {
				t.Errorf("got %+v, want it started, alive and ready", h)
			}
			fails.Store(true)
			time.Sleep(5 * time.Minute)
			if h := c.Health(); h.Live != nil || !errors.Is(h.Ready, broken) {
				t.Errorf("%v: got %+v, want it alive and not ready for that", broken, h)
			}
			if s := c.Stats(); s.ReceivesFailed == 0 || !strings.Contains(out.String(), "level=ERROR msg=\"receive failed\"") {
				t.Errorf("%v: %d receives failed, and the log says\n%s", broken, s.ReceivesFailed, out.String())
			}
			fails.Store(false)
			time.Sleep(time.Minute)
			if h := c.Health(); h.Ready != nil {
				t.Errorf("got %+v, want it ready again", h)
			}
			stop()
			if h := c.Health(); h.Live != nil || h.Ready == nil {
				t.Errorf("got %+v, want it not ready", h)
			}
		})
	}
}

// TestHealth_LongVisibility: the loop is seen to turn, however long a lease is.
func TestHealth_LongVisibility(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		b.set("VisibilityTimeout", "43200")
		c, stop := b.start(b.api, func(context.Context, events.Event) error { return nil }, consumers.Config{})
		time.Sleep(time.Second)
		c.Pause()
		time.Sleep(time.Hour)
		if h := c.Health(); h.Live != nil {
			t.Errorf("got %v, want it alive", h.Live)
		}
		stop()
	})
}

// TestCheck_HangsOrPanics: it has failed, which nothing else minds.
func TestCheck_HangsOrPanics(t *testing.T) {
	t.Parallel()
	for name, check := range map[string]func(context.Context) error{
		"does not return": func(context.Context) error { select {} },
		"panicked":        func(context.Context) error { panic("nil map") },
	} {
		synctest.Test(t, func(t *testing.T) {
			b := newBench(t)
			b.send(motion("d1", "e1"))
			var broken atomic.Bool
			release := make(chan struct{})
			c, stop := b.start(b.api, func(context.Context, events.Event) error { return errBroken }, consumers.Config{
				WaitTime: time.Second, Check: func(ctx context.Context) error {
					if !broken.Load() {
						broken.Store(true)
						return nil
					}
					if name == "panicked" {
						return check(ctx)
					}
					<-release
					return nil
				},
			})
			time.Sleep(10 * time.Minute)
			if got := b.dead(); got != "" {
				t.Errorf("%s: dead letters: got %s, want none", name, got)
			}
			list, err := c.Blocked(t.Context())
			if err != nil || len(list) != 1 || !strings.Contains(list[0].WaitsFor, name) {
				t.Errorf("%s: got %+v, %v, want the event to wait for that", name, list, err)
			}
			if h := c.Health(); h.Live != nil || h.Ready == nil || !strings.Contains(h.Ready.Error(), name) {
				t.Errorf("%s: got %+v", name, h)
			}
			stop()
			close(release)
		})
	}
}

// TestDrain_EndsThoughTheBreakerOpens in the middle of it.
func TestDrain_EndsThoughTheBreakerOpens(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		b.send(motion("d1", "e1"), motion("d1", "e2"), motion("d2", "x1"), motion("d3", "y1"))
		b.lastReceives() // so that the drain runs them rather than hand them back
		_, stop := b.start(b.api, func(context.Context, events.Event) error {
			time.Sleep(2 * time.Second)
			return consumers.Unavailable(errBroken)
		}, consumers.Config{WaitTime: time.Second, DrainTimeout: 20 * time.Second, Slots: 1})
		time.Sleep(time.Second)
		began := time.Now()
		stop() // fails the test when Run returns an error
		if took := time.Since(began); took > 10*time.Second {
			t.Errorf("the drain took %v, want it to end with the handlers", took)
		}
	})
}

// TestOutage_ASecondOne comes just when the check has passed and the event is tried again: that is no evidence.
func TestOutage_ASecondOne(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		b.send(motion("d1", "e1"))
		var tries, checks atomic.Int64
		var j journal
		down := func() bool { // for the first attempt, and again from the next one until the tenth check
			return tries.Load() <= 4 && checks.Load() <= 1 || tries.Load() >= 5 && checks.Load() < 10
		}
		_, stop := b.start(b.api, func(_ context.Context, e events.Event) error {
			if tries.Add(1); down() {
				return errBroken
			}
			j.add(e.ID)
			return nil
		}, consumers.Config{WaitTime: time.Second, Check: func(context.Context) error {
			if checks.Add(1); down() && tries.Load() >= 5 {
				return errBroken
			}
			return nil
		}})
		time.Sleep(5 * time.Minute)
		stop()
		j.want(t, "e1")
		if got := b.dead(); got != "" {
			t.Errorf("dead letters: got %s, want none", got)
		}
	})
}

// TestOutage_WithASlowCheck: what the check said before the event failed is no evidence, though nothing newer is heard when it is tried again.
func TestOutage_WithASlowCheck(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		b.send(motion("d1", "e1"))
		began := time.Now()
		var checks atomic.Int64
		var j journal
		_, stop := b.start(b.api, func(_ context.Context, e events.Event) error {
			if time.Since(began) < 2500*time.Millisecond {
				return errBroken
			}
			j.add(e.ID)
			return nil
		}, consumers.Config{WaitTime: time.Second, Check: func(context.Context) error {
			if checks.Add(1) == 2 {
				time.Sleep(2 * time.Second)
			}
			return nil
		}})
		time.Sleep(time.Minute)
		stop()
		j.want(t, "e1")
		if got := b.dead(); got != "" {
			t.Errorf("dead letters: got %s, want none", got)
		}
	})
}

// TestNew_RefusesWhatEvidenceCannotWorkWith, naming the setting, what it got and what is wanted.
func TestNew_RefusesWhatEvidenceCannotWorkWith(t *testing.T) {
	t.Parallel()
	handle := func(context.Context, events.Event) error { return nil }
	queue := consumers.Queue{Service: "test", URL: "u", DLQURL: "d"}
	for want, try := range map[string]struct {
		handle consumers.Handler
		cfg    consumers.Config
	}{
		"MaxHold: got 12h0m0s, want from 1s to 11h0m0s": {handle, consumers.Config{MaxHold: 12 * time.Hour}},
		"MaxHold: got -1s": {handle, consumers.Config{MaxHold: -time.Second}},
		"handler is nil: Config.Check tells whether what a handler needs works": {nil, consumers.Config{Check: works}},
	} {
		if _, err := consumers.New(nil, queue, try.handle, try.cfg); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
}
