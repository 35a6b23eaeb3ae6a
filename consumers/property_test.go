package consumers_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"
	"github.com/aws/smithy-go"
	"pgregory.net/rapid"

	"github.com/device-fanout/fanout/consumers"
	"github.com/device-fanout/fanout/consumers/deadletter"
	"github.com/device-fanout/fanout/consumers/parking"
	"github.com/device-fanout/fanout/events"
)

// TestRun_UnderRandomTrouble is the promise itself, under each group policy. Two to four consumers come and go, drained or killed,
// while events are being sent; handlers succeed, fail, panic, dawdle and ignore their contexts; requests are throttled, cut off, carried out in part
// and not answered. Whatever happens, nothing is lost, nothing is dead-lettered untried, the events of a device are handled in
// order, a device has one handler at a time unless a lease was lost, and what is delivered again takes effect once, by package inbox.
func TestRun_UnderRandomTrouble(t *testing.T) {
	t.Parallel()
	for _, policy := range []consumers.GroupPolicy{consumers.Skip, consumers.Park, consumers.Block} {
		t.Run(string(policy), func(t *testing.T) {
			t.Parallel()
			underRandomTrouble(t, policy)
		})
	}
}

func underRandomTrouble(t *testing.T, policy consumers.GroupPolicy) {
	folder := t.TempDir()
	var stories, again int64
	rapid.Check(t, func(rt *rapid.T) {
		s := drawStory(rt, policy)
		var faults []string
		stories++
		synctest.Test(t, func(t *testing.T) {
			s.effects = openEffects(t, folder, stories)
			defer s.effects.db.Close()
			faults = s.play(t)
		})
		again += s.effects.again.Load()
		for _, f := range faults {
			rt.Error(f)
		}
	})
	t.Logf("%d stories, in which %d events were delivered again after they had taken effect", stories, again)
}

// conduct is what an event's handler does.
type conduct struct {
	kind  string
	fails int           // how often it fails first, of flaky and panics
	takes time.Duration // of slow, and of stubborn, which ignores its context
}

// life is one run of a consumer.
type life struct {
	starts, lasts time.Duration
	slots         int
	wait          time.Duration
	killed        bool // nothing that it asks for is carried out any more after lasts
	atDelete      bool // it is killed earlier, by its first delete: what it has done is committed, and comes again
}

// story is one case: what happens.
type story struct {
	device   []int // of every event
	conduct  []conduct
	pause    []time.Duration // before it is sent
	lives    []life
	trouble  map[string][]int // by action, for one request after the other
	expiries []time.Duration  // when all visibility timeouts end at once
	releases []time.Duration  // pauses after which somebody releases all devices that are parked, mended or not
	quiet    bool             // none of that, and nobody killed
	policy   consumers.GroupPolicy
	checks   bool // the service has a check, which passes
	store    *parking.Memory
	effects  *effects
	mended   atomic.Bool // nothing fails any more

	journal   sync.Mutex // guards what follows
	attempts  map[string]int
	handled   map[string]int
	first     map[string][]string // by device: events in the order in which they were first handled
	active    map[string][]int    // by device: consumers whose handler runs now
	overlaps  []string
	disturbed bool // leases were lost, so that two consumers may hold one device
	faults    []string
}

