package queue

// order decides which messages a receive may return, and in which order.
// The FIFO rule is in fifo.go, the free order of standard queues in standard.go.
type order interface {
	// group returns the group named id, which may be new.
	group(id string) *group
	// add puts a message that has just arrived behind all others.
	add(m *message)
	// remove takes out a message that leaves the queue. Its state is what it was until now.
	remove(m *message)
	// changed tells that m.state has changed from was.
	changed(m *message, was visibility)
	// walk calls take with each deliverable message in turn until take returns false. A take may change the state of
	// the message or remove it.
	walk(take func(*message) bool)
	// lockedGroups is the number of groups that have a message in flight.
	lockedGroups() int
	// longestLocked are up to limit of them, those first that have been locked longest.
	longestLocked(limit int) []LockedGroup
}

// group is one message group.
type group struct {
	id       string
	messages list // FIFO: all messages of the group in sequence order
	count    int  // messages, in any state
	inFlight int

	// neighbours in the rotation of groups that have something to deliver
	after, before *group
	ready         bool // whether the group is in the rotation

	// neighbours in the list of locked groups
	lockedAfter, lockedBefore *group
}

// list is a list of messages through their next and prev.
type list struct{ head, tail *message }

func (l *list) push(m *message) {
	m.prev, m.next = l.tail, nil
	if l.tail == nil {
		l.head = m
	} else {
		l.tail.next = m
	}
	l.tail = m
}

func (l *list) remove(m *message) {
	if m.prev == nil {
		l.head = m.next
	} else {
		m.prev.next = m.next
	}
	if m.next == nil {
		l.tail = m.prev
	} else {
		m.next.prev = m.prev
	}
	m.next, m.prev = nil, nil
}
