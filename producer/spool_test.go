package producer

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sns"
	"github.com/aws/aws-sdk-go-v2/service/sns/types"
	"github.com/aws/smithy-go"

	"github.com/device-fanout/fanout/events"
	"github.com/device-fanout/fanout/events/device"
	"github.com/device-fanout/fanout/producer/internal/spool"
)

// downTopic is a topic behind a network that can be cut.
func downTopic(down *atomic.Bool) *fakeTopic {
	return &fakeTopic{latency: time.Millisecond, script: func(int, *sns.PublishBatchInput) *reply {
		if down.Load() {
			return &reply{err: errReset}
		}
		return nil
	}}
}

// TestSpool_OutlivesAnOutageAndARestart: accepted while the network is down, sent by the next process, in order, with the old IDs.
func TestSpool_OutlivesAnOutageAndARestart(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var down atomic.Bool
		down.Store(true)
		topic := downTopic(&down)
		cfg := Config{Spool: t.TempDir(), Buffer: 50}
		p := newProducer(t, topic, cfg)
		want := map[string][]string{}
		for i := range 500 {
			device := fmt.Sprintf("d%d", i%7)
			e := motion(device, fmt.Sprintf("e%03d", i))
			if err := p.Publish(t.Context(), e); err != nil {
				t.Fatal(err)
			}
			want[device] = append(want[device], e.ID)
		}
		time.Sleep(time.Hour)
		if s := p.Stats(); s.Spooled != 500 || s.Failed != 0 || time.Since(s.Oldest) < time.Hour {
			t.Errorf("after an hour without a network: %+v, want 500 events in the spool", s)
		}
		impatient, cancel := closingContext(t, time.Second)
		defer cancel()
		if err := p.Close(impatient); err != nil {
			t.Errorf("close: %v, want none: nothing is lost", err)
		}

		down.Store(false)
		p = newProducer(t, topic, cfg)
		if err := p.Publish(t.Context(), motion("d0", "last")); err != nil {
			t.Fatal(err)
		}
		want["d0"] = append(want["d0"], "last")
		mustClose(t, p)
		topic.noFaults(t)
		_, _, accepted := topic.snapshot()
		for device, ids := range want {
			if !slices.Equal(accepted[device], ids) {
				t.Errorf("device %s: the topic has %v, want %v", device, accepted[device], ids)
			}
		}
		if s := p.Stats(); s.Confirmed != 501 || s.Spooled != 0 {
			t.Errorf("got %+v, want 501 confirmed", s)
		}
	})
}

func TestSpool_IsOneProducersAtATime(t *testing.T) {
	t.Parallel()
	cfg := Config{Spool: t.TempDir()}
	p := newProducer(t, &fakeTopic{}, cfg)
	_, err := New(&fakeTopic{}, testTopic, cfg)
	var failed *SpoolError
	if !errors.As(err, &failed) || !errors.Is(err, ErrSpoolLocked) || failed.Dir != cfg.Spool {
		t.Errorf("got %v, want a SpoolError that says it is in use", err)
	}
	mustClose(t, p)
	mustClose(t, newProducer(t, &fakeTopic{}, cfg))
}

// stuckStore is a spool whose disk can fail, and that counts its writes.
type stuckStore struct {
	store
	fail     atomic.Pointer[error]
	writes   atomic.Int64
	hold     chan struct{} // nil: writes go ahead
	holdRead chan struct{} // nil: reads go ahead
}

func (s *stuckStore) Read(ref spool.Ref) (spool.Record, error) {
	if s.holdRead != nil {
		<-s.holdRead
	}
	return s.store.Read(ref)
}

func (s *stuckStore) Append(records []spool.Record) ([]spool.Ref, error) {
	s.writes.Add(1)
	if s.hold != nil {
		<-s.hold
	}
	if err := s.fail.Load(); err != nil {
		return nil, *err
	}
	return s.store.Append(records)
}

func (s *stuckStore) SetAside(name string, line []byte) (string, error) {
	if err := s.fail.Load(); err != nil {
		return "", *err
	}
	return s.store.SetAside(name, line)
}

