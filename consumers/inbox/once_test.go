package inbox_test

import (
	"context"
	"database/sql"
	"errors"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/device-fanout/fanout/consumers"
	"github.com/device-fanout/fanout/consumers/database/databasetest"
	"github.com/device-fanout/fanout/consumers/inbox"
	"github.com/device-fanout/fanout/consumers/inbox/inboxtest"
	"github.com/device-fanout/fanout/events"
	"github.com/device-fanout/fanout/events/device"
)

func TestMemory(t *testing.T) {
	t.Parallel()
	inboxtest.Claims(t, func(*testing.T) inbox.Claims { return new(inbox.Memory) })
	inboxtest.Marks(t, func(*testing.T) inbox.Marks { return new(inbox.Memory) })
}

func TestSQL(t *testing.T) {
	t.Parallel()
	databasetest.Each(t, func(t *testing.T, target string) {
		inboxtest.Claims(t, func(t *testing.T) inbox.Claims { return inbox.NewSQL(openSQL(t, target)) })
		inboxtest.Marks(t, func(t *testing.T) inbox.Marks { return inbox.NewSQL(openSQL(t, target)) })
	})
}

// openSQL opens the database by plain database/sql, with empty tables.
func openSQL(t *testing.T, target string) *sql.DB {
	t.Helper()
	driver, dialect := "pgx", inbox.Postgres
	if path, ok := strings.CutPrefix(target, "sqlite:"); ok {
		driver, dialect, target = "sqlite", inbox.SQLite, "file:"+path+"?_pragma=busy_timeout(5000)&_pragma=journal_mode(WAL)"
	}
	db, err := sql.Open(driver, target)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	tx, err := db.BeginTx(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer tx.Rollback() //nolint:errcheck // nothing to roll back after the commit
	if err := inbox.Create(t.Context(), tx, dialect); err != nil {
		t.Fatal(err)
	}
	for _, table := range []string{"inbox", "inbox_marks"} {
		if _, err := tx.ExecContext(t.Context(), "DELETE FROM "+table); err != nil {
			t.Fatal(err)
		}
	}
	if err := tx.Commit(); err != nil {
		t.Fatal(err)
	}
	return db
}

func lamp(id string, at time.Time) events.Event {
	return events.Event{ID: id, DeviceID: "hall", Time: at, Data: device.PowerChanged{On: true}}
}

func TestOnce_CallsTheHandlerUntilItSucceeds(t *testing.T) {
	t.Parallel()
	calls, failure := 0, errors.New("the other service is down")
	handle := inbox.Once(new(inbox.Memory), "billing", 0, func(context.Context, events.Event) error {
		if calls++; calls < 3 {
			return failure
		}
		return nil
	})
	for i, want := range []error{failure, failure, nil, nil, nil} {
		if err := handle(t.Context(), lamp("a", time.Now())); !errors.Is(err, want) {
			t.Errorf("delivery %d: got %v, want %v", i, err, want)
		}
	}
	if calls != 3 {
		t.Errorf("calls: got %d, want 3", calls)
	}
}

func TestOnce_ReleasesAfterAPanic(t *testing.T) {
	t.Parallel()
	calls := 0
	handle := inbox.Once(new(inbox.Memory), "billing", 0, func(context.Context, events.Event) error {
		if calls++; calls == 1 {
			panic("oh")
		}
		return nil
	})
	func() {
		defer func() {
			if recover() == nil {
				t.Error("panic: got none, want the handler's")
			}
		}()
		_ = handle(t.Context(), lamp("a", time.Now()))
	}()
	if err := handle(t.Context(), lamp("a", time.Now())); err != nil || calls != 2 {
		t.Errorf("second delivery: got %v and %d calls, want it handled by the second", err, calls)
	}
}

// Two consumers have the event at once, as after a lost lease. One must not run it while the other does, and must not
// say that it was handled either.
func TestOnce_NotWhileItIsInProgressElsewhere(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		claims := new(inbox.Memory)
		running, calls := 0, 0
		handle := inbox.Once(claims, "billing", 10*time.Second, func(ctx context.Context, _ events.Event) error {
			calls++
			if running++; running > 1 {
				t.Error("handlers at once: got 2, want 1")
			}
			defer func() { running-- }()
			<-ctx.Done() // hangs, but minds its context
			return ctx.Err()
		})
		var group sync.WaitGroup
		group.Go(func() { _ = handle(t.Context(), lamp("a", time.Now())) })
		synctest.Wait()
		var later *consumers.RetryAfterError // anything else would end in the dead-letter queue
		if err := handle(t.Context(), lamp("a", time.Now())); !errors.Is(err, inbox.ErrInProgress) || !errors.As(err, &later) {
			t.Errorf("second consumer: got %v, want %v to be tried again later", err, inbox.ErrInProgress)
		}
		time.Sleep(10 * time.Second) // the claim ends, and the first one's context with it
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := handle(ctx, lamp("a", time.Now())); !errors.Is(err, context.DeadlineExceeded) || calls != 2 {
			t.Errorf("after the lease: got %v and %d calls, want the handler to be called again", err, calls)
		}
		group.Wait()
	})
}

