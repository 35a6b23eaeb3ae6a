package main

import (
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/mattn/go-isatty"

	"github.com/device-fanout/fanout/infra/local"
)

const (
	screenEvery = 500 * time.Millisecond
	lineEvery   = 5 * time.Second
)

// show keeps the user informed on standard error: a live view of one screen on a terminal, a line now and then elsewhere.
// The returned func ends it.
func (f *fleet) show(g *globals, o upOptions) (stop func()) {
	done, ended := make(chan struct{}), make(chan struct{})
	file, isFile := g.err.(*os.File)
	live := isFile && isatty.IsTerminal(file.Fd())
	every := lineEvery
	if live {
		every = screenEvery
	}
	go func() {
		defer close(ended)
		tick := time.NewTicker(every)
		defer tick.Stop()
		before := f.reading()
		for {
			if live {
				now := f.reading()
				f.draw(g.err, before, now)
				before = now
			}
			select {
			case <-tick.C:
				if !live {
					r := f.reading()
					fmt.Fprintf(g.err, "in %d, rejected %d, published %d, handled%s\n", r.in, r.rejected, r.published, f.handledText(r))
				}
			case <-done:
				return
			}
		}
	}()
	return func() {
		close(done)
		<-ended
	}
}

// reading is what the screen shows, at one time.
type reading struct {
	at                      time.Time
	in, rejected, published int64
	handled                 []int64
	queues                  map[string]local.QueueStatus
}

func (f *fleet) reading() reading {
	r := reading{
		at: time.Now(), in: f.feed.in.Load(), rejected: f.feed.rejected.Load(), published: f.feed.published.Load(),
		queues: map[string]local.QueueStatus{},
	}
	for _, q := range f.engine.Queues() {
		r.queues[q.Name] = q
	}
	for _, m := range f.members {
		r.handled = append(r.handled, f.audit.handledBy(m.name))
	}
	return r
}

func (f *fleet) handledText(r reading) string {
	var b strings.Builder
	for i, m := range f.members {
		fmt.Fprintf(&b, " %s %d", m.name, r.handled[i])
	}
	return b.String()
}

// draw writes one screen. It begins at the top left and clears what was there line by line, so that nothing flickers.
func (f *fleet) draw(w io.Writer, before, now reading) {
	elapsed := max(now.at.Sub(before.at).Seconds(), 1e-3)
	rate := func(a, b int64) float64 { return float64(b-a) / elapsed }
	var b strings.Builder
	line := func(format string, args ...any) { fmt.Fprintf(&b, format+"\x1b[K\n", args...) }
	b.WriteString("\x1b[H")
	line("fanout up · environment %s · %s · Ctrl-C ends", f.deployment.Environment.Name, now.at.Sub(f.start).Round(time.Second))
	line("")
	line("gateway   in %d   rejected %d   published %d   %.0f/s", now.in, now.rejected, now.published, rate(before.published, now.published))
	line("topic     %s", f.deployment.TopicName())
	line("")
	line("%-10s %10s %8s %9s %10s %9s %13s", "SERVICE", "HANDLED", "RATE/S", "VISIBLE", "IN FLIGHT", "DELAYED", "DEAD LETTERS")
	for i, m := range f.members {
		q, dlq := now.queues[f.deployment.QueueName(m.name)], now.queues[f.deployment.DLQName(m.name)]
		line("%-10s %10d %8.0f %9d %10d %9d %13d", m.name, now.handled[i], rate(before.handled[i], now.handled[i]),
			q.Visible, q.InFlight, q.Delayed, dlq.Visible+dlq.InFlight)
	}
	line("")
	line("live events   http://%s", f.pushAddress())
	line("databases     %s", f.dataDir)
	line("dead letters  fanout dlq ls --local")
	b.WriteString("\x1b[J")
	_, _ = io.WriteString(w, b.String())
}
