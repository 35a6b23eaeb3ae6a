package queue

// schedule is a heap of the messages that are not visible, the next to become visible first.
// Messages that become visible at the same moment come in sequence order.
type schedule []*message

func (s schedule) before(a, b *message) bool {
	if a.visibleAt != b.visibleAt {
		return a.visibleAt < b.visibleAt
	}
	return a.sequence < b.sequence
}

// first is the next message to become visible, or nil.
func (s schedule) first() *message {
	if len(s) == 0 {
		return nil
	}
	return s[0]
}

func (s *schedule) add(m *message) {
	m.scheduled = int32(len(*s))
	*s = append(*s, m)
	s.up(len(*s) - 1)
}

func (s *schedule) remove(m *message) {
	h, i, last := *s, int(m.scheduled), len(*s)-1
	if i != last {
		h[i] = h[last]
		h[i].scheduled = int32(i)
	}
	h[last] = nil
	*s = h[:last]
	if i != last {
		s.moved(h[i])
	}
}

// moved restores the heap after m.visibleAt has changed.
func (s *schedule) moved(m *message) {
	i := int(m.scheduled)
	s.up(i)
	if int(m.scheduled) == i {
		s.down(i)
	}
}

func (s schedule) up(i int) {
	for i > 0 {
		parent := (i - 1) / 2
		if !s.before(s[i], s[parent]) {
			return
		}
		s.swap(i, parent)
		i = parent
	}
}

func (s schedule) down(i int) {
	for {
		child := 2*i + 1
		if child >= len(s) {
			return
		}
		if right := child + 1; right < len(s) && s.before(s[right], s[child]) {
			child = right
		}
		if !s.before(s[child], s[i]) {
			return
		}
		s.swap(i, child)
		i = child
	}
}

func (s schedule) swap(i, j int) {
	s[i], s[j] = s[j], s[i]
	s[i].scheduled, s[j].scheduled = int32(i), int32(j)
}
