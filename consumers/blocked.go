package consumers

import (
	"cmp"
	"context"
	"slices"
	"time"

	"github.com/device-fanout/fanout/consumers/internal/core"
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
	WaitsFor     string        `json:"waits_for,omitempty"` // what must happen for it to go on
	Until        time.Time     `json:"until,omitzero"`      // when it is tried again or given up at the latest; zero where that is open
	Behind       int           `json:"behind"`              // later events of the device that this consumer holds; the queue may have more
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
	BlockedBreaker    BlockedReason = "breaker"     // a dependency is down, as a handler says
	BlockedEvidence   BlockedReason = "evidence"    // its event failed, and nothing shows that the handler works
)

// Blocked lists the devices that are blocked now, the longest first. Of devices that are parked it has only those whose events
// are on their way; the parking store knows them all. It is empty when the consumer does not run. The error is ctx's.
func (c *Consumer) Blocked(ctx context.Context) ([]Blocked, error) {
	r := c.current.Load()
	if r == nil {
		return nil, nil
	}
	reply := make(chan []Blocked, 1)
	select {
	case r.queries <- func() { reply <- r.blocked() }:
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
	for _, b := range r.core.Blocked() {
		m := of(b.Message)
		out := Blocked{
			Service: r.queue.Service, DeviceID: m.Device, Reason: BlockedReason(b.Reason), MessageID: m.ID, EventType: m.Type,
			ReceiveCount: m.ReceiveCount, Since: b.Since, Behind: b.Behind, Until: b.Until, WaitsFor: r.waitsFor(b),
		}
		if v := b.Verdict; v != nil {
			out.EventID, out.Attempts, out.Code, out.Error = v.EventID, v.Attempts, v.Code, v.Text
		}
		if b.Reason == core.ReasonStuck {
			out.Stack, out.Attempts = stackOf(m.goroutine.Load()), max(out.Attempts, 1)
		}
		list = append(list, out)
	}
	slices.SortFunc(list, func(a, b Blocked) int { return cmp.Or(a.Since.Compare(b.Since), cmp.Compare(a.DeviceID, b.DeviceID)) })
	return list
}

// waitsFor says what must happen for a device to go on.
func (r *run) waitsFor(b core.Blocked) string {
	switch b.Reason {
	case core.ReasonRetrying:
		return "its quick retries"
	case core.ReasonBlock:
		return "its event to be handled: the group policy is block"
	case core.ReasonDeadLetter, core.ReasonParked:
		return "the dead-letter queue to take it"
	case core.ReasonReleasing:
		return "its dead letters to be handled first"
	case core.ReasonStuck:
		return "its handler to end"
	}
	if r.cfg.Check != nil {
		if b.Check != nil {
			return "the service's check to pass, which says: " + b.Check.Error()
		}
		return "the service's check to pass"
	}
	if b.Reason == core.ReasonBreaker {
		return "a dependency, which is down as its handler says"
	}
	return "another event of its type to be handled, which would show that the handler works (the service has no Check)"
}
