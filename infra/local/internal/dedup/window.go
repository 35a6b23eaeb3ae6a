// Package dedup remembers deduplication IDs for five minutes, as SNS and SQS FIFO do.
//
// An ID is remembered from the moment it is first accepted. Seeing it again does not prolong that, and neither
// receiving nor deleting the message shortens it.
package dedup

import (
	"hash/maphash"
	"time"
)

// Interval is how long an accepted deduplication ID is remembered.
const Interval = 5 * time.Minute

// Receipt is what the first acceptance answered, and what every duplicate is answered with.
type Receipt struct {
	MessageID [16]byte
	Sequence  uint64
}

// Window holds the IDs that were accepted in the last [Interval]. The zero value is not usable, see [New].
// It is not safe for concurrent use: its owner's lock guards it.
//
// An ID is kept as a 128-bit keyed hash, so a window holds no pointers to speak of: a million remembered IDs cost the
// garbage collector nothing and pin no request in memory. Each takes about 60 bytes.
type Window struct {
	seeds [2]maphash.Seed
	log   log
	table table
}

// Key names an ID within a scope: the message group, or "" when the ID counts for the whole queue or topic.
type Key [2]uint64

// New makes an empty window.
func New() *Window {
	return &Window{seeds: [2]maphash.Seed{maphash.MakeSeed(), maphash.MakeSeed()}}
}

// Key computes the key of id in scope.
func (w *Window) Key(scope, id string) Key {
	var k Key
	var h maphash.Hash
	for i := range w.seeds {
		h.SetSeed(w.seeds[i])
		_, _ = h.WriteString(scope)
		_ = h.WriteByte(0) // no legal scope contains it
		_, _ = h.WriteString(id)
		k[i] = h.Sum64()
	}
	return k
}

// Seen returns what the first acceptance of k answered, if it is still remembered at now (Unix nanoseconds).
func (w *Window) Seen(k Key, now int64) (Receipt, bool) {
	w.forget(now)
	slot, found := w.table.find(k, &w.log)
	if !found {
		return Receipt{}, false
	}
	return w.log.at(w.table.slots[slot]).receipt, true
}

// Remember notes that k was accepted at now (Unix nanoseconds) and what was answered.
// It must follow a [Window.Seen] that found nothing.
func (w *Window) Remember(k Key, r Receipt, now int64) {
	place := w.log.push(record{key: k, receipt: r, expires: now + int64(Interval)})
	w.table.add(place, &w.log)
}

// Clear forgets everything, as a purge does.
func (w *Window) Clear() { w.log, w.table = log{}, table{} }

// Len is the number of IDs remembered at now.
func (w *Window) Len(now int64) int {
	w.forget(now)
	return w.table.used
}

// forget drops what has expired: IDs expire in the order in which they were accepted.
func (w *Window) forget(now int64) {
	for !w.log.empty() {
		if w.log.at(w.log.first).expires > now {
			return
		}
		w.table.remove(w.log.first, &w.log)
		w.log.pop()
	}
	if w.table.used == 0 && len(w.table.slots) > minSlots { // a burst has passed: give its memory back
		w.Clear()
	}
}
