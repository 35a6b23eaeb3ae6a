package lambda_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	awsevents "github.com/aws/aws-lambda-go/events"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"go.uber.org/goleak"

	"github.com/device-fanout/fanout/consumers"
	"github.com/device-fanout/fanout/consumers/deadletter"
	"github.com/device-fanout/fanout/consumers/internal/handlertime"
	"github.com/device-fanout/fanout/consumers/lambda"
	"github.com/device-fanout/fanout/events"
	"github.com/device-fanout/fanout/events/device"
	"github.com/device-fanout/fanout/infra/local"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// log collects the IDs of the events that handlers were started with.
type log struct {
	mu      sync.Mutex
	started []string
}

func (l *log) add(id string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.started = append(l.started, id)
}

func (l *log) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Join(l.started, " ")
}

func lamp(deviceID string, n int) events.Event {
	e := events.New(deviceID, device.PowerChanged{On: n%2 == 0})
	e.ID = fmt.Sprintf("%s-%d", deviceID, n)
	return e
}

// bench is a function behind a queue, in a bubble of synctest.
func bench(t *testing.T, handle consumers.Handler, cfg lambda.Config) *source {
	t.Helper()
	s := newSource(t, local.New(local.Options{}))
	function, err := lambda.New(s.api, s.queue, handle, cfg)
	if err != nil {
		t.Fatal(err)
	}
	s.invoke = function.Handle
	return s
}

func reported(r awsevents.SQSEventResponse) int { return len(r.BatchItemFailures) }

func TestFunction_ReportsTheFailedEventAndTheLaterOnesOfItsDevice(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var l log
		broken := true
		s := bench(t, func(_ context.Context, e events.Event) error {
			l.add(e.ID)
			if e.ID == "hall-2" && broken {
				return errors.New("the database is down")
			}
			return nil
		}, lambda.Config{Retries: -1})
		s.send(lamp("hall", 1), lamp("hall", 2), lamp("hall", 3), lamp("hall", 4))
		response, n := s.batch(t.Context())
		if n != 4 || reported(response) != 3 {
			t.Fatalf("batch of %d: %d reported, want 3 of 4", n, reported(response))
		}
		if got, want := l.String(), "hall-1 hall-2"; got != want {
			t.Errorf("started: got %q, want %q", got, want)
		}
		broken = false
		if _, n := s.batch(t.Context()); n != 0 { // the failed one is hidden for a while, and the others behind it
			t.Errorf("at once after the failure: got %d messages, want none", n)
		}
		time.Sleep(lambda.DefaultHandBack) // not the visibility timeout of a minute
		if _, n := s.batch(t.Context()); n != 3 {
			t.Errorf("after HandBack: got %d messages, want 3", n)
		}
		if got, want := l.String(), "hall-1 hall-2 hall-2 hall-3 hall-4"; got != want {
			t.Errorf("started: got %q, want %q", got, want)
		}
	})
}

func TestFunction_RetryAfterHandsBackForItsDelay(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var l log
		began := time.Now()
		s := bench(t, func(_ context.Context, e events.Event) error {
			l.add(fmt.Sprintf("%s@%v", e.ID, time.Since(began).Round(time.Second)))
			if time.Since(began) < 40*time.Second {
				return consumers.RetryAfter(20*time.Second, errors.New("not yet"))
			}
			return nil
		}, lambda.Config{})
		s.send(lamp("hall", 1), lamp("hall", 2))
		s.run()
		if got, want := l.String(), "hall-1@0s hall-1@20s hall-1@40s hall-2@40s"; got != want {
			t.Errorf("started: got %q, want %q", got, want)
		}
	})
}

