package console

import (
	"cmp"
	"context"
	"slices"
	"sync"
	"time"

	"github.com/device-fanout/fanout/consumers/deadletter"
)

const (
	surveyFor   = 20 * time.Second // how long a survey is shown before another is made
	messagesMax = 500              // messages of a survey that are kept to be shown
)

// surveys keeps the last survey of a dead-letter queue.
type surveys struct {
	api  API
	from deadletter.Source

	making sync.Mutex // held while a survey is made
	mu     sync.Mutex
	latest *survey
}

// survey is what a dead-letter queue held at one time. It does not change.
type survey struct {
	*deadletter.Survey
	At       time.Time
	Messages []*deadletter.Message // the first ones, to be shown
	Devices  []deviceView          // most dead letters first
}

type deviceView struct {
	ID       string
	Messages int
	Parked   bool
	First    time.Time
}

// find returns a message that is kept, or nil.
func (s *survey) find(messageID string) *deadletter.Message {
	if s == nil {
		return nil
	}
	for _, m := range s.Messages {
		if m.MessageID == messageID {
			return m
		}
	}
	return nil
}

// last is the last survey, however old; nil if there was none.
func (l *surveys) last() *survey {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.latest
}

// forget drops the last survey, so that get makes another.
func (l *surveys) forget() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.latest = nil
}

// get returns the last survey if it is recent and anew is false, and makes another otherwise. Callers at the same time share one.
func (l *surveys) get(ctx context.Context, anew bool) (*survey, error) {
	if s := l.last(); s != nil && !anew && time.Since(s.At) < surveyFor {
		return s, nil
	}
	asked := time.Now()
	l.making.Lock()
	defer l.making.Unlock()
	if s := l.last(); s != nil && s.At.After(asked) {
		return s, nil // another caller made it while this one waited
	}
	s := &survey{}
	devices := map[string]*deviceView{}
	var order []*deviceView
	var err error
	s.Survey, err = deadletter.Look(ctx, l.api, l.from, deadletter.Filter{}, func(m *deadletter.Message) {
		if len(s.Messages) < messagesMax {
			s.Messages = append(s.Messages, m)
		}
		d := devices[m.DeviceID]
		if d == nil {
			d = &deviceView{ID: m.DeviceID, First: m.Record.FailedAt}
			devices[m.DeviceID] = d
			order = append(order, d)
		}
		d.Messages++
		d.Parked = d.Parked || m.Record.Class == deadletter.Parked
	})
	if err != nil {
		return nil, err
	}
	s.At = time.Now()
	for _, d := range order {
		s.Devices = append(s.Devices, *d)
	}
	slices.SortStableFunc(s.Devices, func(a, b deviceView) int { return cmp.Compare(b.Messages, a.Messages) })
	l.mu.Lock()
	l.latest = s
	l.mu.Unlock()
	return s, nil
}
