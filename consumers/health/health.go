// Package health answers for the consumers of a process over HTTP: whether the process is alive, whether it has started, whether it can
// take and handle events, and which devices can't go on.
//
//	GET /livez     200 while the consumer's loop turns, else 503: replace the process
//	GET /startupz  200 once it has found its queues and begun to receive, else 503: wait
//	GET /readyz    200 while events can be received and handled, else 503 with the reason: call somebody, but replace nothing
//	GET /healthz   the same as /livez
//	GET /blocked   the blocked devices as JSON, the longest first, see [consumers.Blocked]
//	GET /stats     what the consumer has counted as JSON, see [consumers.Stats]
//
// The answers of the first four are objects with a status, a word, and unless that is ok with a reason, a sentence. The word of /livez may
// be stuck; that of /startupz starting; that of /readyz starting, stuck, draining, paused, breaker, stopped (it does not run, or not yet),
// and not_ready for everything else: a receive that fails, and events that fail while nothing shows that their handler works.
//
// Only /livez is for what replaces a process, such as the health check of a container. A database that is down, a queue that was deleted,
// a permission that is missing are the same for the next process; and each new one would receive some events again, in vain.
//
// Metrics are the business of package telemetry and of an exporter; mount its handler beside these, as fanout consume does.
package health

import (
	"context"
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/device-fanout/fanout/consumers"
)

// loopTimeout is how long the consumers' loops may take to answer. They do nothing but memory work.
const loopTimeout = 5 * time.Second

// Handler serves the paths of the package comment for c.
func Handler(c *consumers.Consumer) http.Handler {
	p := new(Process)
	p.Add("", c)
	return p
}

// Process serves the paths of the package comment for all consumers of a process. The zero value has none: it is alive, and starting. So
// it can answer before there is a consumer, while the process opens what its handlers need. It is alive, has started and is ready when all
// of them are; the status is that of the first one that is not. Its methods are safe for concurrent use.
type Process struct {
	once sync.Once
	mux  *http.ServeMux

	mu        sync.Mutex
	consumers []named
}

// named is a consumer and what it is called in reasons, and in the stats of several.
type named struct {
	name string
	*consumers.Consumer
}

// Add adds a consumer. Its name, such as that of its service, stands before its reasons, and names it in /stats when there are several;
// with an empty name its reasons stand alone.
func (p *Process) Add(name string, c *consumers.Consumer) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.consumers = append(p.consumers, named{name, c})
}

func (p *Process) all() []named {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.consumers)
}

// ServeHTTP implements http.Handler.
func (p *Process) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	p.once.Do(func() {
		p.mux = http.NewServeMux()
		for path, serve := range map[string]http.HandlerFunc{
			"/livez": p.serveLive, "/healthz": p.serveLive, "/startupz": p.serveStarted, "/readyz": p.serveReady,
			"/blocked": p.serveBlocked, "/stats": p.serveStats,
		} {
			p.mux.HandleFunc("GET "+path, serve)
		}
	})
	p.mux.ServeHTTP(w, r)
}

func (p *Process) serveLive(w http.ResponseWriter, r *http.Request) {
	ctx, cancel := context.WithTimeout(r.Context(), loopTimeout)
	defer cancel()
	respond(w, p.each(func(c named) status { return c.live(ctx) }, ok))
}

func (p *Process) serveStarted(w http.ResponseWriter, _ *http.Request) {
	respond(w, p.each(func(c named) status {
		if !c.Health().Started {
			return status{"starting", "the consumer has not begun to receive"}
		}
		return ok
	}, starting))
}

func (p *Process) serveReady(w http.ResponseWriter, _ *http.Request) {
	respond(w, p.each(named.ready, starting))
}

var (
	ok = status{Status: "ok"}
	// starting is the status of a process that has no consumer yet.
	starting = status{"starting", "the process has no consumer yet"}
)

// each gives the status of the first consumer for which it is not ok, with its name and the reasons of all such. Without any
// consumer it is none.
func (p *Process) each(of func(named) status, none status) status {
	all := p.all()
	if len(all) == 0 {
		return none
	}
	found := ok
	var reasons []string
	for _, c := range all {
		s := of(c)
		if s == ok {
			continue
		}
		if len(reasons) == 0 {
			found.Status = s.Status
		}
		if c.name != "" {
			s.Reason = c.name + ": " + s.Reason
		}
		reasons = append(reasons, s.Reason)
	}
	found.Reason = strings.Join(reasons, "; ")
	return found
}

// live tells whether the consumer's loop turns. It asks the loop, so that one that has had nothing to do does turn.
func (c named) live(ctx context.Context) status {
	if _, err := c.Blocked(ctx); err != nil {
		return status{"stuck", "the consumer's loop does not respond: " + err.Error()}
	}
	if err := c.Health().Live; err != nil {
		return status{"stuck", err.Error()}
	}
	return ok
}

// ready tells whether events can be received and handled.
func (c named) ready() status {
	h, s := c.Health(), c.Stats()
	if h.Ready == nil {
		return ok
	}
	found := status{"not_ready", h.Ready.Error()}
	switch {
	case !s.Running:
		found.Status = "stopped"
	case h.Live != nil:
		found.Status = "stuck"
	case s.Draining:
		found.Status = "draining"
	case s.Paused:
		found.Status = "paused"
	case s.Open:
		found.Status = "breaker"
	}
	return found
}

func (p *Process) serveBlocked(w http.ResponseWriter, r *http.Request) {
	ctx, cancel := context.WithTimeout(r.Context(), loopTimeout)
	defer cancel()
	list := []consumers.Blocked{}
	for _, c := range p.all() {
		some, err := c.Blocked(ctx)
		if err != nil {
			respond(w, status{"stuck", err.Error()})
			return
		}
		list = append(list, some...)
	}
	slices.SortStableFunc(list, func(a, b consumers.Blocked) int { return a.Since.Compare(b.Since) })
	write(w, http.StatusOK, list)
}

func (p *Process) serveStats(w http.ResponseWriter, _ *http.Request) {
	switch all := p.all(); len(all) {
	case 0:
		write(w, http.StatusOK, consumers.Stats{})
	case 1:
		write(w, http.StatusOK, all[0].Stats())
	default:
		stats := map[string]consumers.Stats{}
		for _, c := range all {
			stats[c.name] = c.Stats()
		}
		write(w, http.StatusOK, stats)
	}
}

type status struct {
	Status string `json:"status"`
	Reason string `json:"reason,omitempty"`
}

// respond answers 200 if the status is ok, else 503.
func respond(w http.ResponseWriter, s status) {
	code := http.StatusOK
	if s != ok {
		code = http.StatusServiceUnavailable
	}
	write(w, code, s)
}

func write(w http.ResponseWriter, code int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(code)
	_ = json.NewEncoder(w).Encode(body) // a client that has gone needs no response
}
