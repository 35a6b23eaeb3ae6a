package inbox

import (
	"context"
	"sync"
	"time"
)

// Memory is [Claims] and [Marks] in memory: for tests, and an example of what an implementation must do. It forgets
// everything with its process and never deletes, so no service should rely on it. The zero value is ready. It is safe for
// concurrent use.
type Memory struct {
	mu     sync.Mutex // guards what is below
	events map[Key]entry
	marks  map[stream]Mark
}

// entry is an event that is done, or claimed.
type entry struct {
	done  bool
	owner string
	until time.Time
}

type stream struct{ service, deviceID, name string }

// Claim implements [Claims].
func (m *Memory) Claim(_ context.Context, key Key, owner string, lease time.Duration) (State, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	now := time.Now()
	switch e, there := m.events[key]; {
	case e.done:
		return Done, nil
	case there && e.owner != owner && now.Before(e.until):
		return InProgress, nil
	}
	m.put(key, entry{owner: owner, until: now.Add(lease)})
	return Claimed, nil
}

// Finish implements [Claims].
func (m *Memory) Finish(_ context.Context, key Key) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.put(key, entry{done: true})
	return nil
}

// Release implements [Claims].
func (m *Memory) Release(_ context.Context, key Key, owner string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if e := m.events[key]; !e.done && e.owner == owner {
		delete(m.events, key)
	}
	return nil
}

// Advance implements [Marks].
func (m *Memory) Advance(_ context.Context, mark Mark) (bool, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	at := stream{mark.Service, mark.DeviceID, mark.Stream}
	if old, there := m.marks[at]; there && !mark.NotBefore(old) {
		return false, nil
	}
	if m.marks == nil {
		m.marks = make(map[stream]Mark)
	}
	m.marks[at] = mark
	return true, nil
}

// put writes an entry; mu is held.
func (m *Memory) put(key Key, e entry) {
	if m.events == nil {
		m.events = make(map[Key]entry)
	}
	m.events[key] = e
}