func drawStory(rt *rapid.T, policy consumers.GroupPolicy) *story {
	s := &story{policy: policy, store: parking.NewMemory(), trouble: map[string][]int{}, attempts: map[string]int{}, handled: map[string]int{}, first: map[string][]string{}, active: map[string][]int{}}
	s.quiet = rapid.IntRange(0, 3).Draw(rt, "quiet") == 0
	s.checks = rapid.Bool().Draw(rt, "has a check")
	longest := 45 // seconds that a handler ignores its context
	if s.quiet {
		longest = 25 // so that it outlasts no drain
	}
	count := rapid.IntRange(1, 40).Draw(rt, "events")
	devices := rapid.IntRange(1, 6).Draw(rt, "devices")
	for range count {
		d := rapid.IntRange(0, 2*devices-1).Draw(rt, "device")
		s.device = append(s.device, max(0, d-devices+1)) // half of the events are of device 0
		c := conduct{kind: "succeeds"}
		switch rapid.IntRange(0, 19).Draw(rt, "conduct") {
		case 0:
			c = conduct{kind: "known"}
		case 1, 2:
			c = conduct{kind: "flaky", fails: rapid.IntRange(1, 6).Draw(rt, "fails")}
		case 3:
			c = conduct{kind: "panics", fails: rapid.IntRange(1, 6).Draw(rt, "fails")}
		case 4:
			c = conduct{kind: "garbage"}
		case 5, 6, 7:
			c = conduct{kind: "slow", takes: time.Duration(rapid.IntRange(1, 15).Draw(rt, "seconds")) * time.Second}
		case 8:
			c = conduct{kind: "stubborn", takes: time.Duration(rapid.IntRange(1, longest).Draw(rt, "seconds")) * time.Second}
		case 9:
			c = conduct{kind: "later", fails: rapid.IntRange(1, 3).Draw(rt, "fails"), takes: time.Duration(rapid.IntRange(0, 5).Draw(rt, "delay")) * time.Second}
		case 10:
			c = conduct{kind: "hangs", fails: 1}
		}
		switch { // what never succeeds would never end
		case policy == consumers.Block && (c.kind == "known" || c.kind == "garbage"):
			c = conduct{kind: "flaky", fails: 7}
		case policy == consumers.Park && c.kind == "garbage":
			c = conduct{kind: "known"}
		}
		s.conduct = append(s.conduct, c)
		s.pause = append(s.pause, time.Duration(max(0, rapid.IntRange(-2000, 2000).Draw(rt, "pause")))*time.Millisecond)
	}
	for range rapid.IntRange(2, 4).Draw(rt, "consumers") {
		at := time.Duration(0)
		for range rapid.IntRange(1, 2).Draw(rt, "lives") {
			l := life{
				starts: at + time.Duration(rapid.IntRange(0, 20).Draw(rt, "starts"))*time.Second,
				lasts:  time.Duration(rapid.IntRange(100, 60_000).Draw(rt, "lasts")) * time.Millisecond,
				slots:  rapid.SampledFrom([]int{1, 2, 3, 16, 32}).Draw(rt, "slots"),
				wait:   time.Duration(rapid.SampledFrom([]int{1, 5, 20}).Draw(rt, "wait")) * time.Second,
				killed: rapid.IntRange(0, 7).Draw(rt, "killed") == 0 && !s.quiet,
			}
			l.atDelete = l.killed && rapid.Bool().Draw(rt, "at its first delete")
			at = l.starts + l.lasts
			s.lives = append(s.lives, l)
		}
	}
	if policy == consumers.Park {
		for range rapid.IntRange(0, 3).Draw(rt, "releases") {
			s.releases = append(s.releases, time.Duration(rapid.IntRange(0, 60_000).Draw(rt, "released"))*time.Millisecond)
		}
	}
	if !s.quiet {
		for _, action := range []string{"receive", "change", "delete", "send"} {
			worst := rapid.SampledFrom([]int{5, 8, 20}).Draw(rt, "weather") // 0 to 4 is trouble
			s.trouble[action] = rapid.SliceOfN(rapid.IntRange(0, worst), 0, 40).Draw(rt, action)
		}
		for range rapid.IntRange(0, 2).Draw(rt, "expiries") {
			s.expiries = append(s.expiries, time.Duration(rapid.IntRange(0, 60_000).Draw(rt, "expires"))*time.Millisecond)
		}
	}
	return s
}

// dependencies is the check of a service that has one.
func (s *story) dependencies() func(context.Context) error {
	if s.checks {
		return works
	}
	return nil
}

func (s *story) fault(format string, args ...any) {
	s.faults = append(s.faults, fmt.Sprintf(format, args...))
}

func name(device int) string { return fmt.Sprintf("d%d", device) }

func id(event int) string { return fmt.Sprintf("e%02d", event) }

