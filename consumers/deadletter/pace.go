package deadletter

import (
	"sync"
	"time"
)

// pace spreads what several goroutines do over time.
type pace struct {
	every time.Duration // 0 means no limit

	mu   sync.Mutex
	next time.Time
}

// newPace makes a pace of so many a second; 0 or less is no limit.
func newPace(perSecond float64) *pace {
	p := &pace{}
	if perSecond > 0 {
		p.every = time.Duration(float64(time.Second) / perSecond)
	}
	return p
}

// turn reserves the next moment.
func (p *pace) turn() time.Time {
	if p.every == 0 {
		return time.Time{}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	now := time.Now()
	if p.next.Before(now) {
		p.next = now
	}
	turn := p.next
	p.next = turn.Add(p.every)
	return turn
}
