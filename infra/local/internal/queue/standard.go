package queue

// standard is the order of a standard queue: whatever is visible is deliverable, the longest visible first.
// A message group on a standard queue names a tenant. It neither orders nor locks.
type standard struct {
	groups  map[string]*group
	visible list
}

func newStandard() *standard { return &standard{groups: make(map[string]*group)} }

func (s *standard) group(id string) *group {
	g := s.groups[id]
	if g == nil {
		g = &group{id: id}
		s.groups[id] = g
	}
	return g
}

func (s *standard) add(m *message) {
	if m.group != nil {
		m.group.count++
	}
	if m.state == visible {
		s.visible.push(m)
	}
}

func (s *standard) remove(m *message) {
	if m.state == visible {
		s.visible.remove(m)
	}
	if g := m.group; g != nil {
		if g.count--; g.count == 0 {
			delete(s.groups, g.id)
		}
	}
}

func (s *standard) changed(m *message, was visibility) {
	if was == visible {
		s.visible.remove(m)
	}
	if m.state == visible {
		s.visible.push(m)
	}
}

func (s *standard) walk(take func(*message) bool) {
	last := s.visible.tail
	for m, next := s.visible.head, (*message)(nil); m != nil; m = next {
		next = m.next
		if m == last {
			next = nil // what follows now was taken in this very walk
		}
		if !take(m) {
			return
		}
	}
}

func (s *standard) lockedGroups() int { return 0 }

func (s *standard) longestLocked(int) []LockedGroup { return nil }
