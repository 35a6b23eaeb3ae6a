package parking

import (
	"cmp"
	"context"
	"slices"
	"sync"
)

// Memory is a Store for tests and trials: it is lost when its process ends. The zero value is empty.
type Memory struct {
	mu      sync.Mutex
	devices map[[2]string]Device
}

// NewMemory makes an empty Memory.
func NewMemory() *Memory { return &Memory{} }

// Find implements [Store].
func (m *Memory) Find(_ context.Context, service string, devices ...string) ([]Device, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	var found []Device
	for key, d := range m.devices {
		if key[0] == service && (len(devices) == 0 || slices.Contains(devices, key[1])) {
			found = append(found, d)
		}
	}
	slices.SortFunc(found, func(a, b Device) int { return cmp.Compare(a.ID, b.ID) })
	return found, nil
}

// Swap implements [Store].
func (m *Memory) Swap(_ context.Context, old, next Device) (bool, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	key := [2]string{old.Service, old.ID}
	if m.devices[key].Version != old.Version {
		return false, nil
	}
	if next.Version == 0 {
		delete(m.devices, key)
		return true, nil
	}
	if m.devices == nil {
		m.devices = map[[2]string]Device{}
	}
	m.devices[key] = next
	return true, nil
}
