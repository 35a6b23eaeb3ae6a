package lambda_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/device-fanout/fanout/consumers"
	"github.com/device-fanout/fanout/consumers/lambda"
	"github.com/device-fanout/fanout/events"
	"github.com/device-fanout/fanout/infra/local"
	"github.com/device-fanout/fanout/infra/topology"
)

// outages are what a dependency does while it is down.
var outages = map[string]func(ctx context.Context) error{
	"refused":   func(context.Context) error { return errors.New("dial tcp 10.0.0.7:5432: connect: connection refused") },
	"read-only": func(context.Context) error { return errors.New("cannot execute INSERT in a read-only transaction") },
	"locked": func(ctx context.Context) error {
		select {
		case <-time.After(5 * time.Second):
			return errors.New("database is locked")
		case <-ctx.Done():
			return ctx.Err()
		}
	},
	"slow": func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() },
}

// fleet is a service on Lambda: devices with events, processes that handle them, and a dependency that is down for a while.
type fleet struct {
	kind    string
	outage  time.Duration
	devices int
	each    int           // events of a device
	check   bool          // the service has one
	poison  bool          // one event in twenty can never be handled
	restart time.Duration // how long a process lives; zero for as long as it takes

	began, ends time.Time
	mu          sync.Mutex
	handled     map[string][]string // event IDs by device
	last        time.Time           // when an event was handled last
}

// outageBegins is how long after the beginning the dependency goes down.
const outageBegins = 10 * time.Second

func (f *fleet) depend(ctx context.Context) error {
	if since := time.Since(f.began); since < outageBegins || since >= outageBegins+f.outage {
		return nil
	}
	return outages[f.kind](ctx)
}

func (f *fleet) isPoison(id string) bool {
	var device, n int
	_, err := fmt.Sscanf(id, "device-%d-%d", &device, &n)
	return err == nil && f.poison && (device*7+n*3)%20 == 1
}

