package console

import (
	"context"
	"sync"
	"time"

	"github.com/device-fanout/fanout/consumers/deadletter"
)

const (
	lookFor   = 20 * time.Second // how long what was seen is good for
	lookAtMax = 500              // letters that are kept to be shown
)

// look is what the last look at a dead-letter queue showed.
type look struct {
	api  API
	from deadletter.Source

	turn sync.Mutex // held while looking
	mu   sync.Mutex
	seen *sight
}

// sight is one look. It does not change.
type sight struct {
	*deadletter.Survey
	At      time.Time
	Letters []*deadletter.Message // those of them that can be shown
	Devices []deviceView         // most letters first
}

type deviceView struct {
	ID      string
	Letters int
	Parked  bool
	First   time.Time
}

// last is the last look, however old; nil if there was none.
func (l *look) last() *sight {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.seen
}

// forget makes the next one look again.
func (l *look) forget() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.seen = nil
}

// get looks, unless somebody has a moment ago.
func (l *look) get(ctx context.Context, anew bool) (*sight, error) {
	if s := l.last(); s != nil && !anew && time.Since(s.At) < lookFor {
		return s, nil
	}
	asked := time.Now()
	l.turn.Lock()
	defer l.turn.Unlock()
	if s := l.last(); s != nil && s.At.After(asked) {
		return s, nil // somebody looked while this one waited
	}
	s := &sight{}
	devices := map[string]*deviceView{}
	var order []string
	var err error
	s.Survey, err = deadletter.Look(ctx, l.api, l.from, deadletter.Filter{}, func(letter *deadletter.Message) {
		if len(s.Letters) < lookAtMax {
			s.Letters = append(s.Letters, letter)
		}
		d := devices[letter.DeviceID]
		if d == nil {
			d = &deviceView{ID: letter.DeviceID, First: letter.Record.FailedAt}
			devices[letter.DeviceID] = d
			order = append(order, letter.DeviceID)
		}
		d.Letters++
		d.Parked = d.Parked || letter.Record.Class == deadletter.Parked
	})
	if err != nil {
		return nil, err
	}
	s.At = time.Now()
	for _, id := range order {
		s.Devices = append(s.Devices, *devices[id])
	}
	sortDevices(s.Devices)
	l.mu.Lock()
	l.seen = s
	l.mu.Unlock()
	return s, nil
}
