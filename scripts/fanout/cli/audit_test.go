package cli

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/device-fanout/fanout/consumers"
	"github.com/device-fanout/fanout/events"
	"github.com/device-fanout/fanout/events/device"
)

// world is an audit of two services, of which one wants only motion.
type world struct {
	*audit
	all, motion consumers.Handler
	broken      error // what handlers answer
}

func newWorld() *world {
	w := &world{audit: newAudit()}
	handle := func(context.Context, events.Event) error { return w.broken }
	w.all = w.watch("all", func(string) bool { return true }, handle)
	w.motion = w.watch("motion", func(eventType string) bool { return eventType == "device.motion.changed.v1" }, handle)
	return w
}

func (w *world) publish(t *testing.T, all ...events.Event) {
	t.Helper()
	for _, e := range all {
		w.in(e)
		w.confirmed(e.Identity())
	}
}

func deliver(handle consumers.Handler, all ...events.Event) error {
	var err error
	for _, e := range all {
		err = errors.Join(err, handle(context.Background(), e))
	}
	return err
}

// moved makes the nth event of a device.
func moved(deviceID string, n int) events.Event {
	e := events.New(deviceID, device.MotionChanged{Detected: n%2 == 0})
	e.ID = fmt.Sprintf("%s-%d", deviceID, n)
	return e
}

// check compares the findings of a service: handled, order violations, and the IDs that are missing.
func (w *world) check(t *testing.T, service string, handled, violations int64, missing ...string) {
	t.Helper()
	f := w.findings()[service]
	var ids []string
	for _, id := range f.missing {
		ids = append(ids, id.ID)
	}
	if f.handled != handled || f.violations != violations || !slices.Equal(ids, missing) {
		t.Errorf("%s: got %+v, want %d handled, %d violations, %q missing", service, f, handled, violations, missing)
	}
	if got := w.handledBy(service); got != handled {
		t.Errorf("handled by %s: got %d, want %d", service, got, handled)
	}
}

func TestAudit_AllInOrder(t *testing.T) {
	t.Parallel()
	w := newWorld()
	a1, b1, a2, b2 := moved("a", 1), moved("b", 1), moved("a", 2), moved("b", 2)
	w.publish(t, a1, b1, a2, b2)
	if err := errors.Join(deliver(w.all, b1, b2, a1, a2), deliver(w.motion, a1, b1, a2, b2)); err != nil { // devices are independent
		t.Fatal(err)
	}
	w.check(t, "all", 4, 0)
	w.check(t, "motion", 4, 0)
	if w.lastHandled().IsZero() || w.quantile(0.5) <= 0 {
		t.Errorf("last handled %v, median latency %v, want both", w.lastHandled(), w.quantile(0.5))
	}
}

func TestAudit_SwappedPairIsAViolation(t *testing.T) {
	t.Parallel()
	w := newWorld()
	all := []events.Event{moved("a", 1), moved("a", 2), moved("a", 3), moved("b", 1)}
	w.publish(t, all...)
	if err := errors.Join(deliver(w.all, all[0], all[2], all[1], all[3]), deliver(w.motion, all...)); err != nil {
		t.Fatal(err)
	}
	w.check(t, "all", 4, 1)
	w.check(t, "motion", 4, 0)
}

func TestAudit_MissingEventIsLost(t *testing.T) {
	t.Parallel()
	w := newWorld()
	a1, a2, a3 := moved("a", 1), moved("a", 2), moved("a", 3)
	dark := events.New("a", device.IlluminanceMeasured{Lux: 1})
	w.publish(t, a1, a2, dark, a3)
	if err := errors.Join(deliver(w.all, a1, a3, dark), deliver(w.motion, a2, a3)); err != nil {
		t.Fatal(err)
	}
	w.check(t, "all", 3, 1, "a-2") // dark came after a3
	w.check(t, "motion", 2, 0, "a-1")
}

func TestAudit_DuplicateIsNeitherViolationNorLoss(t *testing.T) {
	t.Parallel()
	w := newWorld()
	a1, a2 := moved("a", 1), moved("a", 2)
	w.publish(t, a1, a2, a1) // the source says one event twice
	if err := errors.Join(deliver(w.all, a1, a2, a1, a2), deliver(w.motion, a1, a1, a2)); err != nil {
		t.Fatal(err)
	}
	w.check(t, "all", 2, 0)
	w.check(t, "motion", 2, 0)
}