// play runs the story and then lets a last consumer, which has no trouble, clear up.
func (s *story) play(t *testing.T) []string {
	b := newBench(t)
	var all sync.WaitGroup
	all.Go(func() {
		for i, d := range s.device {
			time.Sleep(s.pause[i])
			if s.conduct[i].kind == "garbage" {
				b.sendBody(name(d), id(i), "device.motion.changed.v1", "{")
				continue
			}
			b.send(motion(name(d), id(i)))
		}
	})
	live := func(n int, l life, api consumers.QueueAPI, kill func()) {
		c, err := consumers.New(api, b.queue, func(ctx context.Context, e events.Event) error { return s.handle(ctx, n, e) }, consumers.Config{
			Slots: l.slots, WaitTime: l.wait, HandlerTimeout: 20 * time.Second, GroupPolicy: s.policy, Parking: s.store, Check: s.dependencies(),
		})
		if err != nil {
			t.Error(err)
			return
		}
		ctx, cancel := context.WithCancel(context.Background())
		defer cancel()
		done := make(chan error)
		go func() { done <- c.Run(ctx) }()
		if kill == nil {
			for d := 0; b.depth("test.fifo") > 0; d++ {
				if d > 1200 {
					s.journal.Lock()
					s.fault("%d messages are left after 20 minutes of peace", b.depth("test.fifo"))
					s.journal.Unlock()
					break
				}
				time.Sleep(time.Second)
			}
		} else {
			time.Sleep(l.lasts)
			if l.killed {
				kill()
			}
		}
		cancel()
		start := time.Now()
		err = <-done
		stats := c.Stats()
		s.journal.Lock()
		defer s.journal.Unlock()
		if stats.LeasesLost > 0 || err != nil { // an error means that a handler outlasted its consumer
			s.disturbed = true
		}
		if took := time.Since(start); took > consumers.DefaultDrainTimeout+6*time.Second {
			s.fault("consumer %d took %v to drain", n, took)
		}
		if err == nil && stats.Held != 0 {
			s.fault("consumer %d has drained and holds %d messages", n, stats.Held)
		}
		if s.quiet && stats.LeasesLost > 0 {
			s.fault("consumer %d lost %d leases in peace", n, stats.LeasesLost)
		}
	}
	for n, l := range s.lives {
		api, kill := s.meddle(b, l)
		all.Go(func() {
			time.Sleep(l.starts)
			live(n, l, api, kill)
		})
	}
	for _, at := range s.expiries {
		all.Go(func() {
			time.Sleep(at)
			if _, err := b.engine.ExpireVisibility("test.fifo", ""); err != nil {
				t.Error(err)
			}
		})
	}
	all.Go(func() {
		for _, pause := range s.releases {
			time.Sleep(pause)
			s.releaseParked(b)
		}
	})
	all.Wait()
	live(len(s.lives), life{slots: 32, wait: time.Second}, b.api, nil)
	time.Sleep(2 * time.Minute) // handlers that ignored their contexts
	if s.policy == consumers.Park {
		s.releaseAll(b, live)
	}
	s.check(b)
	return s.faults
}

// handle is the handler of consumer n.
func (s *story) handle(ctx context.Context, n int, e events.Event) error {
	var event int
	if _, err := fmt.Sscanf(e.ID, "e%d", &event); err != nil {
		return err
	}
	c := s.conduct[event]
	s.journal.Lock()
	s.attempts[e.ID]++
	attempt := s.attempts[e.ID]
	for _, other := range s.active[e.DeviceID] {
		if other == n {
			s.fault("consumer %d has two handlers of device %s at once", n, e.DeviceID)
		} else {
			s.overlaps = append(s.overlaps, fmt.Sprintf("%s of consumers %d and %d", e.DeviceID, other, n))
		}
	}
	s.active[e.DeviceID] = append(s.active[e.DeviceID], n)
	s.journal.Unlock()
	defer func() {
		s.journal.Lock()
		defer s.journal.Unlock()
		i := slices.Index(s.active[e.DeviceID], n)
		s.active[e.DeviceID] = slices.Delete(s.active[e.DeviceID], i, i+1)
	}()
	then := func() error { return nil } // after its work, before the commit
	switch c.kind {
	case "known":
		if !s.mended.Load() {
			return consumers.Known("refused", errBroken)
		}
	case "later":
		if attempt <= c.fails {
			return consumers.RetryAfter(c.takes, errBroken)
		}
	case "hangs":
		if attempt <= c.fails && !s.mended.Load() {
			<-ctx.Done()
			return ctx.Err()
		}
	case "flaky", "panics":
		if attempt > c.fails || s.mended.Load() {
			break
		}
		then = func() error {
			if c.kind == "panics" {
				panic("nil map")
			}
			return errBroken
		}
	case "slow":
		select {
		case <-time.After(c.takes):
		case <-ctx.Done():
			return ctx.Err()
		}
	case "stubborn":
		time.Sleep(c.takes)
		ctx = context.WithoutCancel(ctx)
	}
	if err := s.effects.apply(ctx, e, then); err != nil {
		return err
	}
	s.journal.Lock()
	defer s.journal.Unlock()
	s.handled[e.ID]++
	if s.handled[e.ID] == 1 {
		s.first[e.DeviceID] = append(s.first[e.DeviceID], e.ID)
	}
	return nil
}

