package gateway

import (
	"testing"
	"time"

	"github.com/device-fanout/fanout/events"
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

// TestMaxFuture_ClockSteps: when the host's clock is set back, no device is called wrong for it.
func TestMaxFuture_ClockSteps(t *testing.T) {
	t.Parallel()
	for _, by := range clocktest.Steps {
		g := &Gateway{cfg: Config{}.withDefaults(), made: time.Now()}
		now := g.made.Add(time.Minute)
		for ahead, refused := range map[time.Duration]bool{0: false, 23 * time.Hour: false, 25 * time.Hour: true} {
			at := now.Round(0).Add(ahead) // what a right clock says
			if by > 0 {
				at = at.Add(by) // or one that was as wrong as ours
			}
			if p := g.checkTimeAt(events.Event{Time: at}, clocktest.Stepped(now, by)); (p != nil) != refused {
				t.Errorf("clock set by %v: an event %v ahead: got %v", by, ahead, p)
			}
		}
	}
}