// Delays that SQS would refuse, or that would be none, are brought to the range of consumers.RetryAfter.
func TestFunction_RetryAfterKeepsWithinItsRange(t *testing.T) {
	t.Parallel()
	for delay, want := range map[time.Duration]time.Duration{
		-time.Hour:              time.Second, // refused, it would be the visibility timeout of a minute
		0:                       time.Second,
		100 * time.Millisecond:  time.Second,
		1400 * time.Millisecond: 2 * time.Second,
		20 * time.Hour:          consumers.MaxRetryAfter,
	} {
		t.Run(delay.String(), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				var l log
				began := time.Now()
				s := bench(t, func(_ context.Context, e events.Event) error {
					l.add(fmt.Sprintf("%s@%v", e.ID, time.Since(began)))
					if time.Since(began) == 0 {
						return consumers.RetryAfter(delay, errors.New("not yet"))
					}
					return nil
				}, lambda.Config{})
				s.send(lamp("hall", 1))
				s.batch(t.Context())
				time.Sleep(want - time.Millisecond)
				if _, n := s.batch(t.Context()); n != 0 {
					t.Errorf("before its time: got %d messages, want none", n)
				}
				time.Sleep(time.Millisecond)
				s.batch(t.Context())
				if got, want := l.String(), fmt.Sprintf("hall-1@0s hall-1@%v", want); got != want {
					t.Errorf("started: got %q, want %q", got, want)
				}
			})
		})
	}
}

func TestFunction_OtherDevicesGoOn(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := bench(t, func(_ context.Context, e events.Event) error {
			if e.DeviceID == "hall" {
				return errors.New("no")
			}
			return nil
		}, lambda.Config{Retries: -1})
		s.send(lamp("hall", 1), lamp("attic", 1), lamp("hall", 2), lamp("attic", 2))
		response, n := s.batch(t.Context())
		if n != 4 || reported(response) != 2 {
			t.Errorf("batch of %d: %d reported, want the 2 of one device", n, reported(response))
		}
	})
}

func TestFunction_DeadLetters(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		handle     consumers.Handler
		class      deadletter.Class
		code       string
		attempts   int
		deliveries int
	}{
		"known": {
			func(context.Context, events.Event) error {
				return consumers.Known("no_such_lamp", errors.New("unknown lamp"))
			},
			deadletter.Known, "no_such_lamp", 1, 1,
		},
		"wrapped known": {
			func(context.Context, events.Event) error {
				return fmt.Errorf("handle: %w", consumers.Known("no_such_lamp", nil))
			},
			deadletter.Known, "no_such_lamp", 1, 1,
		},
		"unknown": {
			func(context.Context, events.Event) error { return errors.New("no") },
			deadletter.Exhausted, consumers.CodeError, 4, 8, // in the MaxHold of five minutes
		},
		"panic": {
			func(context.Context, events.Event) error { panic("oh") },
			deadletter.Exhausted, consumers.CodePanic, 4, 8,
		},
		"hangs": {
			func(ctx context.Context, _ events.Event) error { <-ctx.Done(); return ctx.Err() },
			deadletter.Exhausted, consumers.CodeTimeout, 1, 7,
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				var l log
				s := bench(t, func(ctx context.Context, e events.Event) error {
					l.add(e.ID)
					if e.ID == "hall-2" {
						return nil
					}
					return test.handle(ctx, e)
				}, lambda.Config{})
				s.send(lamp("hall", 1), lamp("hall", 2))
				s.run()
				all := s.deadLetters()
				record := all["hall-1"]
				if len(all) != 1 || record.Class != test.class || record.Code != test.code || record.Attempts != test.attempts ||
					record.ReceiveCount != test.deliveries || record.Queue != s.arn || record.Service != "lights" {
					t.Errorf("dead letters: got %+v, want one of hall-1: %s, %s, %d attempts, %d deliveries", all, test.class, test.code, test.attempts, test.deliveries)
				}
				if got := l.String(); !strings.HasSuffix(got, "hall-1 hall-2") {
					t.Errorf("started: got %q, want the later event once, at the end", got)
				}
			})
		})
	}
}

