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
// An ID is kept as a 128-bit keyed hash, so a window holds no pointers: a million remembered IDs cost the garbage
// collector nothing and pin no request in memory.
type Window struct {
	seeds  [2]maphash.Seed
	places map[key]uint32 // position in records of each remembered ID, counted from the start of time
	// records is a ring in order of acceptance, which is also the order of expiry.
	records []record
	first   uint32 // position of the oldest record, counted from the start of time (wraps around)
	used    uint32
}

type key [2]uint64

type record struct {
	key     key
	receipt Receipt
	expires int64 // Unix nanoseconds
}

// New makes an empty window.
func New() *Window {
	return &Window{
		seeds:  [2]maphash.Seed{maphash.MakeSeed(), maphash.MakeSeed()},
		places: make(map[key]uint32),
	}
}

// Key names an ID within a scope: the message group, or "" when the ID counts for the whole queue or topic.
type Key key

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
	place, ok := w.places[key(k)]
	if !ok {
		return Receipt{}, false
	}
	return w.at(place).receipt, true
}

// Remember notes that k was accepted at now (Unix nanoseconds) and what was answered.
// It must follow a [Window.Seen] that found nothing.
func (w *Window) Remember(k Key, r Receipt, now int64) {
	if int(w.used) == len(w.records) {
		w.grow()
	}
	place := w.first + w.used
	w.used++
	*w.at(place) = record{key: key(k), receipt: r, expires: now + int64(Interval)}
	w.places[key(k)] = place
}

// Clear forgets everything, as a purge does.
func (w *Window) Clear() {
	w.places = make(map[key]uint32)
	w.records, w.first, w.used = nil, 0, 0
}

// Len is the number of IDs remembered at now.
func (w *Window) Len(now int64) int {
	w.forget(now)
	return int(w.used)
}

func (w *Window) forget(now int64) {
	for w.used > 0 {
		oldest := w.at(w.first)
		if oldest.expires > now {
			return
		}
		delete(w.places, oldest.key)
		w.first++
		w.used--
	}
	if len(w.records) > minRecords { // a burst has passed: give its memory back
		w.Clear()
	}
}

const minRecords = 64 // a power of two, as every length of records is

func (w *Window) at(place uint32) *record { return &w.records[place&uint32(len(w.records)-1)] }

func (w *Window) grow() {
	bigger := make([]record, max(minRecords, 2*len(w.records)))
	for i := range w.used {
		bigger[(w.first+i)&uint32(len(bigger)-1)] = *w.at(w.first + i)
	}
	w.records = bigger
}
