package producer

import (
	"cmp"
	"time"
)

// guessedRoundTrip is taken for the typical one until a request has returned.
const guessedRoundTrip = 10 * time.Millisecond

// dispatch sends as many batches as are worth sending now. The caller holds mu.
func (p *Producer) dispatch() {
	for batch := p.worthSending(); batch != nil; batch = p.worthSending() {
		go p.send(batch)
	}
}

// worthSending takes the next batch if it shall leave now. The caller holds mu, and sends it.
//
// A batch leaves at once when none is under way. Otherwise it leaves when it is full, or when its oldest event has waited for
// a typical round trip, so that one slow request does not hold back what came after it.
func (p *Producer) worthSending() []entry {
	if p.aborted || len(p.ready) == 0 || p.underWay >= p.pace.limit {
		return nil
	}
	if !p.pace.until.IsZero() {
		if pause := time.Until(p.pace.until); pause > 0 {
			p.dispatchIn(pause)
			return nil
		}
		p.pace.until = time.Time{}
	}
	if p.underWay > 0 && len(p.ready) < MaxBatchEntries {
		if wait := cmp.Or(p.roundTrip, guessedRoundTrip) - time.Since(p.ready[0].since); wait > 0 {
			p.dispatchIn(wait)
			return nil
		}
	}
	p.underWay++
	return p.nextBatch()
}

// entry is the first event of a lane while it is in a batch.
type entry struct {
	lane *lane
	*pending
}

// nextBatch takes the first event of up to ten ready lanes, as far as their bytes fit into one request. The caller holds mu.
func (p *Producer) nextBatch() []entry {
	batch := make([]entry, 0, min(len(p.ready), MaxBatchEntries))
	size := 0
	for len(p.ready) > 0 && len(batch) < MaxBatchEntries {
		l := p.ready[0]
		head := l.events[0]
		if len(batch) > 0 && (size+head.bytes > p.cfg.MaxMessageBytes || head.alone) {
			break
		}
		p.ready[0] = nil
		p.ready = p.ready[1:]
		size += head.bytes
		l.state = busy
		head.sending = true
		batch = append(batch, entry{l, head})
		if head.alone {
			break
		}
	}
	return batch
}

// dispatchIn calls dispatch again after d. The caller holds mu.
func (p *Producer) dispatchIn(d time.Duration) {
	if p.timer == nil {
		p.timer = time.AfterFunc(d, func() {
			p.mu.Lock()
			defer p.mu.Unlock()
			p.dispatch()
		})
		return
	}
	p.timer.Reset(d)
}

// sendAgainIn puts a busy lane back into the queue after d. The caller holds mu.
func (p *Producer) sendAgainIn(l *lane, d time.Duration) {
	time.AfterFunc(d, func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		if p.aborted || p.lanes[l.device] != l { // Close has given up on it meanwhile
			return
		}
		l.state = idle
		p.advance(l)
		p.dispatch()
	})
}