func TestSpool_FullDiskRefusesAndGoesOnLater(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		topic := &fakeTopic{latency: time.Millisecond}
		p := newProducer(t, topic, Config{Spool: t.TempDir()})
		disk := &stuckStore{store: p.store}
		p.store = disk
		if err := p.Publish(t.Context(), motion("d1", "e1")); err != nil {
			t.Fatal(err)
		}
		full := error(syscall.ENOSPC)
		disk.fail.Store(&full)
		err := p.Publish(t.Context(), motion("d1", "e2"))
		var failed *SpoolError
		if !errors.As(err, &failed) || !errors.Is(err, syscall.ENOSPC) || failed.EventID != "e2" || failed.DeviceID != "d1" {
			t.Errorf("got %v, want a SpoolError that names the event and the full disk", err)
		}
		disk.fail.Store(nil)
		if err := p.Publish(t.Context(), motion("d1", "e3")); err != nil {
			t.Error(err)
		}
		mustClose(t, p)
		if _, _, accepted := topic.snapshot(); !slices.Equal(accepted["d1"], []string{"e1", "e3"}) {
			t.Errorf("the topic has %v, want what was accepted", accepted["d1"])
		}
	})
}

// TestSpool_KeepsOrderWhileItReads: what is accepted while a device's events are read from the disk stays behind them.
func TestSpool_KeepsOrderWhileItReads(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		topic := &fakeTopic{latency: time.Millisecond}
		p := newProducer(t, topic, Config{Spool: t.TempDir(), Buffer: 8})
		disk := &stuckStore{store: p.store, holdRead: make(chan struct{})}
		p.store = disk
		calls := map[string]int{}
		var want []string
		for i := range 10 {
			id := fmt.Sprintf("e%d", i)
			want = append(want, id)
			if err := p.Enqueue(t.Context(), motion("d1", id), func(r Result) {
				if calls[id]++; r.Err != nil || !r.Spooled {
					t.Errorf("event %s: got %+v, want it in the spool", id, r)
				}
			}); err != nil {
				t.Fatal(err)
			}
			if i > 3 { // four fit into memory and are confirmed; the fifth is being read from now on
				time.Sleep(time.Second)
			}
		}
		close(disk.holdRead)
		mustClose(t, p)
		if _, _, accepted := topic.snapshot(); !slices.Equal(accepted["d1"], want) {
			t.Errorf("the topic has %v, want %v", accepted["d1"], want)
		}
		for id, n := range calls {
			if n != 1 {
				t.Errorf("event %s was answered %d times", id, n)
			}
		}
	})
}

// TestSequence_RisesAlthoughTheClockWentBack between two processes.
func TestSequence_RisesAlthoughTheClockWentBack(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		s, _, err := spool.Open(dir, spool.Options{})
		if err != nil {
			t.Fatal(err)
		}
		ahead := &pending{event: motion("d1", "e1"), eventType: "device.motion.changed.v1", body: []byte("{}"), sequence: time.Now().Add(time.Hour).UnixNano()}
		if _, err := s.Append([]spool.Record{ahead.record()}); err != nil {
			t.Fatal(err)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		p := newProducer(t, &fakeTopic{}, Config{Spool: dir})
		if err := p.Enqueue(t.Context(), motion("d1", "e2"), func(r Result) {
			if want := fmt.Sprintf("%020d", ahead.sequence); r.Event.Sequence <= want {
				t.Errorf("sequence %s follows %s", r.Event.Sequence, want)
			}
		}); err != nil {
			t.Fatal(err)
		}
		mustClose(t, p)
	})
}

func TestSpool_CommitsInGroups(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := newProducer(t, &fakeTopic{}, Config{Spool: t.TempDir()})
		disk := &stuckStore{store: p.store, hold: make(chan struct{})}
		p.store = disk
		var answered atomic.Int64
		for i := range 100 {
			go func() {
				if err := p.Publish(t.Context(), motion(fmt.Sprintf("d%d", i), fmt.Sprintf("e%d", i))); err != nil {
					t.Error(err)
				}
				answered.Add(1)
			}()
			synctest.Wait()
		}
		if answered.Load() != 0 {
			t.Errorf("%d events were answered before they were on disk", answered.Load())
		}
		close(disk.hold)
		synctest.Wait()
		if answered.Load() != 100 || disk.writes.Load() != 2 {
			t.Errorf("%d answers after %d writes, want 100 after 2: what came during the first goes into the second", answered.Load(), disk.writes.Load())
		}
		mustClose(t, p)
	})
}

