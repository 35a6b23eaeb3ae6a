package consumers

import (
	"context"
	"fmt"
	"time"

	"github.com/device-fanout/fanout/consumers/deadletter"
	"github.com/device-fanout/fanout/consumers/internal/attempt"
	"github.com/device-fanout/fanout/consumers/parking"
)

// CodeParked is the code of events that follow a failed one of their parked device to the dead-letter queue.
const CodeParked = "parked"

const (
	// askAgain is how often a consumer that holds events of a device being released asks whether that is over.
	askAgain = time.Second
	// askTimeout bounds a request to the parking store.
	askTimeout = 5 * time.Second
)

// parked asks which of the devices of a receive are parked. A process records that before it lets go of the message that failed, and
// until then SQS delivers none of its followers: so a receive that returns one finds the device parked.
func (r *run) parked(ctx context.Context, messages []*message) (map[string]bool, error) {
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

// undeleted tells whether messages of a group are handled and not yet deleted. While they are, the end mark of their release must wait:
// should this process die, they come again, and the device's live events must not run before that.
func (r *run) undeleted(group string) bool {
	for _, m := range r.held {
		if m.Group == group && m.state == finished {
			return true
		}
	}
	return false
}

// resumeMark lets the end mark go on that may have waited for a message to be deleted.
func (r *run) resumeMark(m *message) {
	if m.IsReleased && r.lanes[m.Group] != nil {
		r.proceed(r.lanes[m.Group])
	}
}

// returnMark hands back the end mark that has waited for a message to be deleted which comes again instead.
func (r *run) returnMark(m *message) {
	l := r.lanes[m.Group]
	if m.IsReleased && l != nil && len(l.waiting) > 0 && l.waiting[0].IsMark() {
		r.releaseWaiting(l)
		r.proceed(l)
	}
}

// follow starts what the parking store says for the first message of a lane whose device is parked, or is to be parked for it.
func (r *run) follow(l *lane) {
	m := l.waiting[0]
	l.waiting = l.waiting[1:]
	l.current = m
	m.state = running
	r.sendParked(m)
}

// sendParked brings a message to the dead-letter queue, or waits for its turn if the device is being released.
func (r *run) sendParked(m *message) {
	r.sending++
	ctx, cancel := context.WithCancelCause(r.work)
	m.cancel = cancel
	go func() {
		defer cancel(nil)
		where, err := r.parkingStep(ctx, m)
		r.post(func() {
			r.sending--
			l := m.lane
			switch {
			case m.state == gone: // the lease was lost meanwhile
				if where == inDLQ && err == nil {
					r.done.add(m.ID)
				}
				l.current = nil
			case err != nil: // we stop
				l.current = nil
				r.handBackWith(l, m)
			case where == free:
				l.current = nil
				delete(r.lasting, m)
				m.state, m.cleared, m.failed = waiting, true, nil
				m.trouble.Store(nil)
				l.waiting = append([]*message{m}, l.waiting...)
				l.asks = m.IsReleased // of a release, each message asks: an earlier one may have failed
				if r.draining {
					r.handBack(l)
				}
			default:
				if where == inDLQ {
					r.stats.deadLettered.Add(1)
					if m.failed == nil {
						r.stats.parked.Add(1)
					}
				}
				r.finish(m)
				r.deletes.hurry()
				return
			}
			r.proceed(l)
		})
	}()
}

// place is where parkingStep leaves a message.
type place int

const (
	free  place = iota // it may run
	inDLQ              // it may be deleted: the dead-letter queue and the parking store have it
	ended              // it may be deleted: it was the end mark
	held               // it waits for its turn
)

// parkingStep does what is to be done with a message, for as long as it takes. The error is ctx's cause, or ErrStopping when
// draining begins while the message only waits.
func (r *run) parkingStep(ctx context.Context, m *message) (place, error) {
	store, service := r.cfg.Parking, r.queue.Service
	recorded := m.failed == nil
	for failures, unsent := 0, 0; ; {
		again := askAgain
		where, err, refused := free, error(nil), false
		switch {
		case m.IsMark():
			where, err = ended, r.endRelease(ctx, m)
		case !recorded:
			if err = r.recordParked(ctx, m); err == nil {
				recorded = true
				continue
			}
		default:
			var found []parking.Device
			found, err = r.findParked(ctx, m)
			switch {
			case err != nil:
			case len(found) == 0 || m.IsReleased && found[0].State == parking.Releasing && !found[0].FailedAgain:
				return free, nil
			case found[0].Last == m.ID: // it came again after it was recorded, before it was deleted
				return inDLQ, nil
			case found[0].State == parking.Releasing && !m.IsReleased: // its dead letters come first
				m.noteBlocked(BlockedReleasing, nil)
				where = held
				r.post(func() { r.waitsLong(m) })
			default:
				m.noteBlocked(BlockedParked, nil)
				// Only one attempt: when a release has begun meanwhile, a new dead letter must not get between those that come back.
				if err := r.sendOnce(m, r.deadLetter(m, parkedVerdict(m, found[0]))); err != nil {
					unsent++
					r.post(func() { r.waitsLong(m) })
					again, refused = r.sendFailed(m, unsent, err), true
					break
				}
				var ok bool
				ok, err = parking.Confirm(ctx, store, service, m.Device, m.ID, m.IsReleased && found[0].State == parking.Releasing)
				if err == nil && !ok { // the release has begun meanwhile, and has sent the last dead letter that it knows of
					r.cfg.Logger.Warn("the device was released while its event went to the dead-letter queue; the event is handled here, and a copy of it may be too",
						"message_id", m.ID, "group_id", m.Group)
					continue
				}
				where = inDLQ
			}
		}
		if err == nil && where != held && !refused {
			return where, nil
		}
		if err != nil {
			if ctx.Err() != nil {
				return free, context.Cause(ctx)
			}
			failures++
			again = r.storeFailed(m, failures, err)
		}
		select {
		case <-time.After(again):
		case <-ctx.Done():
			return free, context.Cause(ctx)
		case <-r.stopping:
			return free, ErrStopping
		}
	}
}

func (r *run) findParked(ctx context.Context, m *message) ([]parking.Device, error) {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	return r.cfg.Parking.Find(ctx, r.queue.Service, m.Device)
}

// recordParked records the failure of a message before its dead letter is sent.
func (r *run) recordParked(ctx context.Context, m *message) error {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	v := m.failed
	return r.park(ctx, m, parking.Cause{
		MessageID: m.ID, EventID: v.EventID, EventType: v.EventType, Class: string(v.Class), Code: v.Code, Error: v.Text, Attempts: v.Attempts,
	})
}

func (r *run) park(ctx context.Context, m *message, cause parking.Cause) error {
	if m.IsReleased {
		return parking.FailAgain(ctx, r.cfg.Parking, r.queue.Service, m.Device, cause)
	}
	return parking.Park(ctx, r.cfg.Parking, r.queue.Service, m.Device, cause)
}

func (r *run) endRelease(ctx context.Context, m *message) error {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	mark, err := parking.ParseMark(m.Body)
	if err != nil || mark.Device != m.Device {
		r.cfg.Logger.Error("end mark of a release can't be read; it is dropped", "message_id", m.ID, "group_id", m.Group, "err", err)
		return nil
	}
	return parking.End(ctx, r.cfg.Parking, r.queue.Service, m.Device, mark.Release)
}

// parkedVerdict is what the dead letter says: why the device was parked for this message, or which other one it follows.
func parkedVerdict(m *message, d parking.Device) *verdict {
	if m.failed != nil {
		return m.failed
	}
	c := d.Cause
	if c.MessageID == m.ID { // it came again before it was deleted
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
		Class: deadletter.Parked, EventType: m.Type(),
	}
}
