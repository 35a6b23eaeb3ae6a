// Package handlertime is the time that a handler has: a context with a deadline whose clock can be stopped while the handler waits for
// its turn, so that those before it in line do not use up its time.
package handlertime

import (
	"context"
	"sync"
	"time"
)

// handling is the context of a handler. Its Done channel is its own, so that it can end with context.DeadlineExceeded, as a context
// with a deadline does; contexts that are made from it end with it by AfterFunc, without a goroutine each.
type handling struct {
	context.Context // the parent

	done   chan struct{}
	timer  *time.Timer
	detach func() bool // from the parent

	mu      sync.Mutex // guards what is below
	end     time.Time  // of the time that is left, while the clock runs
	left    time.Duration
	limit   time.Time // the end is never later; zero for none
	waiting int       // Pauses that were not resumed; the clock stands while there are any
	err     error     // not nil once it has ended
	after   map[*func()]func()
}

type key struct{}

// WithTimeout returns a context that ends d from now, by a clock that [Pause] stops, or when parent does. It ends with
// context.DeadlineExceeded when its time is over. If limit is not zero the context ends then at the latest, with the clock standing or
// not. Cancel frees what it holds.
//
// Its Deadline moves when the clock is stopped: it tells when the context ends if nothing stops the clock from now on.
func WithTimeout(parent context.Context, d time.Duration, limit time.Time) (ctx context.Context, cancel context.CancelFunc) {
	h := &handling{Context: parent, done: make(chan struct{}), limit: limit, after: map[*func()]func(){}}
	h.mu.Lock() // until all is in place: the time may be over at once
	defer h.mu.Unlock()
	h.end = h.bounded(time.Now().Add(d))
	h.timer = time.AfterFunc(time.Until(h.end), h.expire)
	h.detach = context.AfterFunc(parent, func() { h.finish(parent.Err()) })
	return h, func() { h.finish(context.Canceled) }
}

// Pause stops the clock of the handler whose context ctx is, or was made from, until resume is called. Pauses may overlap: the clock
// stands as long as there is one. Resume may be called more than once. Without such a handler nothing happens.
func Pause(ctx context.Context) (resume func()) {
	h, _ := ctx.Value(key{}).(*handling)
	if h == nil {
		return func() {}
	}
	h.pause()
	return sync.OnceFunc(h.resume)
}

func (h *handling) pause() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.waiting++
	if h.waiting > 1 || h.err != nil {
		return
	}
	h.left = max(0, time.Until(h.end))
	if h.limit.IsZero() {
		h.timer.Stop()
	} else {
		h.timer.Reset(time.Until(h.limit))
	}
}

func (h *handling) resume() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.waiting--
	if h.waiting > 0 || h.err != nil {
		return
	}
	h.end = h.bounded(time.Now().Add(h.left))
	h.timer.Reset(time.Until(h.end))
}

// expire is called by the timer, perhaps by one that was set before a pause or a resume.
func (h *handling) expire() {
	h.mu.Lock()
	over := !time.Now().Before(h.deadline())
	h.mu.Unlock()
	if over {
		h.finish(context.DeadlineExceeded)
	}
}

// deadline tells when the context ends as things stand; mu is held.
func (h *handling) deadline() time.Time {
	if h.waiting == 0 {
		return h.end
	}
	if !h.limit.IsZero() {
		return h.limit
	}
	return time.Now().Add(max(h.left, time.Nanosecond)) // it stands
}

func (h *handling) bounded(end time.Time) time.Time {
	if !h.limit.IsZero() && h.limit.Before(end) {
		return h.limit
	}
	return end
}

func (h *handling) finish(err error) {
	h.mu.Lock()
	if h.err != nil {
		h.mu.Unlock()
		return
	}
	h.err = err
	after := h.after
	h.after = nil
	close(h.done)
	h.mu.Unlock()
	h.timer.Stop()
	h.detach()
	for _, f := range after { // they take locks of contexts and start goroutines, but wait for nothing
		f()
	}
}

// Deadline implements [context.Context].
func (h *handling) Deadline() (time.Time, bool) {
	h.mu.Lock()
	end := h.end
	if h.waiting > 0 {
		end = h.bounded(time.Now().Add(h.left))
	}
	h.mu.Unlock()
	if parent, ok := h.Context.Deadline(); ok && parent.Before(end) {
		return parent, true
	}
	return end, true
}

// Done implements [context.Context].
func (h *handling) Done() <-chan struct{} { return h.done }

// Err implements [context.Context].
func (h *handling) Err() error {
	if err := h.Context.Err(); err != nil { // it tells us a moment later
		h.finish(err)
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.err
}

// Value implements [context.Context].
func (h *handling) Value(k any) any {
	if k == (key{}) {
		return h
	}
	return h.Context.Value(k)
}

// AfterFunc arranges for f to be called when the context has ended; package context uses it for the contexts that are made from it.
func (h *handling) AfterFunc(f func()) (stop func() bool) {
	h.mu.Lock()
	if h.err != nil {
		h.mu.Unlock()
		go f()
		return func() bool { return false }
	}
	defer h.mu.Unlock()
	id := &f
	h.after[id] = f
	return func() bool {
		h.mu.Lock()
		defer h.mu.Unlock()
		_, there := h.after[id]
		delete(h.after, id)
		return there
	}
}
