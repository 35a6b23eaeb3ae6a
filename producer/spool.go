package producer

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/device-fanout/fanout/events"
	"github.com/device-fanout/fanout/producer/internal/spool"
)

// store is what a Producer needs of its spool.
type store interface {
	Append(records []spool.Record) ([]spool.Ref, error)
	Read(ref spool.Ref) (spool.Record, error)
	Done(refs ...spool.Ref)
	SetAside(name string, line []byte) (path string, err error)
	Bytes() int64
	Check() error
	Close() error
}

const (
	// loadAtOnce is how many events of a device are read from the spool at a time, and how many of one are kept in memory.
	loadAtOnce = 16

	// commitAtOnce bounds the bytes of one write to the spool, so that the first in it does not wait long for the last. A small spool
	// is written to in smaller pieces, for a segment that is written to stays as a whole.
	commitAtOnce = 1 << 20

	// deviceShare is the part of the spool that one device may fill, be it with its own events or by keeping those on disk that are
	// done with and lie between them.
	deviceShare = 4

	refusedFile = "refused.ndjson"
)

// blockade is why the events that wait in a lane must fail.
type blockade struct {
	by   string // the event that failed
	err  error
	left int // events that it concerns

	// ended are the event that failed and those that have failed behind it. The spool is told when none is left: were the process to end
	// before, the next one would know nothing of the blockade and send the rest, unless it finds the event that it began with.
	ended []spool.Ref
}

