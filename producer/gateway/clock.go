package gateway

import (
	"time"

	"github.com/device-fanout/fanout/events"
)

// noClockBefore is a time that no clock shows which has been set. A host without a battery starts in 1970 or 2000, and all devices seem to
// be ahead of it.
var noClockBefore = time.Date(2026, time.January, 1, 0, 0, 0, 0, time.UTC)

// checkTime refuses an event of a clock that is wrong, unless it is this host's own: one that has not been set yet, or that was set back since
// the gateway was made, which would make all devices seem to be ahead.
func (g *Gateway) checkTime(e events.Event) *Problem { return g.checkTimeAt(e, time.Now()) }

func (g *Gateway) checkTimeAt(e events.Event, now time.Time) *Problem {
	if now.Before(noClockBefore) {
		return nil
	}
	if steady := g.made.Round(0).Add(now.Sub(g.made)); steady.After(now.Round(0)) {
		now = steady
	}
	if err := e.CheckTime(now, 0, g.cfg.MaxFuture); err != nil {
		return problemOf(err)
	}
	return nil
}
