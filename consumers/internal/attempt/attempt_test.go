package attempt

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"reflect"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"

	"github.com/device-fanout/fanout/consumers/failure"
	"github.com/device-fanout/fanout/consumers/internal/handlertime"
	"github.com/device-fanout/fanout/consumers/parking"
	"github.com/device-fanout/fanout/events"
)

var errBroken = errors.New("broken")

const body = `{"specversion":"1.0","id":"e1","source":"x","subject":"hall","time":"2026-01-01T00:00:00Z","type":"acme.bell.v1","data":{}}`

// run makes one attempt that has ten seconds, and counts what it tells.
func run(ctx context.Context, t Timing, handle func(context.Context, events.Event) error) (v Verdict, failed, retries int) {
	return runIn(ctx, Service{Handler: handle}, t)
}

func runIn(ctx context.Context, s Service, t Timing) (v Verdict, failed, retries int) {
	s.UnknownTypes, s.Retries, s.RetryDelay = true, 3, time.Second
	t.Timeout = 10 * time.Second
	t.Failed = func() { failed++ }
	t.Retry = func() { retries++ }
	s.Run(ctx, &Message{Body: body, Device: "hall", Group: "hall"}, t, &v)
	return v, failed, retries
}

func TestRun_RetriesWithGrowingPauses(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		var at []time.Duration
		v, failed, retries := run(t.Context(), Timing{}, func(context.Context, events.Event) error {
			at = append(at, time.Since(began))
			return errBroken
		})
		if want := []time.Duration{0, time.Second, 3 * time.Second, 7 * time.Second}; !reflect.DeepEqual(at, want) {
			t.Errorf("attempts at %v, want %v", at, want)
		}
		want := Verdict{
			Failure: Failure{Kind: Dead, Code: failure.CodeError, Text: "broken"}, Err: errBroken,
			Class: failure.Exhausted, EventType: "acme.bell.v1", EventID: "e1", Attempts: 4,
		}
		if !reflect.DeepEqual(v, want) || failed != 4 || retries != 3 {
			t.Errorf("got %+v, %d failures, %d retries, want %+v, 4 and 3", v, failed, retries, want)
		}
	})
}

// No retry begins that could not end before the lease does, wherever the heartbeat has moved its end by then.
func TestRun_NoRetryBeyondTheLease(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		lease := began.Add(2 * time.Second)
		v, failed, retries := run(t.Context(), Timing{LeaseEnd: func() time.Time { return lease }}, func(context.Context, events.Event) error {
			lease = lease.Add(500 * time.Millisecond)
			return errBroken
		})
		if v.Attempts != 2 || failed != 2 || retries != 1 || time.Since(began) != time.Second {
			t.Errorf("got %+v after %v, want two attempts within a second", v, time.Since(began))
		}
	})
}

// Once the message is not ours any more, nothing that the handler says is about the event, but that it succeeded.
func TestRun_ReleasedWhenItIsNotOursAnyMore(t *testing.T) {
	t.Parallel()
	for _, err := range []error{errBroken, &failure.KnownError{Code: "refused"}, &failure.UnavailableError{}, nil} {
		synctest.Test(t, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			v, _, _ := run(ctx, Timing{}, func(context.Context, events.Event) error {
				cancel()
				return err
			})
			want := Failure{Kind: Released}
			if err == nil {
				want.Kind = Handled
			}
			if v.Failure != want || v.Attempts != 1 {
				t.Errorf("%v: got %+v, want %+v", err, v, want)
			}
		})
	}
	synctest.Test(t, func(t *testing.T) { // while it waits for a retry
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(500*time.Millisecond, cancel)
		if v, _, _ := run(ctx, Timing{}, func(context.Context, events.Event) error { return errBroken }); v.Failure != (Failure{Kind: Released}) {
			t.Errorf("got %+v, want it released", v)
		}
	})
}

