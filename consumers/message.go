package consumers

import (
	"context"
	"slices"
	"sync/atomic"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"

	"github.com/device-fanout/fanout/consumers/internal/attempt"
)

// message is one received message while it is held: from its receive until it was deleted, released or lost.
// All fields are owned by the run loop, except where it says otherwise.
type message struct {
	attempt.Message // what SQS delivered; never changed
	handle          string
	sequence        string // 20 digits on a FIFO queue, so that it sorts as text
	receivedAt      time.Time

	lane  *lane
	state state
	// lease is when the visibility timeout ends as far as we know. The loop writes, the handler's goroutine reads.
	lease     atomic.Pointer[time.Time]
	extending bool
	cancel    context.CancelCauseFunc // ends the context of what runs for the message
	overdue   time.Time               // when its handler should have ended long since; zero when none runs or it was reported
	stuck     bool                    // that was reported
	hide      time.Duration           // what the next extension asks for, so that the message stays hidden for longer; zero for the usual
	isHidden  bool                    // that was asked for
	asked     time.Duration           // what the extension under way asks for
	delay     time.Duration           // after its release it stays hidden for so long
	cleared   bool                    // the parking store says that it may run
	failed    *verdict                // for which it goes to the dead-letter queue
	trouble   atomic.Pointer[trouble] // what went wrong so far; the handler's goroutine writes too
	goroutine atomic.Uint64           // of its handler
}

// state is where a held message stands.
type state int

const (
	waiting  state = iota // in its lane, not started
	running               // its handler runs, or its dead letter is being sent
	finished              // its verdict is carried out; it is to be deleted
	gone                  // no longer ours: deleted, released or lost
)

func newMessage(in types.Message, lease time.Time) *message {
	m := &message{
		Message:    attempt.NewMessage(in),
		handle:     aws.ToString(in.ReceiptHandle),
		sequence:   in.Attributes[string(types.MessageSystemAttributeNameSequenceNumber)],
		receivedAt: time.Now(),
	}
	m.setLease(lease)
	return m
}

func (m *message) setLease(end time.Time) { m.lease.Store(&end) }

func (m *message) leaseEnd() time.Time { return *m.lease.Load() }

// leaseLeft is how much of the lease is left by the monotonic clock or by the wall clock, whichever says less: the former does
// not see that the machine was asleep, and the latter can be set back.
func (m *message) leaseLeft(now time.Time) time.Duration {
	end := m.leaseEnd()
	return min(end.Sub(now), end.Round(0).Sub(now.Round(0)))
}

// lane holds the messages of one device in the order of the queue. It lives while there are any.
type lane struct {
	group   string
	waiting []*message
	current *message // its handler runs, or it is on its way to the dead-letter queue
	queued  bool     // in the list of lanes that wait for a slot
	blocker *message // at its head, to be tried again after a pause
	hiding  int      // messages whose longer visibility timeout SQS has not confirmed yet
	asks    bool     // its device is parked as far as we know: ask before every message
}

// insert puts a message at its place in the order. That is the end, except for one that was delivered again.
func (l *lane) insert(m *message) {
	i := len(l.waiting)
	for i > 0 && m.sequence < l.waiting[i-1].sequence {
		i--
	}
	l.waiting = slices.Insert(l.waiting, i, m)
}

// takeFrom removes a waiting message and everything behind it, and returns both, last first.
func (l *lane) takeFrom(m *message) []*message {
	i := slices.Index(l.waiting, m)
	if i < 0 {
		return nil
	}
	taken := reversed(l.waiting[i:])
	l.waiting = l.waiting[:i]
	return taken
}

func reversed(list []*message) []*message {
	out := slices.Clone(list)
	slices.Reverse(out)
	return out
}
