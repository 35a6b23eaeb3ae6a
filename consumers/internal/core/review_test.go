package core

import (
	"fmt"
	"strconv"
	"testing"
	"time"

	"github.com/device-fanout/fanout/consumers/failure"
	"github.com/device-fanout/fanout/consumers/internal/attempt"
	awsx "github.com/device-fanout/fanout/internal/aws"
)

// stage drives a core by hand, for stories that the simulation tells too rarely.
type stage struct {
	t    *testing.T
	c    *Core
	now  time.Time
	last int // sequence number
	// What the core has asked for and was not answered yet.
	runs    map[string]Run
	changes []Change
	deletes [][]*Message
	sends   []Send
	asks    []Ask
	polls   []Receive
	checks  int
	notes   []Note
}

func newStage(t *testing.T, cfg Config) *stage {
	t.Helper()
	ids := 0
	cfg.NewID, cfg.Strict = func() string { ids++; return strconv.Itoa(ids) }, true
	cfg.Rand = func(below time.Duration) time.Duration { return below / 3 }
	cfg.Pollers, cfg.WaitTime, cfg.HandlerTimeout, cfg.DeleteLinger = 2, 20*time.Second, 10*time.Second, 10*time.Millisecond
	cfg.Visibility = 30 * time.Second
	s := &stage{t: t, c: New(cfg), now: simBase, runs: map[string]Run{}}
	s.turn()
	return s
}

func (s *stage) turn() {
	w := s.c.Turn(s.now)
	s.polls = append(s.polls, w.Receive...)
	for _, r := range w.Run {
		s.runs[r.Message.ID] = r
	}
	s.changes = append(s.changes, w.Change...)
	s.deletes = append(s.deletes, w.Delete...)
	s.sends = append(s.sends, w.Send...)
	s.asks = append(s.asks, w.Ask...)
	if w.Check {
		s.checks++
	}
	s.notes = append(s.notes, w.Notes...)
	s.c.Advance()
}

func (s *stage) step(in Input) {
	s.c.Step(s.now, in)
	s.turn()
}

// message makes a message of a device.
func (s *stage) message(device string, receives int) *Message {
	s.last++
	return &Message{
		ID: fmt.Sprint("m", s.last), Group: device, Device: device, Type: "a", Sequence: fmt.Sprintf("%020d", s.last), ReceiveCount: receives, ReceivedAt: s.now,
	}
}

// receive answers a poll, or brings messages that were asked for before.
func (s *stage) receive(messages ...*Message) {
	in := Received{Messages: messages, Lease: s.now.Add(s.c.cfg.Visibility)}
	if len(s.polls) > 0 {
		in.Asked, s.polls = s.polls[0].Max, s.polls[1:]
	} else {
		s.c.intake.underWay++
	}
	s.step(in)
}

// ends ends the handler of a message.
func (s *stage) ends(m *Message, f attempt.Failure) {
	s.t.Helper()
	if _, ok := s.runs[m.ID]; !ok {
		s.t.Fatalf("%s does not run but is %v, its lane %v", m.ID, m.state, m.lane.state)
	}
	delete(s.runs, m.ID)
	s.step(AttemptEnded{Message: m, Verdict: &attempt.Verdict{Failure: f, Attempts: 1}, Began: s.now.Add(-time.Millisecond)})
}

// changed answers all visibility changes.
func (s *stage) changed() {
	for len(s.changes) > 0 {
		c := s.changes[0]
		s.changes = s.changes[1:]
		s.step(Changed{Change: c, Answers: over(len(c.Messages), okAnswer), Sent: s.now})
	}
}

// pass lets time pass as the shell would: it turns at every wake time and beats.
func (s *stage) pass(d time.Duration) {
	end := s.now.Add(d)
	beat := s.now.Add(s.c.cfg.Visibility / 12)
	for {
		next := beat
		if at := s.c.Wake(); !at.IsZero() && at.Before(next) {
			next = at
		}
		if next.After(end) {
			s.now = end
			s.turn()
			return
		}
		s.now = next
		if s.now.Equal(beat) {
			beat = beat.Add(s.c.cfg.Visibility / 12)
			s.step(Heartbeat{})
		} else {
			s.turn()
		}
		s.changed()
	}
}

