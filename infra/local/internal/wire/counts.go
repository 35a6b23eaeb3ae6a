package wire

import "sync"

// billedChunk is the payload that one billed unit covers.
const billedChunk = 64 << 10

// tally is what is counted of one action.
type tally struct{ requests, entries, billed int64 }

// counts are the tallies by action.
type counts struct {
	mu      sync.Mutex
	actions map[string]*tally
}

func (n *counts) add(c *call) {
	name := string(c.service) + "." + c.action
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.actions == nil {
		n.actions = make(map[string]*tally)
	}
	t := n.actions[name]
	if t == nil {
		t = new(tally)
		n.actions[name] = t
	}
	t.requests++
	t.entries += int64(c.entries)
	t.billed += int64(max(1, (c.bytes+billedChunk-1)/billedChunk))
}

func (n *counts) read(of func(*tally) int64) map[string]int64 {
	n.mu.Lock()
	defer n.mu.Unlock()
	copied := make(map[string]int64, len(n.actions))
	for name, t := range n.actions {
		copied[name] = of(t)
	}
	return copied
}

// Requests returns the number of requests by action, such as "sns.PublishBatch", whatever became of them.
// Requests that could not be decoded are not counted.
func (h *Handler) Requests() map[string]int64 {
	return h.counts.read(func(t *tally) int64 { return t.requests })
}

// Entries returns the number of messages that the requests carried, by action: the entries of batches, the messages
// that receives returned, and 1 for every other request.
func (h *Handler) Entries() map[string]int64 {
	return h.counts.read(func(t *tally) int64 { return t.entries })
}

// Billed returns the billed units by action: one for each 64 KB of messages that a request carried in or out, and at
// least one for every request, whatever became of it.
func (h *Handler) Billed() map[string]int64 {
	return h.counts.read(func(t *tally) int64 { return t.billed })
}
