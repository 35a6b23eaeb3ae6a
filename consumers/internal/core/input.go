package core

import (
	"time"

	"github.com/device-fanout/fanout/consumers/internal/attempt"
	awsx "github.com/device-fanout/fanout/internal/aws"
)

// Input is something that has happened. It is one of the types of this file.
type Input interface{ input() }

type (
	// Received tells what one receive returned, with the lease of its messages.
	Received struct {
		Asked    int // as in the command
		Messages []*Message
		Lease    time.Time       // when their visibility timeouts end
		Parked   map[string]bool // devices that are parked
		Err      error           // the parking store could not be asked: all of them may be
	}
	// ReceiveFailed tells that one returned an error. Lost says that there was no answer: the messages may be hidden already.
	ReceiveFailed struct {
		Receive
		Lost bool
		Err  error
	}
	// TryFailed tells that one of several tries of an attempt has failed, and that the attempt goes on.
	TryFailed struct {
		Message *Message
		Verdict *attempt.Verdict // as it stands; not changed any more
	}
	// AttemptEnded tells what a handler came to.
	AttemptEnded struct {
		Message  *Message
		Verdict  *attempt.Verdict // not changed any more, but for its Class and Attempts
		Began    time.Time
		FailedAt time.Time // when the first try failed; zero if none did
		Ref      any       // the shell's own
	}
	// Deleted has the answers to a delete.
	Deleted struct {
		Messages []*Message
		Answers  awsx.Answers
	}
	// Changed has the answers to a change of visibility timeouts, and when it was sent.
	Changed struct {
		Change
		Answers awsx.Answers
		Sent    time.Time
	}
	// Sent is the answer to a dead letter.
	Sent struct {
		Message *Message
		Err     error
	}
	// Answered is the parking store's answer.
	Answered struct {
		Ask
		Standing Standing
		Err      error
	}
	// Checked is what the service's own check of its dependencies said.
	Checked struct {
		Began time.Time
		Err   error
	}
	// Heartbeat comes several times within a visibility timeout.
	Heartbeat struct{}
	// SetPaused stops the intake, or lets it go on.
	SetPaused struct{ Paused bool }
	// Drain stops the intake for good; what was not started goes back.
	Drain struct{}
	// Abort ends what still runs when draining takes too long.
	Abort struct{}
)

func (Received) input()      {}
func (ReceiveFailed) input() {}
func (TryFailed) input()     {}
func (AttemptEnded) input()  {}
func (Deleted) input()       {}
func (Changed) input()       {}
func (Sent) input()          {}
func (Answered) input()      {}
func (Checked) input()       {}
func (Heartbeat) input()     {}
func (SetPaused) input()     {}
func (Drain) input()         {}
func (Abort) input()         {}