var (
	handled = attempt.Failure{Kind: attempt.Handled}
	isDown  = attempt.Failure{Kind: attempt.Unavailable, Code: "error"}
	fails   = attempt.Failure{Kind: attempt.Dead, Code: "error", Text: "scripted"}
)

// TestIsolation_IsNotStoppedByTheBreaker: two messages that may have killed processes wait behind the open breaker, the one whose turn it
// is to run alone as well as the one that the breaker has chosen.
func TestIsolation_IsNotStoppedByTheBreaker(t *testing.T) {
	t.Parallel()
	s := newStage(t, Config{Slots: 4, Policy: failure.Skip})
	// It works, so that nothing is in doubt.
	first := s.message("d0", 1)
	s.receive(first)
	s.ends(first, handled)
	// d1 runs. d2 and d3 are to be isolated: d2 runs, d3 waits for it.
	down, b, p := s.message("d1", 1), s.message("d2", 3), s.message("d3", 3)
	s.receive(down)
	s.receive(b)
	s.receive(p)
	s.changed()
	if _, ok := s.runs[b.ID]; !ok {
		t.Fatalf("d2 does not run: %v", b.lane.state)
	}
	if p.lane.state != Isolating {
		t.Fatalf("d3 is not isolated: %v", p.lane.state)
	}
	s.ends(down, isDown)
	// While the breaker is open another one comes that must be isolated.
	q := s.message("d4", 3)
	s.receive(q)
	s.ends(b, isDown)
	for range 20 {
		s.pass(10 * time.Second)
		for _, r := range s.runs {
			s.ends(r.Message, handled)
		}
		for _, d := range s.deletes {
			s.step(Deleted{d, over(len(d), okAnswer)})
		}
		s.deletes = nil
	}
	for _, m := range []*Message{down, b, p, q} {
		if m.state != Gone {
			t.Errorf("%s of %s is still %v after the dependency came back, its lane %v", m.ID, m.Device, m.state, m.lane.state)
		}
	}
}

var okAnswer = awsx.Answer{}

// answer answers the next question to the parking store.
func (s *stage) answer(question Question, standing Standing) {
	s.t.Helper()
	if len(s.asks) == 0 || s.asks[0].Question != question {
		s.t.Fatalf("asked %+v, want %d", s.asks, question)
	}
	a := s.asks[0]
	s.asks = s.asks[1:]
	s.step(Answered{Ask: a, Standing: standing})
}

// TestDrain_AfterARelease: a message failed for the last time, its device was released meanwhile so that it may run once more, and then the
// process drains.
func TestDrain_AfterARelease(t *testing.T) {
	t.Parallel()
	s := newStage(t, Config{Slots: 1, Policy: failure.Park, MaxReceives: 3, MaxHold: time.Second})
	m := s.message("d1", 3)
	s.receive(m)
	s.answer(Announce, Noted)
	s.ends(m, fails)
	s.pass(900 * time.Millisecond)
	other := s.message("d2", 1)
	s.pass(200 * time.Millisecond)
	s.receive(other)
	s.ends(m, fails)
	s.answer(Record, Noted)
	s.answer(Find, MayRun)
	s.answer(Announce, Noted) // what was announced before was taken back by the release
	if m.state != Waiting {
		t.Fatalf("it is %v", m.state)
	}
	s.step(Drain{})
	s.ends(other, handled)
	s.ends(m, handled)
}

// checked answers the check that was asked for, which began when it was.
func (s *stage) checked(err error) {
	s.t.Helper()
	for range 100 {
		if s.checks > 0 {
			break
		}
		s.pass(100 * time.Millisecond)
	}
	if s.checks == 0 {
		s.t.Fatal("no check is asked for")
	}
	s.checks--
	s.step(Checked{Began: s.now, Err: err})
}

