package consumers

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/device-fanout/fanout/events"
)

// Handler handles one event. Its error is the verdict: nil deletes the message, a [Known] error dead-letters it at once, any other
// is retried quickly and then dead-lettered. A panic counts as an error.
//
// ctx ends when the handler's time is over, when the lease is lost, or when the consumer gives up draining; context.Cause
// tells which. Events of one device come one at a time and in order; those of different devices come concurrently.
// An event may come again after it was handled.
type Handler func(ctx context.Context, event events.Event) error

// Mux is a Handler by event type. Fill it with [On] before it is used; then it is safe for concurrent use.
// The zero value is ready.
type Mux struct {
	handlers map[string]Handler
}

// On registers a handler for the events whose payload is a T. A second one for the same type panics. A T of [events.Raw] stands for
// all types that this program has not registered; see Config.UnknownTypes.
func On[T events.Data](m *Mux, handle func(ctx context.Context, event events.Event, data T) error) {
	var zero T
	name := zero.EventType() // empty for events.Raw
	if _, twice := m.handlers[name]; twice {
		panic(fmt.Sprintf("consumers: two handlers for %s", name))
	}
	if m.handlers == nil {
		m.handlers = map[string]Handler{}
	}
	m.handlers[name] = func(ctx context.Context, event events.Event) error {
		data, ok := events.As[T](event)
		if !ok {
			return Known(CodeNoHandler, fmt.Errorf("consumers: event %s holds a %T, want a %T", event.ID, event.Data, zero))
		}
		return handle(ctx, event, data)
	}
}

// Dispatch passes the event to the handler of its type. Without one, the error is known and has the code [CodeNoHandler], or
// unknown_type if this program has not registered the type.
func (m *Mux) Dispatch(ctx context.Context, event events.Event) error {
	name := event.Type()
	_, isRaw := event.Data.(events.Raw)
	if isRaw {
		name = ""
	}
	handle, ok := m.handlers[name]
	switch {
	case !ok && isRaw:
		return Known(string(events.CodeUnknownType), fmt.Errorf("consumers: type %s is not registered in this program, and no handler takes events.Raw", event.Type()))
	case !ok:
		return Known(CodeNoHandler, fmt.Errorf("consumers: no handler for %s; there are handlers for %s", event.Type(), strings.Join(m.Types(), ", ")))
	}
	return handle(ctx, event)
}

// Types lists the event types that have a handler, sorted; events.Raw is not among them.
func (m *Mux) Types() []string {
	names := make([]string, 0, len(m.handlers))
	for name := range m.handlers {
		if name != "" {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}
