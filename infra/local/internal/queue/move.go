package queue

import (
	"encoding/base64"
	"encoding/json"
	"slices"
	"time"

	"github.com/device-fanout/fanout/infra/local/internal/apierr"
	"github.com/device-fanout/fanout/infra/local/internal/clock"
)

// MoveStatus is where a message move task stands, as the API names it.
type MoveStatus string

// The statuses of a message move task.
const (
	MoveRunning    MoveStatus = "RUNNING"
	MoveCompleted  MoveStatus = "COMPLETED"
	MoveCancelling MoveStatus = "CANCELLING"
	MoveCancelled  MoveStatus = "CANCELLED"
	MoveFailed     MoveStatus = "FAILED"
)

// Limits of message move tasks.
const (
	MaxMovesPerSecond = 500
	MaxMovesListed    = 10 // tasks that are remembered for each source, too
)

// A task without a rate moves so many messages at a time, so that nobody waits long for the lock.
const (
	moveChunk = 10_000
	movePause = 10 * time.Millisecond
)

// MoveTask describes a message move task.
type MoveTask struct {
	Handle         string // only while the task is running
	Status         MoveStatus
	SourceARN      string
	DestinationARN string // "" when each message goes back to where it came from
	PerSecond      int    // 0 when the caller gave no rate
	Moved, ToMove  int
	StartedAt      time.Time
	FailureReason  string // only of a task that failed
}

// moveTask is one task that moves messages out of a dead-letter queue. The service's mutex guards it.
//
// It moves what was there when it began, oldest first, and by the rule of FIFO queues: a message goes only when nothing
// older of its group is in flight or delayed, so the order within a group is kept. It ends when there is nothing more
// that it may move.
type moveTask struct {
	id     string
	source *Queue
	last   Sequence // the last message that was there when the task began
	timer  clock.Timer
	MoveTask
}

func (t *moveTask) active() bool { return t.Status == MoveRunning || t.Status == MoveCancelling }

// StartMove starts a task that moves messages from a dead-letter queue to the queue of destinationARN, or each back to
// the queue that it came from when that is empty. perSecond is the number of messages per second, or nil for as fast as
// it goes. It returns the task's handle.
func (s *Service) StartMove(sourceARN, destinationARN string, perSecond *int) (string, error) {
	now := s.lock()
	defer s.unlock(now)
	source, err := s.checkMove(sourceARN, destinationARN, perSecond)
	if err != nil {
		return "", err
	}
	source.advance(now)
	t := &moveTask{
		id:     NewID().String(),
		source: source,
		last:   s.lastSequence,
		MoveTask: MoveTask{
			Status:         MoveRunning,
			SourceARN:      sourceARN,
			DestinationARN: destinationARN,
			ToMove:         source.total - source.inFlight - source.delayed,
			StartedAt:      time.Unix(0, now),
		},
	}
	if perSecond != nil {
		t.PerSecond = *perSecond
	}
	t.Handle = moveHandle(t.id, sourceARN)
	source.moves = append(source.moves, t)
	if len(source.moves) > MaxMovesListed {
		source.moves = slices.Delete(source.moves, 0, 1)
	}
	handle := t.Handle
	t.step(now)
	return handle, nil
}

func (s *Service) checkMove(sourceARN, destinationARN string, perSecond *int) (*Queue, error) {
	if perSecond != nil && (*perSecond < 1 || *perSecond > MaxMovesPerSecond) {
		return nil, errInvalidValue(*perSecond, "MaxNumberOfMessagesPerSecond", "Must be between 1 and %d, if provided.",
			MaxMovesPerSecond)
	}
	source, err := s.moveSource(sourceARN)
	if err != nil {
		return nil, err
	}
	if !s.isDeadLetterQueue(source) {
		return nil, apierr.New(CodeInvalidParameter, "Source queue must be configured as a Dead Letter Queue.")
	}
	if destinationARN != "" {
		destination := s.byARN(destinationARN)
		switch {
		case destination == nil:
			return nil, errNoResource("DestinationArn")
		case destination == source:
			return nil, errInvalidValue(destinationARN, "DestinationArn", "Source and destination must be different queues.")
		case destination.fifo != source.fifo:
			return nil, errInvalidValue(destinationARN, "DestinationArn", "Source and destination must be queues of the same type.")
		}
	}
	for _, t := range source.moves {
		if t.active() {
			return nil, apierr.New(CodeInvalidParameter, "There is already a task running. Only one active task is allowed "+
				"for a source queue arn at a given time.")
		}
	}
	return source, nil
}

func (s *Service) moveSource(arn string) (*Queue, error) {
	if arn == "" {
		return nil, errMissing("SourceArn")
	}
	source := s.byARN(arn)
	if source == nil {
		return nil, errNoResource("SourceArn")
	}
	return source, nil
}

func (s *Service) isDeadLetterQueue(q *Queue) bool {
	for _, other := range s.queues {
		if other.config.redrive.targetARN == q.arn {
			return true
		}
	}
	return false
}

func errNoResource(parameter string) error {
	return apierr.New(CodeResourceNotFound, "The resource that you specified for the %s parameter doesn't exist.", parameter)
}