// TestEvidence_IsTakenBackByACheckThatFails: an attempt shows nothing during which the check has failed, though it passed before and after.
func TestEvidence_IsTakenBackByACheckThatFails(t *testing.T) {
	t.Parallel()
	s := newStage(t, Config{Slots: 8, Policy: failure.Skip, Check: true})
	s.checked(nil)
	m, other := s.message("d1", 1), s.message("d2", 1)
	s.receive(m)
	s.receive(other)
	s.ends(m, fails)
	s.ends(other, fails)
	s.checked(nil)
	s.ends(other, fails) // m's handler takes longer
	s.checked(errSimCheck)
	s.ends(m, fails)
	s.checked(nil)
	if len(s.sends) > 0 || m.state != Running {
		t.Errorf("%d dead letters, and the event is %v: want it tried again", len(s.sends), m.state)
	}
	// Now it is the event's own fault.
	s.ends(m, fails)
	s.checked(nil)
	if len(s.sends) != 1 || m.state != Sending {
		t.Errorf("%d dead letters, and the event is %v: want it dead-lettered", len(s.sends), m.state)
	}
}

// TestEvidence_OfASuccessNeedsTheCheckToo: a dependency that was there for a moment makes no dead letters of all that were held.
func TestEvidence_OfASuccessNeedsTheCheckToo(t *testing.T) {
	t.Parallel()
	s := newStage(t, Config{Slots: 8, Policy: failure.Skip, Check: true})
	s.checked(nil)
	m, other := s.message("d1", 1), s.message("d2", 1)
	s.receive(m)
	s.ends(m, fails)
	s.now = s.now.Add(10 * time.Millisecond)
	s.receive(other)
	s.now = s.now.Add(10 * time.Millisecond)
	s.ends(other, handled) // the dependency is there
	s.ends(m, fails)       // and has gone again
	s.checked(errSimCheck)
	if len(s.sends) > 0 || m.state != Resting {
		t.Errorf("%d dead letters, and the event is %v: want it held", len(s.sends), m.state)
	}
}

// TestBreaker_DoesNotWaitForARelease whose own events wait for the breaker.
func TestBreaker_DoesNotWaitForARelease(t *testing.T) {
	t.Parallel()
	s := newStage(t, Config{Slots: 4, Policy: failure.Park})
	opens, m := s.message("d0", 1), s.message("d1", 1)
	s.receive(opens)
	s.ends(opens, isDown)
	s.receive(m)
	if m.lane.state != Gated {
		t.Fatalf("the lane is %v", m.lane.state)
	}
	// Meanwhile m's lease ends unnoticed, another process parks its device for it, and somebody releases that.
	again, released := *m, s.message("d1", 1)
	again.ReceiveCount, again.state, again.lane = 2, None, nil
	again.lease = lease{}
	released.Group, released.Released = "r1", true
	in := Received{Messages: []*Message{&again, released}, Lease: s.now.Add(s.c.cfg.Visibility), Parked: map[string]bool{"d1": true}}
	s.c.intake.underWay++
	s.step(in)
	for range 300 {
		s.pass(time.Second)
		for len(s.asks) > 0 {
			standing := MayRun
			if s.asks[0].Message == &again && released.state != Gone {
				standing = MustWait
			}
			s.answer(Find, standing)
		}
		for _, d := range s.deletes {
			s.step(Deleted{d, over(len(d), okAnswer)})
		}
		s.deletes = nil
		for _, r := range s.runs {
			if r.Message == opens {
				s.ends(opens, isDown)
			} else {
				s.ends(r.Message, handled)
			}
		}
	}
	if released.state != Gone || again.state != Gone {
		t.Errorf("the released event is %v, in lane %v, and the live one %v, in lane %v", released.state, released.lane.state, again.state, again.lane.state)
	}
}

