package lambda_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/device-fanout/fanout/consumers"
	"github.com/device-fanout/fanout/consumers/deadletter"
	"github.com/device-fanout/fanout/consumers/lambda"
	"github.com/device-fanout/fanout/events"
	"github.com/device-fanout/fanout/infra/local"
)

var (
	errBroken = errors.New("broken")
	errSold   = errors.New("device was sold")
)

// verdictRow is what a handler does, and what is to come of it.
type verdictRow struct {
	name    string
	handle  consumers.Handler
	body    string // instead of that of a good event
	unknown bool   // Config.UnknownTypes
	refuse  bool   // Config.RefuseReused

	verdict  consumers.Verdict
	class    deadletter.Class // of the dead letter; empty if there is to be none
	code     string
	text     string // what the error's text begins with
	attempts int
	waits    bool // the message stays in the queue
}

// held tells whether the event is tried again in vain before it is a dead letter, as nothing shows that its handler works.
func (row *verdictRow) held() bool { return row.verdict == consumers.VerdictExhausted }

// verdicts is one table for the runtime and for Lambda.
var verdicts = []verdictRow{
	{name: "nil", handle: fails(nil), verdict: "handled", attempts: 1},
	{name: "known", handle: fails(consumers.Known("refused", errBroken)), verdict: "known", class: deadletter.Known, code: "refused", text: "broken", attempts: 1},
	{name: "known without an error", handle: fails(consumers.Known("refused", nil)), verdict: "known", class: deadletter.Known, code: "refused", text: "refused", attempts: 1},
	{name: "wrapped known", handle: fails(fmt.Errorf("save: %w", consumers.Known("refused", errBroken))), verdict: "known", class: deadletter.Known, code: "refused", text: "save: broken", attempts: 1},
	{name: "known before unavailable", handle: fails(consumers.Unavailable(consumers.Known("refused", errBroken))), verdict: "known", class: deadletter.Known, code: "refused", text: "broken", attempts: 1},
	{name: "registered error", handle: fails(fmt.Errorf("save: %w", errSold)), verdict: "known", class: deadletter.Known, code: "sold", text: "save: device was sold", attempts: 1},
	{name: "unknown", handle: fails(errBroken), verdict: "exhausted", class: deadletter.Exhausted, code: "error", text: "broken", attempts: 4},
	{name: "an event's error", handle: fails(&events.Error{Code: events.CodeInvalidData, Err: errBroken}), verdict: "exhausted", class: deadletter.Exhausted, code: "invalid_data", text: "events: invalid data: broken", attempts: 4},
	{name: "panic", handle: func(context.Context, events.Event) error { panic("nil map") }, verdict: "exhausted", class: deadletter.Exhausted, code: "panic", text: "handler panicked: nil map", attempts: 4},
	{name: "error that panics", handle: fails((*reasonError)(nil)), verdict: "exhausted", class: deadletter.Exhausted, code: "panic", text: "handler panicked: runtime error", attempts: 4},
	{name: "known that panics", handle: fails((*consumers.KnownError)(nil)), verdict: "exhausted", class: deadletter.Exhausted, code: "panic", text: "handler panicked: runtime error", attempts: 4},
	{name: "ended goroutine", handle: func(context.Context, events.Event) error { runtime.Goexit(); return nil }, verdict: "exhausted", class: deadletter.Exhausted, code: "panic", text: "handler ended its goroutine", attempts: 1},
	{name: "timeout", handle: func(ctx context.Context, _ events.Event) error { <-ctx.Done(); return ctx.Err() }, verdict: "exhausted", class: deadletter.Exhausted, code: "timeout", text: "context deadline exceeded", attempts: 1},
	{name: "retry after", handle: fails(fmt.Errorf("x: %w", consumers.RetryAfter(time.Minute, errBroken))), verdict: "retry_after", code: "error", text: "x: broken", attempts: 1, waits: true},
	{name: "unavailable", handle: fails(fmt.Errorf("x: %w", consumers.Unavailable(errBroken))), verdict: "unavailable", code: "error", text: "x: broken", attempts: 1, waits: true},
	{name: "reused identity", handle: reuses, verdict: "handled", attempts: 1},
	{name: "reused identity, refused", handle: reuses, refuse: true, verdict: "known", class: deadletter.Known, code: "id_reused", text: `event "e1" of "hall" from`, attempts: 1},
	{name: "no JSON", body: "no JSON", verdict: "known", class: deadletter.Known, code: "malformed_json", text: "events: malformed JSON"},
	{name: "unknown type", body: envelope("hall", "acme.bell.v1", "{}"), verdict: "known", class: deadletter.Known, code: "unknown_type", text: "events: unknown type"},
	{name: "unknown type, taken", body: envelope("hall", "acme.bell.v1", "{}"), unknown: true, handle: fails(nil), verdict: "handled", attempts: 1},
	{name: "invalid data", body: envelope("hall", "device.power.changed.v1", `{"on":5}`), verdict: "known", class: deadletter.Known, code: "invalid_data", text: "events: invalid data"},
	{name: "other device", body: envelope("attic", "device.power.changed.v1", `{"on":true}`), verdict: "known", class: deadletter.Known, code: "group_mismatch", text: `consumers: message group is "hall", want the event's device "attic"`},
}

