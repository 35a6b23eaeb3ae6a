package core

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/device-fanout/fanout/consumers/failure"
	"github.com/device-fanout/fanout/consumers/internal/attempt"
	"github.com/device-fanout/fanout/consumers/parking"
	awsx "github.com/device-fanout/fanout/internal/aws"
)

// The simulation: cores, a model of their queue, handlers and a parking store, driven by one seed. A story says what happens; the invariants are
// checked at every step. A failing one is made as small as possible and printed with all that happened in it. To see more:
//
//	go test ./consumers/internal/core -run Simulation -stories 1000000
//	go test ./consumers/internal/core -run Simulation -seed 4711

var (
	storiesFlag = flag.Int("stories", 4000, "how many stories the simulation plays")
	verboseFlag = flag.Bool("tell", false, "print every seed")
	seedFlag    = flag.Uint64("seed", 0, "the only story to be played")
)

func TestSimulation(t *testing.T) {
	t.Parallel()
	if *seedFlag > 0 {
		playSeed(t, *seedFlag)
		return
	}
	began := time.Now()
	var next atomic.Uint64
	var failed atomic.Bool
	var all sync.WaitGroup
	for range 2 {
		all.Go(func() {
			for seed := next.Add(1); seed <= uint64(*storiesFlag) && !failed.Load(); seed = next.Add(1) {
				if *verboseFlag {
					println(seed)
				}
				if s := tell(seed); play(s, false).fault != "" && failed.CompareAndSwap(false, true) {
					playSeed(t, seed)
				}
			}
		})
	}
	all.Wait()
	t.Logf("%d stories in %v", *storiesFlag, time.Since(began).Round(time.Millisecond))
}

func BenchmarkSimulation(b *testing.B) {
	for i := range b.N {
		if w := play(tell(uint64(i+1)), false); w.fault != "" {
			b.Fatalf("seed %d: %s", i+1, w.fault)
		}
	}
}

// playSeed plays one story, and shrinks it when it fails.
func playSeed(t *testing.T, seed uint64) {
	t.Helper()
	s := tell(seed)
	w := play(s, true)
	if w.fault == "" {
		t.Logf("%s\n%s", s, strings.Join(w.told, "\n"))
		return
	}
	s = shrink(s)
	w = play(s, true)
	t.Errorf("seed %d: %s\n\n%s\nWhat happened:\n%s", seed, w.fault, s, strings.Join(w.told, "\n"))
}

// conduct is what an event's handler does.
type conduct uint8

const (
	succeeds   conduct = iota
	slow               // takes long
	known              // can never be handled, and says so
	poison             // can never be handled, and does not say so
	flaky              // fails a few times
	later              // asks to come again
	kills              // its process
	hangs              // ignores its context
	unreadable         // can't be decoded
)

var conductNames = [...]string{"succeeds", "slow", "known", "poison", "flaky", "later", "kills", "hangs", "unreadable"}

// told is one event of a story.
type told struct {
	device int
	at     time.Duration
	does   conduct
	times  int // how often, of flaky, later, kills
	takes  time.Duration
}

// life is one process.
type life struct {
	starts, lasts time.Duration
	slots         int
	killed        bool
}

// outageKind is how a dependency is down.
type outageKind uint8

const (
	noOutage outageKind = iota
	refuses
	hanging
	unavailable
)

// trouble is what may go wrong with requests, each in so many of a thousand.
type trouble struct{ throttled, lost, partly, unsent, hang int }

// story is what happens.
type story struct {
	seed       uint64
	policy     failure.GroupPolicy
	check      bool
	max        int
	visibility time.Duration
	maxHold    time.Duration
	events     []told
	lives      []life
	outage     outageKind
	from, to   time.Duration
	gap, again time.Duration // after which it is down once more, for how long
	trouble    trouble
	expiries   []time.Duration // when all visibility timeouts end at once
	releases   []time.Duration // when somebody releases all parked devices
	mends      time.Duration   // when what never succeeds begins to; zero for never
	storeDown  [2]time.Duration
	dlqDown    [2]time.Duration
	moto       bool // sequence numbers mean nothing
}

const (
	simWork    = 20 * time.Millisecond
	simTimeout = 10 * time.Second
	simDrain   = 30 * time.Second
	simEnd     = 6 * time.Minute // all lives have ended by then, and a last one without trouble begins
)

