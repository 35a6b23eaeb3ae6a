package producer

import (
	"errors"
	"slices"
	"time"

	"github.com/device-fanout/fanout/producer/internal/spool"
)

// loadAtOnce is how many events of a device are read from the spool at a time, and how many of one are kept in memory.
const loadAtOnce = 16

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