// A process died while it handled the event. The event is still there when the claim has ended: few deliveries were used up
// by waiting for that, however long the lease is.
func TestOnce_ClaimOfADeadProcessCostsFewDeliveries(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ lease, lasts time.Duration }{
		{0, inbox.DefaultLease}, {5 * time.Second, 5 * time.Second}, {5 * time.Minute, 5 * time.Minute}, {4 * time.Hour, 4 * time.Hour},
	} {
		t.Run(test.lease.String(), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				claims := new(inbox.Memory)
				if _, err := claims.Claim(t.Context(), inbox.Key{Service: "billing", Event: lamp("a", time.Time{}).Identity()}, "dead", test.lasts); err != nil {
					t.Fatal(err)
				}
				handle := inbox.Once(claims, "billing", test.lease, func(context.Context, events.Event) error { return nil })
				deliveries := 0
				for {
					deliveries++
					err := handle(t.Context(), lamp("a", time.Now()))
					if err == nil {
						break
					}
					var later *consumers.RetryAfterError
					if !errors.As(err, &later) || later.Delay < 10*time.Second {
						t.Fatalf("delivery %d: got %v, want it to be tried again after ten seconds or more", deliveries, err)
					}
					time.Sleep(later.Delay)
				}
				if deliveries > 3 {
					t.Errorf("deliveries: got %d, want at most 3", deliveries)
				}
			})
		})
	}
}

// faulty fails to finish for the first times.
type faulty struct {
	inbox.Memory
	failures int
}

func (f *faulty) Finish(ctx context.Context, key inbox.Key) error {
	if f.failures--; f.failures >= 0 {
		return errors.New("store is down")
	}
	return f.Memory.Finish(ctx, key)
}

func TestOnce_TriesToFinishForAWhile(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		for _, test := range []struct {
			failures int
			done     bool
		}{{3, true}, {1000, false}} {
			claims := &faulty{failures: test.failures}
			calls := 0
			ctx, stop := context.WithCancel(t.Context())
			handle := inbox.Once(claims, "billing", 0, func(context.Context, events.Event) error {
				calls++
				stop() // the consumer stops: what was done must be remembered all the same
				return nil
			})
			if err := handle(ctx, lamp("a", time.Now())); (err == nil) != test.done {
				t.Errorf("%d failures: got %v, want done %t", test.failures, err, test.done)
			}
			err := handle(t.Context(), lamp("a", time.Now()))
			if test.done && err != nil || !test.done && !errors.Is(err, inbox.ErrInProgress) || calls != 1 {
				t.Errorf("%d failures, again: got %v and %d calls, want no second call before the lease ends", test.failures, err, calls)
			}
		}
	})
}

func TestOnce_AndNewest(t *testing.T) {
	t.Parallel()
	store := new(inbox.Memory)
	var got []string
	handle := inbox.Once(store, "state", 0, inbox.Newest(store, "state", func(_ context.Context, e events.Event) error {
		got = append(got, e.ID)
		return nil
	}))
	now := time.Now()
	for _, e := range []events.Event{lamp("b", now), lamp("a", now.Add(-time.Hour)), lamp("b", now), lamp("c", now.Add(time.Hour))} {
		if err := handle(t.Context(), e); err != nil {
			t.Fatal(err)
		}
	}
	if got, want := strings.Join(got, " "), "b c"; got != want {
		t.Errorf("handled: got %q, want %q", got, want)
	}
	state, err := store.Claim(t.Context(), inbox.Key{Service: "state", Event: lamp("a", time.Time{}).Identity()}, "me", time.Minute)
	if err != nil || state != inbox.Done {
		t.Errorf("the stale event: got %q, %v, want it recorded as done", state, err)
	}
}

func TestOnce_WantsNames(t *testing.T) {
	t.Parallel()
	never := func(context.Context, events.Event) error { panic("called") }
	for _, test := range []struct{ service, eventID, want string }{
		{"", "a", "service is empty"},
		{"billing", "", "event ID of an event for service \"billing\" is empty"},
	} {
		err := inbox.Once(new(inbox.Memory), test.service, 0, never)(t.Context(), lamp(test.eventID, time.Now()))
		if err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("Once(%q), event %q: got %v, want %q", test.service, test.eventID, err, test.want)
		}
	}
}

// Texts of few letters, which would be alike if they were only put one behind another.
func TestKey_TextTellsApart(t *testing.T) {
	t.Parallel()
	seen := map[string]events.Identity{}
	words := []string{"a", "b", "a b", "b a", `"a`, `a"`, `"a b"`, `"a" b`, `\"a`, ""}
	for _, id := range words {
		for _, device := range words {
			for _, source := range words {
				identity := events.Identity{Source: source, Subject: device, ID: id}
				text := inbox.Key{Event: identity}.Text()
				if other, ok := seen[text]; ok {
					t.Fatalf("%v and %v have the same text, %s", identity, other, text)
				}
				seen[text] = identity
			}
		}
	}
	rapid.Check(t, func(r *rapid.T) {
		part := rapid.StringMatching(`[a "\\]{1,4}`)
		draw := func(name string) events.Identity {
			return events.Identity{ID: part.Draw(r, name+" ID"), Subject: part.Draw(r, name+" device"), Source: part.Draw(r, name+" source")}
		}
		a, b := draw("a"), draw("b")
		if x, y := (inbox.Key{Event: a}).Text(), (inbox.Key{Event: b}).Text(); (a == b) != (x == y) {
			r.Fatalf("texts of %v and %v: %s and %s", a, b, x, y)
		}
	})
	if got, want := (inbox.Key{Service: "x", Event: events.Identity{ID: "17", Subject: "lamp-7", Source: "/gateways/home-1"}}).Text(), "17 lamp-7 /gateways/home-1"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}
