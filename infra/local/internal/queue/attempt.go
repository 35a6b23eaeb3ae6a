package queue

import "time"

// attemptLifetime is how long a receive can be repeated by its attempt ID.
const attemptLifetime = 5 * time.Minute

// attempts are the receives that can be repeated by their attempt ID, so that a client that lost the answer gets the
// same messages again. An attempt is void as soon as one of its messages is deleted, has its visibility changed, or
// becomes visible again. So there are never more attempts than messages in flight.
type attempts struct {
	byID      map[string]*attempt
	byMessage map[Sequence]*attempt
}

type attempt struct {
	id       string
	at       int64
	messages []*message
}

func newAttempts() attempts {
	return attempts{make(map[string]*attempt), make(map[Sequence]*attempt)}
}

func (as *attempts) remember(id string, messages []*message, now int64) {
	as.void(as.byID[id])
	a := &attempt{id: id, at: now, messages: messages}
	as.byID[id] = a
	for _, m := range messages {
		as.byMessage[m.sequence] = a
	}
}

// touch tells that something happens to m.
func (as *attempts) touch(m *message) {
	if len(as.byMessage) > 0 {
		as.void(as.byMessage[m.sequence])
	}
}

func (as *attempts) void(a *attempt) {
	if a == nil {
		return
	}
	delete(as.byID, a.id)
	for _, m := range a.messages {
		delete(as.byMessage, m.sequence)
	}
}

// replay repeats the receive of the same attempt ID: the same messages under the same handles, with their visibility
// timeout started anew.
func (q *Queue) replay(what want, now int64) ([]Delivery, bool) {
	a := q.attempts.byID[what.attemptID]
	if a == nil {
		return nil, false
	}
	if now-a.at >= int64(attemptLifetime) {
		q.attempts.void(a)
		return nil, false
	}
	deliveries := make([]Delivery, len(a.messages))
	for i, m := range a.messages {
		m.visibleAt = now + q.visibilityOf(what)
		q.hidden.moved(m)
		deliveries[i] = q.delivery(m)
	}
	if q.visibilityOf(what) == 0 {
		q.service.wake(q)
	}
	q.rearm(now) // what is visible sooner may be for a long poll
	return deliveries, true
}