func TestFunction_UndecodableGoesToTheDLQ(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var l log
		s := bench(t, func(_ context.Context, e events.Event) error { l.add(e.ID); return nil }, lambda.Config{})
		s.sendBody("hall", "a", "device.power.changed.v1", "no JSON")
		body, err := events.Encode(func() events.Event { e := lamp("attic", 1); e.Source = "test"; return e }())
		if err != nil {
			t.Fatal(err)
		}
		s.sendBody("hall", "b", "device.power.changed.v1", string(body)) // another device's event in the group
		s.send(lamp("hall", 3))
		s.run()
		all := s.deadLetters()
		if got := all["attic-1"]; len(all) != 2 || got.Code != consumers.CodeGroupMismatch || got.Class != deadletter.Known || got.Attempts != 0 {
			t.Errorf("dead letters: got %+v, want two, one of them for its group", all)
		}
		if got, want := l.String(), "hall-3"; got != want {
			t.Errorf("started: got %q, want %q", got, want)
		}
	})
}

// down is an SQS that takes no messages into one queue.
type down struct {
	*sqs.Client
	broken bool
}

func (d *down) SendMessage(ctx context.Context, in *sqs.SendMessageInput, options ...func(*sqs.Options)) (*sqs.SendMessageOutput, error) {
	if d.broken {
		return nil, errors.New("no connection")
	}
	return d.Client.SendMessage(ctx, in, options...)
}

func TestFunction_DLQDownLosesNothing(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var l log
		s := newSource(t, local.New(local.Options{}))
		api := &down{s.api, true}
		function, err := lambda.New(api, s.queue, func(_ context.Context, e events.Event) error {
			l.add(e.ID)
			if e.ID == "hall-1" {
				return consumers.Known("bad", nil)
			}
			return nil
		}, lambda.Config{})
		if err != nil {
			t.Fatal(err)
		}
		s.invoke = function.Handle
		s.send(lamp("hall", 1), lamp("hall", 2))
		response, _ := s.batch(t.Context())
		if got := reported(response); got != 2 {
			t.Fatalf("with the DLQ down: %d reported, want both", got)
		}
		api.broken = false
		s.run()
		if all := s.deadLetters(); len(all) != 1 || all["hall-1"].Code != "bad" {
			t.Errorf("dead letters: got %+v, want hall-1", all)
		}
		if got, want := l.String(), "hall-1 hall-1 hall-2"; got != want {
			t.Errorf("started: got %q, want %q", got, want)
		}
	})
}

// The function's time runs out in the middle of a batch. What was not started is no attempt, and comes again.
func TestFunction_StopsWhenItsTimeRunsOut(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var l log
		s := bench(t, func(ctx context.Context, e events.Event) error {
			l.add(e.ID)
			select {
			case <-time.After(3 * time.Second):
				return nil
			case <-ctx.Done():
				return ctx.Err()
			}
		}, lambda.Config{Retries: -1})
		s.aged = consumers.DefaultMaxHold // every failure would be a dead letter
		for n := range 6 {
			s.send(lamp("hall", n))
		}
		for range 3 {
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second) // two events fit, with the margin
			if response, _ := s.batch(ctx); ctx.Err() != nil {
				t.Errorf("batch: took longer than the function's time; %d reported", reported(response))
			}
			cancel()
			time.Sleep(lambda.DefaultHandBack)
		}
		if all := s.deadLetters(); len(all) != 0 {
			t.Errorf("dead letters: got %+v, want none", all)
		}
		if got, want := l.String(), "hall-0 hall-1 hall-2 hall-2 hall-3 hall-4 hall-4 hall-5"; got != want {
			t.Errorf("started: got %q, want %q", got, want)
		}
	})
}

// Waiting for a turn does not use up the handler's time, but what it waits is bounded by the function's own, and the margin stays.
func TestFunction_WaitingForATurnLeavesTheMargin(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		var ended time.Duration
		s := bench(t, func(ctx context.Context, _ events.Event) error {
			defer handlertime.Pause(ctx)()
			<-ctx.Done()
			ended = time.Since(began)
			return ctx.Err()
		}, lambda.Config{HandlerTimeout: 3 * time.Second})
		s.send(lamp("hall", 1))
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		defer cancel()
		response, _ := s.batch(ctx)
		if want := 20*time.Second - lambda.DefaultMargin; ended != want || reported(response) != 1 {
			t.Errorf("handler ended after %v, %d reported, want it after %v and reported", ended, reported(response), want)
		}
	})
}

