package producer

import (
	"bytes"
	"container/list"
	"fmt"
	"strconv"
	"time"

	"github.com/device-fanout/fanout/events"
)

// lane holds the unresolved events of one device in the order of acceptance. It lives while there are any.
type lane struct {
	device string
	events []*pending
	busy   bool      // the first event is in a batch, or waits to be sent again
	since  time.Time // when the lane became ready
}

// pending is one accepted event, or one about to be accepted.
type pending struct {
	event    events.Event
	body     []byte // the encoded event
	sequence int    // where its 20 digits of sequence stand in body
	bytes    int    // size as the topic counts it
	done     func(Result)

	sending  bool // in a batch that is under way
	attempts int
	first    time.Time // of the first request
	unknown  bool      // the outcome of some attempt is not known
	alone    bool      // a batch with it was refused as a whole: send it by itself to find the culprit
	code     string    // of the last failure
	err      error     // the last failure
}

// waiter is a caller that waits for room. admitted carries its answer: nil once its event is accepted.
type waiter struct {
	event    *pending
	admitted chan error
	place    *list.Element
}

// sequenceDigits is the width of a sequence: nanoseconds since 1970 with leading zeros, so that it sorts as text.
const sequenceDigits = 20

var noSequence = []byte(`"sequence":"00000000000000000000"`)

// prepare validates, encodes and measures an event: all that needs no lock.
func (p *Producer) prepare(e events.Event, done func(Result)) (*pending, error) {
	if e.Source == "" {
		e.Source = p.cfg.Source
	}
	e.Sequence = string(noSequence[len(noSequence)-1-sequenceDigits : len(noSequence)-1])
	body, err := events.Encode(e)
	if err != nil {
		return nil, &InvalidError{EventID: e.ID, DeviceID: e.DeviceID, Err: err}
	}
	size := messageBytes(body, e)
	if size > p.cfg.MaxMessageBytes {
		return nil, &TooLargeError{EventID: e.ID, DeviceID: e.DeviceID, Bytes: size, MaxBytes: p.cfg.MaxMessageBytes}
	}
	// The sequence is given on acceptance, under the lock; until then the body holds zeros in its place. The envelope's other
	// members cannot hold this text, because their quotes are escaped, and the data stands behind it.
	at := bytes.Index(body, noSequence)
	if at < 0 {
		return nil, fmt.Errorf("producer: event %s: its encoding has no place for the sequence", e.ID)
	}
	return &pending{event: e, body: body, sequence: at + len(noSequence) - 1 - sequenceDigits, bytes: size, done: done}, nil
}

// accept takes an event into its lane, or queues the caller for room when it may wait.
func (p *Producer) accept(event *pending, wait bool) (*waiter, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case p.closed:
		return nil, ErrClosed
	case p.hasRoom(event.event.DeviceID):
		p.admit(event)
		p.dispatch()
		return nil, nil
	case !wait:
		return nil, ErrBufferFull
	}
	w := &waiter{event: event, admitted: make(chan error, 1)}
	w.place = p.waiters.PushBack(w)
	return w, nil
}

// withdraw takes a waiter out of the queue. It is false when the waiter has been answered already.
func (p *Producer) withdraw(w *waiter) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if w.place == nil {
		return false
	}
	p.waiters.Remove(w.place)
	w.place = nil
	return true
}

// hasRoom tells whether one more event of a device fits into the buffer. The caller holds mu.
func (p *Producer) hasRoom(device string) bool {
	if p.stats.Buffered >= p.cfg.Buffer {
		return false
	}
	l := p.lanes[device]
	return l == nil || len(l.events) < p.cfg.BufferPerDevice
}

// admit gives an event its sequence and appends it to its lane. The caller holds mu.
func (p *Producer) admit(event *pending) {
	p.sequence = max(p.sequence+1, time.Now().UnixNano())
	digits := event.body[event.sequence : event.sequence+sequenceDigits]
	number := strconv.AppendInt(make([]byte, 0, sequenceDigits), p.sequence, 10)
	copy(digits[sequenceDigits-len(number):], number)
	event.event.Sequence = string(digits)

	l := p.lanes[event.event.DeviceID]
	if l == nil {
		l = &lane{device: event.event.DeviceID}
		p.lanes[l.device] = l
	}
	l.events = append(l.events, event)
	if len(l.events) == 1 && !l.busy {
		p.makeReady(l)
	}
	p.stats.Accepted++
	p.stats.Buffered++
}

// admitWaiters lets in whoever now finds room. The caller holds mu.
func (p *Producer) admitWaiters() {
	for e := p.waiters.Front(); e != nil && p.stats.Buffered < p.cfg.Buffer; {
		w := e.Value.(*waiter)
		next := e.Next()
		if p.hasRoom(w.event.event.DeviceID) {
			p.waiters.Remove(e)
			w.place = nil
			p.admit(w.event)
			w.admitted <- nil
		}
		e = next
	}
}

func (p *Producer) makeReady(l *lane) {
	l.since = time.Now()
	p.ready = append(p.ready, l)
}

// pop removes the first event of a lane, which has been resolved, and makes the next ready. The caller holds mu.
func (p *Producer) pop(l *lane) {
	l.events[0] = nil
	l.events = l.events[1:]
	l.busy = false
	if len(l.events) == 0 {
		delete(p.lanes, l.device)
		return
	}
	p.makeReady(l)
}

// takeIdleLanes removes all events of devices that are in no batch, for Close to fail them. The others fail where their batch
// ends, in their order. The caller holds mu.
func (p *Producer) takeIdleLanes() []*pending {
	var taken []*pending
	p.ready = nil
	for device, l := range p.lanes {
		if l.busy && l.events[0].sending {
			continue
		}
		taken = append(taken, l.events...)
		l.events = nil
		delete(p.lanes, device)
	}
	return taken
}
