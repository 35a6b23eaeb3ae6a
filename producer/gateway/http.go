package gateway

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net"
	"net/http"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/device-fanout/fanout/events"
	"github.com/device-fanout/fanout/internal/door"
)

// Handler returns the HTTP side: POST /v1/events, /healthz and /readyz. Timeouts of headers are the server's; [Gateway.Serve] is one
// that has them.
func (g *Gateway) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /v1/events", g.postEvents)
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { writeState(w, http.StatusOK, "ok") })
	mux.HandleFunc("GET /readyz", g.ready)
	for path, allowed := range map[string]string{"/v1/events": "POST", "/healthz": "GET, HEAD", "/readyz": "GET, HEAD"} {
		mux.HandleFunc(path, func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Allow", allowed)
			newProblem(kindMethod, fmt.Sprintf("%s: got %s, want %s", path, r.Method, allowed)).write(w)
		})
	}
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		newProblem(kindNotFound, fmt.Sprintf("got %q, want /v1/events, /healthz or /readyz", r.URL.Path)).write(w)
	})
	return mux
}

// transports, as labels of metrics.
const (
	overHTTP   = "http"
	overStream = "ndjson"
	overBatch  = "batch"
	overMQTT   = "mqtt"
)

func (g *Gateway) postEvents(w http.ResponseWriter, r *http.Request) {
	begin := time.Now()
	mode, problem := modeOf(r.Header)
	transport, p := mode.transport(), (*Problem)(nil)
	key, known := g.authenticate(r)
	switch {
	case !known:
		if r.Header.Get("Authorization") != "" {
			g.attempts.Failed(r)
		}
		p = newProblem(kindUnauthorized, "want the header Authorization: Bearer NAME.SECRET")
	case g.isClosing():
		p = newProblem(kindClosing, "")
	case problem != nil:
		p = problem
	case (mode == lineMode || mode == batchMode) && !g.limits.openStream(key.Name, g.cfg.MaxStreams):
		p = newProblem(kindStreams, fmt.Sprintf("the key %q may have %d streams open", key.Name, g.cfg.MaxStreams))
		p.retryAfter = time.Second
	case mode == lineMode:
		defer g.limits.closeStream(key.Name)
		g.stream(w, r, key)
		return
	case mode == batchMode:
		defer g.limits.closeStream(key.Name)
		if p = g.batch(w, r, key); p == nil {
			return
		}
	}
	var id string
	if p == nil {
		id, p = g.one(w, r, key, mode)
	}
	g.metrics.count(transport, p, time.Since(begin))
	_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(writeTimeout))
	if p != nil {
		p.write(w)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(http.StatusAccepted)
	_ = json.NewEncoder(w).Encode(acceptance{EventID: id}) // the client may be gone
}

// acceptance is the answer to an accepted event.
type acceptance struct {
	Line    int    `json:"line,omitempty"`
	Status  int    `json:"status,omitempty"`
	EventID string `json:"event_id"`
}

// noRoom answers where every connection is in use.
func (g *Gateway) noRoom(w http.ResponseWriter, _ *http.Request) {
	p := newProblem(kindConnections, "")
	g.metrics.count(overHTTP, p, 0)
	p.write(w)
}

// guard keeps web pages away where nobody is asked for a key.
func (g *Gateway) guard(l net.Listener) *door.Guard {
	if !g.keys.anyone {
		return nil
	}
	guard := door.Loopback(l)
	if guard != nil {
		guard.Refuse = func(w http.ResponseWriter, status int, why string) {
			p := newProblem(kindForeignPage, why)
			if status == http.StatusMisdirectedRequest {
				p = newProblem(kindForeignHost, why)
			}
			g.metrics.count(overHTTP, p, 0)
			p.write(w)
		}
	}
	return guard
}

func (g *Gateway) authenticate(r *http.Request) (Key, bool) {
	scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	if !strings.EqualFold(scheme, "Bearer") {
		token = ""
	}
	return g.keys.Check(strings.TrimSpace(token))
}

// mode is what a body has.
type mode int

// The modes. In the HTTP protocol binding of CloudEvents structuredMode is its structured content mode, and batchMode its batched one.
const (
	structuredMode mode = iota // one event, whole or in the short form
	binaryMode                 // the data of one event, whose attributes are headers
	lineMode                   // one event a line
	batchMode                  // a list of events
)

func (m mode) transport() string {
	switch m {
	case lineMode:
		return overStream
	case batchMode:
		return overBatch
	default:
		return overHTTP
	}
}

// modeOf tells what the headers say about a body.
func modeOf(header http.Header) (mode, *Problem) {
	if coding := header.Get("Content-Encoding"); coding != "" && coding != "identity" {
		return 0, newProblem(kindMediaType, fmt.Sprintf("Content-Encoding: got %q, want none", coding))
	}
	text := header.Get("Content-Type")
	media, _, _ := mime.ParseMediaType(text)
	switch {
	case media == "application/cloudevents+json":
		return structuredMode, nil
	case media == "application/cloudevents-batch+json":
		return batchMode, nil
	case isBinary(header) && (media == "application/json" || strings.HasSuffix(media, "+json") || text == ""):
		return binaryMode, nil
	case isBinary(header):
		return 0, newProblem(kindMediaType, fmt.Sprintf("Content-Type: got %q, want application/json: the data of an event is JSON", text))
	case media == "application/json":
		return structuredMode, nil
	case media == "application/x-ndjson", media == "application/ndjson", media == "application/jsonl":
		return lineMode, nil
	}
	return 0, newProblem(kindMediaType, fmt.Sprintf("Content-Type: got %q, want application/json or application/cloudevents+json for one event, "+
		"application/x-ndjson for one event a line, application/cloudevents-batch+json for a list of events", text))
}