// tell makes the story of a seed.
func tell(seed uint64) *story {
	r := rand.New(rand.NewPCG(seed, 7))
	pick := func(n int) int { return r.IntN(n) }
	span := func(most time.Duration) time.Duration { return time.Duration(r.Int64N(int64(most))) }
	s := &story{
		seed: seed, policy: []failure.GroupPolicy{failure.Skip, failure.Skip, failure.Park, failure.Block}[pick(4)],
		check: pick(2) == 0, max: []int{0, 3, 5, 10, 10}[pick(5)], visibility: []time.Duration{10 * time.Second, 30 * time.Second, 60 * time.Second}[pick(3)],
		maxHold: []time.Duration{20 * time.Second, time.Minute, 5 * time.Minute}[pick(3)], moto: pick(8) == 0,
	}
	devices := 1 + pick(4)
	for range 1 + pick(12) {
		e := told{device: max(0, pick(2*devices)-devices), at: span(90 * time.Second)}
		if pick(2) == 0 {
			e.at = span(3 * time.Second)
		}
		switch pick(16) {
		case 0:
			e.does = known
		case 1, 2:
			e.does = poison
		case 3:
			e.does, e.times = flaky, 1+pick(6)
		case 4:
			e.does, e.times, e.takes = later, 1+pick(3), span(6*time.Second)
		case 5:
			e.does, e.times = kills, 1+pick(4)
		case 6:
			e.does, e.takes = slow, span(9*time.Second)
		case 7:
			e.does, e.takes = hangs, span(60*time.Second)
		case 8:
			e.does = unreadable
		}
		if s.policy == failure.Block && (e.does == known || e.does == poison || e.does == unreadable) { // they would never end
			e.does, e.times = flaky, 1+pick(12)
		}
		s.events = append(s.events, e)
	}
	for range 1 + pick(3) {
		at := span(20 * time.Second)
		for range 1 + pick(2) {
			l := life{starts: at, lasts: time.Second + span(100*time.Second), slots: []int{1, 2, 4, 32}[pick(4)], killed: pick(4) == 0}
			s.lives = append(s.lives, l)
			at += l.lasts + span(2*time.Second)
		}
	}
	if pick(3) == 0 {
		s.outage = outageKind(1 + pick(3))
		s.from = span(20 * time.Second)
		s.to = s.from + span(3*time.Minute)
		if pick(2) == 0 {
			s.gap, s.again = span(5*time.Second), 5*time.Second+span(20*time.Second)
		}
	}
	if s.policy == failure.Park {
		for range max(0, pick(6)-2) {
			s.releases = append(s.releases, span(3*time.Minute))
		}
		if pick(2) == 0 {
			s.mends = span(2 * time.Minute)
		}
	}
	if pick(2) == 0 {
		rate := func() int { return []int{0, 0, 20, 100, 300}[pick(5)] }
		s.trouble = trouble{rate(), rate(), rate(), rate(), rate() / 10}
	}
	if len(s.releases) > 0 {
		s.max = 0 // what SQS moves while a device is released is in nobody's order
		// A dead letter that is not confirmed before its device is released may come back out of order; see package parking.
		s.trouble = trouble{}
		for i := range s.lives {
			s.lives[i].killed = false
		}
		for i, e := range s.events {
			if e.does == kills || e.does == hangs {
				s.events[i].does = succeeds
			}
		}
	}
	for range max(0, pick(5)-2-5*len(s.releases)) {
		s.expiries = append(s.expiries, span(2*time.Minute))
	}
	if pick(6) == 0 && len(s.releases) == 0 {
		s.storeDown[0] = span(time.Minute)
		s.storeDown[1] = s.storeDown[0] + span(time.Minute)
	}
	if pick(6) == 0 && len(s.releases) == 0 {
		s.dlqDown[0] = span(time.Minute)
		s.dlqDown[1] = s.dlqDown[0] + span(time.Minute)
	}
	return s
}