// TestSpool_DamageCostsOneEvent: a damaged record is set aside with its file and offset, and everything else goes out.
func TestSpool_DamageCostsOneEvent(t *testing.T) {
	t.Parallel()
	for _, when := range []string{"before start", "while running"} {
		synctest.Test(t, func(t *testing.T) {
			var down atomic.Bool
			down.Store(true)
			topic := downTopic(&down)
			var told []SetAside
			cfg := Config{Spool: t.TempDir(), Hooks: Hooks{SetAside: func(s SetAside) { told = append(told, s) }}}
			p := newProducer(t, topic, cfg)
			for i := range 40 {
				if err := p.Publish(t.Context(), motion("d1", fmt.Sprintf("e%02d", i))); err != nil {
					t.Fatal(err)
				}
			}
			logs, err := filepath.Glob(filepath.Join(cfg.Spool, "*.log"))
			if err != nil || len(logs) != 1 {
				t.Fatal(logs, err)
			}
			damage := func() int {
				data, err := os.ReadFile(logs[0])
				if err != nil {
					t.Fatal(err)
				}
				at := bytes.Index(data, []byte(`"id":"e30"`))
				data[at+3] = '#'
				if err := os.WriteFile(logs[0], data, 0o600); err != nil {
					t.Fatal(err)
				}
				return bytes.LastIndex(data[:at], []byte("\xF4FO1"))
			}
			var offset int
			if when == "while running" {
				offset = damage()
				down.Store(false)
			} else {
				stop, cancel := closingContext(t, time.Second)
				defer cancel()
				if err := p.Close(stop); err != nil {
					t.Fatal(err)
				}
				offset = damage()
				down.Store(false)
				p = newProducer(t, topic, cfg)
			}
			mustClose(t, p)
			_, _, accepted := topic.snapshot()
			if got := accepted["d1"]; len(got) != 39 || !slices.IsSorted(got) || slices.Contains(got, "e30") {
				t.Errorf("%s: the topic has %v, want all but e30", when, got)
			}
			if len(told) != 1 {
				t.Fatalf("%s: told of %v, want one record", when, told)
			}
			var corrupt *CorruptRecordError
			if !errors.As(told[0].Err, &corrupt) || corrupt.File != logs[0] || corrupt.Offset != int64(offset) || !strings.Contains(corrupt.Error(), fmt.Sprint(offset)) {
				t.Errorf("%s: got %v, want a CorruptRecordError with %s and offset %d", when, told[0].Err, logs[0], offset)
			}
			if kept, err := os.ReadFile(told[0].Path); err != nil || !bytes.Contains(kept, []byte("e30")) {
				t.Errorf("%s: %s does not have the damaged bytes: %v", when, told[0].Path, err)
			}
		})
	}
}

