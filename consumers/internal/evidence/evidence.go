// Package evidence tells whether something shows that a service's handler works, so that an event that goes on failing is to blame itself.
//
// An event that fails with an unknown error may be a bad one, or may have met an outage. Two things tell them apart: another event of its
// type was handled, or the service's check of what it depends on passed. Both count only if they began after the event's first failure and
// ended before an attempt began that failed again: what began before an outage may end in it, and what began in it may end long after it.
//
//	first failure ──── another is handled, or the check passes ──── an attempt begins ──── it fails: Shows
//
// The package has no clock, makes no request and starts no goroutine: it is told the time, and remembers.
package evidence

import (
	"container/list"
	"time"
)

// Bounds of what an Evidence remembers. What is forgotten has no evidence, so that its event waits rather than being given up.
const (
	MaxEvents = 10_000 // that failed
	MaxTypes  = 1_000  // of events that were handled
)

// Evidence remembers when events failed and when others were handled. The zero value has seen nothing. It is not safe for concurrent use.
type Evidence struct {
	failing map[string]*list.Element // of *failing, by ID
	order   list.List                // the longest failing first
	open    map[string]set           // those that nothing is known for yet, by type
	shown   set                      // the others
	handled map[string]time.Time     // when the handler began whose event was handled, by type: the last to begin
}

type failing struct {
	id, eventType string
	first         time.Time // when its first attempt failed
	began         time.Time // when its last attempt did
	shownAt       time.Time // when something first showed since then that the handler works; zero if nothing has
}

type set map[*failing]struct{}

// Failed notes that an attempt at an event failed with an unknown error: it began at began, and ended now. The ID is the message's.
func (e *Evidence) Failed(id, eventType string, began, now time.Time) {
	if at := e.failing[id]; at != nil {
		at.Value.(*failing).began = began
		return
	}
	if e.failing == nil {
		e.failing, e.open, e.shown = map[string]*list.Element{}, map[string]set{}, set{}
	}
	if len(e.failing) == MaxEvents {
		e.Forget(e.order.Front().Value.(*failing).id)
	}
	f := &failing{id: id, eventType: eventType, first: now, began: began}
	e.failing[id] = e.order.PushBack(f)
	e.nothingShown(f)
}

func (e *Evidence) nothingShown(f *failing) {
	delete(e.shown, f)
	f.shownAt = time.Time{}
	if e.open[f.eventType] == nil {
		e.open[f.eventType] = set{}
	}
	e.open[f.eventType][f] = struct{}{}
}

// Handled notes that an event of the type was handled: its attempt began at began, and ended now.
func (e *Evidence) Handled(eventType string, began, now time.Time) {
	e.show(eventType, began, now)
	if e.handled == nil {
		e.handled = map[string]time.Time{}
	}
	if _, there := e.handled[eventType]; !there && len(e.handled) == MaxTypes {
		clear(e.handled)
	}
	if e.handled[eventType].Before(began) {
		e.handled[eventType] = began
	}
}

// Passed notes that the service's check, called at began, has passed now. That counts for every type.
func (e *Evidence) Passed(began, now time.Time) {
	for eventType := range e.open {
		e.show(eventType, began, now)
	}
}

func (e *Evidence) show(eventType string, began, now time.Time) {
	for f := range e.open[eventType] {
		if began.Before(f.first) {
			continue
		}
		f.shownAt = now
		e.shown[f] = struct{}{}
		e.close(f)
	}
}

// close takes an event out of those that nothing is known for.
func (e *Evidence) close(f *failing) {
	delete(e.open[f.eventType], f)
	if len(e.open[f.eventType]) == 0 {
		delete(e.open, f.eventType)
	}
}

// Doubt voids what has been shown so far, of every type: the service's check has failed, or a handler says that a dependency is down. The
// times of first failures stay.
func (e *Evidence) Doubt() {
	for f := range e.shown {
		e.nothingShown(f)
	}
	clear(e.handled)
}

// Forget drops an event that is done with: it was handled, or is a dead letter.
func (e *Evidence) Forget(id string) {
	at := e.failing[id]
	if at == nil {
		return
	}
	f := e.order.Remove(at).(*failing)
	delete(e.failing, id)
	delete(e.shown, f)
	e.close(f)
}

// Shows tells whether the handler was seen to work after the event had failed first, and before the attempt began that failed last.
func (e *Evidence) Shows(id string) bool {
	f := e.find(id)
	return f != nil && !f.shownAt.IsZero() && !f.began.Before(f.shownAt)
}

// Fresh tells whether an event of the same type was handled whose attempt began no earlier than the one that failed last. With a check at hand, it need
// not be asked then.
func (e *Evidence) Fresh(id string) bool {
	f := e.find(id)
	return f != nil && !e.handled[f.eventType].Before(f.began) && !e.handled[f.eventType].IsZero()
}

// First is when the event failed first; ok is false if it is not known to have failed.
func (e *Evidence) First(id string) (at time.Time, ok bool) {
	if f := e.find(id); f != nil {
		return f.first, true
	}
	return time.Time{}, false
}

func (e *Evidence) find(id string) *failing {
	if at := e.failing[id]; at != nil {
		return at.Value.(*failing)
	}
	return nil
}
