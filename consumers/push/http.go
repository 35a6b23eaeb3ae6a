package push

import (
	_ "embed"
	"encoding/json"
	"html"
	"io"
	"net/http"
	"strings"

	"github.com/coder/websocket"

	"github.com/device-fanout/fanout/events"
)

//go:embed page.html
var pageText string

// typeOptions is where the page has the event types to choose from.
const typeOptions = "<!-- types -->"

// Handler returns the HTTP side: /ws for clients, /healthz, and a page with live events at /. It also works below a
// prefix, with [http.StripPrefix].
func (s *Service) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /ws", s.connect)
	mux.HandleFunc("GET /healthz", s.health)
	mux.HandleFunc("GET /{$}", servePage)
	return mux
}

// connect makes a client of a request and serves it until it is gone.
func (s *Service) connect(w http.ResponseWriter, r *http.Request) {
	if shown, right := s.authorized(r); !right {
		if shown {
			s.attempts.Failed(r)
		}
		w.Header().Set("WWW-Authenticate", "Bearer")
		http.Error(w, "a token is wanted: Authorization: Bearer TOKEN, or the subprotocol "+tokenProtocol+"TOKEN", http.StatusUnauthorized)
		return
	}
	first, after, err := parseQuery(r.URL.RawQuery)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	c := &client{
		remote: r.RemoteAddr,
		buffer: make(chan []byte, s.cfg.Buffer),
		ending: make(chan farewell, 1),
		after:  after,
	}
	// Before the handshake: who is not let in still speaks HTTP.
	if err := s.audience.enter(c, first); err != nil {
		w.Header().Set("Retry-After", "10")
		http.Error(w, err.Error(), http.StatusServiceUnavailable)
		return
	}
	defer s.audience.leave(c)
	if s.cfg.Feed != nil && !s.follower.begun.Load() {
		w.Header().Set("Retry-After", "2")
		http.Error(w, "push: the feed is not read yet, try again later", http.StatusServiceUnavailable)
		return
	}
	if after.ID == "" { // what is handled from now on waits in the buffer
		s.audience.listen(c)
	}
	c.conn, err = websocket.Accept(w, r, &websocket.AcceptOptions{
		OriginPatterns: s.cfg.OriginPatterns, Subprotocols: []string{Subprotocol},
	})
	if err != nil { // Accept has answered
		s.logger.Info("client refused", "remote", c.remote, "reason", err.Error())
		return
	}
	c.conn.SetReadLimit(maxMessageBytes)
	s.logger.Debug("client connected", "remote", c.remote, "devices", len(first.devices), "types", len(first.types), "after", after.ID)
	s.serve(s.ctx, c) // not the request's context: that one means nothing once the connection is no longer HTTP
	s.logger.Debug("client gone", "remote", c.remote)
}

// health answers whether the service takes clients. A feed that can't be read any more is no reason to replace it: its clients wait there.
func (s *Service) health(w http.ResponseWriter, _ *http.Request) {
	status, code := "ok", http.StatusOK
	switch {
	case !s.audience.open():
		status, code = "closing", http.StatusServiceUnavailable
	case s.cfg.Feed != nil && !s.follower.ready.Load():
		status, code = "starting", http.StatusServiceUnavailable
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(code)
	_ = json.NewEncoder(w).Encode(map[string]any{"status": status, "clients": s.audience.size()}) // the client may be gone
}

func servePage(w http.ResponseWriter, _ *http.Request) {
	header := w.Header()
	header.Set("Content-Type", "text/html; charset=utf-8")
	header.Set("Cache-Control", "no-cache")
	header.Set("X-Content-Type-Options", "nosniff")
	header.Set("Content-Security-Policy",
		"default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; connect-src 'self'; frame-ancestors 'none'")
	var options strings.Builder
	for _, t := range events.Types() {
		options.WriteString("<option>" + html.EscapeString(t.Name) + "</option>")
	}
	_, _ = io.WriteString(w, strings.Replace(pageText, typeOptions, options.String(), 1)) // the client may be gone
}
