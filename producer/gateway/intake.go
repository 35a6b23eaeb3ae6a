package gateway

import (
	"context"
	"fmt"
	"time"

	"golang.org/x/time/rate"
)

// intake takes many events of one key, as a stream or a batch brings them.
type intake struct {
	gateway   *Gateway
	key       Key
	transport string // as metrics call it
	lanes     *lanes
}

// take hands one event on, after those of its device that were taken before. Whatever becomes of it, answer is called once, in time by another
// goroutine: with the ID of an event that was accepted, or a problem of its own. It returns the event's ID if that is to be told by the outcome.
func (in *intake) take(ctx context.Context, text []byte, tooLong bool, answer func(id string, p *Problem)) (id string) {
	g := in.gateway
	limit := in.key.Limit.or(g.cfg.Limit)
	begin := time.Now()
	end := func(id string, err error) {
		if err == nil {
			g.metrics.count(in.transport, nil, time.Since(begin))
			answer(id, nil)
			return
		}
		p := *problemOf(err)
		if p.mayPass() && id != "" {
			p.EventID = id
		}
		g.metrics.count(in.transport, &p, time.Since(begin))
		answer(id, &p)
	}
	if err := in.wait(ctx, g.limits.ofKey(in.key.Name, limit)); err != nil {
		end("", err)
		return ""
	}
	if tooLong {
		end("", newProblem(kindTooLarge, fmt.Sprintf("want at most %d bytes", g.cfg.MaxEventBytes)))
		return ""
	}
	e, p := g.parse(text, &in.key)
	if p != nil {
		end("", p)
		return ""
	}
	if err := in.wait(ctx, g.limits.ofDevice(in.key.Name, e.DeviceID, limit)); err != nil {
		end(e.ID, err)
		return ""
	}
	in.lanes.submit(e, func(err error) { end(e.ID, err) })
	return e.ID
}

// wait takes a token and waits until it is there.
func (in *intake) wait(ctx context.Context, bucket *rate.Limiter) error {
	if bucket == nil {
		return nil
	}
	r := bucket.Reserve()
	delay := r.Delay()
	if delay == 0 {
		return nil
	}
	there := time.NewTimer(delay)
	defer there.Stop()
	select {
	case <-there.C:
		return nil
	case <-ctx.Done():
		r.Cancel()
		return ctx.Err()
	case <-in.gateway.closing:
		r.Cancel()
		return newProblem(kindClosing, "")
	}
}
