package cli

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/device-fanout/fanout/consumers"
	"github.com/device-fanout/fanout/infra/local"
	"github.com/device-fanout/fanout/scripts/fanout/cli/internal/terminal"
)

const (
	drawEvery = 500 * time.Millisecond
	lineEvery = 5 * time.Second
	rateSpan  = 6 // a rate is the mean over so many drawings: 3 s
)

// show keeps the user informed on standard error: a live view on a terminal, a line now and then elsewhere.
// The returned func ends it.
func (env *localEnvironment) show(ctx context.Context, program string, view *terminal.Screen) (stop func()) {
	every := lineEvery
	if view.Live() {
		every = drawEvery
	}
	return inBackground(context.WithoutCancel(ctx), func(done context.Context) {
		tick := time.Tick(every)
		interrupted := ctx.Done()
		last := []reading{env.reading()}
		for {
			if view.Live() {
				now := env.reading()
				now.blocked, now.notReady = env.blocked(), env.notReady()
				last = append(last[max(0, len(last)-rateSpan):], now)
				how := "Ctrl-C ends it"
				if ctx.Err() != nil {
					how = "draining, Ctrl-C again quits at once"
				}
				view.Draw(env.view(program, last[0], last[len(last)-1], how))
			}
			select {
			case <-tick:
				if !view.Live() {
					fmt.Fprintln(view, env.progress(env.reading()))
				}
			case <-interrupted:
				interrupted = nil // draw at once that it was heard
			case <-done.Done():
				if view.Live() {
					view.Draw(env.view(program, last[0], env.reading(), "ended"))
					view.Leave()
				}
				return
			}
		}
	})
}

// reading is what the live view shows, at one time.
type reading struct {
	at                      time.Time
	in, rejected, published int64
	p50, p99                time.Duration
	handled                 []int64
	queues                  map[string]local.QueueStatus
	blocked                 []consumers.Blocked // of all services, one after the other
	notReady                []string            // services that can't receive or handle events, and why
}

func (env *localEnvironment) reading() reading {
	r := reading{
		at: time.Now(), in: env.publisher.in.Load(), rejected: env.publisher.rejected.Load(), published: env.publisher.published.Load(),
		p50: env.audit.quantile(0.50), p99: env.audit.quantile(0.99), queues: map[string]local.QueueStatus{},
	}
	for _, q := range env.engine.Queues() {
		r.queues[q.Name] = q
	}
	for _, svc := range env.services {
		r.handled = append(r.handled, env.audit.handledBy(svc.name))
	}
	return r
}

// blocked asks the services which devices can't go on. One that does not answer at once is left out.
func (env *localEnvironment) blocked() []consumers.Blocked {
	ctx, cancel := context.WithTimeout(context.Background(), drawEvery)
	defer cancel()
	var all []consumers.Blocked
	for _, svc := range env.services {
		list, _ := svc.consumer.Blocked(ctx) // the error is that of ctx
		all = append(all, list...)
	}
	return all
}

// notReady says which services can't receive or handle events, and why.
func (env *localEnvironment) notReady() []string {
	var all []string
	for _, svc := range env.services {
		if s := svc.consumer.Stats(); !s.Running || s.Draining {
			continue
		}
		if err := svc.consumer.Health().Ready; err != nil {
			all = append(all, svc.name+": "+firstLine(err.Error()))
		}
	}
	return all
}

// progress is one line for where there is no terminal.
func (env *localEnvironment) progress(r reading) string {
	var b strings.Builder
	fmt.Fprintf(&b, "in %d, rejected %d, published %d, handled", r.in, r.rejected, r.published)
	for i, svc := range env.services {
		fmt.Fprintf(&b, " %s %d", svc.name, r.handled[i])
	}
	return b.String()
}

// view is what the live view says.
func (env *localEnvironment) view(program string, before, now reading, how string) []string {
	elapsed := max(now.at.Sub(before.at).Seconds(), 1e-3)
	rate := func(a, b int64) string {
		r := float64(b-a) / elapsed
		if r < 100 {
			return fmt.Sprintf("%.1f", r)
		}
		return fmt.Sprintf("%.0f", r)
	}
	var lines []string
	line := func(format string, args ...any) {
		lines = append(lines, strings.TrimRight(fmt.Sprintf(format, args...), " "))
	}
	line("")
	line("%s up · environment %s · %s · %s", program, env.deployment.Environment.Name, now.at.Sub(env.start).Round(time.Second), how)
	line("")
	line("%-10s %10s %8s   %s", "GATEWAY", "PUBLISHED", "RATE/S", "REJECTED LINES")
	line("%-10s %10d %8s   %d", "", now.published, rate(before.published, now.published), now.rejected)
	line("")
	line("%-10s %10s %8s %9s %10s %13s", "SERVICE", "HANDLED", "RATE/S", "VISIBLE", "IN FLIGHT", "DEAD LETTERS")
	for i, svc := range env.services {
		q, dlq := now.queues[env.deployment.QueueName(svc.name)], now.queues[env.deployment.DLQName(svc.name)]
		line("%-10s %10d %8s %9d %10d %13d", svc.name, now.handled[i], rate(before.handled[i], now.handled[i]),
			q.Visible+q.Delayed, q.InFlight, dlq.Visible+dlq.InFlight)
	}
	line("")
	line("publish to handler: p50 %.1f ms, p99 %.1f ms", now.p50.Seconds()*1000, now.p99.Seconds()*1000)
	if len(now.notReady) > 0 {
		lines = append(append(lines, ""), now.notReady...)
	}
	if len(now.blocked) > 0 {
		line("")
		lines = append(lines, blockedLines(now.blocked, now.at)...)
	}
	line("")
	return lines
}

// printAddresses prints where everything is.
func (env *localEnvironment) printAddresses(g *globals) {
	w := g.err
	fmt.Fprintf(w, "SNS and SQS   %s\n", env.endpoint)
	if address := env.pushAddress(); address != "" {
		fmt.Fprintf(w, "live events   http://%s\n", address)
	}
	env.inputs.printAddresses(w)
	fmt.Fprintf(w, "databases     %s\n", env.dataDir)
	fmt.Fprintf(w, "dead letters  %s dlq ls %s\n", g.app.Name, env.flags())
}

// flags are what the other commands need to work on this environment.
func (env *localEnvironment) flags() string {
	flags := "--local"
	if env.endpoint != localEndpoint {
		flags = "--endpoint " + env.endpoint
	}
	if name := env.deployment.Environment.Name; name != defaultEnvironment {
		flags += " --env " + name
	}
	return flags
}
