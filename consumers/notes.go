package consumers

import (
	"log/slog"
	"time"

	"github.com/device-fanout/fanout/consumers/internal/core"
	awsx "github.com/device-fanout/fanout/internal/aws"
)

// failuresUntilError is how many receives in a row must fail by trouble that may pass by itself to be an error in the log.
const failuresUntilError = 3

// tell logs what the core has to tell.
func (r *run) tell(n core.Note) {
	log := r.cfg.Logger
	retry := slog.Group("", "failures", n.Failures, "retry_in", n.In, "err", n.Err)
	var message slog.Attr
	if m := n.Message; m != nil {
		message = slog.Group("", "message_id", m.ID, "group_id", m.Group)
	}
	switch n.Kind {
	case core.NoteIllegal:
		log.Error("fault in the consumer: a step that it does not know; please report it", "step", n.Text)
	case core.NoteLeaseLost:
		log.Warn("lease lost: the message may be delivered again", message, "receive_count", n.Message.ReceiveCount)
	case core.NoteExtendFailed:
		log.Warn("extending a visibility timeout failed; the next heartbeat retries", message, "left", n.In.Round(time.Millisecond), "err", n.Err)
	case core.NoteReleaseFailed:
		log.Warn("handing messages back failed; they are retried until their visibility timeout ends", "messages", n.Count, retry)
	case core.NoteDeleteFailed:
		log.Warn("deleting handled messages failed", retry)
	case core.NoteReceiveFailed:
		level := slog.LevelWarn
		if needsSomebody(n.Err) || n.Failures >= failuresUntilError {
			level = slog.LevelError
		}
		attrs := []any{retry}
		if hint := advice("", n.Err); hint != "" {
			attrs = append(attrs, "hint", hint)
		}
		log.Log(r.work, level, "receive failed", attrs...)
	case core.NoteStoreFailed:
		if n.Message == nil {
			log.Error("parking store unavailable, receiving is paused", retry)
			return
		}
		log.Error("parking store unavailable, device held", message, retry)
	case core.NoteSendFailed:
		log.Error("sending to the dead-letter queue failed; the device waits", message, retry)
	case core.NoteDeadLettered:
		log.Error("event dead-lettered", r.failure(n))
		if hook := r.cfg.Hooks.DeadLettered; hook != nil {
			r.hooks++
			go r.watch(func() {
				m := of(n.Message)
				event, _ := r.service.Decode(m.in.Body) // empty if it can't be
				hook(m.delivery(r.queue.Service, event), outcomeOf(n.Verdict))
			})
		}
	case core.NoteBlocks:
		log.Error("event blocks its device", r.failure(n), "retry_in", n.In)
	case core.NoteHeld:
		waitsFor := "another event of its type to be handled, which would show that the handler works, or " + r.cfg.MaxHold.String() + " to be over; the service has no Check"
		if r.cfg.Check != nil {
			waitsFor = "the service's check to pass"
		}
		log.Warn("event failed, and nothing shows yet that its handler works; it is held and tried again", r.failure(n), "waits_for", waitsFor)
	case core.NoteCheckFailed:
		log.Error("the check of the service's dependencies fails; events that fail are held until it passes", "retry_in", n.In, "err", n.Err)
	case core.NoteCheckPassed:
		log.Warn("the check of the service's dependencies passes again", "after", n.In.Round(time.Millisecond))
	case core.NoteBreakerOpens:
		log.Error("circuit breaker opens: a dependency is down, as a handler says; one event is tried now and then until one can be handled", "code", n.Verdict.Code, "err", n.Verdict.Text)
	case core.NoteBreakerCloses:
		log.Warn("circuit breaker closes: events can be handled again", "after", n.In.Round(time.Millisecond))
	case core.NoteStuck:
		log.Error("handler does not end although its context has ended; the device waits",
			message, "handler_timeout", r.cfg.HandlerTimeout, "stack", stackOf(of(n.Message).goroutine.Load()))
	case core.NoteReleasedMeanwhile:
		log.Warn("the device was released while its event went to the dead-letter queue; the event is handled here, and a copy of it may be too", message)
	case core.NoteOutOfOrder:
		log.Warn("sequence numbers contradict the order in which the queue delivers, as on an emulator: they are not used any more", message)
	}
}

// watch calls a hook, which changes nothing.
func (r *run) watch(hook func()) {
	defer r.signal(r.heard)
	defer func() {
		if value := recover(); value != nil {
			r.service.Faults.Panicked(value)
		}
	}()
	hook()
}

// failure is a message and why it failed.
func (r *run) failure(n core.Note) slog.Attr {
	m, v := n.Message, n.Verdict
	return slog.Group("", "event_id", v.EventID, "event_type", v.EventType, "device_id", m.Device, "message_id", m.ID, "class", v.Class, "code", v.Code,
		"attempts", v.Attempts, "receive_count", m.ReceiveCount, "err", v.Text)
}

// needsSomebody tells whether an error of a request will not pass by itself.
func needsSomebody(err error) bool {
	switch awsx.VerdictOf(err).Class {
	case awsx.Gone, awsx.Denied, awsx.Credentials, awsx.Refused, awsx.Final:
		return true
	}
	return false
}
