package dedup_test

import (
	"strconv"
	"testing"
	"time"

	"github.com/device-fanout/fanout/infra/local/internal/dedup"
)

func TestWindow_RemembersFiveMinutesFromTheFirstAcceptance(t *testing.T) {
	t.Parallel()
	w := dedup.New()
	const start = int64(1)
	k := w.Key("", "id")
	if _, ok := w.Seen(k, start); ok {
		t.Fatal("an empty window has seen it")
	}
	want := dedup.Receipt{MessageID: [16]byte{1}, Sequence: 7}
	w.Remember(k, want, start)
	for _, c := range []struct {
		at   time.Duration
		want bool
	}{{0, true}, {time.Minute, true}, {dedup.Interval - 1, true}, {dedup.Interval, false}} {
		got, ok := w.Seen(k, start+int64(c.at))
		if ok != c.want || ok && got != want {
			t.Errorf("after %v: got %v, %t, want %v, %t", c.at, got, ok, want, c.want)
		}
	}
}

func TestWindow_KeepsScopesApart(t *testing.T) {
	t.Parallel()
	w := dedup.New()
	w.Remember(w.Key("a", "bc"), dedup.Receipt{}, 1)
	for _, other := range [][2]string{{"ab", "c"}, {"", "abc"}, {"b", "bc"}, {"a", "b"}} {
		if _, ok := w.Seen(w.Key(other[0], other[1]), 1); ok {
			t.Errorf("%q is taken for a known ID", other)
		}
	}
	w.Clear()
	if _, ok := w.Seen(w.Key("a", "bc"), 1); ok {
		t.Error("the ID is known after a clear")
	}
}

// Ten IDs a second for an hour: at any time the last five minutes are known, and no more.
func TestWindow_SlidesOverManyIDs(t *testing.T) {
	t.Parallel()
	w := dedup.New()
	const perSecond, window = 10, 10 * int(dedup.Interval/time.Second)
	for i := range 3600 * perSecond {
		now := int64(i) * int64(time.Second) / perSecond
		k := w.Key("", strconv.Itoa(i))
		if _, ok := w.Seen(k, now); ok {
			t.Fatalf("ID %d is known already", i)
		}
		w.Remember(k, dedup.Receipt{Sequence: uint64(i)}, now)
		for _, back := range []int{0, 1, window - 1, window} {
			if i-back < 0 {
				continue
			}
			got, ok := w.Seen(w.Key("", strconv.Itoa(i-back)), now)
			if ok != (back < window) || ok && got.Sequence != uint64(i-back) {
				t.Fatalf("at %d the ID %d back: got %v, %t", i, back, got, ok)
			}
		}
	}
	if got := w.Len(3600 * int64(time.Second)); got != window-1 {
		t.Errorf("%d IDs are known, want %d", got, window-1)
	}
	if got := w.Len(4600 * int64(time.Second)); got != 0 {
		t.Errorf("%d IDs are known at the end, want 0", got)
	}
}