func fails(err error) consumers.Handler {
	return func(context.Context, events.Event) error { return err }
}

// reuses has handled another event of the same identity.
func reuses(ctx context.Context, e events.Event) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	return consumers.Reused(ctx, e, e.Time.Add(-time.Hour))
}

// envelope is an event with any type and data.
func envelope(deviceID, eventType, data string) string {
	return fmt.Sprintf(`{"specversion":"1.0","id":"e1","source":"x","subject":%q,"time":"2026-01-01T00:00:00Z","type":%q,"data":%s}`, deviceID, eventType, data)
}

// runners handle the one event in a queue, by a table's row.
var runners = map[string]func(t *testing.T, s *source, row verdictRow, handle consumers.Handler, hooks consumers.Hooks){
	"runtime": func(t *testing.T, s *source, row verdictRow, handle consumers.Handler, hooks consumers.Hooks) {
		c, err := consumers.New(s.api, s.queue, handle, consumers.Config{
			Known: map[string]error{"sold": errSold}, Hooks: hooks, UnknownTypes: row.unknown, RefuseReused: row.refuse, HandlerTimeout: 4 * time.Second, WaitTime: time.Second, MaxHold: time.Second,
		})
		if err != nil {
			t.Fatal(err)
		}
		enough := 20 * time.Second
		if row.waits {
			enough = time.Second / 2 // before it is tried again
		}
		ctx, cancel := context.WithTimeout(t.Context(), enough)
		defer cancel()
		if err := c.Run(ctx); err != nil {
			t.Error(err)
		}
	},
	"lambda": func(t *testing.T, s *source, row verdictRow, handle consumers.Handler, hooks consumers.Hooks) {
		cfg := lambda.Config{Known: map[string]error{"sold": errSold}, Hooks: hooks, UnknownTypes: row.unknown, RefuseReused: row.refuse, HandlerTimeout: 4 * time.Second}
		cfg.MaxHold = 10 * time.Second // the first delivery of none decides by that
		f, err := lambda.New(s.api, s.queue, handle, cfg)
		if err != nil {
			t.Fatal(err)
		}
		s.invoke = f.Handle
		if response, n := s.batch(t.Context()); n != 1 || (reported(response) == 1) != (row.waits || row.held()) {
			t.Errorf("batch of %d: %d reported, want it reported only if the event waits", n, reported(response))
		}
		if row.held() {
			s.run()
		}
	},
}

// The same error means the same in the runtime and in Lambda: in what becomes of the message, in the record of its dead letter, and in
// what hooks are told.
func TestVerdicts(t *testing.T) {
	t.Parallel()
	for _, row := range verdicts {
		for runner, run := range runners {
			t.Run(row.name+"/"+runner, func(t *testing.T) {
				t.Parallel()
				synctest.Test(t, func(t *testing.T) { checkVerdict(t, row, run) })
			})
		}
	}
}

