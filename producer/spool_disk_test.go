package producer

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sns"
	"github.com/aws/aws-sdk-go-v2/service/sns/types"

	"github.com/device-fanout/fanout/producer/internal/spool"
)

// unreadable is a spool whose disk cannot read the events of one device, from one on, while it is broken.
type unreadable struct {
	store
	device, from string
	broken       atomic.Bool
	failed       atomic.Int64 // reads
}

func (u *unreadable) Read(ref spool.Ref) (spool.Record, error) {
	r, err := u.store.Read(ref)
	if err != nil || !u.broken.Load() || r.Key != u.device || eventID(r) < u.from {
		return r, err
	}
	u.failed.Add(1)
	return spool.Record{}, syscall.EIO
}

// unreadableDevice is a Producer that has accepted count events each of the device "bad", which its disk cannot read from one on, and of
// "good". Its topic has just come back.
func unreadableDevice(t *testing.T, count int, from string, cfg Config) (*Producer, *fakeTopic, *unreadable) {
	t.Helper()
	var down atomic.Bool
	down.Store(true)
	topic := downTopic(&down)
	cfg.Spool, cfg.SpoolSync = t.TempDir(), -1
	p := newProducer(t, topic, cfg)
	disk := &unreadable{store: p.store, device: "bad", from: from}
	disk.broken.Store(true)
	p.store = disk
	for i := range count {
		for _, device := range []string{"bad", "good"} {
			if err := p.Publish(t.Context(), motion(device, fmt.Sprintf("%s%03d", device, i))); err != nil {
				t.Fatal(err)
			}
		}
	}
	down.Store(false)
	return p, topic, disk
}

// TestSpool_WhatCannotBeReadIsTriedNowAndThen: neither the time nor the traffic of other devices makes the attempts more, and the
// others go on at their pace. When the disk is well again, everything goes out.
func TestSpool_WhatCannotBeReadIsTriedNowAndThen(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p, topic, disk := unreadableDevice(t, 400, "", Config{})
		time.Sleep(4 * time.Second)
		if _, _, accepted := topic.snapshot(); len(accepted["good"]) != 400 {
			t.Errorf("%d of 400 events of the other device went out within seconds", len(accepted["good"]))
		}
		for i := range 1000 {
			if err := p.Publish(t.Context(), motion("other", fmt.Sprint("x", i))); err != nil {
				t.Fatal(err)
			}
			time.Sleep(7 * time.Millisecond)
		}
		before := disk.failed.Load()
		time.Sleep(time.Minute)
		if got, want := disk.failed.Load()-before, int64(time.Minute/maxBackoff); got != want {
			t.Errorf("%d failed reads in a minute, want %d", got, want)
		}
		disk.broken.Store(false)
		mustClose(t, p)
		topic.noFaults(t)
		if _, _, accepted := topic.snapshot(); len(accepted["bad"]) != 400 {
			t.Errorf("the topic has %d of 400 events", len(accepted["bad"]))
		}
	})
}

// TestSpool_AfterASmallBufferAndAnErrorOfReading everything goes on: what was read before the error holds no memory for ever.
func TestSpool_AfterASmallBufferAndAnErrorOfReading(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p, topic, disk := unreadableDevice(t, 40, "bad017", Config{Buffer: 10})
		for range 10_000 {
			time.Sleep(time.Millisecond)
			p.mu.Lock()
			inMemory := p.inMemory
			p.mu.Unlock()
			if inMemory > 10 {
				t.Fatalf("%d events are in memory, want at most 10", inMemory)
			}
		}
		if _, _, accepted := topic.snapshot(); len(accepted["bad"]) != 17 {
			t.Errorf("the topic has %d events, want the 17 that can be read", len(accepted["bad"]))
		}
		disk.broken.Store(false)
		mustClose(t, p)
		if _, _, accepted := topic.snapshot(); len(accepted["bad"]) != 40 || len(accepted["good"]) != 40 {
			t.Errorf("the topic has %d and %d events, want 40 of each", len(accepted["bad"]), len(accepted["good"]))
		}
	})
}

// fullAside is a spool that has room to set aside the first events of devices only.
type fullAside struct {
	store
	full atomic.Bool
}

func (f *fullAside) SetAside(name string, line []byte) (string, error) {
	if f.full.Load() && !strings.Contains(string(line), `-first",`) {
		return "", syscall.ENOSPC
	}
	return f.store.SetAside(name, line)
}

