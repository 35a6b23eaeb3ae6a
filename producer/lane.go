package producer

import (
	"bytes"
	"container/list"
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/device-fanout/fanout/events"
	"github.com/device-fanout/fanout/producer/internal/spool"
)

// lane holds the unresolved events of one device in the order of acceptance. It lives while there are any.
type lane struct {
	device   string
	state    laneState
	events   []*pending  // those in memory, the first of all at the head
	later    []spool.Ref // behind them, on disk only
	count    int         // all, with those that are just being written to the spool
	bytes    int64       // of them in the spool
	newest   uint32      // segment of the spool that the last of them is in
	blockade *blockade   // what waits here must fail, because an earlier event has
	since    time.Time   // when it became ready
}

// laneState tells what a lane waits for. Only the one who has it ready, busy or loading moves it on.
type laneState int8

const (
	idle    laneState = iota
	ready             // its first event may be sent: the lane is in Producer.ready
	busy              // its first event is in a batch, or waits to be sent again
	loading           // its next events are read from the spool, or the lane is in Producer.toLoad for that
)

// pending is one accepted event, or one about to be accepted.
type pending struct {
	event      events.Event // without time and data once it is in the spool
	key        string       // its deduplication ID
	eventType  string
	trace      Trace
	body       []byte // the encoded event
	digits     int    // where its 20 digits of sequence stand in body
	bytes      int    // size as the topic counts it
	sequence   int64
	accepted   time.Time // to a tenth of a second, if it was read from the spool
	done       func(Result)
	ended      func(Result) // from Hooks.Accept
	ref        spool.Ref    // where it stands in the spool, if there is one
	spoolBytes int64

	sending  bool // in a batch that is under way
	attempts int
	first    time.Time // of the first request
	unknown  bool      // the outcome of some attempt is not known
	refused  bool      // the last attempt was refused for what the event is
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
func (p *Producer) prepare(ctx context.Context, e events.Event, done func(Result)) (*pending, error) {
	if e.Source == "" {
		e.Source = p.cfg.Source
	}
	e.Sequence = string(noSequence[len(noSequence)-1-sequenceDigits : len(noSequence)-1])
	event := &pending{event: e, key: e.Identity().Key(), eventType: e.Type(), done: done}
	if p.cfg.Hooks.Accept != nil {
		event.trace, event.ended = p.cfg.Hooks.Accept(ctx, e)
	}
	if err := p.encode(event); err != nil {
		return nil, event.refuse(err)
	}
	return event, nil
}

func (p *Producer) encode(event *pending) error {
	e := event.event
	body, err := events.Encode(e)
	if err = p.checkTime(e, err); err != nil {
		return &InvalidError{EventID: e.ID, DeviceID: e.DeviceID, Err: err}
	}
	event.body = body
	event.bytes = messageBytes(event)
	if event.bytes > p.cfg.MaxMessageBytes {
		return &TooLargeError{EventID: e.ID, DeviceID: e.DeviceID, Bytes: event.bytes, MaxBytes: p.cfg.MaxMessageBytes}
	}
	if p.store != nil {
		event.spoolBytes = int64(event.record().Size())
	}
	// The sequence is given on acceptance, under the lock; until then the body holds zeros in its place. The envelope's other
	// members cannot hold this text, because their quotes are escaped, and the data stands behind it.
	at := bytes.Index(body, noSequence)
	if at < 0 {
		return fmt.Errorf("producer: event %s: its encoding has no place for the sequence", e.ID)
	}
	event.digits = at + len(noSequence) - 1 - sequenceDigits
	return nil
}

// checkTime adds to what is wrong with an event that its time lies outside the bounds that Config sets.
func (p *Producer) checkTime(e events.Event, err error) error {
	outside, ok := errors.AsType[*events.Error](e.CheckTime(time.Now(), p.cfg.MaxPast, p.cfg.MaxFuture))
	if !ok {
		return err
	}
	if faults, ok := errors.AsType[*events.Error](err); ok {
		outside.Fields = append(outside.Fields, faults.Fields...)
	}
	return outside
}

// refuse ends an event that is not accepted, and returns err.
func (event *pending) refuse(err error) error {
	if event.ended != nil {
		event.ended(Result{Event: event.event, Err: err})
	}
	return err
}

// accept takes an event into its lane, or queues the caller for room when it may wait.
func (p *Producer) accept(event *pending, wait bool) (*waiter, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case p.closed:
		return nil, ErrClosed
	case p.hasRoom(event):
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

// hasRoom tells whether one more event fits into the buffer, or into the spool. The caller holds mu.
func (p *Producer) hasRoom(event *pending) bool {
	l := p.lanes[event.event.DeviceID]
	if p.store != nil {
		return p.spoolHasRoom(l, event)
	}
	return p.stats.Buffered < p.cfg.Buffer && (l == nil || l.count < p.cfg.BufferPerDevice)
}

// full tells whether the largest event would find no room, even if nothing of its device is waiting. The caller holds mu.
func (p *Producer) full() bool {
	if p.store != nil {
		return !p.spoolHasRoom(nil, &pending{spoolBytes: int64(p.cfg.MaxMessageBytes)})
	}
	return p.stats.Buffered >= p.cfg.Buffer
}

// admit gives an event its sequence and appends it to its lane, or to what is written to the spool next. The caller holds mu.
func (p *Producer) admit(event *pending) {
	// When the clock has been set back, sequences go on from the last one at the pace of time, until it has caught up.
	now := p.now()
	p.sequence = max(p.sequence+max(1, int64(now.Sub(p.lastAccepted))), now.UnixNano())
	p.lastAccepted = now
	event.sequence, event.accepted = p.sequence, now
	digits := event.body[event.digits : event.digits+sequenceDigits]
	number := strconv.AppendInt(make([]byte, 0, sequenceDigits), p.sequence, 10)
	copy(digits[sequenceDigits-len(number):], number)
	event.event.Sequence = string(digits)

	l := p.laneOf(event.event.DeviceID)
	l.count++
	p.stats.Accepted++
	p.stats.Buffered++
	p.acceptedAt.add(event.sequence, now)
	if p.store != nil {
		p.commit(l, event)
		return
	}
	l.events = append(l.events, event)
	p.advance(l)
}

func (p *Producer) laneOf(device string) *lane {
	l := p.lanes[device]
	if l == nil {
		l = &lane{device: device}
		p.lanes[device] = l
	}
	return l
}

// advance puts an idle lane where its next event is sent or loaded, and forgets an empty one. The caller holds mu.
func (p *Producer) advance(l *lane) {
	switch {
	case l.state != idle:
	case l.count == 0:
		delete(p.lanes, l.device)
		p.waitingBytes -= l.bytes // of damaged records, whose sizes nobody knows
	case l.blockade != nil || len(l.events) == 0 && len(l.later) > 0:
		l.state = loading
		p.toLoad = append(p.toLoad, l)
		p.startReader()
	case len(l.events) > 0:
		l.state = ready
		l.since = time.Now()
		p.ready = append(p.ready, l)
	}
}

// admitWaiters lets in whoever now finds room. The caller holds mu.
func (p *Producer) admitWaiters() {
	for e := p.waiters.Front(); e != nil && (p.store != nil || p.stats.Buffered < p.cfg.Buffer); {
		w := e.Value.(*waiter)
		next := e.Next()
		if p.hasRoom(w.event) {
			p.waiters.Remove(e)
			w.place = nil
			p.admit(w.event)
			w.admitted <- nil
		}
		e = next
	}
}

// pop removes the first event of a lane, which has been resolved, and moves the lane on. The caller holds mu.
func (p *Producer) pop(l *lane) {
	p.forget(l, l.events[0])
	l.events[0] = nil
	l.events = l.events[1:]
	l.state = idle
	p.advance(l)
}

// forget takes a resolved event out of the counts. The caller holds mu.
func (p *Producer) forget(l *lane, event *pending) {
	l.count--
	l.bytes -= event.spoolBytes
	p.stats.Buffered--
	p.acceptedAt.remove(event.sequence)
	if p.store != nil {
		p.inMemory--
		p.waitingBytes -= event.spoolBytes
		p.stats.Spooled--
	}
}

// takeIdleLanes removes all events of devices that are in no batch, for Close to fail them. The others fail where their batch
// ends, in their order. The caller holds mu.
func (p *Producer) takeIdleLanes() []*pending {
	var taken []*pending
	p.ready = nil
	for device, l := range p.lanes {
		if l.state == busy && l.events[0].sending {
			continue
		}
		taken = append(taken, l.events...)
		for _, event := range l.events {
			p.forget(l, event)
		}
		l.events = nil
		delete(p.lanes, device)
	}
	return taken
}
