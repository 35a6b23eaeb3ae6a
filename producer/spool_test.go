package producer

import (
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/sns"
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