// A function whose timeout is within Margin can never start anything. That is a fault of its configuration, and must be said.
func TestFunction_SaysThatItsTimeoutIsTooShort(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var l log
		var said bytes.Buffer
		s := bench(t, func(_ context.Context, e events.Event) error { l.add(e.ID); return nil },
			lambda.Config{Logger: slog.New(slog.NewTextHandler(&said, nil))})
		s.send(lamp("hall", 1), lamp("hall", 2), lamp("attic", 1))
		ctx, cancel := context.WithTimeout(t.Context(), lambda.DefaultMargin)
		defer cancel()
		if response, n := s.batch(ctx); n != 3 || reported(response) != 3 || l.String() != "" {
			t.Errorf("batch of %d: %d reported and started %q, want all 3 reported and nothing started", n, reported(response), l.String())
		}
		if got := said.String(); strings.Count(got, "level=ERROR") != 1 || !strings.Contains(got, "timeout must be longer") ||
			!strings.Contains(got, "time_left=2s margin=2s") {
			t.Errorf("log: got %q, want one error that names the time left and the margin", got)
		}
		said.Reset()
		time.Sleep(lambda.DefaultHandBack)
		ctx, cancel = context.WithTimeout(t.Context(), lambda.DefaultMargin+time.Second)
		defer cancel()
		if response, n := s.batch(ctx); n != 3 || reported(response) != 0 || said.Len() != 0 {
			t.Errorf("with more time: batch of %d, %d reported and log %q, want all handled, no word", n, reported(response), said.String())
		}
	})
}

// A handler that ends its goroutine, as t.FailNow does, has not succeeded.
func TestFunction_HandlerEndsItsGoroutine(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := bench(t, func(_ context.Context, e events.Event) error {
			if e.ID == "hall-1" {
				runtime.Goexit()
			}
			return nil
		}, lambda.Config{})
		s.send(lamp("hall", 1), lamp("hall", 2), lamp("attic", 1))
		if response, n := s.batch(t.Context()); n != 3 || reported(response) != 2 {
			t.Errorf("batch of %d: %d reported, want the 2 of one device", n, reported(response))
		}
	})
}

// reasonError is an error whose text cannot be had from a nil pointer.
type reasonError struct{ reason string }

func (e *reasonError) Error() string { return e.reason }

// A handler returns a nil pointer as an error: that is a failure of its event, and must not end the function.
func TestFunction_ErrorWhoseTextPanics(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var l log
		s := bench(t, func(_ context.Context, e events.Event) error {
			if e.DeviceID == "hall" {
				var err *reasonError
				return err
			}
			l.add(e.ID)
			return nil
		}, lambda.Config{Retries: -1})
		s.aged = consumers.DefaultMaxHold // so that the first delivery decides
		s.send(lamp("hall", 1), lamp("attic", 1))
		if response, n := s.batch(t.Context()); n != 2 || reported(response) != 0 {
			t.Errorf("batch of %d: %d reported, want none of 2", n, reported(response))
		}
		if all := s.deadLetters(); len(all) != 1 || all["hall-1"].Code != consumers.CodePanic || all["hall-1"].Class != deadletter.Unknown {
			t.Errorf("dead letters: got %+v, want hall-1 for a panic", all)
		}
		if got, want := l.String(), "attic-1"; got != want {
			t.Errorf("handled: got %q, want %q", got, want)
		}
	})
}