// Moves returns the latest tasks of a source, newest first.
func (s *Service) Moves(sourceARN string, limit int) ([]MoveTask, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	source, err := s.moveSource(sourceARN)
	if err != nil {
		return nil, err
	}
	var tasks []MoveTask
	for _, t := range slices.Backward(source.moves) {
		if len(tasks) == limit {
			break
		}
		tasks = append(tasks, t.MoveTask)
	}
	return tasks, nil
}

// CancelMove ends a task that is running, and returns how many messages it has moved. Those stay moved. The task moves
// nothing more, and reads CANCELLED when its next message would have been due.
func (s *Service) CancelMove(handle string) (moved int, err error) {
	id, sourceARN, ok := parseMoveHandle(handle)
	if !ok {
		return 0, apierr.New(CodeInvalidParameter, "Value for parameter TaskHandle is invalid.")
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if source := s.byARN(sourceARN); source != nil {
		for _, t := range source.moves {
			if t.id != id {
				continue
			}
			if t.Status != MoveRunning {
				return 0, apierr.New(CodeUnsupportedOperation, "Only a task that is RUNNING can be cancelled; this one is %s.", t.Status)
			}
			t.Status, t.Handle = MoveCancelling, ""
			return t.Moved, nil
		}
	}
	return 0, apierr.New(CodeResourceNotFound, "Task does not exist.")
}

// moveHandleText is what a task's handle says, in base64.
type moveHandleText struct {
	TaskID    string `json:"taskId"`
	SourceARN string `json:"sourceArn"`
}

func moveHandle(id, sourceARN string) string {
	text, _ := json.Marshal(moveHandleText{id, sourceARN}) // strings always marshal
	return base64.StdEncoding.EncodeToString(text)
}

func parseMoveHandle(handle string) (id, sourceARN string, ok bool) {
	text, err := base64.StdEncoding.DecodeString(handle)
	if err != nil {
		return "", "", false
	}
	var h moveHandleText
	if json.Unmarshal(text, &h) != nil || h.TaskID == "" || h.SourceARN == "" {
		return "", "", false
	}
	return h.TaskID, h.SourceARN, true
}

// step moves what is due now and asks to be called for the next. The lock is held.
func (t *moveTask) step(now int64) {
	if t.Status == MoveCancelling {
		t.end(MoveCancelled, "")
	}
	if !t.active() {
		return
	}
	quota, pause := 1, time.Second
	if t.PerSecond == 0 {
		quota, pause = moveChunk, movePause
	} else {
		pause /= time.Duration(t.PerSecond)
	}
	t.source.advance(now)
	moved, more := t.moveSome(quota, now)
	t.Moved += moved
	t.source.service.wake(t.source)
	switch {
	case !t.active(): // it failed on the way
	case !more:
		t.end(MoveCompleted, "")
	case t.timer == nil:
		t.timer = t.source.service.clock.AfterFunc(pause, t.ring)
	default:
		t.timer.Reset(pause)
	}
}

func (t *moveTask) ring() {
	now := t.source.service.lock()
	defer t.source.service.unlock(now)
	t.step(now)
}

func (t *moveTask) end(status MoveStatus, reason string) {
	t.Status, t.FailureReason, t.Handle = status, reason, ""
	if t.timer != nil {
		t.timer.Stop()
	}
}

// moveSome moves up to quota messages, oldest first, and reports whether there are more.
func (t *moveTask) moveSome(quota int, now int64) (moved int, more bool) {
	for m, younger := t.source.ages.oldest, (*message)(nil); m != nil; m = younger {
		younger = m.younger
		if m.sequence > t.last || m.state != visible || t.source.fifo && m.group.messages.head != m {
			continue // new, or not deliverable
		}
		if moved == quota {
			return moved, true
		}
		target, reason := t.target(m)
		if target == nil {
			t.end(MoveFailed, reason)
			return moved, false
		}
		t.source.moveBack(m, target, now)
		moved++
	}
	return moved, false
}

// target is the queue that m goes to, or nil and the reason why there is none.
func (t *moveTask) target(m *message) (*Queue, string) {
	arn := t.DestinationARN
	if arn == "" {
		if m.deadLetterOf == nil {
			return nil, "CouldNotDetermineMessageSource"
		}
		arn = *m.deadLetterOf
	}
	target := t.source.service.byARN(arn)
	if target == nil {
		return nil, CodeNonExistentQueue
	}
	return target, ""
}

// moveBack moves m, which must be visible, from a dead-letter queue to target as a new message: with a new ID, sent now,
// never received. Deduplication does not stop it: it has been accepted once and must not get lost.
func (q *Queue) moveBack(m *message, target *Queue, now int64) {
	groupID := ""
	if m.group != nil {
		groupID = m.group.id
	}
	q.drop(m)
	target.advance(now)
	fresh := &message{Content: m.Content, id: NewID(), deduplicationID: m.deduplicationID, sent: now}
	state, visibleAt := visible, now+int64(target.config.delay)*int64(time.Second)
	if target.config.delay > 0 {
		state = delayed
	}
	target.insert(fresh, groupID, state, visibleAt, now)
	q.service.wake(target)
}

// endMoves ends the task that moves messages out of q, if there is one.
func (q *Queue) endMoves() {
	for _, t := range q.moves {
		if t.active() {
			t.end(MoveFailed, "The local engine was closed.")
		}
	}
}