// TestSpool_WhatCannotBeSetAsideHoldsNoMemory: devices whose events wait for room to be set aside do not keep the others on disk.
func TestSpool_WhatCannotBeSetAsideHoldsNoMemory(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var open atomic.Bool
		topic := &fakeTopic{latency: time.Second, script: func(_ int, in *sns.PublishBatchInput) *reply {
			if !open.Load() {
				return &reply{err: errReset}
			}
			r := &reply{fail: map[int]types.BatchResultErrorEntry{}}
			for i, e := range in.PublishBatchRequestEntries {
				if strings.HasSuffix(sentID(e), "-first") {
					r.fail[i] = types.BatchResultErrorEntry{Code: aws.String("InvalidParameter"), Message: aws.String("no"), SenderFault: true}
				}
			}
			return r
		}}
		p := newProducer(t, topic, Config{Spool: t.TempDir(), SpoolSync: -1, Buffer: 40})
		disk := &fullAside{store: p.store}
		disk.full.Store(true)
		p.store = disk
		for i := range 20 {
			for d := range 60 {
				id := fmt.Sprintf("b%d-%d", d, i)
				if i == 0 {
					id += "-first"
				}
				if err := p.Publish(t.Context(), motion(fmt.Sprint("bad", d), id)); err != nil {
					t.Fatal(err)
				}
			}
		}
		for i := range 100 {
			if err := p.Publish(t.Context(), motion("good", fmt.Sprintf("g%02d", i))); err != nil {
				t.Fatal(err)
			}
		}
		open.Store(true)
		time.Sleep(10 * time.Minute)
		if _, _, accepted := topic.snapshot(); len(accepted["good"]) != 100 {
			t.Errorf("%d of 100 events of the other device went out", len(accepted["good"]))
		}
		disk.full.Store(false)
		mustClose(t, p)
		if s := p.Stats(); s.SetAside != 1200 || s.Confirmed != 100 {
			t.Errorf("%+v, want all 1,200 set aside and 100 confirmed", s)
		}
	})
}

// TestSpool_ASmallOneEmptiesItself: what is written at a time leaves room in it, for the file that is written to stays.
func TestSpool_ASmallOneEmptiesItself(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := newProducer(t, &fakeTopic{latency: time.Millisecond}, Config{Spool: t.TempDir(), MaxMessageBytes: 64 << 10, SpoolBytes: 1 << 20, SpoolSync: -1})
		disk := &stuckStore{store: p.store, hold: make(chan struct{})}
		p.store = disk
		for i := 0; ; i++ { // gathers while the first write is under way
			err := p.TryEnqueue(motion(fmt.Sprintf("d%d", i%100), fmt.Sprintf("e%d", i)), nil)
			if errors.Is(err, ErrBufferFull) {
				break
			}
			if err != nil {
				t.Fatal(err)
			}
		}
		if !p.Stats().Full {
			t.Error("not full, after it has refused an event")
		}
		close(disk.hold)
		time.Sleep(time.Hour)
		if err := p.TryEnqueue(motion("d1", "later"), nil); err != nil || p.Stats().Full {
			t.Errorf("an hour after everything was confirmed (%+v, %d bytes): %v", p.Stats(), p.store.Bytes(), err)
		}
		mustClose(t, p)
	})
}

// TestSpool_GaplessWhenAWriteFails: what was accepted behind an event that could not be written fails too, so that its caller can
// publish all of it again in order. The hooks hear of all of it.
func TestSpool_GaplessWhenAWriteFails(t *testing.T) {
	t.Parallel()
	for policy, want := range map[FailurePolicy]string{Gapless: "e1 e2 e3", Skip: "e2 e3 e1"} {
		synctest.Test(t, func(t *testing.T) {
			var resolved atomic.Int64
			topic := &fakeTopic{latency: time.Millisecond}
			p := newProducer(t, topic, Config{
				Spool: t.TempDir(), OnFailure: policy, Hooks: Hooks{Resolved: func(Resolved) { resolved.Add(1) }},
			})
			disk := &stuckStore{store: p.store, hold: make(chan struct{})}
			full := error(syscall.ENOSPC)
			disk.fail.Store(&full)
			p.store = disk
			var list answers
			for _, e := range []string{"d1 e1", "d2 x1", "d1 e2", "d1 e3"} {
				device, id, _ := strings.Cut(e, " ")
				if err := p.Enqueue(t.Context(), motion(device, id), list.add); err != nil {
					t.Fatal(err)
				}
				synctest.Wait()
			}
			disk.hold <- struct{}{} // e1 alone
			synctest.Wait()
			disk.fail.Store(nil)
			close(disk.hold)
			synctest.Wait()
			for _, r := range list.all() {
				if r.Err == nil {
					continue
				}
				var blocked *BlockedError
				if r.Event.ID != "e1" && (!errors.As(r.Err, &blocked) || blocked.BlockedBy != "e1") || !errors.Is(r.Err, syscall.ENOSPC) {
					t.Errorf("%s: got %v, want the disk's error, with the event that it concerned", r.Event.ID, r.Err)
				}
				if err := p.Publish(t.Context(), r.Event); err != nil {
					t.Error(err)
				}
			}
			mustClose(t, p)
			_, _, accepted := topic.snapshot()
			if got := strings.Join(accepted["d1"], " "); got != want || len(accepted["d2"]) != 1 {
				t.Errorf("policy %d: the topic has %s and %v, want %s and the other device's event", policy, got, accepted["d2"], want)
			}
			if s := p.Stats(); resolved.Load() != s.Accepted {
				t.Errorf("%d events were accepted, Resolved was called %d times", s.Accepted, resolved.Load())
			}
		})
	}
}