func (s *story) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "seed %d: policy %s, check %t, maxReceiveCount %d, visibility timeout %v, MaxHold %v", s.seed, s.policy, s.check, s.max, s.visibility, s.maxHold)
	if s.moto {
		b.WriteString(", sequence numbers at random")
	}
	b.WriteString("\n")
	for i, e := range s.events {
		fmt.Fprintf(&b, "  e%d of d%d at %v %s", i, e.device, e.at, conductNames[e.does])
		if e.times > 0 {
			fmt.Fprintf(&b, " %d times", e.times)
		}
		if e.takes > 0 {
			fmt.Fprintf(&b, " for %v", e.takes)
		}
		b.WriteString("\n")
	}
	for i, l := range s.lives {
		fmt.Fprintf(&b, "  process %d from %v for %v with %d slots%s\n", i, l.starts, l.lasts, l.slots, map[bool]string{true: ", killed"}[l.killed])
	}
	if s.outage > 0 {
		fmt.Fprintf(&b, "  dependency %s from %v to %v\n", [...]string{"", "refuses", "hangs", "is unavailable"}[s.outage], s.from, s.to)
	}
	if s.again > 0 {
		fmt.Fprintf(&b, "  and once more %v later for %v\n", s.gap, s.again)
	}
	if s.trouble != (trouble{}) {
		fmt.Fprintf(&b, "  requests of 1,000: %+v\n", s.trouble)
	}
	for _, at := range s.releases {
		fmt.Fprintf(&b, "  parked devices are released at %v\n", at)
	}
	if s.mends > 0 {
		fmt.Fprintf(&b, "  nothing is known or poison any more from %v\n", s.mends)
	}
	for _, at := range s.expiries {
		fmt.Fprintf(&b, "  all visibility timeouts end at %v\n", at)
	}
	for name, d := range map[string][2]time.Duration{"parking store": s.storeDown, "dead-letter queue": s.dlqDown} {
		if d[1] > 0 {
			fmt.Fprintf(&b, "  %s down from %v to %v\n", name, d[0], d[1])
		}
	}
	return b.String()
}

// hasBad tells whether events fail without saying why: then a handler that works looks like one that does not.
func (s *story) hasBad() bool {
	return slices.ContainsFunc(s.events, func(e told) bool { return e.does == poison || e.does == flaky || e.does == hangs })
}

// ends is when the dependency is there for good.
func (s *story) ends() time.Duration { return s.to + s.gap + s.again }

// shrink takes from a failing story what it does not need to fail.
func shrink(s *story) *story {
	fails := func(c story) bool { return play(&c, false).fault != "" }
	for again, rounds := true, 0; again && rounds < 20; rounds++ {
		again = false
		try := func(change func(*story)) {
			c := *s
			c.events = append([]told(nil), s.events...)
			c.lives = append([]life(nil), s.lives...)
			c.expiries = append([]time.Duration(nil), s.expiries...)
			change(&c)
			if fmt.Sprint(c) != fmt.Sprint(*s) && fails(c) {
				s, again = &c, true
			}
		}
		for i := len(s.events) - 1; i >= 0; i-- {
			try(func(c *story) { c.events = append(c.events[:i], c.events[i+1:]...) })
		}
		for i := len(s.lives) - 1; i >= 0; i-- {
			try(func(c *story) { c.lives = append(c.lives[:i], c.lives[i+1:]...) })
		}
		for i := len(s.expiries) - 1; i >= 0; i-- {
			try(func(c *story) { c.expiries = append(c.expiries[:i], c.expiries[i+1:]...) })
		}
		for _, change := range []func(*story){
			func(c *story) { c.trouble = trouble{} },
			func(c *story) { c.trouble.throttled = 0 },
			func(c *story) { c.trouble.lost = 0 },
			func(c *story) { c.trouble.partly = 0 },
			func(c *story) { c.trouble.unsent = 0 },
			func(c *story) { c.trouble.hang = 0 },
			func(c *story) { c.outage, c.from, c.to, c.gap, c.again = 0, 0, 0, 0, 0 },
			func(c *story) { c.gap, c.again = 0, 0 },
			func(c *story) { c.releases = nil },
			func(c *story) { c.mends = 0 },
			func(c *story) { c.storeDown = [2]time.Duration{} },
			func(c *story) { c.dlqDown = [2]time.Duration{} },
			func(c *story) { c.moto = false },
			func(c *story) { c.max = 0 },
			func(c *story) { c.policy = failure.Skip },
		} {
			try(change)
		}
		for i := range s.events {
			try(func(c *story) { c.events[i] = told{device: c.events[i].device, at: c.events[i].at} })
			try(func(c *story) { c.events[i].at = 0 })
		}
		for i := range s.lives {
			try(func(c *story) { c.lives[i].killed = false })
			try(func(c *story) { c.lives[i].slots = 1 })
			try(func(c *story) { c.lives[i].starts = 0 })
		}
	}
	return s
}