func (f *fleet) handle(ctx context.Context, e events.Event) error {
	if err := f.depend(ctx); err != nil {
		return err
	}
	if f.isPoison(e.ID) {
		return fmt.Errorf("%s makes no sense", e.ID)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.handled[e.DeviceID] = append(f.handled[e.DeviceID], e.ID)
	f.last = time.Now()
	return nil
}

// work invokes one process after the other until ctx ends.
func (f *fleet) work(ctx context.Context, s *source, cfg lambda.Config) {
	for ctx.Err() == nil {
		p, until := s.process(f.handle, cfg), time.Now().Add(f.restart)
		for ctx.Err() == nil && (f.restart == 0 || time.Now().Before(until)) {
			p.batch(ctx)
		}
	}
}

// run lets it all happen, and returns the dead letters.
func (f *fleet) run(t *testing.T, cfg lambda.Config, atMost time.Duration) []string {
	s := newSource(t, local.New(local.Options{}))
	s.wait = 20
	s.maxReceives(topology.MinLambdaReceiveCount)
	cfg.MaxReceiveCount = topology.MinLambdaReceiveCount
	f.began, f.handled = time.Now(), map[string][]string{}
	f.ends = f.began.Add(outageBegins + f.outage)
	if f.check {
		cfg.Check = f.depend
	}
	ctx, stop := context.WithCancel(t.Context())
	var working sync.WaitGroup
	for range min(4, f.devices+1) {
		working.Go(func() { f.work(ctx, s, cfg) })
	}
	for n := range f.each { // the first before the outage, the last after it, the others in it
		for d := range f.devices {
			s.send(lamp(fmt.Sprint("device-", d), n))
		}
		switch n {
		case 0:
			time.Sleep(outageBegins + time.Second)
		case f.each - 2:
			time.Sleep(time.Until(f.ends))
		default:
			time.Sleep(time.Second)
		}
	}
	for s.depth() > 0 && time.Since(f.ends) < atMost {
		time.Sleep(time.Second)
	}
	if n := s.depth(); n > 0 {
		t.Errorf("%v after the outage: got %d messages in the queue, want none", atMost, n)
	}
	stop()
	working.Wait()
	var dead []string
	for id := range s.deadLetters() {
		dead = append(dead, id)
	}
	return dead
}

// verify checks that every event was handled once and in order, or is a dead letter because it can't be handled.
func (f *fleet) verify(t *testing.T, dead []string) {
	var poisoned []string
	for d := range f.devices {
		name := fmt.Sprint("device-", d)
		var want []string
		for n := range f.each {
			id := fmt.Sprintf("%s-%d", name, n)
			if f.isPoison(id) {
				poisoned = append(poisoned, id)
				continue
			}
			want = append(want, id)
		}
		if got := f.handled[name]; !slices.Equal(got, want) {
			t.Errorf("%s: handled %q, want %q", name, got, want)
		}
	}
	slices.Sort(dead)
	slices.Sort(poisoned)
	if !slices.Equal(dead, poisoned) {
		t.Errorf("dead letters: got %q, want %q", dead, poisoned)
	}
}

// An outage costs no dead letter and no order, however long it is, however many devices there are, and whatever it is like; all is handled
// within two minutes after it. FANOUT_TEST_OUTAGES=all has the whole table, of which a part is run else. Events that can never be handled are the dead letters, and nothing else is.
func TestOutage(t *testing.T) {
	t.Parallel()
	for _, outage := range []time.Duration{time.Minute, 10 * time.Minute, time.Hour, 4 * time.Hour} {
		for _, devices := range []int{1, 3, 50, 500} {
			for kind := range outages {
				for name, f := range map[string]*fleet{
					"check":           {check: true},
					"check, restarts": {check: true, restart: 75 * time.Second},
					"check, poison":   {check: true, poison: true},
					"no check":        {},
					"poison":          {poison: true},
				} {
					f.kind, f.outage, f.devices, f.each = kind, outage, devices, 3
					if os.Getenv("FANOUT_TEST_OUTAGES") != "all" && f.long(name) {
						continue
					}
					if devices < 50 {
						f.each = 12
					}
					t.Run(fmt.Sprintf("%v/%d devices/%s/%s", outage, devices, kind, name), func(t *testing.T) {
						t.Parallel()
						synctest.Test(t, func(t *testing.T) { checkOutage(t, f) })
					})
				}
			}
		}
	}
}

// long tells whether a row of the table takes long: with all of them it takes minutes.
func (f *fleet) long(name string) bool {
	switch {
	case f.devices == 500:
		return f.kind != "refused" || f.outage > time.Minute || name != "check, poison"
	case f.devices == 50:
		return f.kind != "refused" || f.outage > 10*time.Minute
	case f.kind != "refused":
		return f.outage > 10*time.Minute || f.devices == 1
	}
	return f.poison && !f.check && f.outage > 10*time.Minute
}

func checkOutage(t *testing.T, f *fleet) {
	within, cfg := 2*time.Minute, lambda.Config{}
	if !f.check { // the same up to MaxHold, for which what can't be handled is held
		cfg.MaxHold = max(consumers.DefaultMaxHold, f.outage+3*time.Minute)
	}
	waits := within
	if f.poison {
		waits += 3 * cfg.MaxHold
	}
	f.verify(t, f.run(t, cfg, waits))
	if late := f.last.Sub(f.ends); late > within && !f.poison {
		t.Errorf("handled %v after the outage, want within %v", late, within)
	}
}

// Beyond MaxHold a service without a check loses one event of a device each time, and not all that stand behind it.
func TestOutage_BeyondMaxHold(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const hold = consumers.DefaultMaxHold
		f := &fleet{kind: "refused", outage: 22 * time.Minute, devices: 1, each: 12}
		f.began = time.Now()
		s := newSource(t, local.New(local.Options{}))
		p := s.process(func(ctx context.Context, e events.Event) error {
			if time.Since(f.began) < f.outage {
				return errBroken
			}
			return nil
		}, lambda.Config{})
		for n := range f.each {
			s.send(lamp("hall", n))
		}
		p.run()
		all := s.deadLetters()
		var at []time.Duration
		for n := range len(all) { // the first ones
			at = append(at, all[fmt.Sprintf("hall-%d", n)].FailedAt.Sub(f.began).Round(time.Second))
		}
		if len(at) != 4 {
			t.Errorf("dead letters at %v, want 4 in %v", at, f.outage)
		}
		for i, before := range append([]time.Duration{0}, at...)[:len(at)] {
			if at[i]-before < hold || at[i]-before > hold+10*time.Second {
				t.Errorf("dead letters at %v, want one in %v", at, hold)
			}
		}
	})
}

// A poison event in a quiet system holds its device for seconds if there is a check, and the next one runs.
func TestCheck_PoisonIsFoundAtOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		var l log
		checks := 0
		s := newSource(t, local.New(local.Options{}))
		p := s.process(func(_ context.Context, e events.Event) error {
			if e.ID == "hall-1" {
				return errBroken
			}
			l.add(fmt.Sprintf("%s@%v", e.ID, time.Since(began).Round(time.Second)))
			return nil
		}, lambda.Config{Check: func(context.Context) error { checks++; return nil }})
		s.send(lamp("hall", 1), lamp("hall", 2))
		response, _ := p.batch(t.Context())
		if all := s.deadLetters(); len(all) != 1 || all["hall-1"].Attempts != 8 || all["hall-1"].Class != consumers.Class("exhausted") || checks != 2 {
			t.Errorf("got %+v after %d checks, want hall-1 after eight attempts and two checks", all, checks)
		}
		if got := l.String(); got != "hall-2@2s" || reported(response) != 0 {
			t.Errorf("started: got %q, %d reported, want hall-2 after two seconds, and none", got, reported(response))
		}
	})
}

