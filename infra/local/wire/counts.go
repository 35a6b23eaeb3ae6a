package wire

import "sync"

// counts are the requests by action, and how many entries they had.
type counts struct {
	mu       sync.Mutex
	requests map[string]int64
	entries  map[string]int64
}

func (n *counts) add(c *call) {
	name := string(c.service) + "." + c.action
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.requests == nil {
		n.requests, n.entries = make(map[string]int64), make(map[string]int64)
	}
	n.requests[name]++
	n.entries[name] += int64(c.entries)
}

func (n *counts) read(entries bool) map[string]int64 {
	n.mu.Lock()
	defer n.mu.Unlock()
	source := n.requests
	if entries {
		source = n.entries
	}
	copied := make(map[string]int64, len(source))
	for name, count := range source {
		copied[name] = count
	}
	return copied
}

// Requests returns the number of requests by action, such as "sns.PublishBatch", whatever became of them.
// Requests that could not be decoded are not counted.
func (h *Handler) Requests() map[string]int64 { return h.counts.read(false) }

// Entries returns the number of messages that the requests carried, by action: the entries of batches, the messages
// that receives returned, and 1 for every other request.
func (h *Handler) Entries() map[string]int64 { return h.counts.read(true) }
