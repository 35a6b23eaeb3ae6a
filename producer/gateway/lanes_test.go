package gateway

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/device-fanout/fanout/events"
)

// TestLanes_KeepADevicesPace and its order, while other devices go on. An attempt that failed does not count.
func TestLanes_KeepADevicesPace(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		begin := time.Now()
		var mu sync.Mutex // guards what follows
		var sent []string
		answered := 0
		failures := 1
		ctx, cancel := context.WithCancel(t.Context())
		l := newLanes(ctx, func(_ context.Context, e events.Event, done func(error)) {
			mu.Lock()
			fails := e.ID == "b" && failures > 0
			if fails {
				failures--
			} else {
				sent = append(sent, fmt.Sprint(e.ID, " ", time.Since(begin).Round(time.Millisecond)))
			}
			mu.Unlock()
			if fails {
				done(errors.New("not now"))
				return
			}
			done(nil)
		})
		limits := newLimits()
		l.pace = func(device string) time.Duration {
			return reserve(limits.ofDevice("test", device, Limit{PerDevicePerSecond: 1}.withDefaults()))
		}
		l.backoff = func(int) time.Duration { return 100 * time.Millisecond }
		for _, id := range []string{"a", "b", "c", "x"} {
			device := "hot"
			if id == "x" {
				device = "other"
			}
			l.submit(events.Event{ID: id, DeviceID: device}, func(error) {
				mu.Lock()
				answered++
				mu.Unlock()
			})
		}
		time.Sleep(time.Minute)
		mu.Lock()
		defer mu.Unlock()
		if want := []string{"a 0s", "x 0s", "b 1.1s", "c 2s"}; !slices.Equal(sent, want) || answered != 4 {
			t.Errorf("sent %q with %d answers, want %q and an answer to each", sent, answered, want)
		}
		cancel()
		l.close()
	})
}
