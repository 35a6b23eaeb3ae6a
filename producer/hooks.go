package producer

import (
	"context"
	"time"

	"github.com/device-fanout/fanout/events"
)

// Hooks let a program watch a Producer. Nil funcs are skipped and cost nothing. The funcs run where events are accepted and sent, from
// several goroutines at once: they must be quick and must not wait for the Producer. The package producer/telemetry makes Hooks
// for OpenTelemetry.
type Hooks struct {
	// Accept is called with the caller's context for every event that is given to the Producer, before it is checked. The
	// Trace goes along with the message. The func, which may be nil, is called once, with what the caller is answered.
	Accept func(ctx context.Context, e events.Event) (Trace, func(Result))
	// Request is called before every PublishBatch. The context goes into the request. The func, which may be nil, is called
	// when the request has ended.
	Request func(ctx context.Context, r Request) (context.Context, func(RequestEnd))
	// Resolved is called once for every accepted event, when the topic has confirmed it or when it has failed for good. With a
	// spool that may be long after its caller was answered, and in a later process.
	Resolved func(Resolved)
	// SetAside is called for everything that the spool could not send and has set aside.
	SetAside func(SetAside)
}

// Trace is the W3C trace context that goes along with an event as message attributes. Empty texts do not.
type Trace struct{ Parent, State string }

// Request describes one PublishBatch.
type Request struct {
	Topic   string  // its ARN
	Entries int     // events in it
	Bytes   int     // of them, as the topic counts them
	Traces  []Trace // those of the events; nil when there is no Accept hook
}

// RequestEnd tells how a request has ended.
type RequestEnd struct {
	Took   time.Duration
	Failed int    // entries that were not confirmed
	Code   string // of the first of them
	Err    error  // of the whole request
}

// Resolved tells how an event has ended.
type Resolved struct {
	EventID, DeviceID, Type string
	Attempts                int           // requests of this process that carried it
	Took                    time.Duration // since it was accepted, by the wall clock
	Code                    string        // the service's error code, if it gave one
	Err                     error         // nil when the topic has confirmed it
}

// SetAside tells what the spool has set aside, and where.
type SetAside struct {
	EventID, DeviceID string // empty for a damaged record
	Path              string // the file that has it now
	Err               error  // a [*CorruptRecordError], [*PublishError] or [*BlockedError]
}

// describe is what the Request hook is told of a batch.
func (p *Producer) describe(batch []entry, entries int) Request {
	r := Request{Topic: p.topic, Entries: entries}
	for _, head := range batch {
		r.Bytes += head.bytes
		if p.cfg.Hooks.Accept != nil || head.trace.Parent != "" {
			r.Traces = append(r.Traces, head.trace)
		}
	}
	return r
}
