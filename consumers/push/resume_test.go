package push_test

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/coder/websocket"

	"github.com/device-fanout/fanout/consumers/push"
	"github.com/device-fanout/fanout/events"
)

// past is a history that a test fills. Whoever reads it may wait at the gate.
type past struct {
	mu     sync.Mutex
	events []events.Event
	gate   chan struct{} // nil does not hold up
	early  int           // how many events earlier it begins, as history does for devices that are handled side by side
}

func (p *past) record(all ...events.Event) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.events = append(p.events, all...)
}

func (p *past) Since(_ context.Context, after events.Identity) iter.Seq2[events.Event, error] {
	return func(yield func(events.Event, error) bool) {
		p.mu.Lock()
		all := append([]events.Event(nil), p.events...)
		p.mu.Unlock()
		for i, e := range all {
			if e.ID != after.ID || after.Subject != "" && after != e.Identity() {
				continue
			}
			for _, e := range all[max(0, i-p.early):] { // with the event itself, as it may
				if !yield(e, nil) {
					return
				}
				if p.gate != nil {
					<-p.gate
				}
			}
			return
		}
		yield(events.Event{}, errors.New("no such event"))
	}
}

func TestService_ResumesFromWhatItRemembers(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := start(t, push.Config{})
		for n := range 6 {
			b.handle(event("hall", n), event("attic", n))
		}
		for query, want := range map[string]string{
			"?after=hall-3":                               "attic-3 hall-4 attic-4 hall-5 attic-5 hall-6",
			"?after=hall-3&device=hall":                   "hall-4 hall-5 hall-6",
			"?after=attic-5&device=hall":                  "hall-6",
			"?after=attic-5&device=attic":                 "attic-6",
			"?after=attic-4&type=device.power.changed.v1": "hall-5 attic-5 hall-6",
		} {
			c := b.connect(query)
			defer func() {
				if got := c.all(len(strings.Fields(want))); got != want {
					t.Errorf("%s: got %q, want %q", query, got, want)
				}
			}()
		}
		b.handle(event("hall", 6), event("attic", 6))
	})
}

// lagging starts a service that remembers four events of eight, 4 to 7, over a past that has 0 to 5.
func lagging(t *testing.T, gate chan struct{}) (*bench, *past) {
	t.Helper()
	p := &past{gate: gate}
	b := start(t, push.Config{Recent: 4, Past: p})
	for n := range 8 {
		b.handle(event("hall", n))
	}
	for n := range 6 {
		p.record(event("hall", n))
	}
	return b, p
}

// A client comes back after so long that the service remembers nothing of it. The history lags: it has not yet recorded
// what the service has handled last, and some of it both have. Everything must come, each once, in order per device.
func TestService_ResumesThroughThePast(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b, p := lagging(t, make(chan struct{}))
		c := b.connect("?after=hall-1")
		b.handle(event("hall", 8)) // while the past is being sent
		go func() {
			for range 4 {
				p.gate <- struct{}{}
			}
			synctest.Wait()
			close(p.gate)
		}()
		got := c.all(4)
		b.handle(event("hall", 9))
		got += " " + c.all(5)
		if want := "hall-1 hall-2 hall-3 hall-4 hall-5 hall-6 hall-7 hall-8 hall-9"; got != want {
			t.Errorf("events: got %q, want %q", got, want)
		}
	})
}

// What the past has and the service remembers too comes once.
func TestResume_OverlapOfPastAndMemoryComesOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b, _ := lagging(t, nil)
		c := b.connect("?after=hall-1")
		got := c.all(7)
		b.handle(event("hall", 8))
		got += " " + c.next()
		if want := "hall-1 hall-2 hall-3 hall-4 hall-5 hall-6 hall-7 hall-8"; got != want {
			t.Errorf("events: got %q, want %q", got, want)
		}
	})
}

// Live, and from what is remembered, an event of a type that the program does not know is what came through the queue; from the past it is
// what that has kept.
func TestService_UnknownTypeIsSentAsItStands(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		live := event("hall", 1)
		live.Data = events.Raw{Type: "acme.bell.v1", Schema: "https://acme.example/bell.json", JSON: []byte(`{"rung": true}`)}
		kept := live
		kept.Data = events.Raw{Type: "acme.bell.v1", JSON: []byte(`{"rung": true}`)}
		p := &past{}
		p.record(event("hall", 0), kept)
		b := start(t, push.Config{Past: p})
		read := func(c client, want events.Event) {
			t.Helper()
			_, message, err := c.Read(t.Context())
			body, encoded := events.Encode(want)
			if err != nil || encoded != nil || string(message) != string(body) {
				t.Errorf("got %s, %v, want %s, %v", message, err, body, encoded)
			}
		}
		resumed := b.connect("?after=hall-0")
		if got := resumed.next(); got != "hall-0" {
			t.Fatalf("first: got %q, want what the past begins with", got)
		}
		read(resumed, kept)
		watching := b.connect("")
		b.handle(event("hall", 0), live)
		if got := watching.next(); got != "hall-0" {
			t.Fatalf("live: got %q, want the event before it", got)
		}
		read(watching, live)
		read(b.connect("?after=hall-0"), live)
	})
}

func TestService_ChoiceMayChangeWhileResuming(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := &past{gate: make(chan struct{})}
		b := start(t, push.Config{Past: p})
		p.record(event("hall", 0), event("hall", 1), event("attic", 1), event("hall", 2))
		c := b.connect("?after=hall-0&device=hall")
		if got, want := c.next(), "hall-0"; got != want {
			t.Fatalf("first: got %q, want %q", got, want)
		}
		c.send(`{"devices":["attic"]}`)
		close(p.gate)
		if got, want := c.next(), "attic-1"; got != want {
			t.Errorf("then: got %q, want %q", got, want)
		}
		synctest.Wait()
		b.handle(event("hall", 3), event("attic", 2))
		if got, want := c.next(), "attic-2"; got != want {
			t.Errorf("live: got %q, want %q", got, want)
		}
	})
}

