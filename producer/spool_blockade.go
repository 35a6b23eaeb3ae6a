package producer

import (
	"github.com/device-fanout/fanout/producer/internal/spool"
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
