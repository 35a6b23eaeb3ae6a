package consumers

import (
	"context"
	"fmt"
	"time"

	"github.com/google/uuid"

	"github.com/device-fanout/fanout/consumers/internal/core"
)

const (
	// minVisibility is the shortest visibility timeout that a heartbeat can extend with room for a few failures.
	minVisibility = 2 * time.Second
	// requestTimeout bounds every request but the long poll.
	requestTimeout = 10 * time.Second
	// lastGrace is how long after DrainTimeout the last requests may take.
	lastGrace = 5 * time.Second
	// longestBeat is the longest time between two turns of the loop, so that Health can tell that it turns.
	longestBeat = 10 * time.Second
)

// run is one Run of a Consumer: the shell around the core, which decides everything. Its loop owns the core; requests and handlers run on
// goroutines of their own and report back by [run.post], so that there is one order of events and no lock.
type run struct {
	*Consumer
	facts facts
	core  *core.Core

	inbox   chan core.Input
	queries chan func() // for the loop to call
	ended   chan struct{}

	toSend chan func() // requests, for goroutines that wait for another one to send

	work     context.Context // of handlers; ends when draining takes too long
	abort    context.CancelCauseFunc
	requests context.Context // of requests; ends a little later
	cutOff   context.CancelFunc

	running  int           // handlers, with the hooks that hear of their verdicts
	returned chan struct{} // one of them has whose verdict was reported before, as its hook waited for that
	workers  int           // goroutines for them
	exited   chan struct{} // one of those has ended
	jobs     chan job      // what they are to do; never full, as there is room for every slot
	hooks    int           // that hear of dead letters
	heard    chan struct{} // one of them has
}

func newRun(c *Consumer, f facts) *run {
	r := &run{
		Consumer: c,
		facts:    f,
		inbox:    make(chan core.Input, 64),
		queries:  make(chan func()),
		ended:    make(chan struct{}),
		toSend:   make(chan func()),
		returned: make(chan struct{}),
		exited:   make(chan struct{}),
		heard:    make(chan struct{}),
		jobs:     make(chan job, c.cfg.Slots),
		core: core.New(core.Config{
			Slots: c.cfg.Slots, Pollers: c.cfg.Pollers, WaitTime: c.cfg.WaitTime, HandlerTimeout: c.cfg.HandlerTimeout,
			DeleteLinger: c.cfg.DeleteLinger, MaxHold: c.cfg.MaxHold, Check: c.cfg.Check != nil, Policy: c.cfg.GroupPolicy,
			Visibility: f.visibility, MaxReceives: f.maxReceives,
			NewID: uuid.NewString, Rand: random, Strict: strict,
		}),
	}
	r.work, r.abort = context.WithCancelCause(c.reused.In(context.Background()))
	r.requests, r.cutOff = context.WithCancel(context.Background())
	return r
}

var (
	// random is the random part of pauses. Nil means that of math/rand/v2; tests set one that can be repeated.
	random func(below time.Duration) time.Duration
	// strict makes a step that the core's tables don't have panic. Tests set it.
	strict bool
)

// post reports to the loop. It returns at once after the loop has exited.
func (r *run) post(in core.Input) {
	select {
	case r.inbox <- in:
	case <-r.ended:
	}
}

// signal tells the loop that something has ended. It returns at once after the loop has exited.
func (r *run) signal(what chan struct{}) {
	select {
	case what <- struct{}{}:
	case <-r.ended:
	}
}

func (r *run) loop(ctx context.Context) error {
	defer close(r.jobs)
	defer close(r.ended)
	defer r.cutOff()
	defer r.abort(ErrStopping)
	heartbeat := time.NewTicker(min(r.facts.visibility/12, longestBeat))
	defer heartbeat.Stop()
	wake := time.NewTimer(time.Hour)
	defer wake.Stop()
	stop := ctx.Done()
	draining := false
	var drained, last <-chan time.Time
	r.core.Step(time.Now(), core.SetPaused{Paused: r.paused.Load()})
	for {
		if draining && r.core.Idle() && r.running+r.hooks == 0 {
			r.publish()
			r.cfg.Logger.Info("consumer stopped")
			return nil
		}
		r.do(r.core.Turn(time.Now()))
		r.core.Advance()
		r.publish()
		if at := r.core.Wake(); !at.IsZero() {
			wake.Reset(time.Until(at))
		}
		select {
		case in := <-r.inbox:
			r.step(in)
			for range len(r.inbox) { // one turn for everything that has been reported
				r.step(<-r.inbox)
			}
		case query := <-r.queries:
			query()
		case <-r.returned:
			r.running--
		case <-r.heard:
			r.hooks--
		case <-r.exited:
			r.workers--
			r.enoughWorkers()
		case <-wake.C:
		case <-r.wake:
			r.step(core.SetPaused{Paused: r.paused.Load()})
		case <-heartbeat.C:
			r.step(core.Heartbeat{})
		case <-stop:
			stop, draining = nil, true
			n := r.core.Counts()
			r.cfg.Logger.Info("consumer draining", "running", n.Running, "held", n.Held)
			r.draining.Store(true)
			r.step(core.Drain{})
			drained = time.After(r.cfg.DrainTimeout)
		case <-drained:
			r.abort(ErrStopping)
			r.step(core.Abort{})
			last = time.After(lastGrace)
		case <-last:
			n := r.core.Counts()
			return fmt.Errorf("consumers: %s: drain timeout of %v is over: %d handlers or hooks did not end, %d messages are still held and will be delivered again",
				r.queue.Service, r.cfg.DrainTimeout, r.running+r.hooks, n.Held)
		}
	}
}

// step tells the core what has happened.
func (r *run) step(in core.Input) {
	r.core.Step(time.Now(), in)
	switch in := in.(type) {
	case core.AttemptEnded:
		if decided, ok := in.Ref.(chan core.State); ok {
			decided <- in.Message.State()
		} else {
			r.running--
		}
	case core.Changed:
		for _, m := range in.Messages {
			end := m.LeaseEnd()
			of(m).lease.Store(&end)
		}
	}
}

// do starts the work that the core asks for. All of it runs on other goroutines, which report.
func (r *run) do(w *core.Work) {
	for _, n := range w.Notes {
		r.tell(n)
	}
	for _, c := range w.Receive {
		r.send(func() { r.receive(c) })
	}
	for _, c := range w.Run {
		r.start(c)
	}
	for _, c := range w.Cancel {
		if c.Why == core.Stopping {
			of(c.Message).cancel(ErrStopping)
		} else {
			of(c.Message).cancel(ErrLeaseLost)
		}
	}
	for _, messages := range w.Delete {
		r.send(func() { r.delete(messages) })
	}
	for _, c := range w.Change {
		r.send(func() { r.change(c) })
	}
	for _, c := range w.Send {
		r.send(func() { r.deadLetter(c) })
	}
	for _, c := range w.Ask {
		r.send(func() { r.ask(c) })
	}
	if w.Check {
		r.send(r.checkDependencies)
	}
}

// send makes a request on another goroutine, if possible on one that has made some before: a request needs a deep stack, and growing a
// new one for each takes half as long as the request itself.
func (r *run) send(request func()) {
	select {
	case r.toSend <- request:
	default:
		go func() {
			for request != nil {
				request()
				select {
				case request = <-r.toSend:
				case <-r.ended:
					request = nil
				}
			}
		}()
	}
}
