package producer

import (
	"errors"
	"fmt"

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

// deviceShare is the part of the spool that one device may fill, be it with its own events or by keeping those on disk that are
// done with and lie between them.
const deviceShare = 4

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
