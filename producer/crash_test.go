package producer_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/device-fanout/fanout/infra/local/faults"
	"github.com/device-fanout/fanout/producer"
)

// TestSpool_KeepsItsPromiseUnderTroubleAndCrashes is the promise itself. Fifty devices, as skewed as real ones, publish while the topic
// misbehaves in every way it can, and the process dies and starts again several times in between: what the spool accepted is in every
// queue, in the order of acceptance per device; what was refused for good is set aside, and never called confirmed.
func TestSpool_KeepsItsPromiseUnderTroubleAndCrashes(t *testing.T) {
	t.Parallel()
	seeds := 12
	if testing.Short() {
		seeds = 3
	}
	for seed := range seeds {
		t.Run(fmt.Sprintf("seed=%d", seed), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) { liveThroughCrashes(t, uint64(seed)) })
		})
	}
}

// misbehave adds every trouble that a topic can make.
func misbehave(w *world, seed uint64) {
	for i, r := range []faults.Rule{
		{Kind: faults.Delay, Delay: 8 * time.Millisecond, DelayP99: 80 * time.Millisecond},
		{Kind: faults.Throttle, Probability: 0.04},
		{Kind: faults.Error500, Probability: 0.04},
		{Kind: faults.CloseConnection, Probability: 0.04},
		{Kind: faults.DropReply, Probability: 0.04},
		{Kind: faults.FailEntry, Probability: 0.02},
		{Kind: faults.FailEntry, Probability: 0.02, Code: "Throttled", SenderFault: true},
		{Kind: faults.FailEntry, Probability: 0.003, Code: "InvalidParameter", SenderFault: true},
	} {
		r.Action, r.Seed = "PublishBatch", seed*100+uint64(i)
		w.Engine.Faults().Add(r)
	}
}

// ledger is what the outside world knows: what was accepted, and what the hooks said later. It outlives the processes.
type ledger struct {
	mu        sync.Mutex
	epoch     int // the process that is alive
	accepted  map[string]bool
	confirmed map[string]bool
	refused   map[string]bool
}

func (l *ledger) hooks(epoch int) producer.Hooks {
	return producer.Hooks{
		Resolved: func(r producer.Resolved) { l.note(epoch, l.confirmed, r.EventID, r.Err == nil) },
		SetAside: func(s producer.SetAside) { l.note(epoch, l.refused, s.EventID, s.Err != nil) },
	}
}

// note takes note of what a process says while it is alive.
func (l *ledger) note(epoch int, list map[string]bool, id string, yes bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if yes && epoch == l.epoch {
		list[id] = true
	}
}

func liveThroughCrashes(t *testing.T, seed uint64) {
	const devices, count = 50, 700
	random := rand.New(rand.NewPCG(seed, 2))
	w := newWorld(t)
	misbehave(w, seed)
	book := &ledger{accepted: map[string]bool{}, confirmed: map[string]bool{}, refused: map[string]bool{}}
	draw := zipfDevices(seed, devices)
	want := map[string][]string{} // by device, in the order of acceptance
	var toPublish []string        // devices, in the order of what happens; the nth event of the list has ID n
	for i := range count {
		toPublish = append(toPublish, draw())
		want[toPublish[i]] = append(want[toPublish[i]], fmt.Sprintf("e%03d", i))
	}

	cfg := producer.Config{
		Spool: t.TempDir(), Buffer: 20 + random.IntN(200), MaxBatches: 1 + random.IntN(8),
		OnFailure: producer.FailurePolicy(random.IntN(2)), SpoolSync: -1,
	}
	next := 0 // of toPublish
	for crash := 0; next < count; crash++ {
		book.epoch = crash
		cfg.Hooks = book.hooks(crash)
		link := &connection{TopicAPI: w.SNS, loses: 0.03, rand: rand.New(rand.NewPCG(seed, uint64(crash)))}
		p := w.producer(t, link, cfg)
		last := next
		for range 50 + random.IntN(200) {
			if last == count {
				break
			}
			id := fmt.Sprintf("e%03d", last)
			if err := p.Enqueue(t.Context(), motion(toPublish[last], id), func(r producer.Result) {
				book.note(crash, book.accepted, id, r.Err == nil && r.Spooled)
			}); err != nil {
				t.Fatal(err)
			}
			last++
			if random.IntN(3) == 0 {
				time.Sleep(time.Duration(random.IntN(20)) * time.Millisecond)
			}
		}
		if random.IntN(2) == 0 {
			time.Sleep(time.Duration(random.IntN(3000)) * time.Millisecond)
		}
		if last == count && crash > 2 {
			synctest.Wait()
			next = count
			w.Engine.Faults().Clear()
			if err := p.Close(t.Context()); err != nil {
				t.Fatal(err)
			}
			continue
		}

		// It dies: nothing that it does from here on reaches anybody, and the disk stays as it is.
		link.cutOff()
		book.mu.Lock()
		book.epoch = -1
		for next < last && book.accepted[fmt.Sprintf("e%03d", next)] {
			next++ // the gateway publishes again what was not answered
		}
		book.mu.Unlock()
		disk := t.TempDir()
		if err := os.CopyFS(disk, os.DirFS(cfg.Spool)); err != nil {
			t.Fatal(err)
		}
		if err := p.Close(over()); err != nil {
			t.Fatal(err)
		}
		cfg.Spool = disk
		if random.IntN(3) == 0 {
			time.Sleep(10 * time.Minute) // SNS has forgotten the deduplication IDs when it comes back
		}
	}

	if len(book.accepted) != count {
		t.Errorf("%d events were accepted, want all %d", len(book.accepted), count)
	}
	for device, ids := range want {
		kept := ids[:0]
		for _, id := range ids {
			if !book.refused[id] || book.confirmed[id] {
				kept = append(kept, id)
			}
		}
		want[device] = kept
	}
	if len(book.refused) > count/2 {
		t.Fatalf("%d of %d events were refused: the test shows little", len(book.refused), count)
	}
	w.expect(t, want)
	injected := w.Engine.Faults().Injected()
	t.Logf("injected %v; %d refused; policy %d", injected, len(book.refused), cfg.OnFailure)
}

// TestMain is also the process that TestSpool_SurvivesKill kills.
func TestMain(m *testing.M) {
	if os.Getenv(childSpool) != "" {
		publishUntilKilled(context.Background())
	}
	os.Exit(m.Run())
}