// one takes the body as one event and waits for its acceptance.
func (g *Gateway) one(w http.ResponseWriter, r *http.Request, key Key, m mode) (id string, _ *Problem) {
	limit := key.Limit.or(g.cfg.Limit)
	if wait := take(g.limits.ofKey(key.Name, limit)); wait > 0 {
		return "", limited(fmt.Sprintf("the key %q may send %v events per second", key.Name, limit.PerSecond), wait)
	}
	body, p := g.readBody(w, r, g.cfg.MaxEventBytes)
	if p == nil && m == binaryMode {
		body, p = fromBinary(r.Header, body)
	}
	if p != nil {
		return "", p
	}
	e, p := g.parse(body, &key)
	if p != nil {
		return "", p
	}
	if wait := take(g.limits.ofDevice(key.Name, e.DeviceID, limit)); wait > 0 {
		return "", limited(fmt.Sprintf("the device may send %v events per second", limit.PerDevicePerSecond), wait)
	}
	ctx, cancel := context.WithTimeout(g.traced(r), g.cfg.Patience)
	defer cancel()
	answer := make(chan error, 1)
	g.send(ctx, e, func(err error) { answer <- err })
	var err error
	select {
	case err = <-answer:
	case <-ctx.Done():
		err = newProblem(kindUnconfirmed, "its outcome is unknown: send it again with the same id")
	}
	if err == nil {
		return e.ID, nil
	}
	p = problemOf(err)
	if p.mayPass() {
		p.EventID = e.ID
	}
	return "", p
}

// traced is the context of a request with the trace context of its header.
func (g *Gateway) traced(r *http.Request) context.Context {
	if g.cfg.Trace == nil {
		return r.Context()
	}
	return g.cfg.Trace(r.Context(), r.Header)
}

func (g *Gateway) readBody(w http.ResponseWriter, r *http.Request, most int) ([]byte, *Problem) {
	control := http.NewResponseController(w)
	_ = control.SetReadDeadline(time.Now().Add(g.cfg.BodyTimeout)) // where the server can't, it has timeouts of its own
	if g.isClosing() {
		_ = control.SetReadDeadline(time.Now().Add(min(g.cfg.BodyTimeout, time.Second)))
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, int64(most)))
	switch {
	case err == nil:
		_ = control.SetReadDeadline(time.Time{})
		return body, nil
	case errors.Is(err, os.ErrDeadlineExceeded) && g.isClosing():
		return nil, newProblem(kindClosing, "")
	case errors.Is(err, os.ErrDeadlineExceeded):
		return nil, newProblem(kindTooSlow, fmt.Sprintf("want all of it within %v", g.cfg.BodyTimeout))
	}
	if _, large := errors.AsType[*http.MaxBytesError](err); large {
		return nil, newProblem(kindTooLarge, fmt.Sprintf("want at most %d bytes", most))
	}
	return nil, newProblem(kindMalformed, "the body breaks off: "+err.Error())
}

// parse reads one event and sees whether the key may send it.
func (g *Gateway) parse(text []byte, key *Key) (events.Event, *Problem) {
	e, err := events.ParseLine(text)
	if err != nil {
		return e, problemOf(err)
	}
	if p := g.checkTime(e); p != nil {
		return e, p
	}
	if !key.MayUse(e.DeviceID) {
		return e, newProblem(kindForbidden, fmt.Sprintf("the key %q may not speak for device %q", key.Name, e.DeviceID))
	}
	if e.Source == "" {
		e.Source = key.Source
	}
	if key.Source != "" && e.Source != key.Source {
		return e, newProblem(kindForbiddenSource, fmt.Sprintf("the key %q speaks for source %q, got an event of source %q", key.Name, key.Source, e.Source))
	}
	return e, nil
}

func limited(detail string, wait time.Duration) *Problem {
	p := newProblem(kindLimited, detail)
	p.retryAfter = wait
	return p
}

// ready says whether this gateway should get new connections. What the query parameter exclude names, with commas between, is not asked for: buffer,
// spool, mqtt. It is for load balancers whose targets are replaced when they are not ready.
func (g *Gateway) ready(w http.ResponseWriter, r *http.Request) {
	excluded := strings.Split(r.URL.Query().Get("exclude"), ",")
	asked := func(what string) bool { return !slices.Contains(excluded, what) }
	switch {
	case g.isClosing():
		writeState(w, http.StatusServiceUnavailable, "closing")
	case g.leaving.Load():
		writeState(w, http.StatusServiceUnavailable, "shutting down")
	case asked("spool") && g.publisher.Stats().SpoolErr != nil: // the producer's log says why
		writeState(w, http.StatusServiceUnavailable, "the spool takes no events")
	case asked("buffer") && g.full(time.Now()):
		writeState(w, http.StatusServiceUnavailable, "buffer full")
	case asked("mqtt") && g.connected.Load() < g.subscribers.Load():
		writeState(w, http.StatusServiceUnavailable, "not connected to the MQTT broker")
	default:
		writeState(w, http.StatusOK, "ok")
	}
}

func writeState(w http.ResponseWriter, code int, state string) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(code)
	_ = json.NewEncoder(w).Encode(map[string]string{"status": state}) // the client may be gone
}