// Devices with events that fail at random, answers of the function that are lost: every event is handled or dead-lettered,
// and none of a device before the one before it was.
func TestFunction_RandomTrouble(t *testing.T) {
	t.Parallel()
	for seed := range uint64(10) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				const devices, each = 5, 12
				random := rand.New(rand.NewPCG(seed, 0))
				var mu sync.Mutex // guards what is below
				ended := make(map[string]bool)
				next := func(e events.Event) {
					var n int
					_, _ = fmt.Sscanf(e.ID, e.DeviceID+"-%d", &n)
					if before := fmt.Sprintf("%s-%d", e.DeviceID, n-1); n > 0 && !ended[before] {
						t.Errorf("%s was started before %s had ended", e.ID, before)
					}
				}
				s := bench(t, func(_ context.Context, e events.Event) error {
					mu.Lock()
					defer mu.Unlock()
					next(e)
					switch random.IntN(6) {
					case 0:
						return errors.New("no")
					case 1:
						ended[e.ID] = true // its dead letter is sent before the next one runs
						return consumers.Known("refused", nil)
					}
					ended[e.ID] = true
					return nil
				}, lambda.Config{Retries: 1, MaxHold: consumers.MaxRetryAfter, Check: func(context.Context) error { return errBroken }})
				healthy := s.invoke
				s.invoke = func(ctx context.Context, batch awsevents.SQSEvent) (awsevents.SQSEventResponse, error) {
					response, err := healthy(ctx, batch)
					mu.Lock()
					defer mu.Unlock()
					if random.IntN(8) == 0 { // the answer is lost: Lambda deletes nothing
						response.BatchItemFailures = nil
						for _, m := range batch.Records {
							response.BatchItemFailures = append(response.BatchItemFailures, awsevents.SQSBatchItemFailure{ItemIdentifier: m.MessageId})
						}
					}
					return response, err
				}
				for n := range each {
					for d := range devices {
						s.send(lamp(fmt.Sprint("device-", d), n))
					}
				}
				s.run()
				if got, want := len(ended), devices*each; got != want {
					t.Errorf("handled or dead-lettered: got %d events, want %d", got, want)
				}
			})
		})
	}
}

func TestNew_ListsEveryFault(t *testing.T) {
	t.Parallel()
	_, err := lambda.New(nil, consumers.Queue{Service: "lights"}, nil, lambda.Config{
		MaxHold: -1, MaxReceiveCount: -1, HandBack: 1500 * time.Millisecond, HandlerTimeout: -1, Margin: -1,
	})
	for _, want := range []string{
		"queue: URL is empty", "queue: DLQURL is empty", "handler is nil", "MaxHold: got -1ns, want from 1s to 11h0m0s", "MaxReceiveCount: got -1", "HandBack: got 1.5s, want whole seconds",
		"HandlerTimeout: got -1ns", "Margin: got -1ns",
	} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error: got %v, want %q in it", err, want)
		}
	}
}

// longBatch counts the entries of visibility changes.
type longBatch struct {
	lambda.QueueAPI
	entries []int
}

func (l *longBatch) ChangeMessageVisibilityBatch(_ context.Context, in *sqs.ChangeMessageVisibilityBatchInput, _ ...func(*sqs.Options)) (*sqs.ChangeMessageVisibilityBatchOutput, error) {
	l.entries = append(l.entries, len(in.Entries))
	return &sqs.ChangeMessageVisibilityBatchOutput{}, nil
}

// A queue that is not FIFO can bring more messages at once than one request takes, all without a group.
func TestFunction_HandsBackInRequestsOfTen(t *testing.T) {
	t.Parallel()
	api := &longBatch{}
	f, err := lambda.New(api, consumers.Queue{Service: "lights", URL: "q", DLQURL: "dlq"}, fails(errors.New("no")), lambda.Config{Retries: -1})
	if err != nil {
		t.Fatal(err)
	}
	in := awsevents.SQSEvent{Records: make([]awsevents.SQSMessage, 25)}
	for i := range in.Records {
		in.Records[i] = awsevents.SQSMessage{MessageId: strconv.Itoa(i), ReceiptHandle: strconv.Itoa(i), Body: envelope("", "device.power_changed", `{}`)}
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Second) // within the margin, so that nothing is started
	defer cancel()
	response, err := f.Handle(ctx, in)
	if err != nil || reported(response) != 25 || !slices.Equal(api.entries, []int{10, 10, 5}) {
		t.Errorf("got %d reported in requests of %d, error %v", reported(response), api.entries, err)
	}
}
