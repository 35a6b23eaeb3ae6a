package consumers_test

import (
	"context"
	"fmt"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"github.com/device-fanout/fanout/consumers"
	"github.com/device-fanout/fanout/consumers/deadletter"
	"github.com/device-fanout/fanout/consumers/history"
	"github.com/device-fanout/fanout/consumers/state"
	"github.com/device-fanout/fanout/events"
	"github.com/device-fanout/fanout/events/device"
)

// doorbell is an event of a type that no program here has registered, and its payload.
func doorbell(id string) (body, data string) {
	data = `{ "button":"front", "presses":1.50 }`
	return fmt.Sprintf(`{"specversion":"1.0","id":%q,"source":"x","subject":"d1","time":"2026-01-01T00:00:00Z","type":"acme.doorbell.pressed.v3","data":%s}`, id, data), data
}

// Services that keep events as they are take a type that their program does not know; a typed one refuses it as ever.
func TestUnknownTypes(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	keeper, err := history.Open(ctx, filepath.Join(t.TempDir(), "history.db"), history.Config{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = keeper.Close() })
	latest, err := state.Open(ctx, filepath.Join(t.TempDir(), "state.db"), state.Config{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = latest.Close() })
	var typed, withRaw consumers.Mux
	consumers.On(&typed, func(context.Context, events.Event, device.MotionChanged) error { return nil })
	consumers.On(&withRaw, func(context.Context, events.Event, events.Raw) error { return nil })

	for name, test := range map[string]struct {
		handle   consumers.Handler
		takes    bool
		code     string // of the dead letter, if there is to be one
		attempts int
		handled  string // the one event that a Mux has handled
		kept     func() (eventType, data string, err error)
	}{
		"history": {handle: keeper.Handle, takes: keeper.UnknownTypes(), kept: func() (string, string, error) {
			row, err := keeper.Find(ctx, "e1")
			if err == nil {
				var event events.Event
				if event, err = row.Event(); event.Type() != row.Type {
					err = fmt.Errorf("event of the row: got %+v, %w", event, err)
				}
			}
			return row.Type, string(row.Data), err
		}},
		"state": {handle: latest.Handle, takes: latest.UnknownTypes(), kept: func() (string, string, error) {
			rows, err := latest.Device(ctx, "d1")
			if len(rows) != 2 {
				return "", "", fmt.Errorf("got %+v, %w, want a row for each type", rows, err)
			}
			return rows[0].Type, string(rows[0].Data), err
		}},
		"typed":             {handle: typed.Dispatch, code: "unknown_type", handled: "e2"},
		"typed, by mistake": {handle: typed.Dispatch, takes: true, code: "unknown_type", attempts: 1, handled: "e2"},
		"raw":               {handle: withRaw.Dispatch, takes: true, code: "no_handler", attempts: 1, handled: "e1"},
	} {
		story := func(t *testing.T) {
			b := newBench(t)
			body, data := doorbell("e1")
			b.sendBody("d1", "e1", "acme.doorbell.pressed.v3", body)
			b.send(motion("d1", "e2"))
			var j journal
			c, stop := b.start(b.api, func(ctx context.Context, e events.Event) error {
				err := test.handle(ctx, e)
				if err == nil {
					j.add(e.ID)
				}
				return err
			}, consumers.Config{UnknownTypes: test.takes, WaitTime: time.Second})
			for b.depth("test.fifo") > 0 {
				time.Sleep(time.Millisecond) // nothing tells when a queue has become empty
			}
			stop()
			deadLetters := b.deadLetters()
			if test.kept != nil {
				if eventType, kept, err := test.kept(); err != nil || eventType != "acme.doorbell.pressed.v3" || kept != data {
					t.Errorf("kept: got %s, %s, %v, want type and data as they came", eventType, kept, err)
				}
				if len(deadLetters) != 0 || c.Stats().Handled != 2 {
					t.Errorf("got %+v and dead letters %+v, want both events handled", c.Stats(), deadLetters)
				}
				return
			}
			if len(deadLetters) != 1 || deadLetters[0].Record.Code != test.code || deadLetters[0].Record.Class != deadletter.Known || deadLetters[0].Record.Attempts != test.attempts {
				t.Errorf("dead letters: got %+v, want one with code %s", deadLetters, test.code)
			}
			j.want(t, test.handled)
		}
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if test.kept != nil { // a database works by the real clock
				story(t)
			} else {
				synctest.Test(t, story)
			}
		})
	}
}

// The last delivery parks the device beforehand by what the event says, also of a type that is not known.
func TestUnknownTypes_LastDelivery(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		b.maxReceives(1)
		body, _ := doorbell("e1")
		b.sendBody("d1", "e1", "acme.doorbell.pressed.v3", body)
		store := newStore()
		var during string // read after the consumer has ended
		_, stop := b.start(b.api, func(ctx context.Context, _ events.Event) error {
			found, err := store.Find(ctx, "test", "d1")
			if err == nil && len(found) == 1 {
				during = found[0].Cause.EventID
			}
			return err
		}, consumers.Config{UnknownTypes: true, GroupPolicy: consumers.Park, Parking: store, WaitTime: time.Second})
		time.Sleep(2 * time.Second)
		stop()
		if found, err := store.Find(t.Context(), "test", "d1"); during != "e1" || len(found) != 0 || err != nil {
			t.Errorf("parked for %q during the handler, %+v after it (%v), want for e1, and nothing after", during, found, err)
		}
	})
}