// Whatever a check does but to pass, the event waits. It is called once a second at most, one call at a time, whatever fails meanwhile.
func TestCheck_Fails(t *testing.T) {
	t.Parallel()
	for name, check := range map[string]func(context.Context) error{
		"error":  func(context.Context) error { return errBroken },
		"panic":  func(context.Context) error { panic("oh") },
		"exit":   func(context.Context) error { runtime.Goexit(); return nil },
		"slow":   func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() },
		"hangs":  func(context.Context) error { time.Sleep(time.Hour); return nil },
		"answer": func(ctx context.Context) error { <-ctx.Done(); return nil }, // too late
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				var mu sync.Mutex
				running, calls := 0, []time.Time{}
				s := newSource(t, local.New(local.Options{}))
				p := s.process(fails(errBroken), lambda.Config{Check: func(ctx context.Context) error {
					mu.Lock()
					running++
					calls = append(calls, time.Now())
					if running > 1 || len(calls) > 1 && time.Since(calls[len(calls)-2]) < time.Second {
						t.Errorf("%d calls at a time, at %v", running, calls)
					}
					mu.Unlock()
					defer func() { mu.Lock(); defer mu.Unlock(); running-- }()
					return check(ctx)
				}})
				for d := range 10 {
					s.send(lamp(fmt.Sprint("device-", d), 1))
				}
				for range 600 {
					p.batch(t.Context())
					time.Sleep(time.Second)
				}
				if all := s.deadLetters(); len(all) != 0 || s.depth() != 10 {
					t.Errorf("got %d dead letters and %d in the queue, want 0 and 10", len(all), s.depth())
				}
				if len(calls) == 0 || len(calls) > 120 {
					t.Errorf("got %d calls", len(calls))
				}
				time.Sleep(time.Hour) // until the last call has ended
			})
		})
	}
}

// What another event shows counts only for what fails again after it, and only if its handler began after the first failure: it may have
// done its work before an outage, and end in it.
func TestEvidence_AnotherEventWasHandled(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		s := newSource(t, local.New(local.Options{}))
		p := s.process(func(_ context.Context, e events.Event) error {
			if e.DeviceID == "hall" {
				return errBroken
			}
			time.Sleep(2 * time.Second)
			return nil
		}, lambda.Config{})
		s.send(lamp("hall", 1), lamp("attic", 1))
		for delivery := range 2 {
			if response, _ := p.batch(t.Context()); reported(response) != 1 {
				t.Errorf("delivery %d: %d reported, want hall-1: attic-1 was begun before it had failed", delivery, reported(response))
			}
			time.Sleep(2 * lambda.DefaultHandBack)
		}
		s.send(lamp("attic", 2))
		p.run()
		record := s.deadLetters()["hall-1"]
		if at := record.FailedAt.Sub(began); record.ReceiveCount < 3 || record.ReceiveCount > 4 || at > time.Minute {
			t.Errorf("got %+v at %v, want hall-1 when attic-2 was handled", record, at)
		}
	})
}

// An attempt that began in an outage may end long after it, when others have been handled: that is no fault of its event.
func TestEvidence_AttemptThatBeganInTheOutage(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		s := newSource(t, local.New(local.Options{}))
		p := s.process(func(ctx context.Context, e events.Event) error {
			switch since := time.Since(began); {
			case e.DeviceID == "attic": // handled when the outage is over
				time.Sleep(2 * time.Second)
			case since < lambda.DefaultHandBack: // the first attempt
				return errBroken
			case since == lambda.DefaultHandBack: // the second
				<-ctx.Done()
				return ctx.Err()
			}
			return nil
		}, lambda.Config{Retries: -1})
		s.send(lamp("hall", 1))
		p.batch(t.Context())
		s.send(lamp("attic", 1))
		time.Sleep(lambda.DefaultHandBack)
		if response, n := p.batch(t.Context()); n != 2 || reported(response) != 1 {
			t.Errorf("batch of %d: %d reported, want 1 of 2", n, reported(response))
		}
		p.run()
		if all := s.deadLetters(); len(all) != 0 || s.depth() != 0 {
			t.Errorf("got dead letters %+v and %d in the queue, want none", all, s.depth())
		}
	})
}

