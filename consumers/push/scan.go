package push

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/coder/websocket"

	"github.com/device-fanout/fanout/events"
)

const (
	// maxResumed is how many events of the past a client gets at most. Who has missed more asks the history.
	maxResumed = 10_000
	// maxScanned is how many events of the past are looked through for those.
	maxScanned = 10 * maxResumed
	// maxScans is how many go through the past at once. After a restart all clients come at once; the others wait for their turn.
	maxScans = 4
	// scanTimeout is how long a scan may take. Who has not got everything by then connects again, and goes on after what it got.
	scanTimeout = time.Minute
	// scanBuffer is how many events of the past wait for a client.
	scanBuffer = 256
)

// listener is a client that follows a scan.
type listener struct {
	client *client
	past   chan []byte   // what the scan has for it; closed at its end
	left   chan struct{} // closed when the client waits no more

	// The scan's, until it has closed past.
	patience time.Duration  // how long the others wait for it, in all
	given    []uint64       // the keys of the events that it was given, in their order
	missed   []events.Event // of the recent ones, what the past did not have
	end      *farewell      // why it can't resume; nil if it can
}

// scans are the readings of the past. Clients that go on after the same event share one that has not begun.
type scans struct {
	turns   chan struct{} // has a place for each scan that may run
	running sync.WaitGroup

	mu      sync.Mutex
	waiting map[events.Identity]*scan
}

// scan is one reading of the past.
type scan struct {
	after     events.Identity
	listeners []*listener // guarded by the scans' mutex until it begins
}

// join makes the listener follow a scan, which ends with the service at the latest.
func (a *scans) join(s *Service, l *listener) {
	a.mu.Lock()
	defer a.mu.Unlock()
	after := l.client.after
	if waiting := a.waiting[after]; waiting != nil {
		waiting.listeners = append(waiting.listeners, l)
		return
	}
	one := &scan{after: after, listeners: []*listener{l}}
	a.waiting[after] = one
	a.running.Go(func() {
		select {
		case a.turns <- struct{}{}:
			defer func() { <-a.turns }()
		case <-s.ctx.Done():
		}
		a.mu.Lock()
		delete(a.waiting, after)
		a.mu.Unlock()
		ctx, cancel := context.WithTimeout(s.ctx, scanTimeout)
		defer cancel()
		s.scan(ctx, one)
	})
}

// scan reads the past, and hands each client what it has chosen.
func (s *Service) scan(ctx context.Context, one *scan) {
	scanned := make(map[uint64]struct{})
	defer func() { // those that are still there have got it all
		for _, l := range one.listeners {
			if l.end == nil {
				s.settle(l, scanned)
			}
			close(l.past)
		}
	}()
	// all ends it for all that are still there.
	all := func(f farewell) {
		for _, l := range one.listeners {
			l.end = &f
		}
	}
	one.drop()
	if len(one.listeners) == 0 {
		return
	}
	for event, err := range s.cfg.Past.Since(ctx, one.after) {
		switch {
		case ctx.Err() != nil:
			all(farewell{websocket.StatusPolicyViolation, "the past took too long to send: go on after the last event"})
			return
		case down(err):
			s.logger.Info("clients are to try again", "clients", len(one.listeners), "event_id", one.after.ID, "err", err)
			all(farewell{StatusTryAgain, "the past can't be read now: go on after the last event that you have"})
			return
		case err != nil:
			s.logger.Info("clients cannot resume", "clients", len(one.listeners), "event_id", one.after.ID, "err", err)
			all(farewell{StatusCannotResume, shorten(fmt.Sprintf("no way on from event %q", one.after.ID))})
			return
		case len(scanned) == maxScanned:
			all(farewell{StatusCannotResume, "too many events since then"})
			return
		}
		key := s.audience.key(event)
		if _, twice := scanned[key]; twice {
			continue
		}
		scanned[key] = struct{}{}
		var message []byte
		for _, l := range one.listeners {
			if !s.audience.choiceOf(l.client).wantsAll(event) {
				continue
			}
			if message == nil {
				if message = s.encodePast(event); message == nil {
					break
				}
			}
			l.give(ctx, key, message)
		}
		if one.drop(); len(one.listeners) == 0 {
			return
		}
	}
}

// drop lets those go that wait no more, or can't resume.
func (one *scan) drop() {
	there := one.listeners[:0]
	for _, l := range one.listeners {
		select {
		case <-l.left:
			l.end = &gone
		default:
		}
		if l.end == nil {
			there = append(there, l)
			continue
		}
		close(l.past)
	}
	clear(one.listeners[len(there):])
	one.listeners = there
}

// give hands the client an event of the past. Who has made the others wait too long is too slow.
func (l *listener) give(ctx context.Context, key uint64, message []byte) {
	if l.end != nil {
		return
	}
	if len(l.given) == maxResumed {
		l.end = &farewell{StatusCannotResume, "too many events since then"}
		return
	}
	select {
	case l.past <- message:
	default:
		begin := time.Now()
		late := time.NewTimer(l.patience)
		defer late.Stop()
		select {
		case l.past <- message:
			l.patience -= time.Since(begin)
		case <-l.left:
			l.end = &gone
			return
		case <-late.C:
			l.end = &farewell{websocket.StatusPolicyViolation, fmt.Sprintf("too slow: %d events were waiting", scanBuffer)}
			return
		case <-ctx.Done():
			return
		}
	}
	l.given = append(l.given, key)
}

// settle makes the client hear what is handled from now on, after it was given the past.
func (s *Service) settle(l *listener, scanned map[uint64]struct{}) {
	var ok bool
	if l.missed, ok = s.audience.catchUp(l.client, scanned, l.given); !ok {
		l.end = &farewell{StatusCannotResume, "the past is not recorded yet up to the events that are remembered here"}
	}
}