// Others' work is not the handler's: what it waits for its turn does not count, for its context nor for its retries.
func TestRun_WaitingForATurnDoesNotCount(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		v, _, retries := run(t.Context(), Timing{}, func(ctx context.Context, _ events.Event) error {
			resume := handlertime.Pause(ctx)
			time.Sleep(time.Minute)
			resume()
			if ctx.Err() == nil {
				return errBroken
			}
			return ctx.Err()
		})
		if v.Code != failure.CodeError || retries != 3 || time.Since(began) != 4*time.Minute+7*time.Second {
			t.Errorf("got %+v, %d retries after %v, want all four attempts to have their time", v, retries, time.Since(began))
		}
	})
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		v, _, _ := run(t.Context(), Timing{Limit: began.Add(30 * time.Second)}, func(ctx context.Context, _ events.Event) error {
			defer handlertime.Pause(ctx)()
			<-ctx.Done()
			return ctx.Err()
		})
		if v.Code != failure.CodeTimeout || time.Since(began) != 30*time.Second {
			t.Errorf("got %+v after %v, want that the limit ends it", v, time.Since(began))
		}
	})
}

func TestRun_EndMarkOfARelease(t *testing.T) {
	t.Parallel()
	m := NewMessage(types.Message{
		Body: aws.String("{}"), Attributes: map[string]string{"MessageGroupId": parking.Group("hall"), "ApproximateReceiveCount": "2", "SentTimestamp": "1700000000000"},
		MessageAttributes: map[string]types.MessageAttributeValue{"type": {DataType: aws.String("String"), StringValue: aws.String(parking.EndMark)}},
	})
	if m.Device != "hall" || !m.IsReleased || m.ReceiveCount != 2 || m.SentAt.Unix() != 1_700_000_000 {
		t.Errorf("got %+v", m)
	}
	var v Verdict
	(&Service{}).Run(t.Context(), &m, Timing{}, &v)
	if v.Kind != Handled || v.Attempts != 0 {
		t.Errorf("got %+v, want it handled without a handler", v)
	}
}

func TestSentinels(t *testing.T) {
	t.Parallel()
	list, faults := Sentinels(map[string]error{"b": errBroken, "a": errBroken, "": errBroken, "c": nil})
	if len(faults) != 2 || len(list) != 2 || list[0].Code != "a" || list[1].Code != "b" {
		t.Errorf("got %+v, %v, want a and b, and two faults", list, faults)
	}
}

var errMoved = errors.New("moved")

// The handler has the hook's values, but its own context's end, with its cause.
func TestRun_HookedContext(t *testing.T) {
	t.Parallel()
	type key string
	for name, derive := range map[string]func(context.Context) context.Context{
		"derived": func(ctx context.Context) context.Context { return ctx },
		"ended": func(ctx context.Context) context.Context {
			ctx, cancel := context.WithCancel(ctx)
			cancel()
			return ctx
		},
		"detached": func(context.Context) context.Context { return context.Background() },
		"cancelled": func(ctx context.Context) context.Context {
			ctx, cancel := context.WithCancel(ctx)
			_ = cancel
			return ctx
		},
	} {
		synctest.Test(t, func(t *testing.T) {
			ctx, cancel := context.WithCancelCause(context.WithValue(t.Context(), key("own"), 1))
			timing := Timing{Hook: func(ctx context.Context, _ events.Event) (context.Context, func()) {
				return context.WithValue(derive(ctx), key("hook"), 2), func() {}
			}}
			time.AfterFunc(time.Second, func() { cancel(errMoved) })
			v, _, _ := run(ctx, timing, func(ctx context.Context, _ events.Event) error {
				if ctx.Value(key("own")) != 1 || ctx.Value(key("hook")) != 2 || ctx.Value(key("none")) != nil || ctx.Err() != nil {
					t.Errorf("%s: got values %v and %v, error %v; want 1, 2 and none", name, ctx.Value(key("own")), ctx.Value(key("hook")), ctx.Err())
				}
				<-ctx.Done()
				if ctx.Err() != context.Canceled || context.Cause(ctx) != errMoved {
					t.Errorf("%s: ended with %v, cause %v; want the cause of the context's own end", name, ctx.Err(), context.Cause(ctx))
				}
				return ctx.Err()
			})
			if v.Kind != Released {
				t.Errorf("%s: got %+v, want it released", name, v)
			}
		})
	}
}

