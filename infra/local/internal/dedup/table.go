package dedup

// record is one remembered ID.
type record struct {
	key     Key
	receipt Receipt
	expires int64 // Unix nanoseconds
}

const (
	chunkBits = 9
	chunkSize = 1 << chunkBits
)

// log is the records in order of acceptance. Each has a place: a number that counts up from 1, wraps around after four
// billion, and is never 0. Chunks keep the memory in proportion to what is remembered.
type log struct {
	chunks      []*[chunkSize]record // the first holds the place first
	first, next uint32               // places of the oldest record and of the one to come
}

func (l *log) empty() bool { return l.first == l.next }

func (l *log) at(place uint32) *record {
	chunk := (place>>chunkBits - l.first>>chunkBits) & (1<<(32-chunkBits) - 1)
	return &l.chunks[chunk][place%chunkSize]
}

func (l *log) push(r record) uint32 {
	if l.next == 0 { // 0 marks an empty slot of the table, so this place stays unused
		if l.empty() {
			l.first, l.next = 1, 1
		} else {
			l.append(record{})
		}
	}
	place := l.next
	l.append(r)
	return place
}

func (l *log) append(r record) {
	if l.next%chunkSize == 0 || len(l.chunks) == 0 {
		l.chunks = append(l.chunks, new([chunkSize]record))
	}
	l.next++
	*l.at(l.next - 1) = r
}

// pop drops the oldest record.
func (l *log) pop() {
	l.first++
	if l.first%chunkSize == 0 {
		l.chunks[0] = nil
		l.chunks = l.chunks[1:]
	}
}

const minSlots = 64

// table finds records by key: open addressing with linear probing over places in the log. A slot takes four bytes, and
// at most three quarters of the slots are used.
type table struct {
	slots []uint32 // a power of two; 0 is empty
	used  int
}

func (t *table) mask() uint64 { return uint64(len(t.slots) - 1) }

// find returns the slot of k, or the empty slot where its search ended.
func (t *table) find(k Key, l *log) (slot uint64, found bool) {
	if len(t.slots) == 0 {
		return 0, false
	}
	for slot = k[0] & t.mask(); t.slots[slot] != 0; slot = (slot + 1) & t.mask() {
		if l.at(t.slots[slot]).key == k {
			return slot, true
		}
	}
	return slot, false
}

// add enters the record at place, whose key must not be there.
func (t *table) add(place uint32, l *log) {
	if 4*(t.used+1) > 3*len(t.slots) {
		old := t.slots
		t.slots = make([]uint32, max(minSlots, 2*len(old)))
		for _, p := range old {
			if p != 0 {
				slot, _ := t.find(l.at(p).key, l)
				t.slots[slot] = p
			}
		}
	}
	slot, _ := t.find(l.at(place).key, l)
	t.slots[slot] = place
	t.used++
}

// remove takes out the record at place, if it is in the table.
func (t *table) remove(place uint32, l *log) {
	slot, found := t.find(l.at(place).key, l)
	if !found || t.slots[slot] != place {
		return
	}
	t.used--
	// What stands behind the gap moves into it, unless it stands where its search begins or after.
	gap := slot
	for next := (slot + 1) & t.mask(); t.slots[next] != 0; next = (next + 1) & t.mask() {
		home := l.at(t.slots[next]).key[0] & t.mask()
		if (next-home)&t.mask() >= (next-gap)&t.mask() {
			t.slots[gap] = t.slots[next]
			gap = next
		}
	}
	t.slots[gap] = 0
}
