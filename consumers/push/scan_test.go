package push_test

import (
	"context"
	"fmt"
	"iter"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/coder/websocket"

	"github.com/device-fanout/fanout/consumers/push"
	"github.com/device-fanout/fanout/events"
	"github.com/device-fanout/fanout/internal/logtest"
)

// numbered makes an event of a device that numbers its events, as others do.
func numbered(source, device string, n int) events.Event {
	e := event(device, n)
	e.Source, e.ID = source, fmt.Sprint(n)
	return e
}

// seen reads n events and returns their devices and IDs.
func (c client) seen(n int) string {
	c.t.Helper()
	all := make([]string, n)
	for i := range all {
		_, message, err := c.Read(c.t.Context())
		if err != nil {
			c.t.Fatalf("read, after %q: %v", all[:i], err)
		}
		e, err := events.Decode(message)
		if err != nil {
			c.t.Fatal(err)
		}
		all[i] = strings.TrimPrefix(e.Source, "/gateways/") + "/" + e.DeviceID + "/" + e.ID
	}
	return strings.Join(all, " ")
}

// Devices and gateways that use the same IDs are not taken for one another: not when a client goes on, and not when the past is ahead.
func TestResume_KnowsEventsByTheirIdentity(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var all []events.Event
		for n := range 3 {
			for _, of := range [][2]string{{"/gateways/a", "hall"}, {"/gateways/a", "attic"}, {"/gateways/b", "hall"}} {
				all = append(all, numbered(of[0], of[1], n))
			}
		}
		b := start(t, push.Config{})
		b.handle(all...)
		for query, want := range map[string]string{
			"?after=1&after_device=hall&after_source=/gateways/b":  "a/hall/2 a/attic/2 b/hall/2",
			"?after=1&after_device=attic&after_source=/gateways/a": "b/hall/1 a/hall/2 a/attic/2 b/hall/2",
			"?after=1&after_device=attic":                          "b/hall/1 a/hall/2 a/attic/2 b/hall/2",
			"?after=1":                                             "a/attic/1 b/hall/1 a/hall/2 a/attic/2 b/hall/2", // nothing is missed
		} {
			if got := b.connect(query).seen(len(strings.Fields(want))); got != want {
				t.Errorf("%s: got %q, want %q", query, got, want)
			}
		}
	})
	synctest.Test(t, func(t *testing.T) {
		p := &past{}
		b := start(t, push.Config{Past: p})
		p.record(numbered("/gateways/a", "hall", 0), numbered("/gateways/a", "hall", 1))
		c := b.connect("?after=0&after_device=hall&after_source=/gateways/a")
		got := c.seen(2)
		b.handle(numbered("/gateways/b", "hall", 1), numbered("/gateways/a", "attic", 1), numbered("/gateways/a", "hall", 1), numbered("/gateways/a", "hall", 2))
		got += " " + c.seen(3)
		if want := "a/hall/0 a/hall/1 b/hall/1 a/attic/1 a/hall/2"; got != want {
			t.Errorf("a past that is ahead: got %q, want %q", got, want)
		}
	})
}

// counted is a past that counts who reads it, and makes them wait for the gate.
type counted struct {
	past
	gate             chan struct{}
	now, most, scans atomic.Int64
}

func (p *counted) Since(ctx context.Context, after events.Identity) iter.Seq2[events.Event, error] {
	return func(yield func(events.Event, error) bool) {
		p.scans.Add(1)
		defer p.now.Add(-1)
		if now := p.now.Add(1); now > p.most.Load() {
			p.most.Store(now)
		}
		select {
		case <-p.gate:
		case <-ctx.Done():
			yield(events.Event{}, ctx.Err())
			return
		}
		p.past.Since(ctx, after)(yield)
	}
}

// After a restart all clients come at once. A few go through the past at a time, and those that go on after the same event together.
func TestResume_ManyAtOnceTakeTurnsAndShare(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := &counted{gate: make(chan struct{})}
		b := start(t, push.Config{Past: p})
		var first []events.Event
		for n := range 60 {
			first = append(first, event("hall", n))
		}
		p.record(first...)
		var clients []client
		for n := range 40 {
			clients = append(clients, b.connect(fmt.Sprintf("?after=hall-%d", n)))
		}
		for range 40 {
			clients = append(clients, b.connect("?after=hall-50"))
		}
		close(p.gate)
		for i, c := range clients {
			from := min(i, 50)
			if i >= 40 {
				from = 50
			}
			for n := from; n < 60; n++ {
				if got, want := c.next(), fmt.Sprintf("hall-%d", n); got != want {
					t.Fatalf("client %d: got %q, want %q", i, got, want)
				}
			}
		}
		b.handle(event("hall", 60))
		for i, c := range clients {
			if got := c.next(); got != "hall-60" {
				t.Errorf("client %d, live: got %q", i, got)
			}
		}
		if got := p.most.Load(); got != 4 {
			t.Errorf("%d scans at once, want 4", got)
		}
		if got := p.scans.Load(); got != 41 {
			t.Errorf("%d scans, want 41: one for all that go on after the same event", got)
		}
	})
}