// world is a story while it is played.
type world struct {
	story  *story
	now    time.Duration
	random *rand.Rand
	todo   todo
	count  int
	ids    int // of receives
	queue  queueModel
	store  simStore
	fault  string
	trace  bool
	told   []string

	tries   []int  // by event: handlers started
	sent    []int  // events, in the order of the queue
	handled []bool // by event: a handler has succeeded
	mended  bool   // what never succeeds does now
	kills   []int
	killed  bool // a process was, or a lease lost, or a reply
	lost    bool
	workers []*worker
	peace   bool // no more trouble
}

var simBase = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

func (w *world) time() time.Time { return simBase.Add(w.now) }

func (w *world) after(d time.Duration, do func()) {
	w.count++
	w.todo.push(due{w.now + max(d, 0), w.count, do})
}

func (w *world) failf(format string, args ...any) {
	if w.fault == "" {
		w.fault = fmt.Sprintf("%v: ", w.now) + fmt.Sprintf(format, args...)
	}
	w.tellf("FAULT "+format, args...)
}

func (w *world) tellf(format string, args ...any) {
	if w.trace {
		w.told = append(w.told, fmt.Sprintf("%12v  ", w.now)+fmt.Sprintf(format, args...))
	}
}

func (w *world) chance(ofThousand int) bool {
	return ofThousand > 0 && !w.peace && w.random.IntN(1000) < ofThousand
}

func (w *world) within(at [2]time.Duration) bool { return !w.peace && w.now >= at[0] && w.now < at[1] }

// play plays a story.
func play(s *story, trace bool) (w *world) {
	w = &world{
		story: s, random: rand.New(rand.NewPCG(s.seed, 11)), trace: trace,
		tries: make([]int, len(s.events)), handled: make([]bool, len(s.events)), kills: make([]int, len(s.events)),
	}
	w.queue = queueModel{w: w, max: s.max, copies: make([][]copied, len(s.events))}
	defer func() {
		if value := recover(); value != nil {
			w.failf("panic: %v", value)
		}
	}()
	// Events of one instant come in the order of the story.
	for i, e := range s.events {
		w.after(e.at, func() {
			w.tellf("e%d of d%d is sent", i, e.device)
			w.sent = append(w.sent, i)
			w.queue.send(i, e.device, "")
		})
	}
	for i, l := range s.lives {
		w.after(l.starts, func() { w.live(i, l) })
	}
	for i, at := range s.expiries {
		w.after(at, func() {
			some := i > 0 || at%2 == 0
			w.tellf("%s visibility timeouts end", map[bool]string{false: "all", true: "some"}[some])
			w.lost = true
			for _, e := range w.queue.entries {
				if !some || w.random.IntN(2) == 0 {
					e.visibleAt = min(e.visibleAt, w.now)
				}
			}
			w.queue.wake()
		})
	}
	for n, at := range s.releases {
		w.after(at, func() { w.releaseParked(fmt.Sprint("r", n)) })
	}
	if s.mends > 0 {
		w.after(s.mends, func() { w.mended = true })
	}
	if s.outage != noOutage && !s.hasBad() {
		w.after(s.ends()+90*time.Second, func() {
			for _, p := range w.workers {
				if !p.over && !p.draining && p.core.breaker.open && len(p.core.held) > 0 {
					w.failf("process %d still waits for the dependency", p.n)
				}
			}
		})
	}
	w.after(simEnd, func() {
		w.peace = true
		w.tellf("peace")
		w.live(len(s.lives), life{lasts: 24 * time.Hour, slots: 8})
	})
	for len(w.todo) > 0 && w.fault == "" {
		d := w.todo.pop()
		w.now = d.at
		d.do()
		if w.peace && w.queue.empty() && !w.holds() {
			break
		}
		if w.count > 100_000 {
			w.failf("it goes round in circles")
		}
		if w.now > simEnd+time.Hour {
			w.failf("not everything ends")
		}
	}
	if w.fault == "" {
		w.judge()
	}
	return w
}

// isCalm tells whether every request is answered and every process drains.
func (w *world) isCalm() bool {
	s := w.story
	return !w.killed && s.trouble == trouble{} && s.storeDown[1] == 0 && s.dlqDown[1] == 0 && len(s.expiries) == 0 && len(s.releases) == 0
}

