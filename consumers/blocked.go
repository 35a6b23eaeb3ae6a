package consumers

import (
	"cmp"
	"context"
	"slices"
	"time"
)

// Blocked is a device whose next event can't be handled at the moment.
type Blocked struct {
	Service      string        `json:"service"`
	DeviceID     string        `json:"device_id"`
	Reason       BlockedReason `json:"reason"`
	MessageID    string        `json:"message_id"`
	EventID      string        `json:"event_id,omitempty"` // empty when it is not known
	EventType    string        `json:"event_type,omitempty"`
	Attempts     int           `json:"attempts"`
	ReceiveCount int           `json:"receive_count"`
	Since        time.Time     `json:"since"`
	Behind       int           `json:"behind"` // later events of the device that this consumer holds; the queue may have more
	Code         string        `json:"code,omitempty"`
	Error        string        `json:"error,omitempty"`
	Stack        string        `json:"stack,omitempty"` // of a handler that does not end
}

// BlockedReason says why a device is blocked.
type BlockedReason string

// The reasons.
const (
	BlockedRetrying   BlockedReason = "retrying"    // its event failed and is tried again
	BlockedPolicy     BlockedReason = "block"       // its event failed, and the group policy is Block
	BlockedDeadLetter BlockedReason = "dead_letter" // its event is on the way to the dead-letter queue
	BlockedStuck      BlockedReason = "stuck"       // its handler does not end though its context has ended
	BlockedParked     BlockedReason = "parked"      // its event follows to the dead-letter queue
	BlockedReleasing  BlockedReason = "releasing"   // its dead letters come back first
	BlockedBreaker    BlockedReason = "breaker"     // the circuit breaker is open
)

// trouble is what went wrong with an event so far.
type trouble struct {
	since    time.Time
	reason   BlockedReason
	eventID  string
	attempts int
	code     string
	text     string
}

// noteFailure keeps what went wrong at an attempt.
func (m *message) noteFailure(v *verdict) {
	t := &trouble{since: time.Now(), reason: BlockedRetrying, eventID: v.EventID, attempts: v.Attempts, code: v.Code, text: v.Text}
	if before := m.trouble.Load(); before != nil {
		t.since = before.since
	}
	m.trouble.Store(t)
}

// noteBlocked keeps why the message waits, and its failure if v is not nil.
func (m *message) noteBlocked(reason BlockedReason, v *verdict) {
	if v != nil {
		m.noteFailure(v)
	}
	t := trouble{since: time.Now()}
	if before := m.trouble.Load(); before != nil {
		t = *before
	}
	t.reason = reason
	m.trouble.Store(&t)
}

// Blocked lists the devices that are blocked now, the longest first. Of devices that are parked it has only those whose events
// are on their way; the parking store knows them all. It is empty when the consumer does not run. The error is ctx's.
func (c *Consumer) Blocked(ctx context.Context) ([]Blocked, error) {
	r := c.current.Load()
	if r == nil {
		return nil, nil
	}
	reply := make(chan []Blocked, 1)
	select {
	case r.inbox <- func() { reply <- r.blocked() }:
	case <-r.ended:
		return nil, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	select {
	case list := <-reply:
		return list, nil
	case <-r.ended:
		return nil, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (r *run) blocked() []Blocked {
	list := []Blocked{}
	for _, l := range r.lanes {
		m, behind := l.current, len(l.waiting)
		if m == nil && len(l.waiting) > 0 {
			m, behind = l.waiting[0], len(l.waiting)-1
		}
		if m == nil {
			continue
		}
		t := m.trouble.Load()
		if t == nil && !m.stuck {
			continue
		}
		b := Blocked{
			Service: r.queue.Service, DeviceID: m.Device, MessageID: m.ID, EventType: m.Type(), ReceiveCount: m.ReceiveCount,
			Behind: behind, Since: m.receivedAt,
		}
		if t != nil {
			b.Reason, b.EventID, b.Attempts, b.Since, b.Code, b.Error = t.reason, t.eventID, t.attempts, t.since, t.code, t.text
		}
		if m.stuck {
			b.Reason, b.Stack = BlockedStuck, stackOf(m.goroutine.Load())
			b.Attempts = max(b.Attempts, 1)
		}
		list = append(list, b)
	}
	slices.SortFunc(list, func(a, b Blocked) int { return cmp.Or(a.Since.Compare(b.Since), cmp.Compare(a.DeviceID, b.DeviceID)) })
	return list
}
