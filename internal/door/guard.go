package door

import (
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
)

// Guard keeps web pages from using a server through the browser of whoever visits them. It looks at what browsers send and pages can't
// forge: the name by which the server was called, which gives away a foreign name that was pointed at this machine (DNS rebinding), and the origin of
// the page that asks. Other programs send neither a foreign name nor an origin. The zero value is the guard of a server on loopback.
type Guard struct {
	// Hosts are the Host headers that are taken, with their ports. Nil means the names of the loopback interface, with any port: localhost and
	// what is below it, 127.0.0.0/8, ::1.
	Hosts []string
	// Links takes a GET that opens a page because somebody has followed a link on another site. It is for servers whose GETs
	// change nothing.
	Links bool
	// Refuse answers a request that is not let in. Nil answers with a line of text.
	Refuse func(w http.ResponseWriter, status int, why string)
}

// Loopback is the guard of a server that asks for no key and listens on l: nil for one that was exposed to other machines on purpose.
func Loopback(l net.Listener) *Guard {
	if !IsLoopback(l.Addr()) {
		return nil
	}
	return &Guard{}
}

// admits lets a request in, or answers it.
func (g *Guard) admits(w http.ResponseWriter, r *http.Request) bool {
	status, why := http.StatusForbidden, "this request comes from another site's page"
	switch {
	case !g.knows(r.Host):
		status, why = http.StatusMisdirectedRequest, "this server does not go by the name "+r.Host
	case !g.foreign(r):
		return true
	}
	if g.Refuse != nil {
		g.Refuse(w, status, why)
		return false
	}
	http.Error(w, why, status)
	return false
}

// Handler is next behind the guard, for servers of others.
func (g *Guard) Handler(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if g.admits(w, r) {
			next.ServeHTTP(w, r)
		}
	})
}

// knows tells whether the server goes by that name. No browser leaves it out.
func (g *Guard) knows(host string) bool {
	if host == "" {
		return true
	}
	if g.Hosts != nil {
		return slices.ContainsFunc(g.Hosts, func(name string) bool { return strings.EqualFold(name, host) })
	}
	return isLoopbackName(host)
}

// isLoopbackName tells whether a host, with or without a port, can be no other machine.
func isLoopbackName(host string) bool {
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	host = strings.ToLower(strings.TrimSuffix(strings.Trim(host, "[]"), "."))
	if host == "localhost" || strings.HasSuffix(host, ".localhost") {
		return true
	}
	a, err := netip.ParseAddr(host)
	return err == nil && a.Unmap().IsLoopback()
}

// foreign tells whether a page of another origin asks.
func (g *Guard) foreign(r *http.Request) bool {
	origins := r.Header.Values("Origin")
	for _, origin := range origins {
		u, err := url.Parse(origin)
		if err != nil || u.Scheme == "" || !strings.EqualFold(u.Host, r.Host) {
			return true
		}
	}
	switch r.Header.Get("Sec-Fetch-Site") {
	case "", "none", "same-origin":
		return false
	}
	if len(origins) > 0 { // all of them are its own
		return false
	}
	link := r.Header.Get("Sec-Fetch-Mode") == "navigate" && r.Header.Get("Sec-Fetch-Dest") == "document"
	return !g.Links || !link || r.Method != http.MethodGet
}