// TestSpool_SetsAsideWhatIsRefusedForGood: it stays on disk as a line that can be published again, and its followers do as the caller
// chose.
func TestSpool_SetsAsideWhatIsRefusedForGood(t *testing.T) {
	t.Parallel()
	for policy, want := range map[FailurePolicy]struct{ sent, aside int }{Gapless: {10, 30}, Skip: {39, 1}} {
		synctest.Test(t, func(t *testing.T) {
			hold := make(chan struct{})
			topic := &fakeTopic{script: func(_ int, in *sns.PublishBatchInput) *reply {
				<-hold
				if sentID(in.PublishBatchRequestEntries[0]) == "e10" {
					return &reply{fail: map[int]types.BatchResultErrorEntry{0: {Code: aws.String("InvalidParameter"), Message: aws.String("no"), SenderFault: true}}}
				}
				return nil
			}}
			var told, ended int
			cfg := Config{Spool: t.TempDir(), OnFailure: policy, Hooks: Hooks{
				SetAside: func(SetAside) { told++ },
				Resolved: func(r Resolved) {
					if r.Err != nil {
						ended++
					}
				},
			}}
			p := newProducer(t, topic, cfg)
			disk := &stuckStore{store: p.store}
			p.store = disk
			for i := range 40 {
				if err := p.Publish(t.Context(), motion("d1", fmt.Sprintf("e%02d", i))); err != nil {
					t.Fatal(err)
				}
			}
			full := error(syscall.ENOSPC)
			disk.fail.Store(&full)
			close(hold)
			time.Sleep(time.Minute)
			if s := p.Stats(); s.Confirmed != 10 || s.SetAside != 0 {
				t.Errorf("policy %d: %+v while nothing can be set aside, want the event to wait", policy, s)
			}
			disk.fail.Store(nil)
			time.Sleep(time.Minute)
			if err := p.Publish(t.Context(), motion("d1", "next")); err != nil {
				t.Error(err)
			}
			mustClose(t, p)
			_, _, accepted := topic.snapshot()
			if got := accepted["d1"]; len(got) != want.sent+1 || slices.Contains(got, "e10") || got[len(got)-1] != "next" {
				t.Errorf("policy %d: the topic has %v, want %d events and then the next", policy, got, want.sent)
			}
			lines, err := os.ReadFile(filepath.Join(cfg.Spool, "aside", refusedFile))
			if err != nil {
				t.Fatal(err)
			}
			kept := 0
			for line := range bytes.Lines(lines) {
				var aside struct {
					Error string
					Event json.RawMessage
				}
				if err := json.Unmarshal(line, &aside); err != nil {
					t.Fatal(err)
				}
				e, err := events.Decode(aside.Event)
				if err != nil || e.ID != fmt.Sprintf("e%02d", 10+kept) || !strings.Contains(aside.Error, "e10") {
					t.Errorf("policy %d: set aside %s with %q, %v", policy, e.ID, aside.Error, err)
				}
				kept++
			}
			if left, _ := filepath.Glob(filepath.Join(cfg.Spool, "0*")); len(left) > 0 {
				t.Errorf("policy %d: %v are left", policy, left)
			}
			if kept != want.aside || told != kept || ended != kept || p.Stats().SetAside != int64(kept) {
				t.Errorf("policy %d: %d events are set aside, the hooks were told of %d and %d, want %d", policy, kept, told, ended, want.aside)
			}
		})
	}
}

// TestSpool_KeepsEventsWhileTheTopicRefusesAll: no permission, a wrong ARN or a missing key is no fault of an event.
func TestSpool_KeepsEventsWhileTheTopicRefusesAll(t *testing.T) {
	t.Parallel()
	for name, refusal := range map[string]error{
		"no permission": apiError("AuthorizationError", smithy.FaultClient),
		"no topic":      apiError("NotFound", smithy.FaultClient),
		"wrong ARN": &smithy.GenericAPIError{
			Code: "InvalidParameter", Message: "Invalid parameter: TopicArn Reason: An ARN must have at least 6 elements", Fault: smithy.FaultClient,
		},
	} {
		synctest.Test(t, func(t *testing.T) {
			var refuses atomic.Bool
			refuses.Store(true)
			topic := &fakeTopic{script: func(int, *sns.PublishBatchInput) *reply {
				if refuses.Load() {
					return &reply{err: refusal}
				}
				return nil
			}}
			p := newProducer(t, topic, Config{Spool: t.TempDir()})
			for i := range 20 {
				if err := p.Publish(t.Context(), motion(fmt.Sprintf("d%d", i%4), fmt.Sprintf("e%02d", i))); err != nil {
					t.Fatal(err)
				}
			}
			time.Sleep(time.Hour)
			if calls, _, _ := topic.snapshot(); calls > 4000 {
				t.Errorf("%s: %d requests in an hour, want them to become few", name, calls)
			}
			refuses.Store(false)
			mustClose(t, p)
			if s := p.Stats(); s.Confirmed != 20 {
				t.Errorf("%s: %+v, want all events confirmed once the topic takes them", name, s)
			}
		})
	}
}

