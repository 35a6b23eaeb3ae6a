package gateway

import (
	"testing"
	"time"

	"github.com/device-fanout/fanout/internal/clocktest"
)

// TestReady_ClockSteps: a full buffer is told of for two seconds, whatever becomes of the host's clock meanwhile.
func TestReady_ClockSteps(t *testing.T) {
	t.Parallel()
	for _, by := range clocktest.Steps {
		g := &Gateway{}
		now := time.Now()
		if g.full(now) {
			t.Error("full before any event was refused")
		}
		g.lastNoRoom.Store(&now)
		for after, want := range map[time.Duration]bool{0: true, 2*roomPatience - 1: true, 2 * roomPatience: false, time.Minute: false} {
			if got := g.full(clocktest.Stepped(now.Add(after), by)); got != want {
				t.Errorf("clock set by %v, %v after an event was refused: full is %t", by, after, got)
			}
		}
	}
}
