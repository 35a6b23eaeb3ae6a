package core

import (
	"time"

	"github.com/device-fanout/fanout/consumers/internal/attempt"
)

// Work is what is to be done, in no particular order: everything may begin at once. It is valid until the next Turn.
type Work struct {
	Receive []Receive
	Run     []Run
	Cancel  []Cancel
	Delete  [][]*Message // one request each
	Change  []Change
	Send    []Send
	Ask     []Ask
	Check   bool // call the service's check of its dependencies
	Notes   []Note
}

func (w *Work) reset() {
	clear(w.Run)
	clear(w.Delete)
	*w = Work{
		Receive: w.Receive[:0], Run: w.Run[:0], Cancel: w.Cancel[:0], Delete: w.Delete[:0], Change: w.Change[:0], Send: w.Send[:0], Ask: w.Ask[:0],
		Notes: w.Notes[:0],
	}
}

// Receive asks for up to Max messages.
type Receive struct {
	Max     int
	Wait    time.Duration
	Attempt string // the receive request attempt ID
	Repeats bool   // it fetches what the lost reply of another one held, and is not repeated itself
}

// Run brings a message to its verdict.
type Run struct {
	Message *Message
	Once    bool // without quick retries: it has failed before
}

// Cancel ends the context of a message's handler.
type Cancel struct {
	Message *Message
	Why     Why
}

// Why says why a handler's context ends.
type Why uint8

// The reasons.
const (
	LeaseLost Why = iota
	Stopping
)

// Change sets how long messages stay hidden: those of a release become visible, at once or after a delay, and are not ours any more.
type Change struct {
	Messages []*Message
	For      []time.Duration
	Release  bool
}

// Send copies a message to the dead-letter queue, in one attempt.
type Send struct {
	Message *Message
	Verdict *attempt.Verdict // nil for one that follows: the shell knows why from the answer to the last Ask
}

// Ask asks the parking store about a message's device, or tells it.
type Ask struct {
	Message  *Message
	Question Question
	Verdict  *attempt.Verdict // of Record
}

// Question is what the parking store is asked or told.
type Question uint8

// The questions.
const (
	Find     Question = iota // may the message run?
	Record                   // its device is parked for it
	Announce                 // its last delivery is about to be handled: its device is parked unless that succeeds
	Withdraw                 // it has succeeded
	Confirm                  // the message is in the dead-letter queue
	EndMark                  // the release is over
)

// Standing is the parking store's answer.
type Standing uint8

// The answers.
const (
	Noted    Standing = iota // the answer to everything but Find, or a Find that failed
	MayRun                   // to Find: the device is free, or it is this message's turn
	IsThere                  // to Find: the message came again after it was recorded, before it was deleted
	Follows                  // to Find: the device is parked
	MustWait                 // to Find: the device's dead letters come back first
	TooLate                  // to Confirm: the device was released meanwhile
)

// Note is something worth telling.
type Note struct {
	Kind     NoteKind
	Message  *Message
	Verdict  *attempt.Verdict
	Err      error
	Text     string
	Failures int
	In       time.Duration // until the next try, or since the beginning
	Count    int
}

// NoteKind is what a Note is about.
type NoteKind uint8

// The kinds of notes.
const (
	NoteIllegal           NoteKind = iota // a fault in this package
	NoteLeaseLost                         // Message
	NoteExtendFailed                      // Message, In: what is left, Err
	NoteReleaseFailed                     // Count, Failures, In, Err
	NoteDeleteFailed                      // Failures, In, Err
	NoteReceiveFailed                     // Failures, In, Err
	NoteStoreFailed                       // Message, Failures, In, Err
	NoteSendFailed                        // Message, Failures, In, Err
	NoteDeadLettered                      // Message, Verdict
	NoteBlocks                            // Message, Verdict, In
	NoteHeld                              // Message, Verdict: nothing shows that the handler works
	NoteCheckFailed                       // Failures, In, Err
	NoteCheckPassed                       // In: since the first failure
	NoteBreakerOpens                      // Verdict
	NoteBreakerCloses                     // In
	NoteStuck                             // Message
	NoteReleasedMeanwhile                 // Message
	NoteOutOfOrder                        // Message: sequence numbers contradict the order of delivery
)