// TestSpool_ManyDevicesInTroubleLeaveRoomForTheOthers, also when each has more waiting than its share of the memory.
func TestSpool_ManyDevicesInTroubleLeaveRoomForTheOthers(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var throttling atomic.Bool
		throttling.Store(true)
		topic := &fakeTopic{latency: time.Millisecond, script: func(_ int, in *sns.PublishBatchInput) *reply {
			r := &reply{fail: map[int]types.BatchResultErrorEntry{}}
			for i, e := range in.PublishBatchRequestEntries {
				if throttling.Load() && strings.HasPrefix(aws.ToString(e.MessageGroupId), "slow") {
					r.fail[i] = types.BatchResultErrorEntry{Code: aws.String("Throttled"), SenderFault: true}
				}
			}
			return r
		}}
		p := newProducer(t, topic, Config{Spool: t.TempDir(), Buffer: 100, SpoolSync: -1})
		for i := range 2000 {
			device := fmt.Sprintf("slow%02d", i%50)
			if err := p.Publish(t.Context(), motion(device, fmt.Sprintf("e%04d", i))); err != nil {
				t.Fatal(err)
			}
		}
		for i := range 500 {
			if err := p.Publish(t.Context(), motion(fmt.Sprintf("d%d", i%25), fmt.Sprintf("f%03d", i))); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(5 * time.Second)
		if got := p.Stats().Confirmed; got != 500 {
			t.Errorf("%d events are confirmed beside 50 devices in trouble, want the 500 of all others", got)
		}
		throttling.Store(false)
		mustClose(t, p)
		_, _, accepted := topic.snapshot()
		for device, ids := range accepted {
			if !slices.IsSorted(ids) {
				t.Errorf("device %s is out of order", device)
			}
		}
	})
}

// TestSpool_RestartsWithAHundredThousandEvents of a thousand devices, one of which has a third of them. Few are in memory at a time.
func TestSpool_RestartsWithAHundredThousandEvents(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("writes and sends 100,000 events")
	}
	synctest.Test(t, func(t *testing.T) {
		const count = 100_000
		var down atomic.Bool
		down.Store(true)
		topic := downTopic(&down)
		cfg := Config{Spool: t.TempDir(), SpoolSync: -1, Buffer: 1000}
		p := newProducer(t, topic, cfg)
		device := func(i int) string {
			if i%3 == 0 {
				return "hot"
			}
			return fmt.Sprintf("d%d", i%1000)
		}
		for i := range count {
			if err := p.Enqueue(t.Context(), motion(device(i), fmt.Sprintf("e%06d", i)), nil); err != nil {
				t.Fatal(err)
			}
		}
		stop, cancel := closingContext(t, time.Second)
		defer cancel()
		if err := p.Close(stop); err != nil {
			t.Fatal(err)
		}
		down.Store(false)
		p = newProducer(t, topic, cfg)
		if got := p.Stats().Spooled; got != count {
			t.Fatalf("%d events wait, want %d", got, count)
		}
		time.Sleep(10 * time.Second) // of simulated time: the hot device needs 33 of them, all others are through
		p.mu.Lock()
		if p.inMemory > cfg.Buffer+loadAtOnce {
			t.Errorf("%d events are in memory, want at most %d", p.inMemory, cfg.Buffer)
		}
		if len(p.lanes) > 1 {
			t.Errorf("%d devices still wait beside the hot one", len(p.lanes)-1)
		}
		p.mu.Unlock()
		mustClose(t, p)
		topic.noFaults(t)
		_, _, accepted := topic.snapshot()
		total := 0
		for device, ids := range accepted {
			total += len(ids)
			if !slices.IsSorted(ids) {
				t.Errorf("device %s is out of order", device)
			}
		}
		if total != count {
			t.Errorf("the topic has %d events, want %d", total, count)
		}
		if logs, _ := filepath.Glob(filepath.Join(cfg.Spool, "0*")); len(logs) > 0 {
			t.Errorf("when all is confirmed, %v are left", logs)
		}
	})
}