func checkVerdict(t *testing.T, row verdictRow, run func(*testing.T, *source, verdictRow, consumers.Handler, consumers.Hooks)) {
	s := newSource(t, local.New(local.Options{}))
	body := row.body
	if body == "" {
		body = envelope("hall", "device.power.changed.v1", `{"on":true}`)
	}
	s.sendBody("hall", "e1", "some.type.v1", body)

	type key struct{}
	var mu sync.Mutex
	var told, dead []consumers.Outcome
	var delivered consumers.Delivery
	hooks := consumers.Hooks{Handle: func(ctx context.Context, d consumers.Delivery) (context.Context, func(consumers.Outcome)) {
		return context.WithValue(ctx, key{}, true), func(o consumers.Outcome) {
			mu.Lock()
			defer mu.Unlock()
			delivered, told = d, append(told, o)
		}
	}, DeadLettered: func(d consumers.Delivery, o consumers.Outcome) {
		mu.Lock()
		defer mu.Unlock()
		delivered, dead = d, append(dead, o)
	}}
	run(t, s, row, func(ctx context.Context, e events.Event) error {
		if ctx.Value(key{}) == nil {
			t.Error("the handler's context is not the hook's")
		}
		return row.handle(ctx, e)
	}, hooks)

	undecodable := row.attempts == 0 && strings.HasPrefix(row.text, "events: ")
	mu.Lock()
	defer mu.Unlock()
	for _, o := range told {
		if row.held() && o.Verdict == consumers.VerdictHeld {
			o.Verdict, o.Class = row.verdict, row.class // its dead letter comes later
		}
		if o.Verdict != row.verdict || o.Class != row.class || o.Code != row.code || o.Attempts < row.attempts ||
			!strings.HasPrefix(o.Error, row.text) || (o.Err == nil) != (row.code == "") {
			t.Errorf("hook: got %+v, want %+v", o, row)
		}
	}
	if len(told) == 0 || len(told) > 1 && !row.held() || told[0].Attempts != row.attempts {
		t.Fatalf("hook: got %d outcomes, the first %+v; want one, and more only if the event is held", len(told), told)
	}
	if d := delivered; d.Service != "lights" || d.MessageID == "" || d.DeviceID != "hall" || d.Type != "some.type.v1" || d.Attribute("type") != d.Type ||
		d.ReceiveCount != 1 && !row.held() || d.SentAt.IsZero() || d.ReceivedAt.IsZero() || (d.Event.ID == "") != undecodable {
		t.Errorf("hook: got %+v", d)
	}
	left := 0
	if row.waits {
		left = 1
	}
	if got := s.depth(); got != left {
		t.Errorf("messages in the queue: got %d, want %d", got, left)
	}
	var records []deadletter.Record
	for _, r := range s.deadLetters() {
		records = append(records, r)
	}
	if row.class == "" {
		if len(records) != 0 || len(dead) != 0 {
			t.Errorf("dead letters: got %+v, and told of %+v, want none", records, dead)
		}
		return
	}
	if len(records) != 1 || len(dead) != 1 {
		t.Fatalf("dead letters: got %+v, and told of %+v, want one", records, dead)
	}
	eventType := "device.power.changed.v1"
	if undecodable {
		eventType = "some.type.v1" // what the attribute says, since the body can't be read
	}
	r := records[0]
	if r.Class != row.class || r.Code != row.code || !strings.HasPrefix(r.Error, row.text) || r.Attempts < row.attempts || r.ReceiveCount != delivered.ReceiveCount ||
		r.Service != "lights" || r.Queue != s.arn || r.MessageID != delivered.MessageID || !r.SentAt.Equal(delivered.SentAt) || r.FailedAt.IsZero() ||
		r.Fingerprint != deadletter.FingerprintOf("lights", eventType, row.code, deadletter.CauseOf(dead[0].Err, "e1", "hall")) ||
		dead[0].Verdict != row.verdict || dead[0].Class != r.Class || dead[0].Code != r.Code || dead[0].Attempts != r.Attempts || !strings.HasPrefix(dead[0].Error, r.Error[:min(len(r.Error), 50)]) {
		t.Errorf("record: got %+v, told of %+v, want %+v", r, dead[0], row)
	}
}

// An outage costs no dead letter, however often the event comes, and later events of its device wait behind it.
func TestFunction_UnavailableIsNoDeadLetter(t *testing.T) {
	t.Parallel()
	for handBack, want := range map[time.Duration]string{
		0:           "hall-1@0s hall-1@5s hall-1@15s hall-1@35s hall-1@1m15s hall-1@2m35s hall-1@4m15s hall-1@5m55s hall-2@5m55s",
		time.Minute: "hall-1@0s hall-1@1m0s hall-1@2m40s hall-1@4m20s hall-1@6m0s hall-2@6m0s",
		// Other failures are not hidden at all; an outage would then use up the receive count at once.
		-1: "hall-1@0s hall-1@5s hall-1@15s hall-1@35s hall-1@1m15s hall-1@2m35s hall-1@4m15s hall-1@5m55s hall-2@5m55s",
	} {
		t.Run(handBack.String(), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) { outage(t, handBack, want) })
		})
	}
}