// What hooks do wrong is logged, but not for every event.
func TestRun_HookFaultsAreLoggedNowAndThen(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		s := Service{
			Handler: func(context.Context, events.Event) error { return nil },
			Faults:  NewHookFaults(slog.New(slog.NewTextHandler(&out, nil))),
		}
		hooks := []func(context.Context, events.Event) (context.Context, func()){
			func(context.Context, events.Event) (context.Context, func()) { panic("oh") },
			func(ctx context.Context, _ events.Event) (context.Context, func()) {
				return ctx, func() { panic("dear") }
			},
			func(context.Context, events.Event) (context.Context, func()) { return nil, func() {} },
			func(ctx context.Context, _ events.Event) (context.Context, func()) { return ctx, nil },
		}
		for _, hook := range hooks {
			out.Reset()
			for range 10 {
				if v, _, _ := runIn(t.Context(), s, Timing{Hook: hook}); v.Kind != Handled {
					t.Errorf("got %+v, want it handled", v)
				}
			}
			if got := strings.Count(out.String(), "a hook has"); got != 1 {
				t.Errorf("ten events: got %d lines, want 1:\n%s", got, &out)
			}
			time.Sleep(faultsEvery)
		}
		if !strings.Contains(out.String(), "not_logged_before=9") {
			t.Errorf("got %s, want how many were not logged", &out)
		}
	})
}

// codeError is an error type of a handler's own that can't be compared.
type codeError struct{ codes []int }

func (codeError) Error() string { return "codes" }

// The verdict carries the error itself, whatever it is, and what a hook gets is what the record says.
func TestRun_Err(t *testing.T) {
	t.Parallel()
	for name, row := range map[string]struct {
		handle func() error
		check  func(error) bool
		cause  string
	}{
		"wrapped": {
			func() error { return fmt.Errorf("x: %w", codeError{[]int{1}}) },
			func(err error) bool { var c codeError; return errors.As(err, &c) && c.codes[0] == 1 }, "attempt.codeError",
		},
		"panic": {
			func() error { panic(7) },
			func(err error) bool {
				var p *failure.PanicError
				return errors.As(err, &p) && p.Value == 7 && strings.Contains(string(p.Stack), "TestRun_Err")
			}, "panic github.com/device-fanout/fanout/consumers/internal/attempt.TestRun_Err",
		},
		"panic with an error": {
			func() error { panic(errBroken) },
			func(err error) bool { return errors.Is(err, errBroken) }, "panic github.com/device-fanout/fanout/consumers/internal/attempt.TestRun_Err",
		},
		"ended goroutine": {
			func() error { runtime.Goexit(); return nil },
			func(err error) bool { return err == errEnded }, "handler ended its goroutine",
		},
		"success": {func() error { return nil }, func(err error) bool { return err == nil }, ""},
	} {
		synctest.Test(t, func(t *testing.T) {
			var v Verdict
			ended := make(chan struct{})
			go func() {
				defer close(ended)
				s := Service{Handler: func(context.Context, events.Event) error { return row.handle() }, UnknownTypes: true}
				s.Run(t.Context(), &Message{Body: body, Device: "hall", Group: "hall"}, Timing{Timeout: time.Second}, &v)
			}()
			<-ended
			if !row.check(v.Err) || !strings.HasPrefix(v.cause("hall"), row.cause) || (v.cause("hall") == "") != (row.cause == "") {
				t.Errorf("%s: got error %v, cause %q", name, v.Err, v.cause("hall"))
			}
		})
	}
}
