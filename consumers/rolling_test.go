package consumers_test

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/device-fanout/fanout/consumers"
	"github.com/device-fanout/fanout/events"
	"github.com/device-fanout/fanout/infra/local/faults"
)

// TestDrain_ARollingRestartDelaysNoDevice: two processes under load are replaced one after the other, several times, at a queue whose
// requests take 20 ms. 99 of 100 events wait no longer than two seconds for their handlers, those before them aside, and nothing is
// handled twice or out of order.
func TestDrain_ARollingRestartDelaysNoDevice(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const devices = 50
		rounds := 4
		if testing.Short() {
			rounds = 1
		}
		count := 200 * 15 * rounds // 200 events in a second, four for each device
		b := newBench(t)
		b.engine.Faults().Add(faults.Rule{Kind: faults.Delay, Delay: 20 * time.Millisecond})
		var mu sync.Mutex
		sent := map[string]time.Time{}
		handled := map[string]int{}
		last := map[string]string{}
		free := map[string]time.Time{} // by device: when the handler before ended
		var waits []time.Duration
		handle := func(_ context.Context, e events.Event) error {
			mu.Lock()
			since := sent[e.ID]
			if free[e.DeviceID].After(since) {
				since = free[e.DeviceID]
			}
			waits = append(waits, time.Since(since))
			if handled[e.ID]++; handled[e.ID] > 1 || e.ID <= last[e.DeviceID] {
				t.Errorf("%s of %s was handled %d times, after %s", e.ID, e.DeviceID, handled[e.ID], last[e.DeviceID])
			}
			last[e.DeviceID] = e.ID
			mu.Unlock()
			time.Sleep(40 * time.Millisecond)
			if n, err := strconv.Atoi(e.ID[1:]); err != nil || n%97 == 0 {
				time.Sleep(2 * time.Second)
			}
			mu.Lock()
			defer mu.Unlock()
			free[e.DeviceID] = time.Now()
			return nil
		}
		cfg := consumers.Config{Slots: 16}
		start := func() func() { _, stop := b.start(b.api, handle, cfg); return stop }
		var stops [2]func()
		for i := range stops {
			stops[i] = start()
		}
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			var all sync.WaitGroup
			defer all.Wait()
			for i := range count {
				e := motion(fmt.Sprintf("d%02d", i%devices), fmt.Sprintf("e%06d", i))
				mu.Lock()
				sent[e.ID] = time.Now()
				mu.Unlock()
				all.Go(func() { b.send(e) }) // it takes longer than the pause to the next
				time.Sleep(5 * time.Millisecond)
			}
		}()
		for range rounds {
			for i := range stops {
				time.Sleep(5 * time.Second)
				stops[i]()
				stops[i] = start()
			}
		}
		<-ended
		time.Sleep(5 * time.Second)
		for _, stop := range stops {
			stop()
		}
		mu.Lock()
		defer mu.Unlock()
		if len(handled) != count {
			t.Errorf("handled %d events, want %d", len(handled), count)
		}
		slices.Sort(waits)
		if p99 := waits[len(waits)*99/100]; p99 > 2*time.Second {
			t.Errorf("99 of 100 events waited up to %v (at most %v), want 2s", p99, waits[len(waits)-1])
		}
		t.Logf("events waited p50 %v, p99 %v, at most %v", waits[len(waits)/2], waits[len(waits)*99/100], waits[len(waits)-1])
	})
}
