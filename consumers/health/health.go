// Package health answers for a consumer over HTTP: whether its process is alive, whether it takes work, and which devices can't go on.
//
//	GET /healthz  200 while the consumer's loop turns, else 503: restart the process
//	GET /readyz   200 while events are received, else 503 with the reason: not running, draining, paused, breaker
//	GET /blocked  the blocked devices as JSON, the longest first, see [consumers.Blocked]
//	GET /stats    what the consumer has counted as JSON, see [consumers.Stats]
//
// Metrics are the business of package telemetry and of an exporter; mount its handler beside these, as fanout consume does.
package health

import (
	"context"
	"encoding/json"
	"net/http"
	"time"

	"github.com/device-fanout/fanout/consumers"
)

// loopTimeout is how long the consumer's loop may take to answer. It does nothing but memory work.
const loopTimeout = 5 * time.Second

// Handler serves the paths of the package comment for c.
func Handler(c *consumers.Consumer) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, r *http.Request) {
		ctx, cancel := context.WithTimeout(r.Context(), loopTimeout)
		defer cancel()
		if _, err := c.Blocked(ctx); err != nil {
			respond(w, http.StatusServiceUnavailable, status{"stuck", "the consumer's loop does not respond: " + err.Error()})
			return
		}
		respond(w, http.StatusOK, status{Status: "ok"})
	})
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) {
		s := c.Stats()
		switch {
		case !s.Running:
			respond(w, http.StatusServiceUnavailable, status{"stopped", "the consumer is not running"})
		case s.Draining:
			respond(w, http.StatusServiceUnavailable, status{"draining", "the consumer is stopping"})
		case s.Paused:
			respond(w, http.StatusServiceUnavailable, status{"paused", "the consumer is paused"})
		case s.Open:
			respond(w, http.StatusServiceUnavailable, status{"breaker", "the circuit breaker is open: events can't be handled at the moment"})
		default:
			respond(w, http.StatusOK, status{Status: "ok"})
		}
	})
	mux.HandleFunc("GET /blocked", func(w http.ResponseWriter, r *http.Request) {
		ctx, cancel := context.WithTimeout(r.Context(), loopTimeout)
		defer cancel()
		list, err := c.Blocked(ctx)
		if err != nil {
			respond(w, http.StatusServiceUnavailable, status{"stuck", err.Error()})
			return
		}
		if list == nil {
			list = []consumers.Blocked{}
		}
		respond(w, http.StatusOK, list)
	})
	mux.HandleFunc("GET /stats", func(w http.ResponseWriter, _ *http.Request) { respond(w, http.StatusOK, c.Stats()) })
	return mux
}

type status struct {
	Status string `json:"status"`
	Reason string `json:"reason,omitempty"`
}

func respond(w http.ResponseWriter, code int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(code)
	_ = json.NewEncoder(w).Encode(body) // a client that has gone needs no response
}