// releaseAll mends what failed and releases every parked device.
func (s *story) releaseAll(b *bench, live func(int, life, consumers.QueueAPI, func())) {
	devices, _ := s.store.Find(b.t.Context(), "test")
	s.journal.Lock()
	disturbed := s.isDisturbed() || len(s.releases) > 0
	for _, d := range devices {
		if d.State != parking.Parked {
			s.fault("device %s is %s, though nobody has released it", d.ID, d.State)
		}
		behind := false
		for i, device := range s.device {
			switch {
			case name(device) != d.ID:
			case id(i) == d.Cause.EventID:
				behind = true
			case behind && s.attempts[id(i)] > 0 && !disturbed:
				s.fault("%s was tried, though its device was parked for %s", id(i), d.Cause.EventID)
			}
		}
	}
	s.journal.Unlock()
	s.mended.Store(true)
	s.releaseParked(b)
	live(len(s.lives), life{slots: 32, wait: time.Second}, b.api, nil)
	if left, _ := s.store.Find(b.t.Context(), "test"); len(left) > 0 {
		s.fault("after their release: %+v", left)
	}
}

// releaseParked releases the devices that are parked now, again after a minute when a dead letter can't be seen.
func (s *story) releaseParked(b *bench) {
	var failure error
	for range 3 {
		failure = nil
		devices, err := s.store.Find(b.t.Context(), "test")
		if err != nil {
			b.t.Error(err)
		}
		for _, d := range devices {
			_, err := parking.Release(b.t.Context(), s.store, b.api, parking.Queues{Service: "test", URL: b.queue.URL, DLQURL: b.queue.DLQURL}, d.ID)
			if err != nil && !errors.Is(err, parking.ErrNotParked) { // an earlier release may have ended just now
				failure = err
			}
		}
		if failure == nil {
			return
		}
		time.Sleep(time.Minute)
	}
	s.journal.Lock()
	defer s.journal.Unlock()
	s.fault("release: %v", failure)
}

// isDisturbed tells whether two consumers may have held one device.
func (s *story) isDisturbed() bool {
	return s.disturbed || len(s.expiries) > 0 || slices.ContainsFunc(s.lives, func(l life) bool { return l.killed })
}

// check looks at what is left in the end.
func (s *story) check(b *bench) {
	s.journal.Lock()
	defer s.journal.Unlock()
	dead := map[string]int{}
	for _, m := range b.takeAll(b.queue.DLQURL) {
		record, err := deadletter.ParseRecord(aws.ToString(m.MessageAttributes[deadletter.Attribute].StringValue))
		if err != nil || record.MessageID == "" || record.Service != "test" {
			s.fault("a dead letter has no good record: %+v, %v", record, err)
		}
		if record.Code == "malformed_json" {
			dead[s.garbage(m.Attributes["MessageGroupId"], dead)]++
			continue
		}
		e, err := events.Decode([]byte(aws.ToString(m.Body)))
		if err != nil {
			s.fault("a dead letter with code %s: %v", record.Code, err)
		}
		dead[e.ID]++
	}
	// An event whose way to the dead-letter queue took longer than a whole release is handled, and has left a copy there.
	copies := len(s.releases) > 0
	want := map[string][]string{}
	for i, c := range s.conduct {
		switch {
		case c.kind == "garbage":
			if dead[id(i)] == 0 {
				s.fault("%s, which can't be decoded, is not in the dead-letter queue", id(i))
			}
			continue
		case dead[id(i)] == 0 && s.handled[id(i)] == 0:
			s.fault("%s is lost", id(i))
		case dead[id(i)] > 0 && s.attempts[id(i)] == 0:
			s.fault("%s was dead-lettered untried", id(i))
		case dead[id(i)] > 0 && (c.kind == "succeeds" || c.kind == "slow") && !copies:
			s.fault("%s, which %s, was dead-lettered", id(i), c.kind)
		}
		if s.quiet && !copies && s.handled[id(i)]+dead[id(i)] != 1 {
			s.fault("%s was handled %d times and dead-lettered %d times in peace", id(i), s.handled[id(i)], dead[id(i)])
		}
		if dead[id(i)] == 0 {
			d := name(s.device[i])
			want[d] = append(want[d], id(i))
		}
	}
	effects, err := s.effects.byDevice(b.t.Context())
	if err != nil {
		s.fault("read the effects: %v", err)
	}
	for d, list := range effects {
		if once := slices.Compact(slices.Sorted(slices.Values(list))); len(once) < len(list) {
			s.fault("device %s: some events took effect more than once: %v", d, list)
		}
	}
	alive := func(list []string) []string {
		return slices.DeleteFunc(slices.Clone(list), func(id string) bool { return dead[id] > 0 })
	}
	for d, want := range want {
		if got := alive(s.first[d]); !slices.Equal(got, want) {
			s.fault("device %s: first handled in the order %v, want %v", d, got, want)
		}
		if got := alive(effects[d]); !slices.Equal(got, want) {
			s.fault("device %s: took effect in the order %v, want %v", d, got, want)
		}
	}
	if s.policy != consumers.Skip && !s.isDisturbed() && !copies && len(dead) > 0 {
		s.fault("policy %s: dead letters are left: %v", s.policy, dead)
	}
	if !s.isDisturbed() && len(s.overlaps) > 0 {
		s.fault("no lease was lost, yet handlers ran side by side: %v", s.overlaps)
	}
}

