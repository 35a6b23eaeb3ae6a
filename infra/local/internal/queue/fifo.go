package queue

// fifo is the order of a FIFO queue. It keeps the rule of this package:
//
//	A message is deliverable if and only if it is visible and every earlier, not yet deleted message of its group is
//	visible too. A receive walks the groups and takes, from each group in sequence order, its leading run of visible
//	messages, until it has as many as it may take.
//
// Hence a group has something to deliver exactly when its head is visible. Those groups, and only those, stand in the
// rotation. A group that is served leaves it, since its head is in flight then, and comes back at its end: a busy group
// does not starve the others.
type fifo struct {
	groups   map[string]*group
	rotation rotation
	locked   lockedGroups
}

func newFIFO() *fifo { return &fifo{groups: make(map[string]*group)} }

func (f *fifo) group(id string) *group {
	g := f.groups[id]
	if g == nil {
		g = &group{id: id}
		f.groups[id] = g
	}
	return g
}

func (f *fifo) add(m *message) {
	m.group.messages.push(m)
	m.group.count++
	f.update(m.group)
}

func (f *fifo) remove(m *message) {
	g := m.group
	g.messages.remove(m)
	g.count--
	if m.state == inFlight {
		f.unlock(g)
	}
	f.update(g)
	if g.count == 0 {
		delete(f.groups, g.id)
	}
}

func (f *fifo) changed(m *message, was visibility) {
	if was == inFlight {
		f.unlock(m.group)
	}
	if m.state == inFlight {
		f.lock(m.group)
	}
	f.update(m.group)
}

func (f *fifo) walk(take func(*message) bool) {
	last := f.rotation.last
	for g, next := f.rotation.first, (*group)(nil); g != nil; g = next {
		next = g.after // taking changes g's place only
		if g == last {
			next = nil // what follows now was served in this very walk
		}
		for m, behind := g.messages.head, (*message)(nil); m != nil && m.state == visible; m = behind {
			behind = m.next
			if !take(m) {
				return
			}
		}
	}
}

func (f *fifo) lockedGroups() int { return f.locked.count }

func (f *fifo) longestLocked(limit int) []LockedGroup {
	var all []LockedGroup
	for g := f.locked.first; g != nil && len(all) < limit; g = g.lockedAfter {
		all = append(all, g.describeLock())
	}
	return all
}

// update puts g into the rotation or takes it out, as its head demands.
func (f *fifo) update(g *group) {
	ready := g.messages.head != nil && g.messages.head.state == visible
	switch {
	case ready && !g.ready:
		f.rotation.push(g)
	case !ready && g.ready:
		f.rotation.remove(g)
	}
}

func (f *fifo) lock(g *group) {
	if g.inFlight++; g.inFlight == 1 {
		f.locked.push(g)
	}
}

func (f *fifo) unlock(g *group) {
	if g.inFlight--; g.inFlight == 0 {
		f.locked.remove(g)
	}
}

// rotation is the list of groups that have something to deliver.
type rotation struct{ first, last *group }

func (r *rotation) push(g *group) {
	g.ready = true
	g.before, g.after = r.last, nil
	if r.last == nil {
		r.first = g
	} else {
		r.last.after = g
	}
	r.last = g
}

func (r *rotation) remove(g *group) {
	g.ready = false
	if g.before == nil {
		r.first = g.after
	} else {
		g.before.after = g.after
	}
	if g.after == nil {
		r.last = g.before
	} else {
		g.after.before = g.before
	}
	g.before, g.after = nil, nil
}
