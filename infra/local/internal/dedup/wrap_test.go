package dedup

import (
	"strconv"
	"testing"
	"time"
)

// After four billion IDs the places wrap around. Nothing may be lost or found wrongly there.
func TestWindow_SurvivesTheWrapOfItsPlaces(t *testing.T) {
	t.Parallel()
	for _, before := range []uint32{0, 1, 2, 100, 600, chunkSize, 2*chunkSize - 1} {
		w := New()
		w.log.first, w.log.next = -before, -before
		const perSecond, window = 4, 4 * int(Interval/time.Second)
		for i := range 3 * window {
			now := int64(i) * int64(time.Second) / perSecond
			k := w.Key("", strconv.Itoa(i))
			if _, ok := w.Seen(k, now); ok {
				t.Fatalf("%d before: ID %d is known already", before, i)
			}
			w.Remember(k, Receipt{Sequence: uint64(i)}, now)
			for _, back := range []int{0, 1, 7, window / 2, window - 1, window} {
				if back > i {
					break
				}
				got, ok := w.Seen(w.Key("", strconv.Itoa(i-back)), now)
				if ok != (back < window) || ok && got.Sequence != uint64(i-back) {
					t.Fatalf("%d before: at %d the ID %d back: got %v, %t", before, i, back, got, ok)
				}
			}
		}
	}
}
