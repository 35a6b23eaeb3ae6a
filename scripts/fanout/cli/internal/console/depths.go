package console

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/device-fanout/fanout/consumers/deadletter"
)

const (
	depthsFor = 1500 * time.Millisecond // how long depths are good
	samples   = 90                      // depths that are kept of each queue
	trendOver = time.Minute             // the time over which a trend is told
)

// depths asks for the depths of all queues when somebody wants to see them, and remembers some.
type depths struct {
	api  deadletter.DepthAPI
	urls []string

	mu      sync.Mutex
	asking  chan struct{} // closed when the request under way has ended; nil when there is none
	at      time.Time
	history map[string][]sample // by queue URL, oldest first
	err     error
}

type sample struct {
	at time.Time
	deadletter.Depth
}

func newDepths(api deadletter.DepthAPI, services []Service) *depths {
	d := &depths{api: api, history: map[string][]sample{}}
	for _, s := range services {
		d.urls = append(d.urls, s.QueueURL)
		for _, from := range s.DLQs {
			d.urls = append(d.urls, from.URL)
		}
	}
	return d
}

// refresh makes sure that the depths are not older than they may be. Several callers share one round of requests.
func (d *depths) refresh(ctx context.Context) error {
	d.mu.Lock()
	if time.Since(d.at) < depthsFor {
		defer d.mu.Unlock()
		return d.err
	}
	if asking := d.asking; asking != nil {
		d.mu.Unlock()
		<-asking
		d.mu.Lock()
		defer d.mu.Unlock()
		return d.err
	}
	d.asking = make(chan struct{})
	d.mu.Unlock()

	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
	defer cancel()
	found, faults := make([]deadletter.Depth, len(d.urls)), make([]error, len(d.urls))
	var wait sync.WaitGroup
	for i, url := range d.urls {
		wait.Go(func() { found[i], faults[i] = deadletter.ReadDepth(ctx, d.api, url) })
	}
	wait.Wait()

	d.mu.Lock()
	defer d.mu.Unlock()
	d.at, d.err = time.Now(), nil
	for i, url := range d.urls {
		if faults[i] != nil {
			d.err = faults[i]
			continue
		}
		kept := append(d.history[url], sample{d.at, found[i]})
		d.history[url] = kept[max(0, len(kept)-samples):]
	}
	close(d.asking)
	d.asking = nil
	return d.err
}

// gauge is what a queue's depth was and is.
type gauge struct {
	deadletter.Depth
	Known    bool
	Trend    int // messages more than a minute ago, by the minute
	Trending bool
	Line     []int // depths, oldest first
}

// Moves tells whether the line is more than a flat one.
func (g gauge) Moves() bool { return len(g.Line) > 1 && slices.Min(g.Line) != slices.Max(g.Line) }

func (d *depths) gauge(url string) gauge {
	d.mu.Lock()
	defer d.mu.Unlock()
	history := d.history[url]
	if len(history) == 0 {
		return gauge{}
	}
	last := history[len(history)-1]
	g := gauge{Depth: last.Depth, Known: true}
	first := last
	for _, s := range history {
		g.Line = append(g.Line, s.Total())
		if first == last && last.at.Sub(s.at) <= trendOver {
			first = s
		}
	}
	if span := last.at.Sub(first.at); span > 3*time.Second {
		g.Trending = true
		g.Trend = int(float64(last.Total()-first.Total()) / span.Minutes())
	}
	return g
}
