package producer

import (
	"time"

	"github.com/device-fanout/fanout/producer/internal/spool"
)

// commitAtOnce bounds the bytes of one write to the spool, so that the first in it does not wait long for the last. A small spool
// is written to in smaller pieces, for a segment that is written to stays as a whole.
const commitAtOnce = 1 << 20

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
