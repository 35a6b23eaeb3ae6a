package core

import (
	"time"

	"github.com/device-fanout/fanout/consumers/internal/attempt"
)

// Message is one received message while it is held: from its receive until it was deleted, handed back or lost. Whoever receives it sets the
// exported fields, and nobody changes them.
type Message struct {
	ID           string
	Group        string // the message group; empty only on a standard queue
	Device       string // that the group is of
	Type         string // of its event
	Sequence     string // 20 digits on a FIFO queue, so that it sorts as text
	ReceiveCount int    // the first delivery is 1
	ReceivedAt   time.Time
	Released     bool // a release has sent it; see package parking
	Mark         bool // it is the end mark of that release
	Ref          any  // the shell's own

	state State
	lane  *Lane
	lease lease
	// answer counts the receives: messages of the same one have the same.
	answer int64
	wake   time.Time // when it goes on by itself, of one that rests or whose request is to be repeated; zero for never
	busy   bool      // its handler runs, or a request about it is under way

	// What has gone wrong so far.
	trouble  *attempt.Verdict // the last failure
	attempts int              // handlers started, in attempts that have ended
	since    time.Time        // when the trouble began
	reason   Reason           // why it can't go on
	failures int              // requests about it that failed in a row
	long     bool             // it waits for something that may take long

	hold hold
	park parkStep

	overdue time.Time // when its handler should have ended long since; zero when none runs or that was reported
	stuck   bool      // that was reported
}

// State is where a held message stands.
type State uint8

// The states of a message. From which to which it may go is in table.go.
const (
	None     State = iota // not received yet
	Waiting               // in its lane, behind others or for a slot
	Running               // its handler runs
	Resting               // its handler failed, and it is tried again after a pause
	Asking                // the parking store is asked about it, or told
	Sending               // its dead letter is on the way
	Done                  // its verdict is carried out, and it is to be deleted
	Deleting              // that is asked for
	Lost                  // its lease is lost; its handler, or a request about it, has not ended yet
	Gone                  // no longer ours
)

// State tells where the message stands.
func (m *Message) State() State { return m.state }

// LeaseEnd is when the message's visibility timeout ends, as far as is known.
func (m *Message) LeaseEnd() time.Time { return m.lease.ends }

// Attempts is how many handlers were started for it, in attempts that have ended.
func (m *Message) Attempts() int { return m.attempts }

// lease is how long a message stays hidden from others.
type lease struct {
	ends     time.Time
	changing bool          // a change is wanted or under way
	hide     time.Duration // what that asks for, to keep the message hidden for longer than usual; zero for the usual
	hidden   bool          // that was asked for
	asked    time.Duration // what the change under way asks for
	delay    time.Duration // after its release it stays hidden for so long
}

// left is how much of the lease is left by the monotonic clock or by the wall clock, whichever says less: the former does not see that the
// machine was asleep, and the latter can be set back.
func (l *lease) left(now time.Time) time.Duration {
	return min(l.ends.Sub(now), l.ends.Round(0).Sub(now.Round(0)))
}

// Lane holds the messages of one device in the order of the queue. It lives while there are any.
type Lane struct {
	group   string
	state   LaneState
	head    *Message   // that something is done with, or that rests
	waiting []*Message // behind it
	asks    bool       // its device is parked as far as is known: ask before every message
	aside   bool       // its messages don't count as held: its device fails or stands still, which must not stop the others
	hiding  int        // messages whose longer visibility timeout is not confirmed yet
}

// LaneState is what a lane waits for.
type LaneState uint8

// The states of a lane. From which to which it may go is in table.go.
const (
	Free      LaneState = iota // nothing: what is next is to be decided
	Ready                      // a slot
	Busy                       // its head, whose handler runs, or which is asked about, sent or deleted
	Paused                     // its head, which rests
	Gated                      // the circuit breaker to close
	Isolating                  // its turn to run alone
	Withheld                   // an answer about other messages of its device
	Ended                      // it has no more messages
)

// first is the message that would run next.
func (l *Lane) first() *Message {
	if len(l.waiting) == 0 {
		return nil
	}
	return l.waiting[0]
}

// len is how many messages stand in the lane.
func (l *Lane) len() int {
	if l.head != nil {
		return len(l.waiting) + 1
	}
	return len(l.waiting)
}