// garbage finds which event a dead letter is whose body does not say it: the next of its device that has none yet.
func (s *story) garbage(device string, dead map[string]int) string {
	for i, c := range s.conduct {
		if c.kind == "garbage" && name(s.device[i]) == device && dead[id(i)] == 0 {
			return id(i)
		}
	}
	return "a second copy of garbage"
}

var errThrottled = &smithy.OperationError{
	ServiceID: "SQS", Err: &smithy.GenericAPIError{Code: "RequestThrottled", Message: "scripted", Fault: smithy.FaultClient},
}

// meddle gives a consumer its own access to the queue, with the story's trouble. After kill nothing is carried out any more.
func (s *story) meddle(b *bench, l life) (api consumers.QueueAPI, kill func()) {
	dead := make(chan struct{})
	kill = sync.OnceFunc(func() { close(dead) })
	var mu sync.Mutex
	next := map[string]int{}
	draw := func(action string) int {
		mu.Lock()
		defer mu.Unlock()
		i := next[action]
		next[action]++
		if i >= len(s.trouble[action]) {
			return -1
		}
		return s.trouble[action][i]
	}
	before := func(ctx context.Context, trouble int) error {
		select {
		case <-dead:
			<-ctx.Done()
			return ctx.Err()
		default:
		}
		switch trouble {
		case 0:
			return errThrottled
		case 1:
			return errReset
		case 2:
			<-ctx.Done()
			return ctx.Err()
		}
		return nil
	}
	return &troubled{
		QueueAPI: b.api,
		around: func(ctx context.Context, action string, part func(), do func() error) error {
			trouble := draw(action)
			if action == "delete" && l.atDelete {
				kill()
			}
			if err := before(ctx, trouble); err != nil {
				return err
			}
			if trouble == 3 {
				part()
			}
			err := do()
			select {
			case <-dead: // killed meanwhile: what was done is done
				return errors.Join(err, errReset)
			default:
			}
			if err == nil && trouble == 4 {
				return errReset
			}
			return err
		},
	}, kill
}

// troubled passes requests through around, which may keep them from being carried out, cut them down to a part, or lose
// their replies.
type troubled struct {
	consumers.QueueAPI
	around func(ctx context.Context, action string, part func(), do func() error) error
}

func (q *troubled) ReceiveMessage(ctx context.Context, in *sqs.ReceiveMessageInput, o ...func(*sqs.Options)) (out *sqs.ReceiveMessageOutput, err error) {
	err = q.around(ctx, "receive", func() {}, func() error { out, err = q.QueueAPI.ReceiveMessage(ctx, in, o...); return err })
	return out, err
}

func (q *troubled) DeleteMessageBatch(ctx context.Context, in *sqs.DeleteMessageBatchInput, o ...func(*sqs.Options)) (out *sqs.DeleteMessageBatchOutput, err error) {
	var failed []types.BatchResultErrorEntry
	err = q.around(ctx, "delete", func() {
		if len(in.Entries) > 1 {
			code := "InternalError"
			failed = append(failed, types.BatchResultErrorEntry{Id: in.Entries[0].Id, Code: &code})
			in.Entries = in.Entries[1:]
		}
	}, func() error { out, err = q.QueueAPI.DeleteMessageBatch(ctx, in, o...); return err })
	if err == nil {
		out.Failed = append(out.Failed, failed...)
	}
	return out, err
}

func (q *troubled) ChangeMessageVisibilityBatch(ctx context.Context, in *sqs.ChangeMessageVisibilityBatchInput, o ...func(*sqs.Options)) (out *sqs.ChangeMessageVisibilityBatchOutput, err error) {
	err = q.around(ctx, "change", func() {
		if len(in.Entries) > 1 {
			in.Entries = in.Entries[1:] // and the answer does not mention it
		}
	}, func() error { out, err = q.QueueAPI.ChangeMessageVisibilityBatch(ctx, in, o...); return err })
	return out, err
}

func (q *troubled) SendMessage(ctx context.Context, in *sqs.SendMessageInput, o ...func(*sqs.Options)) (out *sqs.SendMessageOutput, err error) {
	err = q.around(ctx, "send", func() {}, func() error { out, err = q.QueueAPI.SendMessage(ctx, in, o...); return err })
	return out, err
}
