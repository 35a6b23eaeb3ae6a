package push

import "github.com/device-fanout/fanout/events"

// recent holds the last events, in the order in which they were handled. It grows to its size and stays there.
type recent struct {
	max    int
	events []events.Event
	next   int             // where the next one goes, once it is full
	before events.Identity // of the one before the oldest; zero if there was none
}

func (r *recent) add(event events.Event) {
	if len(r.events) < r.max {
		r.events = append(r.events, event)
		return
	}
	if r.max > 0 {
		r.before = r.events[r.next].Identity()
		r.events[r.next] = event
		r.next = (r.next + 1) % r.max
	}
}

// all returns the events, the oldest first.
func (r *recent) all() []events.Event {
	return append(append(make([]events.Event, 0, len(r.events)), r.events[r.next:]...), r.events[:r.next]...)
}

// after returns the events after that one, and whether that is here. If it was delivered twice, or is any of several, they are
// those after the first: what lies between the two may not have been sent yet.
func (r *recent) after(one events.Identity) ([]events.Event, bool) {
	all := r.all()
	if matches(r.before, one) {
		return all, true
	}
	for i, event := range all {
		if matches(event.Identity(), one) {
			return all[i+1:], true
		}
	}
	return nil, false
}

// matches tells whether an event is the one, whose subject and source may be empty for any.
func matches(event, one events.Identity) bool {
	return event.ID == one.ID && (one.Subject == "" || one.Subject == event.Subject) && (one.Source == "" || one.Source == event.Source)
}