// openSpool opens the spool and puts what waits in it into lanes.
func (p *Producer) openSpool() error {
	opened, state, err := spool.Open(p.cfg.Spool, spool.Options{
		SegmentBytes: segmentBytes(p.cfg.SpoolBytes),
		SyncEvery:    p.cfg.SpoolSync,
		Failed:       p.spoolFailed,
	})
	if errors.Is(err, spool.ErrLocked) {
		err = fmt.Errorf("%w: %w", ErrSpoolLocked, err)
	}
	if err != nil {
		return &SpoolError{Dir: p.cfg.Spool, Err: err}
	}
	for _, d := range state.Damaged {
		p.reportDamage(d)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.store = opened
	p.sequence = state.LastSequence
	p.stats.SetAside = int64(len(state.Damaged))
	for _, waiting := range state.Waiting {
		l := p.laneOf(waiting.Key)
		l.later, l.count, l.bytes = waiting.Refs, len(waiting.Refs), waiting.Bytes
		l.newest = waiting.Refs[l.count-1].Segment()
		p.waitingBytes += l.bytes
		for _, sequence := range waiting.Sequences {
			p.acceptedAt.add(sequence, recovered(p.lastAccepted, sequence))
		}
		p.stats.Accepted += int64(l.count)
		p.stats.Buffered += l.count
		p.stats.Spooled += l.count
		p.advance(l)
	}
	if p.stats.Spooled > 0 {
		p.cfg.Logger.Info("sending events that waited in the spool", "spool", p.cfg.Spool, "events", p.stats.Spooled, "devices", len(p.lanes))
	}
	return nil
}

// segmentBytes is the size of the spool's segments: small enough that they go soon, large enough that they are few open files.
func segmentBytes(spoolBytes int64) int64 {
	return min(max(min(16<<20, spoolBytes/8), spoolBytes/512), 1<<30)
}

// spoolFailed logs what the spool cannot do, at most once a second.
func (p *Producer) spoolFailed(err error) {
	p.spoolLog.Do(func() { p.cfg.Logger.Error("spool failed", "spool", p.cfg.Spool, "err", err) })
}

// noteSpool logs that the spool takes no events any more, and why, or that it takes them again.
func (p *Producer) noteSpool(err error) {
	p.mu.Lock()
	before := p.spoolErr
	if p.spoolErr = err; p.closed { // it is closed too
		err = before
	}
	p.mu.Unlock()
	switch {
	case before == nil && err != nil:
		p.cfg.Logger.Error("the spool takes no events: none is accepted until it does", "spool", p.cfg.Spool, "err", err)
	case before != nil && err == nil:
		p.cfg.Logger.Info("the spool takes events again", "spool", p.cfg.Spool)
	}
}

// reportDamage tells of a damaged piece.
func (p *Producer) reportDamage(d spool.Damage) {
	p.tellSetAside(SetAside{Path: d.Aside, Err: &CorruptRecordError{File: d.File, Offset: d.Offset, Bytes: d.Bytes, Torn: d.Torn}})
}

func (p *Producer) tellSetAside(s SetAside) {
	p.cfg.Logger.Error("set aside, it will not be sent: see the file at path", "event_id", s.EventID, "device_id", s.DeviceID, "path", s.Path, "err", s.Err)
	if p.cfg.Hooks.SetAside != nil {
		p.cfg.Hooks.SetAside(s)
	}
}

// spoolHasRoom tells whether one more event fits into the spool. The caller holds mu.
//
// A segment stays for its last waiting record. So a device in trouble that goes on sending would, with a few events in each, keep all
// segments there are. It is refused once it keeps as much as it may fill and so much of the spool is done with.
func (p *Producer) spoolHasRoom(l *lane, event *pending) bool {
	used, share := p.store.Bytes()+p.committing, p.cfg.SpoolBytes/deviceShare
	if len(p.uncommitted) >= p.cfg.Buffer || used+event.spoolBytes > p.cfg.SpoolBytes {
		return false
	}
	if l == nil {
		return true
	}
	keepsTooMuch := used-p.waitingBytes > share && l.span()*segmentBytes(p.cfg.SpoolBytes) > share
	return l.bytes+event.spoolBytes <= share && !keepsTooMuch
}

// span is over how many segments the events of a lane that are on disk stretch, as far as their places are known.
func (l *lane) span() int64 {
	switch {
	case len(l.events) > 0:
		return int64(l.newest-l.events[0].ref.Segment()) + 1
	case len(l.later) > 0:
		return int64(l.newest-l.later[0].Segment()) + 1
	}
	return 0
}

// record is the event as the spool keeps it.
func (event *pending) record() spool.Record {
	return spool.Record{
		Sequence: event.sequence, Key: event.event.DeviceID, Body: event.body,
		Fields: [spool.Fields]string{event.key, event.eventType, event.event.Source, event.trace.Parent, event.trace.State},
	}
}

// eventID is the ID of the event in a record. The record has its deduplication ID, which older versions have made otherwise and which stays
// what it was: the event may have been sent with it.
func eventID(r spool.Record) string {
	id := events.Identity{Source: r.Fields[2], Subject: r.Key, ID: r.Fields[0]}
	if id.Key() != id.ID { // else the two are the same
		_ = json.Unmarshal(r.Body, &id) // it was encoded here
	}
	return id.ID
}

// fromRecord is an event out of the spool. It can be sent also when this program does not know its type.
func fromRecord(r spool.Record, ref spool.Ref) *pending {
	event := &pending{
		event: events.Event{ID: eventID(r), Source: r.Fields[2], DeviceID: r.Key, Sequence: fmt.Sprintf("%0*d", sequenceDigits, r.Sequence)},
		key:   r.Fields[0], eventType: r.Fields[1], trace: Trace{r.Fields[3], r.Fields[4]},
		body: r.Body, sequence: r.Sequence, ref: ref, spoolBytes: int64(r.Size()),
	}
	event.bytes = messageBytes(event)
	return event
}

// commit gives an event to the goroutine that writes to the spool. What comes while it writes goes into its next write.
// The caller holds mu.
func (p *Producer) commit(l *lane, event *pending) {
	l.bytes += event.spoolBytes
	p.waitingBytes += event.spoolBytes
	p.committing += event.spoolBytes
	p.uncommitted = append(p.uncommitted, event)
	if !p.writing {
		p.writing = true
		go p.write()
	}
}

// write writes to the spool as long as there is something to write.
func (p *Producer) write() {
	for {
		p.mu.Lock()
		batch := p.uncommitted
		if len(batch) == 0 {
			p.writing = false
			p.signalDrained()
			p.mu.Unlock()
			return
		}
		size, n := int64(0), 0
		for n < len(batch) && (n == 0 || size+batch[n].spoolBytes <= min(commitAtOnce, segmentBytes(p.cfg.SpoolBytes))) {
			size += batch[n].spoolBytes
			n++
		}
		batch, p.uncommitted = batch[:n:n], batch[n:]
		p.mu.Unlock()

		records := make([]spool.Record, len(batch))
		for i, event := range batch {
			records[i] = event.record()
		}
		refs, err := p.store.Append(records)
		p.noteSpool(err)
		if err != nil {
			p.notCommitted(batch, err)
			continue
		}
		p.committed(batch, refs)
	}
}

// committed takes events that are on disk into their lanes and answers their callers.
func (p *Producer) committed(batch []*pending, refs []spool.Ref) {
	answers := make([]func(), 0, len(batch))
	p.mu.Lock()
	for i, event := range batch {
		answers = append(answers, event.answered(Result{Spooled: true}))
		event.ref = refs[i]
		event.done, event.ended = nil, nil
		event.event.Data, event.event.Time = nil, time.Time{}
		p.committing -= event.spoolBytes
		p.stats.Spooled++
		l := p.lanes[event.event.DeviceID]
		l.newest = event.ref.Segment()
		if l.state != loading && len(l.later) == 0 && len(l.events) < p.memoryFor(l) {
			p.inMemory++
			l.events = append(l.events, event)
		} else {
			l.later = append(l.later, event.ref)
		}
		p.advance(l)
	}
	p.admitWaiters()
	p.dispatch()
	p.mu.Unlock()
	for _, answer := range answers {
		answer()
	}
}

// notCommitted answers the callers of events that could not be written, and of those that were accepted behind them meanwhile,
// unless they shall go on.
func (p *Producer) notCommitted(batch []*pending, err error) {
	failures := make([]error, len(batch))
	first := map[string]int{} // of each device
	for i, event := range batch {
		device := event.event.DeviceID
		failures[i] = &SpoolError{EventID: event.event.ID, DeviceID: device, Dir: p.cfg.Spool, Err: err}
		if _, ok := first[device]; !ok {
			first[device] = i
		}
	}
	if p.cfg.OnFailure == Gapless {
		p.mu.Lock()
		var rest []*pending
		for _, event := range p.uncommitted {
			device := event.event.DeviceID
			i, ok := first[device]
			if !ok {
				rest = append(rest, event)
				continue
			}
			batch = append(batch, event)
			failures = append(failures, &BlockedError{EventID: event.event.ID, DeviceID: device, BlockedBy: batch[i].event.ID, Err: failures[i]})
		}
		p.uncommitted = rest
		p.mu.Unlock()
	}
	for i, event := range batch {
		p.tell(event, Result{Err: failures[i]})
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, event := range batch {
		p.committing -= event.spoolBytes
		p.acceptedAt.remove(event.sequence)
		p.stats.Buffered--
		p.stats.Failed++
		l := p.lanes[event.event.DeviceID]
		l.count--
		l.bytes -= event.spoolBytes
		p.waitingBytes -= event.spoolBytes
		p.advance(l)
	}
	p.admitWaiters()
}

// memoryFor is how many events of a lane may be in memory now. Half of the buffer is for the first event of each lane alone, so
// that the many events of a few devices in trouble do not keep all others on disk. The caller holds mu.
func (p *Producer) memoryFor(l *lane) int {
	switch {
	case p.inMemory < p.cfg.Buffer/2:
		return min(loadAtOnce, p.cfg.Buffer-p.inMemory)
	case p.inMemory < p.cfg.Buffer || l.blockade != nil:
		return 1
	}
	return 0
}

// startReader starts the goroutine that reads from the spool, unless it runs. The caller holds mu.
func (p *Producer) startReader() {
	if !p.reading && !p.aborted {
		p.reading = true
		go p.read()
	}
}

// read brings events from the spool into memory as long as lanes wait for that and there is room. A lane with which the disk is in
// trouble is tried again after maxBackoff.
func (p *Producer) read() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for !p.aborted && len(p.toLoad) > 0 && (p.inMemory < p.cfg.Buffer || p.toLoad[0].blockade != nil) {
		l := p.toLoad[0]
		p.toLoad[0] = nil
		p.toLoad = p.toLoad[1:]
		err := p.load(l)
		if err == nil && l.blockade != nil {
			err = p.failBlocked(l)
		}
		if err != nil {
			p.unload(l)
			time.AfterFunc(maxBackoff, func() {
				p.mu.Lock()
				defer p.mu.Unlock()
				p.toLoad = append(p.toLoad, l)
				p.startReader()
			})
			continue
		}
		l.state = idle
		p.advance(l)
		p.admitWaiters()
		p.dispatch()
	}
	p.reading = false
	p.signalDrained()
}

// unload leaves to the disk what a lane has in memory. The caller holds mu.
func (p *Producer) unload(l *lane) {
	refs := make([]spool.Ref, 0, len(l.events)+len(l.later))
	for _, event := range l.events {
		refs = append(refs, event.ref)
	}
	p.inMemory -= len(l.events)
	l.events, l.later = nil, append(refs, l.later...)
}

// load reads the next events of a lane that has none in memory. An error says that not even the first could be read. The caller
// holds mu; load releases it while it reads.
func (p *Producer) load(l *lane) error {
	if len(l.events) > 0 {
		return nil
	}
	refs := l.later[:min(p.memoryFor(l), len(l.later))]
	l.later = l.later[len(refs):]
	p.inMemory += len(refs)
	p.mu.Unlock()
	loaded := make([]*pending, 0, len(refs))
	var damaged []spool.Damage
	var gone []spool.Ref
	var err error
	for len(refs) > 0 {
		var r spool.Record
		r, err = p.store.Read(refs[0])
		if d, ok := errors.AsType[*spool.DamagedError](err); ok {
			err = nil
			if len(loaded) > 0 { // it is not done with before those in front of it are: the spool would forget them too
				break
			}
			damaged = append(damaged, d.Damage)
			gone = append(gone, refs[0])
		} else if err == nil {
			loaded = append(loaded, fromRecord(r, refs[0]))
		} else {
			break
		}
		refs = refs[1:]
	}
	p.doneWith(l, gone)
	for _, d := range damaged {
		p.reportDamage(d)
	}
	if err != nil {
		p.spoolFailed(err)
		if len(loaded)+len(damaged) > 0 { // these first
			err = nil
		}
	}
	p.mu.Lock()
	for _, d := range damaged {
		p.forget(l, &pending{spoolBytes: min(int64(d.Bytes), l.bytes)})
		p.stats.Failed++
		p.stats.SetAside++
		l.unblock(1)
	}
	for _, event := range loaded {
		event.accepted = p.acceptedAt.of(event.sequence)
	}
	if len(refs) > 0 { // back to the others
		p.inMemory -= len(refs)
		l.later = append(slices.Clone(refs), l.later...)
	}
	if len(l.later) == 0 {
		l.later = nil
	}
	l.events = append(l.events, loaded...)
	return err
}

// block lets the followers of a failed event fail too, as far as they are on disk now, and tells whether there are any. The caller
// holds mu.
func (l *lane) block(by *pending, failure error) bool {
	left := len(l.events) - 1 + len(l.later)
	if left > 0 {
		l.blockade = &blockade{by: by.event.ID, err: failure, left: left, ended: []spool.Ref{by.ref}}
	}
	return left > 0
}

// doneWith lets the spool forget the first events of a lane, behind a blockade once all that it concerns have ended. The lane is
// busy or loading on behalf of the caller, who calls unblock after it.
func (p *Producer) doneWith(l *lane, refs []spool.Ref) {
	if b := l.blockade; b != nil {
		b.ended = append(b.ended, refs...)
		if len(refs) < b.left {
			return
		}
		refs = b.ended
	}
	if len(refs) > 0 {
		p.store.Done(refs...)
	}
}

// unblock takes note that n of the events that a blockade concerns have ended.
func (l *lane) unblock(n int) {
	if l.blockade == nil {
		return
	}
	if l.blockade.left -= n; l.blockade.left <= 0 {
		l.blockade = nil
	}
}

// failBlocked sets aside what is in memory of the events that a blockade concerns. The caller holds mu; failBlocked releases it
// while it writes.
func (p *Producer) failBlocked(l *lane) error {
	b := l.blockade
	concerned := l.events[:min(b.left, len(l.events))]
	p.mu.Unlock()
	var refs []spool.Ref
	var err error
	for _, event := range concerned {
		failure := &BlockedError{EventID: event.event.ID, DeviceID: event.event.DeviceID, BlockedBy: b.by, Err: b.err}
		if err = p.setAside(event, failure); err != nil {
			break
		}
		p.tell(event, Result{Err: failure})
		refs = append(refs, event.ref)
	}
	p.doneWith(l, refs)
	if err != nil {
		p.spoolFailed(err)
	}
	p.mu.Lock()
	for _, event := range concerned[:len(refs)] {
		p.forget(l, event)
	}
	p.stats.Failed += int64(len(refs))
	p.stats.SetAside += int64(len(refs))
	l.events = l.events[len(refs):]
	l.unblock(len(refs))
	return err
}

// setAside writes an event that cannot be sent where a person finds it: as a line of JSON whose member event is the event
// itself.
func (p *Producer) setAside(event *pending, failure error) error {
	line, err := json.Marshal(struct {
		Time  time.Time       `json:"time"`
		Code  string          `json:"code,omitempty"`
		Error string          `json:"error"`
		Event json.RawMessage `json:"event"`
	}{time.Now().UTC(), event.code, failure.Error(), event.body})
	if err != nil {
		return err
	}
	path, err := p.store.SetAside(refusedFile, line)
	if err != nil {
		return fmt.Errorf("set aside event %s: %w", event.event.ID, err)
	}
	p.tellSetAside(SetAside{EventID: event.event.ID, DeviceID: event.event.DeviceID, Path: path, Err: failure})
	return nil
}