// TestDrain_KeepsWhatTheQueueWouldMoveUntried also behind an event that is dead-lettered as it can't be handed back.
func TestDrain_KeepsWhatTheQueueWouldMoveUntried(t *testing.T) {
	t.Parallel()
	for _, resting := range []bool{true, false} {
		s := newStage(t, Config{Slots: 1, Policy: failure.Skip, MaxReceives: 3, MaxHold: time.Minute})
		m, untried := s.message("d1", 3), s.message("d1", 3)
		s.receive(m, untried)
		s.changed()
		s.ends(m, fails)
		if !resting {
			other := s.message("d2", 1)
			s.receive(other)
			s.pass(2 * time.Second)
			if m.state != Waiting {
				t.Fatalf("it is %v", m.state)
			}
		}
		s.step(Drain{})
		for s.c.intake.underWay > 0 { // what has failed waits for the last receives
			s.receive()
		}
		if len(s.sends) != 1 || untried.state != Waiting {
			t.Errorf("resting %t: %d dead letters, and the event behind is %v: want one, and it waiting", resting, len(s.sends), untried.state)
		}
	}
}

// TestDoubt_HandlersThatRunIntoTheirTimeKeepNobodyWaiting: many devices fail, each after ten seconds, and had failed in another process before. An
// event that can be handled starts soon all the same.
func TestDoubt_HandlersThatRunIntoTheirTimeKeepNobodyWaiting(t *testing.T) {
	t.Parallel()
	s := newStage(t, Config{Slots: 32, Policy: failure.Skip, MaxHold: 5 * time.Minute})
	var queue []*Message
	for i := range 40 {
		queue = append(queue, s.message(fmt.Sprint("bad", i), 2))
	}
	ends := map[*Message]time.Time{}
	var good *Message
	var sent time.Time
	for i := range 20 * 60 {
		s.pass(100 * time.Millisecond)
		if i == 60*10 {
			good, sent = s.message("good", 1), s.now
			queue = append([]*Message{good}, queue...)
		}
		for len(s.polls) > 0 && len(queue) > 0 {
			n := min(len(queue), s.polls[0].Max)
			got := queue[:n]
			queue = queue[n:]
			for _, m := range got {
				m.ReceivedAt = s.now
			}
			s.receive(got...)
		}
		for _, r := range s.runs {
			if r.Message == good {
				if wait := s.now.Sub(sent); wait > 6*time.Second {
					t.Errorf("it has waited for %v", wait)
				}
				return
			}
			if at, ok := ends[r.Message]; !ok {
				ends[r.Message] = s.now.Add(10 * time.Second)
			} else if !s.now.Before(at) {
				delete(ends, r.Message)
				s.ends(r.Message, fails)
			}
		}
	}
	t.Errorf("it has not started within a minute; %d are held", len(s.c.held))
}

// TestLease_GoesBackBeforeItCannotBeKept: what waits for the breaker is handed back before SQS lets nobody hold it any longer, the last first,
// rather than lost.
func TestLease_GoesBackBeforeItCannotBeKept(t *testing.T) {
	t.Parallel()
	s := newStage(t, Config{Slots: 4, Policy: failure.Skip})
	first := s.message("d0", 1)
	s.receive(first)
	s.ends(first, handled)
	opens, a, b := s.message("d1", 1), s.message("d2", 1), s.message("d2", 1)
	s.receive(opens)
	s.ends(opens, isDown)
	s.receive(a, b)
	for range 12 * 60 * 2 {
		s.pass(30 * time.Second)
		for _, d := range s.deletes {
			s.step(Deleted{d, over(len(d), okAnswer)})
		}
		s.deletes = nil
		for _, r := range s.runs {
			s.ends(r.Message, isDown)
		}
		for _, m := range []*Message{opens, a, b} {
			if age := m.lease.ends.Sub(m.ReceivedAt); m.state != Gone && age > 12*time.Hour {
				t.Fatalf("%s of %s is to be kept for %v, which SQS refuses", m.ID, m.Device, age)
			}
		}
	}
	if s.c.counts.LeasesLost > 0 {
		t.Errorf("%d leases lost", s.c.counts.LeasesLost)
	}
}