// holds tells whether a process holds anything.
func (w *world) holds() bool {
	for _, p := range w.workers {
		if !p.over && len(p.core.held) > 0 {
			return true
		}
	}
	return false
}

// judge looks at what has become of every event.
func (w *world) judge() {
	s := w.story
	for i, e := range s.events {
		dead := w.queue.copies[i]
		moved, follows := false, false
		for _, c := range dead {
			moved, follows = moved || c.moved, follows || c.follow
		}
		switch {
		case !w.handled[i] && len(dead) == 0:
			w.failf("e%d is lost", i)
		case len(dead) > 0 && !moved && !follows && w.tries[i] == 0 && e.does != unreadable:
			w.failf("e%d was dead-lettered untried", i)
		case follows && w.isCalm() && !w.parkedFor(i):
			w.failf("e%d went to the dead-letter queue because of nothing", i)
		case e.does == poison && w.handled[i] && s.mends == 0:
			w.failf("e%d was handled, though it can't be", i)
		}
	}
}

// parkedFor tells whether a device is parked for a reason: one of its events before is a dead letter of its own.
func (w *world) parkedFor(event int) bool {
	for _, e := range w.queue.entries {
		if e.group != w.story.events[event].device {
			continue
		}
		if e.event == event {
			return false
		}
		for _, c := range w.queue.copies[e.event] {
			if !c.follow {
				return true
			}
		}
	}
	return false
}

// innocent tells whether an event must not be dead-lettered by a consumer: nothing is wrong with it, and there is a check that says so, or the
// outage was shorter than MaxHold.
func (w *world) innocent(i int, m *Message) bool {
	s, e := w.story, w.story.events[i]
	switch {
	case e.does != succeeds && e.does != slow || w.queue.max > 0 && m.ReceiveCount >= w.queue.max:
		return false
	case s.outage == noOutage || s.check:
		return true
	}
	return s.ends()-s.from+simTimeout < s.maxHold
}

type due struct {
	at time.Duration
	n  int
	do func()
}

// todo is a heap of what happens when. (It is not container/heap's, which takes half of the simulation's time.)
type todo []due

func (d due) before(o due) bool { return d.at < o.at || d.at == o.at && d.n < o.n }

func (t *todo) push(d due) {
	list := append(*t, d)
	i := len(list) - 1
	for i > 0 && d.before(list[(i-1)/2]) {
		list[i] = list[(i-1)/2]
		i = (i - 1) / 2
	}
	list[i] = d
	*t = list
}

func (t *todo) pop() due {
	list := *t
	top, last := list[0], list[len(list)-1]
	list[len(list)-1] = due{}
	list = list[:len(list)-1]
	*t = list
	if len(list) == 0 {
		return top
	}
	i := 0
	for {
		child := 2*i + 1
		if child >= len(list) {
			break
		}
		if child+1 < len(list) && list[child+1].before(list[child]) {
			child++
		}
		if !list[child].before(last) {
			break
		}
		list[i] = list[child]
		i = child
	}
	list[i] = last
	return top
}

// simStore is a parking store.
type simStore struct{ devices map[string]parking.Device }

func (s *simStore) Find(_ context.Context, _ string, devices ...string) ([]parking.Device, error) {
	var found []parking.Device
	for _, id := range devices {
		if d, ok := s.devices[id]; ok {
			found = append(found, d)
		}
	}
	return found, nil
}

func (s *simStore) Swap(_ context.Context, old, next parking.Device) (bool, error) {
	if s.devices[next.ID].Version != old.Version {
		return false, nil
	}
	if next.Version == 0 {
		delete(s.devices, next.ID)
		return true, nil
	}
	if s.devices == nil {
		s.devices = map[string]parking.Device{}
	}
	s.devices[next.ID] = next
	return true, nil
}

var (
	errSim      = errors.New("scripted")
	errSimCheck = errors.New("the dependency is down")
)

func over(n int, each awsx.Answer) awsx.Answers {
	list := make(awsx.Answers, n)
	for i := range list {
		list[i] = each
	}
	return list
}

var failedAnswer = awsx.Answer{Verdict: awsx.Verdict{Class: awsx.Unknown}, Err: errSim}

var overAnswer = awsx.Answer{Verdict: awsx.Verdict{Class: awsx.Final}, Err: errSim, HandleOver: true}

var deadVerdict = attempt.Verdict{Failure: attempt.Failure{Kind: attempt.Dead, Code: "error", Text: "scripted"}, Class: failure.Exhausted}