// A client that does not read holds up the others of its scan for a moment only.
func TestResume_ASlowClientLetsTheOthersGo(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := &counted{gate: make(chan struct{})}
		b := start(t, push.Config{Past: p})
		for n := range 1000 {
			p.record(event("hall", n))
		}
		for range 4 { // all turns are taken, so that the next two share one
			b.connect("?after=hall-999&device=x")
		}
		slow, quick, now := b.connect("?after=hall-0"), b.connect("?after=hall-0"), b.connect("?after=hall-0")
		trickle := make(chan int, 1)
		go func() { // always soon enough for the deadline of a write
			n := 0
			for ; ; n++ {
				time.Sleep(push.DefaultWriteTimeout / 2)
				if _, _, err := now.Read(t.Context()); err != nil {
					break
				}
			}
			trickle <- n
		}()
		close(p.gate)
		begin := time.Now()
		for n := range 1000 {
			if got, want := quick.next(), fmt.Sprintf("hall-%d", n); got != want {
				t.Fatalf("got %q, want %q", got, want)
			}
		}
		if took := time.Since(begin); took > 2*push.DefaultWriteTimeout {
			t.Errorf("the other took %v", took)
		}
		if got := p.scans.Load(); got != 5 {
			t.Errorf("%d scans, want 5: all three share one", got)
		}
		if before, _ := slow.ended(); before > 400 {
			t.Errorf("the slow one got %d events, want its connection ended", before)
		}
		if got := <-trickle; got > 400 {
			t.Errorf("the one that reads now and then got %d events, want its connection ended", got)
		}
	})
}

// A scan that never ends does not keep its turn.
func TestResume_AScanHasAnEnd(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := &counted{gate: make(chan struct{})}
		b := start(t, push.Config{Past: p})
		begin := time.Now()
		if _, end := b.connect("?after=hall-0").ended(); time.Since(begin) > 2*time.Minute || end.Code != websocket.StatusPolicyViolation || !strings.Contains(end.Reason, "go on after the last event") {
			t.Errorf("got %d %q after %v, want 1008 after a minute: go on after the last event", end.Code, end.Reason, time.Since(begin))
		}
	})
}

// Changes of a choice cost everybody a moment: who sends many is read more slowly, and what it chose last holds.
func TestService_ChoicesAreLimited(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := start(t, push.Config{})
		c := b.connect("?device=attic")
		begin := time.Now()
		for n := range 120 {
			c.send(fmt.Sprintf(`{"devices":["room-%d"]}`, n))
		}
		if took := time.Since(begin); took < 15*time.Second {
			t.Errorf("120 choices were taken within %v, want 20 at once and then 5 a second", took)
		}
		time.Sleep(time.Second)
		b.handle(event("room-118", 1), event("room-119", 1))
		if got := c.next(); got != "room-119-1" {
			t.Errorf("got %q, want the device chosen last", got)
		}
	})
}

// Who tries tokens is slowed down and logged; who has the right one is not.
func TestHandler_SlowsDownWrongTokens(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const token = "0123456789abcdef"
		var log logtest.Log
		b := start(t, push.Config{Token: token, Logger: log.Logger()})
		dial := func(token string) int {
			conn, response, err := websocket.Dial(t.Context(), "ws://push/ws", &websocket.DialOptions{HTTPClient: b.http, HTTPHeader: http.Header{"Authorization": {"Bearer " + token}}})
			if err == nil {
				_ = conn.CloseNow()
			}
			return response.StatusCode
		}
		begin := time.Now()
		for range 20 {
			if got := dial("guess"); got != http.StatusUnauthorized {
				t.Errorf("got %d, want 401", got)
			}
		}
		if took := time.Since(begin); took < 5*time.Second {
			t.Errorf("20 guesses took %v, want some seconds", took)
		}
		begin = time.Now()
		if got := dial(token); got != http.StatusSwitchingProtocols || time.Since(begin) > 0 {
			t.Errorf("the right one: got %d after %v, want 101 at once", got, time.Since(begin))
		}
		if got := log.Count("login refused"); got < 1 || got > 3 {
			t.Errorf("%d lines about it in the log, want one every ten seconds", got)
		}
	})
}
