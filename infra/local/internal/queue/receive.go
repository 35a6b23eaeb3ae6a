package queue

import (
	"context"
	"time"

	"github.com/device-fanout/fanout/infra/local/internal/apierr"
)

// ReceiveInput is what a receive asks for. A nil field takes the default.
type ReceiveInput struct {
	MaxMessages       *int // 1 to 10, default 1
	VisibilityTimeout *int // seconds, default the queue's
	WaitTime          *int // seconds, default the queue's; 0 does not wait
	AttemptID         string
}

// want is a checked ReceiveInput.
type want struct {
	max        int
	visibility int // seconds, or -1 for the queue's at the moment of delivery
	attemptID  string
}

func (in ReceiveInput) check() (want, error) {
	what := want{max: 1, visibility: -1, attemptID: in.AttemptID}
	if n := in.MaxMessages; n != nil {
		if *n < 1 || *n > 10 {
			return what, errInvalidValue(*n, "MaxNumberOfMessages", "Must be between 1 and 10, if provided.")
		}
		what.max = *n
	}
	if s := in.VisibilityTimeout; s != nil {
		if *s < 0 || *s > MaxVisibilitySecond {
			return what, errInvalidValue(*s, AttrVisibilityTimeout, "Must be >= 0 and <= 43200, if provided.")
		}
		what.visibility = *s
	}
	if s := in.WaitTime; s != nil && (*s < 0 || *s > MaxWaitSeconds) {
		return what, errInvalidValue(*s, "WaitTimeSeconds", "Must be >= 0 and <= 20, if provided.")
	}
	if !validText(in.AttemptID, 0) {
		return what, errInvalidValue(in.AttemptID, "ReceiveRequestAttemptId",
			"ReceiveRequestAttemptId can only include alphanumeric and punctuation characters. 1 to 128 in length.")
	}
	return what, nil
}

// Receive returns up to ten messages and makes them invisible for the visibility timeout.
//
// When there is none and the wait time is not zero, it blocks until there is one, until the wait time is over (then it
// returns nothing), until ctx ends (then it returns the error of ctx) or until the service is closed. It returns as
// soon as there is one message and does not wait for more. Those who wait are served in the order in which they came.
func (q *Queue) Receive(ctx context.Context, in ReceiveInput) ([]Delivery, error) {
	what, err := in.check()
	if err != nil {
		return nil, err
	}
	now, err := q.begin()
	if err != nil {
		return nil, err
	}
	w, deliveries, err := q.receive(what, in.WaitTime, now)
	q.service.unlock(now)
	if w != nil {
		return q.await(ctx, w)
	}
	return deliveries, err
}

// receive takes what there is, or starts a long poll. The lock is held.
func (q *Queue) receive(what want, waitTime *int, now int64) (*waiter, []Delivery, error) {
	wait := q.config.wait
	if waitTime != nil {
		wait = *waitTime
	}
	if q.waiters.first != nil {
		q.serve(now) // what time has brought since is for those who came first
	}
	deliveries, ok := q.replay(what, now)
	if !ok {
		deliveries = q.take(what, now)
	}
	switch {
	case len(deliveries) > 0:
		return nil, deliveries, nil
	case wait > 0 && !q.service.closed:
		return q.enlist(what, time.Duration(wait)*time.Second, now), nil, nil
	case !q.fifo && q.inFlight >= MaxInFlight:
		return nil, nil, apierr.New(CodeOverLimit, "Too many messages in flight: %d.", q.inFlight)
	}
	return nil, nil, nil
}

// take receives what is deliverable now. A message that has been received as often as the redrive policy allows moves
// to the dead-letter queue instead, and what stands behind it in its group is delivered.
func (q *Queue) take(what want, now int64) []Delivery {
	room := min(what.max, MaxInFlight-q.inFlight)
	if room <= 0 {
		return nil
	}
	var (
		visibility = q.visibilityOf(what)
		until      = now + visibility
		taken      []*message
		last       = q.service.lastSequence // a queue may be its own dead-letter queue: what comes back now is not for this receive
	)
	q.order.walk(func(m *message) bool {
		if m.sequence > last {
			return false
		}
		if target := q.exhausted(m); target != nil {
			q.moveToDeadLetter(m, target, now)
			return true
		}
		q.receiveOne(m, until, now)
		if visibility == 0 {
			q.show(m)
		}
		if taken == nil {
			taken = make([]*message, 0, room)
		}
		taken = append(taken, m)
		return len(taken) < room
	})
	if len(taken) == 0 {
		return nil
	}
	deliveries := make([]Delivery, len(taken))
	for i, m := range taken {
		deliveries[i] = q.delivery(m)
	}
	if what.attemptID != "" && q.fifo && visibility > 0 {
		q.attempts.remember(what.attemptID, taken, now)
	}
	return deliveries
}

// visibilityOf is the visibility timeout of a receive, in nanoseconds.
func (q *Queue) visibilityOf(what want) int64 {
	if what.visibility >= 0 {
		return int64(what.visibility) * int64(time.Second)
	}
	return int64(q.config.visibility) * int64(time.Second)
}

func (q *Queue) receiveOne(m *message, until, now int64) {
	m.receives++
	m.received++
	m.lastReceived = now
	if m.firstReceived == 0 {
		m.firstReceived = now
	}
	if m.received == 1 {
		q.received[m.sequence] = m
	}
	q.hide(m, until)
}