// TestSpool_IsBounded: in all, and for a device.
func TestSpool_IsBounded(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var down atomic.Bool
		down.Store(true)
		cfg := Config{Spool: t.TempDir(), SpoolBytes: 1 << 20, MaxMessageBytes: 10_000, SpoolSync: -1}
		p := newProducer(t, downTopic(&down), cfg)
		fill := func(device string) (n int) {
			for {
				switch err := p.TryEnqueue(motion(device, fmt.Sprintf("%s-%d", device, n)), nil); {
				case errors.Is(err, ErrBufferFull):
					return n
				case err != nil:
					t.Fatal(err)
				}
				n++
				synctest.Wait()
			}
		}
		hot, other := fill("hot"), fill("other")
		if hot < 100 || other < hot*9/10 {
			t.Errorf("room for %d events of one device and then %d of another, want a quarter of the spool each", hot, other)
		}
		fill("third")
		fill("fourth")
		if n := fill("fifth"); n > hot/10 {
			t.Errorf("a fifth device found room for %d events in a full spool", n)
		}
		size := int64(0)
		logs, _ := filepath.Glob(filepath.Join(cfg.Spool, "*.log"))
		for _, name := range logs {
			info, err := os.Stat(name)
			if err != nil {
				t.Fatal(err)
			}
			size += info.Size()
		}
		if size > cfg.SpoolBytes || size < cfg.SpoolBytes*9/10 {
			t.Errorf("the spool takes %d bytes, want up to %d", size, cfg.SpoolBytes)
		}
		entered := make(chan error, 1)
		go func() { entered <- p.Enqueue(t.Context(), motion("sixth", "waits"), nil) }()
		down.Store(false)
		if err := <-entered; err != nil { // room comes back as events are confirmed
			t.Error(err)
		}
		mustClose(t, p)
	})
}

// Older versions had other deduplication IDs. What one of them has left may have been sent already, and is sent with the one that it has.
func TestSpool_KeepsTheDeduplicationIDsOfOlderVersions(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		s, _, err := spool.Open(dir, spool.Options{})
		if err != nil {
			t.Fatal(err)
		}
		left := spool.Record{Sequence: 1, Key: "lamp-8", Body: []byte(`{"id":"17"}`), Fields: [spool.Fields]string{"17", "device.motion.changed.v1", "/gateways/home-1"}}
		if _, err := s.Append([]spool.Record{left}); err != nil {
			t.Fatal(err)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		sent := make(chan string, 1)
		p := newProducer(t, &fakeTopic{script: func(_ int, in *sns.PublishBatchInput) *reply {
			sent <- aws.ToString(in.PublishBatchRequestEntries[0].MessageDeduplicationId)
			return nil
		}}, Config{Spool: dir})
		if got := <-sent; got != "17" {
			t.Errorf("sent with %q, want the one of the record", got)
		}
		mustClose(t, p)
	})
}

// What was sent and not answered before a restart is the same message after it, for the topic.
func TestSpool_DeduplicationIDsOutliveARestart(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		sent := map[string]map[string]int{} // by ID of the event, how often with which deduplication ID
		var down atomic.Bool
		down.Store(true)
		topic := &fakeTopic{script: func(_ int, in *sns.PublishBatchInput) *reply {
			mu.Lock()
			defer mu.Unlock()
			for _, e := range in.PublishBatchRequestEntries {
				id := sentID(e)
				if sent[id] == nil {
					sent[id] = map[string]int{}
				}
				sent[id][aws.ToString(e.MessageDeduplicationId)]++
			}
			if down.Load() {
				return &reply{err: errReset}
			}
			return nil
		}}
		random := events.New("lamp-7", device.MotionChanged{Detected: true})
		numbered := motion("lamp-8", "17")
		cfg := Config{Source: "/gateways/home-1", Spool: t.TempDir()}
		p := newProducer(t, topic, cfg)
		for _, e := range []events.Event{random, numbered} {
			if err := p.Publish(t.Context(), e); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(time.Second)
		impatient, cancel := closingContext(t, time.Second)
		defer cancel()
		if err := p.Close(impatient); err != nil {
			t.Fatal(err)
		}
		down.Store(false)
		cfg.Source = "/gateways/renamed" // what is in the spool has its source
		mustClose(t, newProducer(t, topic, cfg))
		for id, want := range map[string]string{
			random.ID: random.ID,
			"17":      events.Identity{Source: "/gateways/home-1", Subject: "lamp-8", ID: "17"}.Key(),
		} {
			if got := sent[id]; len(got) != 1 || got[want] < 2 {
				t.Errorf("event %s was sent with %v, want %s alone, before and after the restart", id, got, want)
			}
		}
	})
}
