package producer

import (
	"cmp"
	"slices"
	"time"
)

// acceptanceTimes knows how old the oldest unresolved event is, to a tenth of a second, at a cost that does not depend on how many
// there are: it counts them by the tenth of a second in which they were accepted. The tenths are those of their sequences, and the times have
// a monotonic reading, so that no step of the host's clock makes an event older or younger.
type acceptanceTimes struct{ counts []timeCount }

type timeCount struct {
	tenth int64 // since 1970
	count int
	since time.Time // when the first of them was accepted
}

const tenth = int64(100 * time.Millisecond)

// add counts an event by its sequence, which are nanoseconds since 1970. They mostly come in rising order.
func (a *acceptanceTimes) add(sequence int64, accepted time.Time) {
	at := sequence / tenth
	if n := len(a.counts); n > 0 && a.counts[n-1].tenth == at {
		a.counts[n-1].count++
		return
	}
	i, found := a.find(at)
	if !found {
		a.counts = slices.Insert(a.counts, i, timeCount{tenth: at, since: accepted})
	}
	a.counts[i].count++
}

// remove takes an event out. One that is not known, because its record was damaged, counts as one of the oldest.
func (a *acceptanceTimes) remove(sequence int64) {
	i, found := a.find(sequence / tenth)
	if len(a.counts) == 0 {
		return
	}
	if !found {
		i = 0
	}
	if a.counts[i].count--; a.counts[i].count > 0 {
		return
	}
	if i == 0 { // mostly; moving all others would cost
		a.counts = a.counts[1:]
		return
	}
	a.counts = slices.Delete(a.counts, i, i+1)
}

func (a *acceptanceTimes) find(at int64) (int, bool) {
	return slices.BinarySearchFunc(a.counts, at, func(c timeCount, at int64) int { return cmp.Compare(c.tenth, at) })
}

// of is when an event was accepted. One that is not known counts as one of the oldest.
func (a *acceptanceTimes) of(sequence int64) time.Time {
	if i, found := a.find(sequence / tenth); found {
		return a.counts[i].since
	}
	return a.oldest()
}

// oldest is when the oldest was accepted; the zero time when there is none.
func (a *acceptanceTimes) oldest() time.Time {
	if len(a.counts) == 0 {
		return time.Time{}
	}
	return a.counts[0].since
}

// recovered is when an event of an earlier process was accepted, as far as the host's clock tells now.
func recovered(now time.Time, sequence int64) time.Time {
	return now.Add(-max(0, time.Duration(now.UnixNano()-sequence)))
}
