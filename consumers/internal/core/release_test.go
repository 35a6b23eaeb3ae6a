package core

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/device-fanout/fanout/consumers/parking"
)

// Releases of parked devices, as package parking makes them, without trouble of their own: one step every now and then.

// releaseParked begins the release of every device that is parked.
func (w *world) releaseParked(id string) {
	if w.within(w.story.storeDown) {
		return
	}
	for _, device := range slices.Sorted(maps.Keys(w.store.devices)) {
		d := w.store.devices[device]
		if d.State != parking.Parked {
			continue
		}
		d.State, d.Release, d.Until = parking.Releasing, id, cmp.Or(d.Last, d.Cause.MessageID)
		d.Version++
		w.store.devices[device] = d
		w.tellf("release %s of %s begins, until %s", id, device, d.Until)
		r := &releasing{w: w, id: id, device: device, returned: map[string]bool{}}
		w.after(time.Second, r.step)
	}
}

// releasing is a release under way.
type releasing struct {
	w        *world
	id       string
	device   string
	returned map[string]bool // messages that it has sent, by the ID that they have in the queue now
	looks    int
}

// step sends one dead letter back, or the end mark.
func (r *releasing) step() {
	w := r.w
	if w.within(w.story.storeDown) {
		w.after(time.Second, r.step)
		return
	}
	d := w.store.devices[r.device]
	if d.Release != r.id {
		return
	}
	for i, event := range w.queue.buried {
		if fmt.Sprint("d", w.story.events[event].device) != r.device {
			continue
		}
		at := slices.IndexFunc(w.queue.copies[event], func(c copied) bool { return !r.returned[c.id] })
		if at < 0 {
			continue
		}
		c := w.queue.copies[event][at]
		w.queue.copies[event] = slices.Delete(w.queue.copies[event], at, at+1)
		w.queue.buried = slices.Delete(w.queue.buried, i, i+1)
		w.tellf("release %s sends e%d back", r.id, event)
		r.returned[fmt.Sprint("m", len(w.queue.entries))] = true
		w.queue.send(event, w.story.events[event].device, r.id)
		if c.id == d.Until {
			r.found()
		} else {
			w.after(300*time.Millisecond, r.step)
		}
		return
	}
	if d.Until != "" { // it is on its way, or is missing
		if r.looks++; r.looks < 3 {
			w.after(time.Second, r.step)
			return
		}
		r.found()
		return
	}
	r.mark()
}

// found records that the last message was sent, or is missing.
func (r *releasing) found() {
	d := r.w.store.devices[r.device]
	d.Until = ""
	d.Version++
	r.w.store.devices[r.device] = d
	r.w.after(time.Second, r.mark)
}

// mark sends the end mark.
func (r *releasing) mark() {
	w := r.w
	w.tellf("release %s of %s sends its end mark", r.id, r.device)
	w.queue.send(-1, int(r.device[1]-'0'), r.id)
}
