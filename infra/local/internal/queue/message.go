package queue

import "time"

// visibility is where a message stands between being sent and being deleted.
type visibility uint8

const (
	visible visibility = iota
	delayed
	inFlight
)

// message is one message of one queue. The service's mutex guards it.
type message struct {
	*Content
	id              ID
	deduplicationID string
	sequence        Sequence
	group           *group // nil when the message has no group ID (standard queues only)

	// neighbours in the queue's order: all messages of the group (FIFO), or all visible messages (standard)
	next, prev *message
	// neighbours in the age list
	older, younger *message

	sent          int64 // all times are Unix nanoseconds; 0 is never
	firstReceived int64
	lastReceived  int64
	visibleAt     int64  // when a delayed or in-flight message becomes visible
	scheduled     int32  // index in the queue's schedule; meaningless while visible
	receives      uint32 // ApproximateReceiveCount; goes on counting in the dead-letter queue
	received      uint32 // receives in this queue; the part of a receipt handle that changes
	state         visibility
	deadLetterOf  *string // ARN of the queue it was moved from, or nil
}

// Delivery is one received message. It is a copy: nothing changes it later.
type Delivery struct {
	*Content
	MessageID       ID
	GroupID         string
	DeduplicationID string
	Sequence        Sequence // 0 on standard queues
	SentAt          time.Time
	FirstReceivedAt time.Time
	ReceiveCount    int
	// DeadLetterSource is the ARN of the queue from which the message was moved here, or "".
	DeadLetterSource string

	receipt receipt
	queue   *Queue
}

// AppendReceiptHandle appends the handle of this receive to dst.
func (d *Delivery) AppendReceiptHandle(dst []byte) []byte {
	return d.queue.appendHandle(dst, d.receipt)
}

// ReceiptHandle is the handle of this receive: it deletes the message or changes its visibility.
func (d *Delivery) ReceiptHandle() string { return string(d.AppendReceiptHandle(nil)) }

func (q *Queue) delivery(m *message) Delivery {
	d := Delivery{
		Content:         m.Content,
		MessageID:       m.id,
		DeduplicationID: m.deduplicationID,
		SentAt:          time.Unix(0, m.sent),
		FirstReceivedAt: time.Unix(0, m.firstReceived),
		ReceiveCount:    int(m.receives),
		receipt:         receipt{m.sequence, m.received},
		queue:           q,
	}
	if q.fifo {
		d.Sequence = m.sequence
	}
	if m.group != nil {
		d.GroupID = m.group.id
	}
	if m.deadLetterOf != nil {
		d.DeadLetterSource = *m.deadLetterOf
	}
	return d
}

// ages is the list of all messages of a queue by send time, oldest first.
type ages struct{ oldest, youngest *message }

// insert puts m in its place. Almost always that is the end: only messages that a standard queue's dead-letter policy
// moves keep an older send time.
func (l *ages) insert(m *message) {
	at := l.youngest
	for at != nil && at.sent > m.sent {
		at = at.older
	}
	m.older = at
	if at == nil {
		m.younger, l.oldest = l.oldest, m
	} else {
		m.younger, at.younger = at.younger, m
	}
	if m.younger == nil {
		l.youngest = m
	} else {
		m.younger.older = m
	}
}

func (l *ages) remove(m *message) {
	if m.older == nil {
		l.oldest = m.younger
	} else {
		m.older.younger = m.younger
	}
	if m.younger == nil {
		l.youngest = m.older
	} else {
		m.younger.older = m.older
	}
	m.older, m.younger = nil, nil
}
