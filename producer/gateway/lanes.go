package gateway

import (
	"context"
	"sync"
	"time"

	"github.com/device-fanout/fanout/events"
)

// lanes keep the events of one source, a stream of lines or an MQTT subscription, in order per device: a device's next event
// goes to the producer once the one before is accepted. So a failed event can be dealt with while no later one is on its way.
type lanes struct {
	ctx  context.Context // the source's; when it ends nothing more is sent
	send func(context.Context, events.Event, func(error))
	// backoff is how long to wait before a failed event is sent again, by the number of its failures. Without it a failed event
	// is given up, and with it all later ones of its device.
	backoff func(failures int) time.Duration
	// pace is how long an event must wait, for its device's limit, before it is sent the first time. Nil lets none wait.
	pace func(device string) time.Duration

	sending sync.WaitGroup // goroutines that send
	mu      sync.Mutex
	devices map[string]*lane
	closed  bool // no goroutine is started any more
}

// lane holds the events of one device that are not answered yet, the first being the one that was sent.
type lane struct {
	waiting  []*laneItem
	failures int      // of the first, in a row
	gaveUp   *Problem // what later events of the device are refused with
}

type laneItem struct {
	event  events.Event
	answer func(error) // must not block
}

func newLanes(ctx context.Context, send func(context.Context, events.Event, func(error))) *lanes {
	return &lanes{ctx: ctx, send: send, devices: map[string]*lane{}}
}

// submit takes one event, which will be answered exactly once, unless the lanes are closed before. It may wait for room in the producer's
// buffer. Only one goroutine submits.
func (l *lanes) submit(e events.Event, answer func(error)) {
	item := &laneItem{e, answer}
	l.mu.Lock()
	d := l.devices[e.DeviceID]
	if d == nil {
		d = &lane{}
		l.devices[e.DeviceID] = d
	}
	if d.gaveUp != nil {
		refusal := *d.gaveUp
		l.mu.Unlock()
		refusal.EventID = e.ID
		answer(&refusal)
		return
	}
	d.waiting = append(d.waiting, item)
	if len(d.waiting) > 1 {
		l.mu.Unlock()
		return
	}
	wait := l.paceOf(item)
	if wait > 0 {
		l.later(wait, d, item)
	}
	l.mu.Unlock()
	if wait == 0 {
		l.dispatch(d, item)
	}
}

func (l *lanes) paceOf(item *laneItem) time.Duration {
	if l.pace == nil {
		return 0
	}
	return l.pace(item.event.DeviceID)
}

func (l *lanes) dispatch(d *lane, item *laneItem) {
	l.send(l.ctx, item.event, func(err error) { l.settle(d, item, err) })
}

// settle deals with the outcome of the first event of a lane. It does not block.
func (l *lanes) settle(d *lane, item *laneItem, err error) {
	mayPass := err != nil && problemOf(err).mayPass()
	l.mu.Lock()
	if mayPass && l.backoff != nil && l.ctx.Err() == nil {
		d.failures++
		l.later(l.backoff(d.failures), d, item)
		l.mu.Unlock()
		return
	}
	d.waiting[0] = nil
	d.waiting = d.waiting[1:]
	d.failures = 0
	var given []*laneItem
	switch {
	case mayPass:
		d.gaveUp = newProblem(kindBlocked, "event "+item.event.ID+" before it was not accepted; send it and all later ones of the device again, in a new stream")
		given, d.waiting = d.waiting, nil
	case len(d.waiting) == 0:
		delete(l.devices, item.event.DeviceID)
	default:
		l.later(l.paceOf(d.waiting[0]), d, d.waiting[0])
	}
	l.mu.Unlock()
	item.answer(err)
	for _, blocked := range given {
		refusal := *d.gaveUp
		refusal.EventID = blocked.event.ID
		blocked.answer(&refusal)
	}
}

// later sends an event on a goroutine of its own after a while. The caller holds mu.
func (l *lanes) later(wait time.Duration, d *lane, item *laneItem) {
	if l.closed {
		return
	}
	l.sending.Go(func() { // ends with ctx, or when the event is in the producer's buffer
		if wait > 0 {
			select {
			case <-time.After(wait):
			case <-l.ctx.Done():
			}
		}
		l.dispatch(d, item)
	})
}

// close waits for the goroutines. ctx must have ended, or everything must be answered. Events that are still in the producer's
// buffer are answered later.
func (l *lanes) close() {
	l.mu.Lock()
	l.closed = true
	l.mu.Unlock()
	l.sending.Wait()
}