func TestAudit_SourcesAndDevicesMayNumberAlike(t *testing.T) {
	t.Parallel()
	w := newWorld()
	var all []events.Event
	for n := range 3 {
		for _, from := range []events.Identity{{Source: "/a", Subject: "one"}, {Source: "/a", Subject: "two"}, {Source: "/b", Subject: "two"}} {
			e := moved(from.Subject, n)
			e.ID, e.Source = strconv.Itoa(n+1), from.Source
			all = append(all, e)
		}
	}
	w.publish(t, all...)
	if err := errors.Join(deliver(w.all, all[:8]...), deliver(w.motion, all...)); err != nil {
		t.Fatal(err)
	}
	w.check(t, "all", 8, 0, "3")
	w.check(t, "motion", 9, 0)
}

func TestAudit_FailedHandlerHasNotHandled(t *testing.T) {
	t.Parallel()
	w := newWorld()
	a1, a2 := moved("a", 1), moved("a", 2)
	w.publish(t, a1, a2)
	w.broken = errors.New("database is full")
	if err := deliver(w.all, a1); !errors.Is(err, w.broken) {
		t.Errorf("error: got %v, want that of the handler", err)
	}
	w.check(t, "all", 0, 0, "a-1", "a-2")
	w.broken = nil
	if err := deliver(w.all, a1, a2); err != nil {
		t.Fatal(err)
	}
	w.check(t, "all", 2, 0)
}

func TestAudit_OnlyWhatTheTopicHasConfirmedCanBeLost(t *testing.T) {
	t.Parallel()
	w := newWorld()
	refused, unconfirmed, kept := moved("a", 1), moved("a", 2), moved("a", 3)
	w.in(refused)()
	w.in(unconfirmed)
	w.in(kept)
	w.confirmed(kept.Identity())
	w.in(kept)() // the same event once more, and refused: the first is none the worse
	w.check(t, "all", 0, 0, "a-3")
	w.confirmed(events.Identity{ID: "nobody's"}) // of another publisher
	if err := deliver(w.all, moved("other", 1), unconfirmed, kept); err != nil {
		t.Fatal(err)
	}
	w.check(t, "all", 3, 0)
}

func TestSummary_Verdict(t *testing.T) {
	t.Parallel()
	trouble := errors.New("topic is gone")
	for _, test := range []struct {
		sum  summary
		code int
		text string
	}{
		{summary{In: 3, Published: 3}, exitOK, ""},
		{summary{Rejected: 1}, exitRejected, ""},
		{summary{Rejected: 1, Lost: 2}, exitLost, "2 events were lost, 0 came out of order"},
		{summary{OrderViolations: 1}, exitLost, "0 events were lost, 1 came out of order"},
		{summary{Failed: 4, lastError: trouble}, exitLost, "4 events were not confirmed, the last because of: topic is gone"},
		{summary{Waiting: 5, Rejected: 1}, exitFailed, "5 events waited in their queues"},
		{summary{lastError: trouble}, exitFailed, "topic is gone"},
	} {
		err := test.sum.failure()
		if got := exitCodeOf(err); got != test.code || test.text != "" && (err == nil || !strings.Contains(err.Error(), test.text)) {
			t.Errorf("failure of %+v: got code %d, %v, want %d, %q", test.sum, got, err, test.code, test.text)
		}
	}
}

func TestHistogram_QuantilesAreRightToWithinTwoPercent(t *testing.T) {
	t.Parallel()
	random := rand.New(rand.NewPCG(3, 4))
	for name, draw := range map[string]func() time.Duration{
		"short":  func() time.Duration { return time.Duration(5000 + random.IntN(100_000)) },
		"wide":   func() time.Duration { return time.Duration(math.Exp(7+20*random.Float64())) + 2*time.Microsecond },
		"hours":  func() time.Duration { return time.Duration(1+random.IntN(100)) * time.Hour },
		"single": func() time.Duration { return 42 * time.Millisecond },
	} {
		var h histogram
		var all []time.Duration
		for range 5000 {
			d := draw()
			all = append(all, d)
			h.add(d)
		}
		slices.Sort(all)
		for _, q := range []float64{0.01, 0.5, 0.9, 0.99, 1} {
			want := all[int(math.Ceil(q*float64(len(all))))-1]
			if got := h.quantile(q); math.Abs(float64(got)/float64(want)-1) > 0.02 {
				t.Errorf("%s: quantile %v: got %v, want %v", name, q, got, want)
			}
		}
	}
	var h histogram
	if got := h.quantile(0.5); got != 0 {
		t.Errorf("quantile of nothing: got %v, want 0", got)
	}
	h.add(-time.Second) // a clock that was set back
	h.add(0)
	h.add(math.MaxInt64)
	if low, high := h.quantile(0.5), h.quantile(1); low > 2*time.Microsecond || high < 24*time.Hour || h.count != 3 {
		t.Errorf("extremes: got %v and %v of %d, want them in the outer buckets", low, high, h.count)
	}
}
