package producer

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sns"
	"github.com/aws/aws-sdk-go-v2/service/sns/types"

	"github.com/device-fanout/fanout/producer/internal/spool"
)

// throttling is a topic that throttles one device while it is told to.
func throttling(device string, on *atomic.Bool) *fakeTopic {
	return &fakeTopic{latency: time.Millisecond, script: func(_ int, in *sns.PublishBatchInput) *reply {
		r := &reply{fail: map[int]types.BatchResultErrorEntry{}}
		for i, e := range in.PublishBatchRequestEntries {
			if on.Load() && aws.ToString(e.MessageGroupId) == device {
				r.fail[i] = types.BatchResultErrorEntry{Code: aws.String("Throttled"), SenderFault: true}
			}
		}
		return r
	}}
}

// TestSpool_OneDeviceInTroubleDoesNotFillIt, although it goes on sending, so that some of its few events lie in every segment, which
// stay on disk for them.
func TestSpool_OneDeviceInTroubleDoesNotFillIt(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var trouble atomic.Bool
		trouble.Store(true)
		topic := throttling("stuck", &trouble)
		cfg := Config{Spool: t.TempDir(), SpoolBytes: 1 << 20, MaxMessageBytes: 10_000, SpoolSync: -1}
		p := newProducer(t, topic, cfg)
		var want []string
		refused := 0
		for i := range 10_000 {
			device := fmt.Sprintf("d%d", i%10)
			if i%20 == 0 {
				device = "stuck"
			}
			id := fmt.Sprintf("e%04d", i)
			switch err := p.TryEnqueue(motion(device, id), nil); {
			case device == "stuck" && errors.Is(err, ErrBufferFull):
				refused++
			case err != nil:
				t.Fatalf("event %d, of a device that is well: %v", i, err)
			case device == "stuck":
				want = append(want, id)
			}
			time.Sleep(2 * time.Millisecond)
		}
		if refused == 0 || len(want) < 20 {
			t.Errorf("of the device in trouble %d events were accepted and %d refused, want some of both", len(want), refused)
		}
		trouble.Store(false)
		mustClose(t, p)
		topic.noFaults(t)
		if _, _, accepted := topic.snapshot(); !slices.Equal(accepted["stuck"], want) {
			t.Errorf("the topic has %d events of the device in trouble, want the %d accepted", len(accepted["stuck"]), len(want))
		}
		if p.waitingBytes != 0 {
			t.Errorf("%d bytes still count as waiting", p.waitingBytes)
		}
	})
}

// misreading is a spool that cannot read one record.
type misreading struct {
	store
	id     string
	always bool // else only the first time
}

func (m *misreading) Read(ref spool.Ref) (spool.Record, error) {
	r, err := m.store.Read(ref)
	if err == nil && eventID(r) == m.id {
		if !m.always {
			m.id = ""
		}
		return spool.Record{}, &spool.DamagedError{Damage: spool.Damage{File: "log", Bytes: r.Size() / 2}}
	}
	return r, err
}

// TestSpool_DamageDoesNotCostWhatIsBeforeIt: a record that is done with stands for all before it of its device. One that cannot be read
// must not be done with before they are, for a crash would take them along if it can be read after all.
func TestSpool_DamageDoesNotCostWhatIsBeforeIt(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var down atomic.Bool
		topic := &fakeTopic{latency: time.Millisecond, script: func(_ int, in *sns.PublishBatchInput) *reply {
			if down.Load() || sentID(in.PublishBatchRequestEntries[0]) == "e16" {
				down.Store(true)
				return &reply{err: errReset}
			}
			return nil
		}}
		cfg := Config{Spool: t.TempDir(), SpoolSync: -1}
		p := newProducer(t, topic, cfg)
		p.store = &misreading{store: p.store, id: "e30"}
		down.Store(true)
		for i := range 40 {
			if err := p.Publish(t.Context(), motion("d1", fmt.Sprintf("e%02d", i))); err != nil {
				t.Fatal(err)
			}
		}
		down.Store(false)
		time.Sleep(time.Minute)
		if s := p.Stats(); s.Confirmed != 16 {
			t.Fatalf("%+v, want the first sixteen confirmed", s)
		}
		disk := t.TempDir() // as a crash leaves it
		if err := os.CopyFS(disk, os.DirFS(cfg.Spool)); err != nil {
			t.Fatal(err)
		}
		stop, cancel := closingContext(t, time.Second)
		defer cancel()
		if err := p.Close(stop); err != nil {
			t.Fatal(err)
		}
		healthy := &fakeTopic{}
		p = newProducer(t, healthy, Config{Spool: disk})
		mustClose(t, p)
		_, _, accepted := healthy.snapshot()
		if got := accepted["d1"]; len(got) < 23 || got[0] != "e16" || !slices.IsSorted(got) {
			t.Errorf("after the crash %v go out, want what was not confirmed, from e16 on", got)
		}
	})
}

// TestSpool_DamageLeavesNothingBehind: nobody knows how large a damaged record was; all the same the room of the spool is counted right.
func TestSpool_DamageLeavesNothingBehind(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var down atomic.Bool
		p := newProducer(t, &fakeTopic{latency: time.Millisecond, script: func(int, *sns.PublishBatchInput) *reply {
			if down.Load() {
				return &reply{err: errReset}
			}
			return nil
		}}, Config{Spool: t.TempDir(), SpoolSync: -1})
		p.store = &misreading{store: p.store, id: "e30", always: true}
		down.Store(true)
		for i := range 40 {
			if err := p.Publish(t.Context(), motion("d1", fmt.Sprintf("e%02d", i))); err != nil {
				t.Fatal(err)
			}
		}
		down.Store(false)
		time.Sleep(time.Minute)
		p.mu.Lock()
		defer p.mu.Unlock()
		if p.stats.SetAside != 1 || len(p.lanes) > 0 || p.waitingBytes != 0 {
			t.Errorf("%d set aside, %d devices and %d bytes are waiting, want one and nothing else", p.stats.SetAside, len(p.lanes), p.waitingBytes)
		}
	})
}

// TestSpool_ComplainsOnceASecond about a disk that is full.
func TestSpool_ComplainsOnceASecond(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var lines atomic.Int64
		p := newProducer(t, &fakeTopic{}, Config{Spool: t.TempDir(), Logger: slog.New(counting{slog.DiscardHandler, &lines})})
		for range 3000 {
			p.spoolFailed(errReset)
			time.Sleep(time.Millisecond)
		}
		if n := lines.Load(); n != 3 {
			t.Errorf("%d lines in three seconds, want 3", n)
		}
		mustClose(t, p)
	})
}

// counting counts what is logged about the spool.
type counting struct {
	slog.Handler
	lines *atomic.Int64
}

func (c counting) Enabled(context.Context, slog.Level) bool { return true }

func (c counting) Handle(_ context.Context, r slog.Record) error {
	if strings.Contains(r.Message, "spool") {
		c.lines.Add(1)
	}
	return nil
}

func TestSegmentBytes_KeepsFilesFew(t *testing.T) {
	t.Parallel()
	for spoolBytes, want := range map[int64]int64{1 << 20: 128 << 10, 1 << 30: 16 << 20, 100 << 30: 200 << 20, 1 << 50: 1 << 30} {
		if got := segmentBytes(spoolBytes); got != want {
			t.Errorf("for %d bytes: got %d, want %d", spoolBytes, got, want)
		}
	}
}