func TestService_SaysWhenThereIsNoWayOn(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		past   push.Past
		reason string
	}{
		"no past":      {nil, `event "hall-1" is not among the last 2`},
		"unknown":      {&past{}, `no way on from event "hall-1"`},
		"too long ago": {tooMany{}, "too many events since then"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				b := start(t, push.Config{Recent: 2, Past: test.past})
				for n := range 5 {
					b.handle(event("hall", n))
				}
				_, end := b.connect("?after=hall-1").ended()
				if end.Code != push.StatusCannotResume || end.Reason != test.reason {
					t.Errorf("end: got %d %q, want %d %q", end.Code, end.Reason, push.StatusCannotResume, test.reason)
				}
				if c := b.connect(""); b.Stats().Clients != 1 {
					t.Errorf("clients: got %d, want the new one only", b.Stats().Clients)
				} else if b.handle(event("hall", 5)); c.next() != "hall-5" {
					t.Error("without after: got no event, want it live")
				}
			})
		})
	}
}

// tooMany has events without end.
type tooMany struct{}

func (tooMany) Since(context.Context, events.Identity) iter.Seq2[events.Event, error] {
	return func(yield func(events.Event, error) bool) {
		for n := 0; yield(event("hall", n), nil); n++ { //nolint:revive // until nobody wants more
		}
	}
}

// A client that resumes and reads nothing must not keep the service from closing.
func TestService_ClosesWhileResuming(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := &past{}
		for n := range 100 {
			p.record(event("hall", n))
		}
		b := start(t, push.Config{Past: p})
		b.connect("?after=hall-0")
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
		defer cancel()
		if err := b.Close(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Close: got %v, want the client cut off", err)
		}
	})
}

// Whatever happens while clients come back, each gets every event from where it was, in order per device, none left out.
func TestService_ResumeLeavesNothingOut(t *testing.T) {
	t.Parallel()
	const devices, each = 4, 300
	p := &past{early: devices} // the others of a round may be handled in another order than they are recorded in
	service := push.New(push.Config{Recent: 50, Buffer: devices * each, Past: p})
	url := serve(t, service)
	started := make(chan struct{})
	var group sync.WaitGroup
	group.Go(func() {
		for n := range each {
			var round sync.WaitGroup // so that no device is far ahead
			for d := range devices {
				round.Go(func() {
					e := event(fmt.Sprintf("device-%d", d), n)
					p.record(e)
					if err := service.Handle(t.Context(), e); err != nil {
						t.Error(err)
					}
				})
			}
			round.Wait()
			if n == 10 {
				close(started)
			}
		}
	})
	<-started
	for range 6 {
		group.Go(func() {
			seen, after := make(map[string]int), "device-0-5"
			for reconnect := 0; len(seen) < devices || least(seen) < each-1; reconnect++ {
				conn, _, err := websocket.Dial(t.Context(), url+"/ws?after="+after, nil)
				if err != nil {
					t.Error(err)
					return
				}
				for read := 0; read < 40+reconnect && (len(seen) < devices || least(seen) < each-1); read++ {
					_, message, err := conn.Read(t.Context())
					if err != nil {
						t.Error(err)
						break
					}
					e, err := events.Decode(message)
					if err != nil {
						t.Error(err)
						break
					}
					var n int
					_, _ = fmt.Sscanf(e.Sequence, "%d", &n)
					last, known := seen[e.DeviceID]
					if known && n > last+1 {
						t.Errorf("%s: got %d after %d", e.DeviceID, n, last)
					}
					seen[e.DeviceID], after = max(last, n), e.ID
				}
				_ = conn.CloseNow()
			}
		})
	}
	group.Wait()
}

func least(seen map[string]int) int {
	n := 1 << 30
	for _, v := range seen {
		n = min(n, v)
	}
	return n
}

// The past may be ahead of what was handled here, as after the service was down: what a client has got from it does not come again.
func TestResume_FromAPastThatIsAhead(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := &past{}
		b := start(t, push.Config{Past: p})
		for n := range 5 {
			p.record(event("hall", n))
		}
		c := b.connect("?after=hall-1")
		got := c.all(4) // with the one that it knows
		b.handle(event("hall", 2), event("hall", 3), event("hall", 4), event("hall", 5), event("hall", 4))
		got += " " + c.all(2) // the last was delivered twice
		if want := "hall-1 hall-2 hall-3 hall-4 hall-5 hall-4"; got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	})
}

// Where the past ends before what is remembered here begins, nobody has what lies between: the client is told, rather than left without.
func TestResume_FromAPastThatLagsTooFar(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := &past{}
		b := start(t, push.Config{Recent: 4, Past: p})
		for n := range 10 {
			b.handle(event("hall", n))
		}
		for n := range 3 {
			p.record(event("hall", n))
		}
		if _, end := b.connect("?after=hall-1").ended(); end.Code != push.StatusCannotResume {
			t.Errorf("end: got %d %q, want %d", end.Code, end.Reason, push.StatusCannotResume)
		}
		for n := 3; n < 6; n++ { // it catches up; the oldest that is remembered is hall-6
			p.record(event("hall", n))
		}
		c := b.connect("?after=hall-1")
		if got, want := c.all(9), "hall-1 hall-2 hall-3 hall-4 hall-5 hall-6 hall-7 hall-8 hall-9"; got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	})
}