// outage handles events of which the first is Unavailable for five minutes, and checks when they were started.
func outage(t *testing.T, handBack time.Duration, want string) {
	var l log
	began := time.Now()
	s := bench(t, func(_ context.Context, e events.Event) error {
		l.add(fmt.Sprintf("%s@%v", e.ID, time.Since(began)))
		if time.Since(began) < 5*time.Minute {
			return consumers.Unavailable(errBroken)
		}
		return nil
	}, lambda.Config{HandBack: handBack})
	s.send(lamp("hall", 1), lamp("hall", 2))
	if response, n := s.batch(t.Context()); n != 2 || reported(response) != 2 {
		t.Errorf("batch of %d: %d reported, want both", n, reported(response))
	}
	for s.depth() > 0 {
		s.batch(t.Context())
		time.Sleep(time.Second)
	}
	if got := l.String(); got != want {
		t.Errorf("started: got %q, want %q", got, want)
	}
	if all := s.deadLetters(); len(all) != 0 {
		t.Errorf("dead letters: got %+v, want none", all)
	}
}

// Watching never changes anything: whatever a hook does, what it watches goes on as if nobody did.
func TestVerdicts_HooksChangeNothing(t *testing.T) {
	t.Parallel()
	type key struct{}
	ended, end := context.WithCancelCause(context.WithValue(t.Context(), key{}, true))
	end(errors.New("another cause"))
	expired, cancel := context.WithDeadline(t.Context(), time.Now().Add(-time.Hour))
	defer cancel()
	finish := func(consumers.Outcome) {}
	for name, hook := range map[string]func(context.Context) (context.Context, func(consumers.Outcome)){
		"panics":          func(context.Context) (context.Context, func(consumers.Outcome)) { panic("oh") },
		"panics with nil": func(context.Context) (context.Context, func(consumers.Outcome)) { panic(nil) },
		"panics afterwards": func(ctx context.Context) (context.Context, func(consumers.Outcome)) {
			return ctx, func(consumers.Outcome) { panic("oh") }
		},
		"no context":             func(context.Context) (context.Context, func(consumers.Outcome)) { return nil, finish },
		"nothing in the context": func(context.Context) (context.Context, func(consumers.Outcome)) { return (*noContext)(nil), finish },
		"no func":                func(ctx context.Context) (context.Context, func(consumers.Outcome)) { return ctx, nil },
		"neither":                func(context.Context) (context.Context, func(consumers.Outcome)) { return nil, nil },
		"ended context":          func(context.Context) (context.Context, func(consumers.Outcome)) { return ended, finish },
		"expired context":        func(context.Context) (context.Context, func(consumers.Outcome)) { return expired, finish },
	} {
		for runner, run := range runners {
			for _, fail := range []error{nil, consumers.Known("refused", errBroken)} {
				t.Run(fmt.Sprintf("%s/%s/%v", name, runner, fail), func(t *testing.T) {
					t.Parallel()
					synctest.Test(t, func(t *testing.T) {
						s := newSource(t, local.New(local.Options{}))
						s.sendBody("hall", "e1", "some.type.v1", envelope("hall", "device.power.changed.v1", `{"on":true}`))
						handled := 0
						run(t, s, verdictRow{}, func(ctx context.Context, _ events.Event) error {
							handled++
							if deadline, ok := ctx.Deadline(); ctx.Err() != nil || context.Cause(ctx) != nil || !ok || time.Until(deadline) != 4*time.Second {
								t.Errorf("the handler's context: got %v with deadline %v, want it to go on for 4s", context.Cause(ctx), deadline)
							}
							return fail
						}, consumers.Hooks{Handle: func(ctx context.Context, _ consumers.Delivery) (context.Context, func(consumers.Outcome)) {
							return hook(ctx)
						}})
						all := s.deadLetters()
						if handled != 1 || s.depth() != 0 || (len(all) == 1) != (fail != nil) || len(all) > 1 || fail != nil && all["e1"].Code != "refused" {
							t.Errorf("handled %d times, %d messages left, dead letters %+v; want it handled once, and to be a dead letter only for its error",
								handled, s.depth(), all)
						}
					})
				})
			}
		}
	}
}

// noContext is a context whose methods panic where there is none.
type noContext struct{ context.Context }
