package consumers

import (
	"context"
	"fmt"
	"time"

	"github.com/device-fanout/fanout/consumers/deadletter"
	"github.com/device-fanout/fanout/consumers/internal/attempt"
	"github.com/device-fanout/fanout/consumers/internal/core"
	"github.com/device-fanout/fanout/consumers/parking"
)

// CodeParked is the code of events that follow a failed one of their parked device to the dead-letter queue.
const CodeParked = "parked"

// askTimeout bounds a request to the parking store.
const askTimeout = 5 * time.Second

// parked asks which of the devices of a receive are parked. A process records that before it lets go of the message that failed, and
// until then SQS delivers none of its followers: so a receive that returns one finds the device parked.
func (r *run) parked(ctx context.Context, messages []*core.Message) (map[string]bool, error) {
	if r.cfg.GroupPolicy != Park || len(messages) == 0 {
		return nil, nil
	}
	ask := map[string]bool{}
	var devices []string
	for _, m := range messages {
		if !ask[m.Device] {
			ask[m.Device] = true
			devices = append(devices, m.Device)
		}
	}
	ctx, cancel := context.WithTimeout(ctx, min(askTimeout, r.facts.visibility/4))
	defer cancel()
	found, err := r.cfg.Parking.Find(ctx, r.queue.Service, devices...)
	if err != nil {
		return nil, fmt.Errorf("ask which devices are parked: %w", err)
	}
	clear(ask)
	for _, d := range found {
		ask[d.ID] = true
	}
	return ask, nil
}

// ask asks the parking store about a message, or tells it, once.
func (r *run) ask(c core.Ask) {
	ctx, cancel := context.WithTimeout(r.requests, askTimeout)
	defer cancel()
	m := of(c.Message)
	answer := core.Answered{Ask: c}
	switch c.Question {
	case core.Find:
		answer.Standing, answer.Err = r.find(ctx, m)
	case core.Record:
		v := c.Verdict
		answer.Err = r.park(ctx, m, parking.Cause{
			MessageID: m.ID, EventID: v.EventID, EventType: v.EventType, Class: string(v.Class), Code: v.Code, Error: v.Text, Attempts: v.Attempts,
		})
	case core.Announce:
		answer.Err = r.park(ctx, m, r.lastCause(m))
	case core.Withdraw:
		answer.Err = parking.Withdraw(ctx, r.cfg.Parking, r.queue.Service, m.Device, m.ID)
	case core.Confirm:
		var ok bool
		ok, answer.Err = parking.Confirm(ctx, r.cfg.Parking, r.queue.Service, m.Device, m.ID, m.Released && m.parked.State == parking.Releasing)
		if answer.Err == nil && !ok {
			answer.Standing = core.TooLate
		}
	case core.EndMark:
		answer.Err = r.endRelease(ctx, m)
	}
	r.post(answer)
}

func (r *run) find(ctx context.Context, m *message) (core.Standing, error) {
	found, err := r.cfg.Parking.Find(ctx, r.queue.Service, m.Device)
	if err != nil {
		return core.Noted, err
	}
	m.parked = parking.Device{}
	if len(found) > 0 {
		m.parked = found[0]
	}
	return core.StandingOf(m.parked, &m.Message), nil
}

func (r *run) park(ctx context.Context, m *message, cause parking.Cause) error {
	if m.Released {
		return parking.FailAgain(ctx, r.cfg.Parking, r.queue.Service, m.Device, cause)
	}
	return parking.Park(ctx, r.cfg.Parking, r.queue.Service, m.Device, cause)
}

// lastCause is why a device is parked whose event kills the process at its last delivery.
func (r *run) lastCause(m *message) parking.Cause {
	cause := parking.Cause{
		MessageID: m.ID, EventType: m.Type, Class: string(deadletter.Moved), Code: deadletter.CodeReceiveCount,
		Error: "its last delivery has no verdict: the process that handled it has ended, or has lost it",
	}
	if event, err := r.service.Decode(m.in.Body); err == nil {
		cause.EventID, cause.EventType = event.ID, event.Type()
	}
	return cause
}

func (r *run) endRelease(ctx context.Context, m *message) error {
	mark, err := parking.ParseMark(m.in.Body)
	if err != nil || mark.Device != m.Device {
		r.cfg.Logger.Error("end mark of a release can't be read; it is dropped", "message_id", m.ID, "group_id", m.Group, "err", err)
		return nil
	}
	return parking.End(ctx, r.cfg.Parking, r.queue.Service, m.Device, mark.Release)
}

// parkedVerdict is what the dead letter of a message says that did not fail itself: which other one it follows, or why the device was parked
// for it before it came again.
func parkedVerdict(m *message) *verdict {
	c := m.parked.Cause
	if c.MessageID == m.ID {
		return &verdict{
			Failure: attempt.Failure{Kind: attempt.Dead, Code: c.Code, Text: c.Error}, Class: deadletter.Class(c.Class),
			EventID: c.EventID, EventType: c.EventType, Attempts: c.Attempts,
		}
	}
	return &verdict{
		Failure: attempt.Failure{
			Kind: attempt.Dead, Code: CodeParked,
			Text: fmt.Sprintf("follows event %s of its parked device, which failed with code %s", c.EventID, c.Code),
		},
		Class: deadletter.Parked, EventType: m.Type,
	}
}
