package queue

import (
	"crypto/sha256"
	"encoding/hex"
	"time"

	"github.com/device-fanout/fanout/infra/local/internal/apierr"
	"github.com/device-fanout/fanout/infra/local/internal/dedup"
	"github.com/device-fanout/fanout/infra/local/internal/policy"
)

// SendInput is one message to send. A nil field was not given.
type SendInput struct {
	Content         *Content
	GroupID         *string
	DeduplicationID *string
	Delay           *int // seconds
}

// SendResult is what became of one message: an ID and, on FIFO queues, a sequence number. A duplicate of a message of
// the last five minutes gets those of the original.
type SendResult struct {
	MessageID ID
	Sequence  Sequence // 0 on standard queues
}

// BatchEntry is one message of a batch.
type BatchEntry struct {
	ID    string
	Input SendInput
}

// BatchResult is the result of one entry of a batch; Err is nil or an *apierr.Error.
type BatchResult struct {
	SendResult
	Err error
}

// rules are the settings that a send is checked against.
type rules struct {
	fifo, contentDedup bool
	maxBytes           int
}

func (q *Queue) rules() (rules, error) {
	now, err := q.begin()
	if err != nil {
		return rules{}, err
	}
	defer q.service.unlock(now)
	return rules{q.fifo, q.config.contentDedup, q.config.maxBytes}, nil
}

// Send sends one message.
func (q *Queue) Send(in SendInput) (SendResult, error) {
	r, err := q.rules()
	if err != nil {
		return SendResult{}, err
	}
	if in.Content.Body == "" {
		return SendResult{}, errMissing("MessageBody")
	}
	if err := r.checkIDs(in, errMissing("MessageGroupId")); err != nil {
		return SendResult{}, err
	}
	if err := r.checkContent(in, "One or more parameters are invalid"); err != nil {
		return SendResult{}, err
	}
	parcel := r.parcel(in)
	results, err := q.accept([]Parcel{parcel})
	if err != nil {
		return SendResult{}, err
	}
	return results[0], nil
}

// SendBatch sends up to ten messages, in order. Entries can fail one by one; the error is for the batch as a whole.
func (q *Queue) SendBatch(entries []BatchEntry) ([]BatchResult, error) {
	r, err := q.rules()
	if err != nil {
		return nil, err
	}
	if err := checkBatch(len(entries), "SendMessageBatchRequestEntry", func(i int) string { return entries[i].ID }); err != nil {
		return nil, err
	}
	total, noGroup := 0, apierr.New(CodeInvalidParameter, "The request must contain the parameter MessageGroupId.")
	for i := range entries {
		total += entries[i].Input.Content.Size()
		if err := r.checkIDs(entries[i].Input, noGroup); err != nil {
			return nil, err
		}
	}
	if total > MaxMessageBytes {
		return nil, apierr.New(CodeBatchTooLong,
			"Batch requests cannot be longer than %d bytes. You have sent %d bytes.", MaxMessageBytes, total)
	}
	results := make([]BatchResult, len(entries))
	parcels := make([]Parcel, 0, len(entries))
	for i := range entries {
		in := entries[i].Input
		if in.Content.Body == "" {
			results[i].Err = apierr.New(CodeEmptyValue, "The request must contain the parameter MessageBody.")
		} else if results[i].Err = r.checkContent(in, "One or more parameters cannot be validated"); results[i].Err == nil {
			parcels = append(parcels, r.parcel(in))
		}
	}
	accepted, err := q.accept(parcels)
	if err != nil {
		return nil, err
	}
	for i := range results {
		if results[i].Err == nil {
			results[i].SendResult, accepted = accepted[0], accepted[1:]
		}
	}
	return results, nil
}

// parcel is in, ready to be accepted. A missing deduplication ID becomes the hash of the body.
func (r rules) parcel(in SendInput) Parcel {
	p := Parcel{Content: in.Content}
	if in.GroupID != nil {
		p.GroupID = *in.GroupID
	}
	if in.Delay != nil {
		p.Delay = *in.Delay
		p.ownDelay = !r.fifo // on FIFO queues only 0 is allowed, and it means the queue's delay
	}
	if r.fifo {
		if in.DeduplicationID != nil {
			p.DeduplicationID = *in.DeduplicationID
		} else {
			p.DeduplicationID = ContentDeduplicationID(in.Content.Body)
		}
	}
	return p
}

// ContentDeduplicationID is the deduplication ID that a body has by itself: its SHA-256. Attributes do not count.
func ContentDeduplicationID(body string) string {
	sum := sha256.Sum256([]byte(body))
	return hex.EncodeToString(sum[:])
}

// Parcel is a message that has been checked. On FIFO queues it must have a group ID and a deduplication ID.
type Parcel struct {
	Content         *Content
	GroupID         string
	DeduplicationID string
	Delay           int // seconds; only of a send to a standard queue
	ownDelay        bool
}

// Deliver hands parcels of a topic to the queue of that ARN, as SNS does, in order. The parcels are not checked against the
// queue's settings. The error is NonExistentQueue, when policies are enforced AccessDenied, or MissingParameter when a FIFO
// queue gets a parcel without its IDs. After an error nothing has been delivered.
func (s *Service) Deliver(arn, topicARN string, parcels []Parcel) error {
	s.mu.Lock()
	q := s.arns[arn]
	allowed := q == nil || !s.EnforcePolicies || policy.Allows(q.config.policy, policy.Request{
		Service: "sns.amazonaws.com", Action: "SQS:SendMessage", Resource: arn, SourceARN: topicARN, Account: s.account,
	})
	s.mu.Unlock()
	switch {
	case q == nil:
		return errNonExistentQueue()
	case !allowed:
		return apierr.New(CodeAccessDenied, "The policy of %s does not allow SQS:SendMessage for %s.", q.name, topicARN)
	}
	if q.fifo {
		for i := range parcels {
			if parcels[i].GroupID == "" {
				return errMissing("MessageGroupId")
			}
			if parcels[i].DeduplicationID == "" {
				return errMissing("MessageDeduplicationId")
			}
		}
	}
	_, err := q.accept(parcels)
	return err
}

// accept puts parcels into the queue in order, all at one moment.
func (q *Queue) accept(parcels []Parcel) ([]SendResult, error) {
	now, err := q.begin()
	if err != nil {
		return nil, err
	}
	defer q.service.unlock(now)
	results := make([]SendResult, len(parcels))
	for i := range parcels {
		results[i] = q.acceptOne(&parcels[i], now)
	}
	q.service.wake(q)
	return results, nil
}

func (q *Queue) acceptOne(p *Parcel, now int64) SendResult {
	var key dedup.Key
	if q.fifo {
		scope := ""
		if q.perGroup {
			scope = p.GroupID
		}
		key = q.window.Key(scope, p.DeduplicationID)
		if first, ok := q.window.Seen(key, now); ok {
			return SendResult{MessageID: first.MessageID, Sequence: Sequence(first.Sequence)}
		}
	}
	m := &message{Content: p.Content, id: NewID(), deduplicationID: p.DeduplicationID, sent: now}
	delay := q.config.delay
	if p.ownDelay {
		delay = p.Delay
	}
	state, visibleAt := visible, now+int64(delay)*int64(time.Second)
	if delay > 0 {
		state = delayed
	}
	q.insert(m, p.GroupID, state, visibleAt, now)
	if !q.fifo {
		return SendResult{MessageID: m.id}
	}
	q.window.Remember(key, dedup.Receipt{MessageID: m.id, Sequence: uint64(m.sequence)}, now)
	return SendResult{MessageID: m.id, Sequence: m.sequence}
}
