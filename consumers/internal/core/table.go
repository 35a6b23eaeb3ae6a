package core

import (
	"fmt"
	"strings"
)

// The transitions of messages and lanes, all of them. Whatever is not here can't happen; [Core.illegal] tells when it does.

type messageStep struct {
	from, to State
	why      string
}

var messageSteps = []messageStep{
	{None, Waiting, "received"},
	{None, Done, "received again, though it was done with before"},
	{Waiting, Running, "first of its lane, a slot is free, and every policy lets it"},
	{Waiting, Asking, "its device is parked, or would be by its last delivery"},
	{Waiting, Resting, "draining, and it has failed before"},
	{Waiting, Done, "done with while this delivery of it waited"},
	{Waiting, Gone, "handed back, or its lease is lost"},
	{Running, Done, "handled"},
	{Running, Sending, "failed for good"},
	{Running, Asking, "failed for good, or handled at its last delivery, policy park"},
	{Running, Resting, "failed without evidence that the handler works, or policy block"},
	{Running, Waiting, "a dependency is down"},
	{Running, Gone, "handed back for RetryAfter, or stopping"},
	{Running, Lost, "its lease is lost"},
	{Resting, Waiting, "its pause is over, or there is evidence now"},
	{Resting, Sending, "failed on evidence, or MaxHold is over"},
	{Resting, Asking, "the same, policy park"},
	{Resting, Gone, "handed back, or its lease is lost"},
	{Asking, Waiting, "it may run"},
	{Asking, Sending, "its device is parked"},
	{Asking, Done, "recorded and in the dead-letter queue, or withdrawn, or the end of a release"},
	{Asking, Lost, "its lease is lost"},
	{Asking, Gone, "handed back, or its lease is lost between two requests"},
	{Sending, Done, "confirmed"},
	{Sending, Asking, "confirmed or refused, policy park"},
	{Sending, Lost, "its lease is lost"},
	{Sending, Gone, "handed back, or its lease is lost between two requests"},
	{Done, Deleting, "asked for, ten at a time"},
	{Done, Gone, "its lease is lost: remembered as done"},
	{Deleting, Gone, "deleted, or its lease is lost: remembered as done"},
	{Deleting, Done, "refused, or no answer"},
	{Lost, Gone, "what was under way has ended"},
}

type laneStep struct {
	from, to LaneState
	why      string
}

var laneSteps = []laneStep{
	{Free, Ready, "every policy lets its first message run"},
	{Free, Busy, "the parking store is asked about its first message"},
	{Free, Gated, "the breaker is open"},
	{Free, Isolating, "its first message may have killed processes"},
	{Free, Withheld, "messages of the device are being hidden, or deleted before the end of a release"},
	{Free, Ended, "nothing is left"},
	{Ready, Busy, "a slot is free"},
	{Ready, Free, "its first message was lost or is done, the breaker has opened, or draining"},
	{Busy, Free, "its head has gone on"},
	{Busy, Paused, "its head rests"},
	{Paused, Free, "the pause is over, there is evidence, or the head is gone"},
	{Paused, Busy, "its head is dead-lettered"},
	{Gated, Free, "the breaker has closed or lets it try, or draining"},
	{Isolating, Ready, "no other of its kind runs"},
	{Isolating, Free, "draining"},
	{Withheld, Free, "answered"},
}

var messageMay, laneMay = func() (m [Gone + 1][Gone + 1]bool, l [Ended + 1][Ended + 1]bool) {
	for _, s := range messageSteps {
		m[s.from][s.to] = true
	}
	for _, s := range laneSteps {
		l[s.from][s.to] = true
	}
	return m, l
}()

// to moves a message to another state.
func (c *Core) to(m *Message, next State) {
	if !messageMay[m.state][next] {
		c.illegal(fmt.Sprintf("message %s of %s goes from %v to %v", m.ID, m.Device, m.state, next))
	}
	m.state = next
}

// turnLane moves a lane to another state.
func (c *Core) turnLane(l *Lane, next LaneState) {
	if !laneMay[l.state][next] {
		c.illegal(fmt.Sprintf("lane %s goes from %v to %v", l.group, l.state, next))
	}
	l.state = next
}

// illegal is told of a step that no table has. It is a fault in this package: tests panic, production reports it and goes on.
func (c *Core) illegal(what string) {
	if c.cfg.Strict {
		panic("core: " + what)
	}
	c.note(Note{Kind: NoteIllegal, Text: what})
}

var stateNames = [...]string{"None", "Waiting", "Running", "Resting", "Asking", "Sending", "Done", "Deleting", "Lost", "Gone"}

func (s State) String() string { return stateNames[s] }

var laneNames = [...]string{"Free", "Ready", "Busy", "Paused", "Gated", "Isolating", "Withheld", "Ended"}

func (s LaneState) String() string { return laneNames[s] }

// MessagePicture is the table of a message's states as a Mermaid state diagram.
func MessagePicture() string {
	var b strings.Builder
	b.WriteString("stateDiagram-v2\n")
	for _, s := range messageSteps {
		picture(&b, s.from.String(), s.to.String(), s.why)
	}
	return b.String()
}

// LanePicture is the same for a lane.
func LanePicture() string {
	var b strings.Builder
	b.WriteString("stateDiagram-v2\n  [*] --> Free: the first message of its device came\n")
	for _, s := range laneSteps {
		picture(&b, s.from.String(), s.to.String(), s.why)
	}
	return b.String()
}

func picture(b *strings.Builder, from, to, why string) {
	name := func(s string) string {
		switch s {
		case "None", "Gone", "Ended":
			return "[*]"
		}
		return s
	}
	fmt.Fprintf(b, "  %s --> %s: %s\n", name(from), name(to), why)
}
