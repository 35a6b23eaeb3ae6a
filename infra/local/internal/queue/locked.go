package queue

import "time"

// maxLockedListed is how many locked groups are described.
const maxLockedListed = 100

// LockedGroup is a message group that has a message in flight.
type LockedGroup struct {
	GroupID string
	// MessageID is that of the oldest message in flight, and Since is when it was received.
	MessageID string
	Since     time.Time
	// Behind is the number of messages that wait behind it, delayed ones included.
	Behind int
}

// LockedGroups describes the message groups that have a message in flight, longest locked first, and the first hundred
// only. A standard queue has none.
func (q *Queue) LockedGroups() ([]LockedGroup, error) {
	now, err := q.begin()
	if err != nil {
		return nil, err
	}
	defer q.service.unlock(now)
	q.service.wake(q)
	return q.order.longestLocked(maxLockedListed), nil
}

// describeLock describes g, which must be locked.
func (g *group) describeLock() LockedGroup {
	before := 0
	m := g.messages.head
	for ; m.state != inFlight; m = m.next {
		before++
	}
	return LockedGroup{
		GroupID:   g.id,
		MessageID: m.id.String(),
		Since:     time.Unix(0, m.lastReceived),
		Behind:    g.count - g.inFlight - before,
	}
}

// lockedGroups is the list of groups that have a message in flight, in the order in which they were locked.
type lockedGroups struct {
	first, last *group
	count       int
}

func (l *lockedGroups) push(g *group) {
	g.lockedBefore, g.lockedAfter = l.last, nil
	if l.last == nil {
		l.first = g
	} else {
		l.last.lockedAfter = g
	}
	l.last = g
	l.count++
}

func (l *lockedGroups) remove(g *group) {
	if g.lockedBefore == nil {
		l.first = g.lockedAfter
	} else {
		g.lockedBefore.lockedAfter = g.lockedAfter
	}
	if g.lockedAfter == nil {
		l.last = g.lockedBefore
	} else {
		g.lockedAfter.lockedBefore = g.lockedBefore
	}
	g.lockedBefore, g.lockedAfter = nil, nil
	l.count--
}
