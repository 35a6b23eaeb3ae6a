package producer

import (
	"cmp"
	"slices"
	"time"
)

// acceptanceTimes knows how old the oldest unresolved event is, to a tenth of a second, at a cost that does not depend on how many
// there are: it counts them by the tenth of a second in which they were accepted.
type acceptanceTimes struct{ counts []timeCount }

type timeCount struct {
	tenth int64 // since 1970
	count int
}

const tenth = int64(100 * time.Millisecond)

// add counts an event by its sequence, which are nanoseconds since 1970. They mostly come in rising order.
func (a *acceptanceTimes) add(sequence int64) {
	at := sequence / tenth
	if n := len(a.counts); n > 0 && a.counts[n-1].tenth == at {
		a.counts[n-1].count++
		return
	}
	i, found := a.find(at)
	if !found {
		a.counts = slices.Insert(a.counts, i, timeCount{tenth: at})
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

// oldest is when the oldest was accepted; the zero time when there is none.
func (a *acceptanceTimes) oldest() time.Time {
	if len(a.counts) == 0 {
		return time.Time{}
	}
	return time.Unix(0, a.counts[0].tenth*tenth)
}
