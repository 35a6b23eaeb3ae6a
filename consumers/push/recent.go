package push

import "github.com/device-fanout/fanout/events"

// recent holds the last events, in the order in which they were handled. It grows to its size and stays there.
type recent struct {
	max    int
	events []events.Event
	next   int    // where the next one goes, once it is full
	before string // ID of the one before the oldest, if there was any
}

func (r *recent) add(event events.Event) {
	if len(r.events) < r.max {
		r.events = append(r.events, event)
		return
	}
	if r.max > 0 {
		r.before = r.events[r.next].ID
		r.events[r.next] = event
		r.next = (r.next + 1) % r.max
	}
}

// all returns the events, the oldest first.
func (r *recent) all() []events.Event {
	return append(append(make([]events.Event, 0, len(r.events)), r.events[r.next:]...), r.events[:r.next]...)
}

// after returns the events after the one with that ID, and whether that is here. If it was delivered twice, they are
// those after the first time: what lies between the two may not have been sent yet.
func (r *recent) after(id string) ([]events.Event, bool) {
	all := r.all()
	for i, event := range all {
		if event.ID == id {
			return all[i+1:], true
		}
	}
	return nil, false
}
