package cli

import (
	"cmp"
	"context"
	"math"
	"slices"
	"sync"
	"time"

	"github.com/device-fanout/fanout/consumers"
	"github.com/device-fanout/fanout/events"
)

// audit watches a whole run from outside: which events went in, in which order, and which came out where. It asks neither the
// producer nor the consumers for their own counts. Its memory grows with the number of events.
type audit struct {
	mu       sync.Mutex
	services []*auditedService
	events   map[events.Identity]*auditedEvent
	order    uint32 // of the last event that went in
	latency  histogram
	last     time.Time // when an event was last handled
}

type auditedEvent struct {
	order     uint32 // place among all events that went in; 0 for one that others have published
	in        time.Time
	confirmed bool
	expected  uint64 // services that the event is for, as bits
	handled   uint64 // services that have handled it, as bits
}

type auditedService struct {
	name       string
	wants      func(eventType string) bool
	handled    int64             // distinct events
	violations int64             // events handled for the first time after a later one of their device
	last       map[string]uint32 // by device: order of the latest event handled
}

func newAudit() *audit { return &audit{events: map[events.Identity]*auditedEvent{}} }

// in notes an event that is about to be published. A second one of the same identity is the same event. The returned func takes the
// event back if it was not accepted.
func (a *audit) in(e events.Event) (withdraw func()) {
	a.mu.Lock()
	defer a.mu.Unlock()
	id := e.Identity()
	if a.events[id] != nil {
		return func() {}
	}
	a.order++
	entry := &auditedEvent{order: a.order, in: time.Now()}
	for i, s := range a.services {
		if s.wants(e.Type()) {
			entry.expected |= 1 << i
		}
	}
	a.events[id] = entry
	return func() {
		a.mu.Lock()
		defer a.mu.Unlock()
		if !entry.confirmed && entry.handled == 0 {
			delete(a.events, id)
		}
	}
}

// confirmed notes that the topic has an event.
func (a *audit) confirmed(id events.Identity) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if entry := a.events[id]; entry != nil {
		entry.confirmed = true
	}
}

// watch wraps a service's handler. Call it before the first event.
func (a *audit) watch(name string, wants func(string) bool, handle consumers.Handler) consumers.Handler {
	bit := uint64(1) << len(a.services)
	s := &auditedService{name: name, wants: wants, last: map[string]uint32{}}
	a.services = append(a.services, s)
	return func(ctx context.Context, e events.Event) error {
		started := time.Now()
		if err := handle(ctx, e); err != nil {
			return err
		}
		a.mu.Lock()
		defer a.mu.Unlock()
		id := e.Identity()
		entry := a.events[id]
		if entry == nil {
			entry = &auditedEvent{}
			a.events[id] = entry
		}
		if entry.handled&bit != 0 {
			return nil
		}
		entry.handled |= bit
		s.handled++
		a.last = time.Now()
		if entry.order == 0 {
			return nil
		}
		a.latency.add(started.Sub(entry.in))
		if entry.order < s.last[e.DeviceID] {
			s.violations++
		}
		s.last[e.DeviceID] = max(s.last[e.DeviceID], entry.order)
		return nil
	}
}

// finding is what an audit has found for one service.
type finding struct {
	handled, violations int64
	missing             []events.Identity // confirmed events that the service should have handled and has not
}

func (a *audit) findings() map[string]finding {
	a.mu.Lock()
	defer a.mu.Unlock()
	found := map[string]finding{}
	for i, s := range a.services {
		f := finding{handled: s.handled, violations: s.violations}
		for id, e := range a.events {
			if bit := uint64(1) << i; e.confirmed && e.expected&bit != 0 && e.handled&bit == 0 {
				f.missing = append(f.missing, id)
			}
		}
		slices.SortFunc(f.missing, func(x, y events.Identity) int {
			return cmp.Or(cmp.Compare(x.ID, y.ID), cmp.Compare(x.Subject, y.Subject), cmp.Compare(x.Source, y.Source))
		})
		found[s.name] = f
	}
	return found
}

// handledBy is the number of distinct events that a service has handled so far.
func (a *audit) handledBy(service string) int64 {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, s := range a.services {
		if s.name == service {
			return s.handled
		}
	}
	return 0
}

// lastHandled is when an event was handled last, or zero.
func (a *audit) lastHandled() time.Time {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.last
}

func (a *audit) quantile(q float64) time.Duration {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.latency.quantile(q)
}

// histogram counts durations in buckets that grow by 2 %, so that a quantile is right to within 2 %.
type histogram struct {
	buckets [1400]int64 // from 1 µs to beyond a week
	count   int64
}

const bucketGrowth = 1.02

func (h *histogram) add(d time.Duration) {
	i := 0
	if us := float64(d) / float64(time.Microsecond); us > 1 {
		i = min(int(math.Log(us)/math.Log(bucketGrowth)), len(h.buckets)-1)
	}
	h.buckets[i]++
	h.count++
}

func (h *histogram) quantile(q float64) time.Duration {
	rank := int64(math.Ceil(q * float64(h.count)))
	seen := int64(0)
	for i, n := range h.buckets {
		if seen += n; n > 0 && seen >= rank {
			return time.Duration(math.Pow(bucketGrowth, float64(i)+0.5) * float64(time.Microsecond))
		}
	}
	return 0
}
