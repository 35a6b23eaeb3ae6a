package push

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/device-fanout/fanout/events"
)

// What a client remembers of a past that is ahead is bounded, in number and in time.
func TestAudience_RemembersLittlePerClient(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a := newAudience(1, 10)
		c := &client{}
		if err := a.enter(c, choice{}); err != nil {
			t.Fatal(err)
		}
		scanned, given := map[uint64]struct{}{}, []uint64{}
		var last events.Event
		for n := range maxResumed {
			last = events.Event{Source: "/a", DeviceID: "hall", ID: fmt.Sprint(n)}
			key := a.key(last)
			scanned[key] = struct{}{}
			given = append(given, key)
		}
		if _, ok := a.catchUp(c, scanned, given); !ok || len(c.ahead) != maxAhead {
			t.Errorf("got %d, %t, want the last %d", len(c.ahead), ok, maxAhead)
		}
		if _, known := c.ahead[a.key(last)]; !known {
			t.Error("the last one is not known")
		}
		time.Sleep(aheadFor - time.Second)
		if a.tidy(c); len(c.ahead) == 0 {
			t.Error("forgotten early")
		}
		time.Sleep(2 * time.Second)
		if a.tidy(c); len(c.ahead) > 0 {
			t.Errorf("%d are remembered for ever", len(c.ahead))
		}
		a.leave(c)
	})
}

// What was handled here before the client had it from the past is not ahead: nothing has to be remembered of it.
func TestAudience_RemembersNothingOfWhatWasHandledHere(t *testing.T) {
	t.Parallel()
	a := newAudience(1, 10)
	c := &client{}
	if err := a.enter(c, choice{}); err != nil {
		t.Fatal(err)
	}
	defer a.leave(c)
	scanned, given := map[uint64]struct{}{}, []uint64{}
	for n := range 6 {
		e := events.Event{Source: "/a", DeviceID: "hall", ID: fmt.Sprint(n)}
		scanned[a.key(e)] = struct{}{}
		given = append(given, a.key(e))
		if n < 5 {
			a.hear(e)
		}
	}
	if missed, ok := a.catchUp(c, scanned, given); !ok || len(missed) > 0 || len(c.ahead) != 1 {
		t.Errorf("got %d missed, %t, and %d ahead, want none and one", len(missed), ok, len(c.ahead))
	}
}

// After a reset clients hear nothing any more, whatever they were about: else the last event that they have would be one behind the gap.
func TestAudience_ResetMutes(t *testing.T) {
	t.Parallel()
	a := newAudience(2, 10)
	listening, resuming := &client{}, &client{}
	for _, c := range []*client{listening, resuming} {
		if err := a.enter(c, choice{}); err != nil {
			t.Fatal(err)
		}
		defer a.leave(c)
	}
	a.listen(listening)
	if clients := a.reset(); len(clients) != 2 {
		t.Errorf("got %d clients to tell, want both", len(clients))
	}
	a.catchUp(resuming, nil, nil)
	if listeners, _ := a.hear(events.Event{Source: "/a", DeviceID: "hall", ID: "1"}); len(listeners) != 0 {
		t.Errorf("%d clients hear what comes after, want none", len(listeners))
	}
}
