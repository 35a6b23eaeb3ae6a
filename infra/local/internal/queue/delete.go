package queue

import "time"

// Delete deletes the messages that the handles name, and returns an error (or nil) for each.
//
// A handle whose message is gone already is fine. On a FIFO queue a handle must be the last one given and its
// visibility must not have ended: its group may already be with somebody else. A standard queue is not so strict.
func (q *Queue) Delete(handles []string) ([]error, error) {
	now, err := q.begin()
	if err != nil {
		return nil, err
	}
	defer q.service.unlock(now)
	errs := make([]error, len(handles))
	for i, handle := range handles {
		errs[i] = q.delete(handle)
	}
	q.service.wake(q)
	return errs, nil
}

// PretendDelete answers like [Queue.Delete] and deletes nothing, as a standard queue may once in a while. It is for tests
// of consumers.
func (q *Queue) PretendDelete(handles []string) ([]error, error) {
	now, err := q.begin()
	if err != nil {
		return nil, err
	}
	defer q.service.unlock(now)
	q.service.wake(q)
	errs := make([]error, len(handles))
	for i, handle := range handles {
		_, _, errs[i] = q.lookup(handle)
	}
	return errs, nil
}

func (q *Queue) delete(handle string) error {
	m, r, err := q.lookup(handle)
	if err != nil || m == nil {
		return err
	}
	if q.fifo && (m.state != inFlight || m.received != r.received) {
		return errInvalidValue(handle, "ReceiptHandle", "The receipt handle has expired.")
	}
	q.drop(m)
	return nil
}

// lookup finds the message that a handle names, which is nil when it is gone.
func (q *Queue) lookup(handle string) (*message, receipt, error) {
	if handle == "" {
		return nil, receipt{}, errMissing("ReceiptHandle")
	}
	r, err := q.parseHandle(handle)
	return q.received[r.sequence], r, err
}

// VisibilityChange asks to change the visibility timeout of a received message.
type VisibilityChange struct {
	ReceiptHandle     string
	VisibilityTimeout int // seconds from now; 0 makes the message visible at once
}

// ChangeVisibility changes visibility timeouts, and returns an error (or nil) for each change.
//
// A change concerns one message only: those before it in its group become visible on their own clock, those behind it
// wait for it.
func (q *Queue) ChangeVisibility(changes []VisibilityChange) ([]error, error) {
	now, err := q.begin()
	if err != nil {
		return nil, err
	}
	defer q.service.unlock(now)
	errs := make([]error, len(changes))
	for i, change := range changes {
		errs[i] = q.changeVisibility(change, now)
	}
	q.service.wake(q)
	return errs, nil
}

func (q *Queue) changeVisibility(change VisibilityChange, now int64) error {
	seconds := change.VisibilityTimeout
	if seconds < 0 || seconds > MaxVisibilitySecond {
		return errInvalidValue(seconds, AttrVisibilityTimeout, "VisibilityTimeout must be an integer between 0 and 43200.")
	}
	m, r, err := q.lookup(change.ReceiptHandle)
	if err != nil {
		return err
	}
	if m == nil || q.fifo && (m.state != inFlight || m.received != r.received) {
		return errInvalidValue(change.ReceiptHandle, "ReceiptHandle",
			"Message does not exist or is not available for visibility timeout change.")
	}
	held := time.Duration(now - m.lastReceived).Truncate(time.Second)
	if held+time.Duration(seconds)*time.Second > MaxVisibilitySecond*time.Second {
		return errInvalidValue(seconds, AttrVisibilityTimeout,
			"Total VisibilityTimeout for the message is beyond the limit [43200 seconds]")
	}
	switch {
	case seconds > 0:
		q.hide(m, now+int64(seconds)*int64(time.Second))
	case m.state == inFlight:
		q.show(m)
	}
	return nil
}

// ExpireVisibility makes the messages of a group that are in flight visible at once, as if their visibility timeout had
// ended, and returns how many there were. An empty groupID means all groups. It is for tests of consumers.
func (q *Queue) ExpireVisibility(groupID string) (int, error) {
	now, err := q.begin()
	if err != nil {
		return 0, err
	}
	defer q.service.unlock(now)
	var held []*message
	for _, m := range q.hidden {
		if m.state == inFlight && (groupID == "" || m.group != nil && m.group.id == groupID) {
			held = append(held, m)
		}
	}
	for _, m := range held {
		q.show(m)
	}
	q.service.wake(q)
	return len(held), nil
}

// Purge removes all messages and forgets all deduplication IDs. It can be done once a minute.
func (q *Queue) Purge() error {
	now, err := q.begin()
	if err != nil {
		return err
	}
	defer q.service.unlock(now)
	if q.purged != 0 && now-q.purged < int64(recently) {
		return errPurgeInProgress(q.name)
	}
	q.purged = now
	q.clear()
	return nil
}