// What was shown before a new outage counts no more: an event that met the one before, and meets this one next, is not to blame.
func TestEvidence_SecondOutage(t *testing.T) {
	t.Parallel()
	for _, check := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			down, ends := false, time.Time{}
			depend := func(context.Context) error {
				if down {
					return errBroken
				}
				return nil
			}
			cfg := lambda.Config{Retries: -1}
			if check {
				cfg.Check = depend
			}
			s := newSource(t, local.New(local.Options{}))
			p := s.process(func(ctx context.Context, e events.Event) error {
				err := depend(ctx)
				switch {
				case err == nil || e.DeviceID == "hall" && ends.IsZero():
				case e.DeviceID == "hall": // the outage ends while it is tried
					time.Sleep(time.Until(ends))
					down = false
				case !check:
					return consumers.Unavailable(err)
				}
				return err
			}, cfg)
			one := func(e events.Event) {
				t.Helper()
				s.send(e)
				if _, n := p.batch(t.Context()); n != 1 {
					t.Errorf("%s: got %d messages, want 1", e.ID, n)
				}
			}
			down = true
			one(lamp("hall", 1)) // the first outage
			down = false
			one(lamp("attic", 1)) // it is over
			down = true
			time.Sleep(lambda.DefaultHandBack / 2)
			one(lamp("attic", 2)) // the second
			time.Sleep(lambda.DefaultHandBack / 2)
			ends = time.Now().Add(time.Second)
			p.batch(t.Context())
			p.run()
			if all := s.deadLetters(); len(all) != 0 || s.depth() != 0 {
				t.Errorf("check %t: got dead letters %+v and %d in the queue, want none", check, all, s.depth())
			}
		})
	}
}

// Unavailable means down at once: what was not started is not, and comes again after a pause, with those behind it.
func TestUnavailable_NothingElseIsStarted(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var l log
		s := newSource(t, local.New(local.Options{}))
		p := s.process(func(_ context.Context, e events.Event) error {
			l.add(e.ID)
			if e.DeviceID == "hall" {
				time.Sleep(time.Second)
				return consumers.Unavailable(errBroken)
			}
			time.Sleep(2 * time.Second)
			return nil
		}, lambda.Config{})
		s.send(lamp("hall", 1), lamp("hall", 2), lamp("attic", 1), lamp("attic", 2), lamp("attic", 3))
		if response, n := p.batch(t.Context()); n != 5 || reported(response) != 4 {
			t.Errorf("batch of %d: %d reported, want all but the one that ran", n, reported(response))
		}
		if got := strings.Fields(l.String()); len(got) != 2 || !slices.Contains(got, "hall-1") || !slices.Contains(got, "attic-1") {
			t.Errorf("started: got %q, want one of each device", got)
		}
		if _, n := p.batch(t.Context()); n != 0 {
			t.Errorf("at once after it: got %d messages, want none", n)
		}
	})
}

// At its last delivery an event is a dead letter with a record rather than one that SQS moves without, whatever its handler says; and it is
// tried, also if others say that a dependency is down.
func TestLastDelivery(t *testing.T) {
	t.Parallel()
	for name, err := range map[string]error{
		"unknown": errBroken, "unavailable": consumers.Unavailable(errBroken), "retry after": consumers.RetryAfter(time.Second, errBroken),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				const most = 5
				var l log
				var told []consumers.Outcome
				s := newSource(t, local.New(local.Options{}))
				s.maxReceives(most)
				p := s.process(func(_ context.Context, e events.Event) error { l.add(e.ID); return err }, lambda.Config{
					Retries: -1, MaxReceiveCount: most, Check: func(context.Context) error { return errBroken },
					Hooks: consumers.Hooks{Handle: func(ctx context.Context, _ consumers.Delivery) (context.Context, func(consumers.Outcome)) {
						return ctx, func(o consumers.Outcome) { told = append(told, o) }
					}},
				})
				s.send(lamp("hall", 1), lamp("hall", 2), lamp("hall", 3))
				p.run()
				all := s.deadLetters()
				if len(all) != 3 || s.depth() != 0 {
					t.Errorf("got %d dead letters and %d in the queue, want 3 and 0", len(all), s.depth())
				}
				for id, r := range all {
					if r.Class != consumers.Class("exhausted") || r.Code != "error" || r.ReceiveCount != most || r.Attempts != 1 {
						t.Errorf("%s: got %+v, want it exhausted at delivery %d, tried once there", id, r, most)
					}
				}
				if got, want := l.String(), "hall-1 hall-1 hall-1 hall-1 hall-1 hall-2 hall-3"; got != want {
					t.Errorf("started: got %q, want %q", got, want)
				}
				if o := told[len(told)-1]; o.Class != consumers.Class("exhausted") || o.Code != "error" {
					t.Errorf("hook: got %+v, want the class and code of the record", o)
				}
			})
		})
	}
}