// TestSpool_GaplessHoldsAfterACrash at any moment while what waits behind a refused event is set aside: the next process, too, sends
// nothing that was behind it. Every event is set aside at least once.
func TestSpool_GaplessHoldsAfterACrash(t *testing.T) {
	t.Parallel()
	refusing := func(hold chan struct{}) *fakeTopic {
		return &fakeTopic{script: func(_ int, in *sns.PublishBatchInput) *reply {
			<-hold
			r := &reply{fail: map[int]types.BatchResultErrorEntry{}}
			for i, e := range in.PublishBatchRequestEntries {
				if sentID(e) == "e00" {
					r.fail[i] = types.BatchResultErrorEntry{Code: aws.String("InvalidParameter"), Message: aws.String("no"), SenderFault: true}
				}
			}
			return r
		}}
	}
	const count = 40
	for crashAfter := range count + 1 { // events that are set aside
		synctest.Test(t, func(t *testing.T) {
			dir, disk := t.TempDir(), t.TempDir()
			hold := make(chan struct{})
			aside := 0
			p := newProducer(t, refusing(hold), Config{Spool: dir, SpoolSync: -1, Hooks: Hooks{SetAside: func(SetAside) {
				if aside++; aside == crashAfter {
					if err := os.CopyFS(disk, os.DirFS(dir)); err != nil { // as a crash leaves it
						t.Error(err)
					}
				}
			}}})
			for i := range count {
				if err := p.Publish(t.Context(), motion("d1", fmt.Sprintf("e%02d", i))); err != nil {
					t.Fatal(err)
				}
			}
			close(hold)
			mustClose(t, p)
			if crashAfter == 0 {
				disk = dir
			}
			next := refusing(hold)
			p = newProducer(t, next, Config{Spool: disk, SpoolSync: -1})
			if err := p.Publish(t.Context(), motion("d1", "later")); err != nil {
				t.Fatal(err)
			}
			mustClose(t, p)
			_, _, accepted := next.snapshot()
			if got := accepted["d1"]; len(got) > 1 {
				t.Errorf("crash after %d: e00 was refused, and the next process sends %v", crashAfter, got)
			}
			lines, err := os.ReadFile(filepath.Join(disk, "aside", refusedFile))
			if err != nil {
				t.Fatal(err)
			}
			for i := range count {
				if id := fmt.Sprintf(`"e%02d"`, i); !strings.Contains(string(lines), id) {
					t.Errorf("crash after %d: %s is nowhere", crashAfter, id)
				}
			}
			if left, _ := filepath.Glob(filepath.Join(disk, "0*.log")); slices.Contains(accepted["d1"], "later") && len(left) > 0 {
				t.Errorf("crash after %d: %v are left", crashAfter, left)
			}
		})
	}
}

// TestAges_StaySmall while one event waits for long and all others come and go.
func TestAges_StaySmall(t *testing.T) {
	t.Parallel()
	var a acceptanceTimes
	a.add(0, time.Unix(0, 0))
	for i := int64(1); i <= 1000; i++ {
		a.add(i*tenth, time.Unix(0, i*tenth))
		a.remove(i * tenth)
	}
	if len(a.counts) != 1 || !a.oldest().Equal(time.Unix(0, 0)) {
		t.Errorf("%d entries, the oldest of %v, want that of the one that waits", len(a.counts), a.oldest())
	}
}
