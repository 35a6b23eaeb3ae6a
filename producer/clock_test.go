package producer

import (
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/sns"

	"github.com/device-fanout/fanout/internal/clocktest"
)

// TestClock_StepsDoNoHarm: when the host's clock is set back or forth while an event waits, its age and what it took are as long as it really
// waited, and sequences go on rising at the pace of time.
func TestClock_StepsDoNoHarm(t *testing.T) {
	t.Parallel()
	const interval = 3 * time.Second
	outside := time.Now() // with a monotonic reading, as no time in a bubble has one
	for _, spool := range []bool{false, true} {
		for _, by := range clocktest.Steps {
			synctest.Test(t, func(t *testing.T) {
				hold := make(chan struct{})
				topic := &fakeTopic{script: func(int, *sns.PublishBatchInput) *reply { return &reply{holdUntil: hold} }}
				var mu sync.Mutex
				took := map[string]time.Duration{}
				cfg := Config{MaxBatches: 1, Hooks: Hooks{Resolved: func(r Resolved) {
					mu.Lock()
					defer mu.Unlock()
					took[r.EventID] = r.Took
				}}}
				if spool {
					cfg.Spool, cfg.Buffer = t.TempDir(), 2 // the last one waits on disk
				}
				p := newProducer(t, topic, cfg)
				var step atomic.Int64
				begin := time.Now()
				p.now = func() time.Time { return clocktest.Stepped(outside.Add(time.Since(begin)), time.Duration(step.Load())) }
				p.lastAccepted = p.now()
				var sequences []int64
				for i, id := range []string{"e1", "e2", "e3"} {
					if i == 1 {
						step.Store(int64(by))
					}
					if err := p.Enqueue(t.Context(), motion("d"+id, id), nil); err != nil {
						t.Fatal(err)
					}
					synctest.Wait()
					p.mu.Lock()
					sequences = append(sequences, p.sequence)
					p.mu.Unlock()
					time.Sleep(interval)
				}
				if age := p.now().Sub(p.Stats().Oldest).Round(100 * time.Millisecond); age != 3*interval {
					t.Errorf("spool %t, by %v: the oldest is said to wait for %v", spool, by, age)
				}
				first := sequences[0]
				want := []int64{first, first + int64(interval+max(by, 0)), first + int64(2*interval+max(by, 0))}
				if !slices.Equal(sequences, want) {
					t.Errorf("spool %t, by %v: sequences %v, want %v", spool, by, sequences, want)
				}
				close(hold)
				mustClose(t, p)
				mu.Lock()
				defer mu.Unlock()
				for i, id := range []string{"e1", "e2", "e3"} {
					if got, want := took[id].Round(100*time.Millisecond), time.Duration(3-i)*interval; got != want {
						t.Errorf("spool %t, by %v: event %s took %v, want %v", spool, by, id, got, want)
					}
				}
			})
		}
	}
}
