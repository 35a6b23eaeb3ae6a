package console

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/device-fanout/fanout/internal/door"
)

// cookie is the name of the session's cookie. Browsers keep cookies by host, whatever the port: consoles side by side, as of two environments, must
// not throw each other's out.
func cookie(r *http.Request) string {
	_, port, _ := net.SplitHostPort(r.Host)
	return "fanout_console_" + port
}

// sessionFor is how long a browser stays in; after that it wants the printed address again.
const sessionFor = 12 * time.Hour

// guard passes on only requests by a known host name, from no other site's page, and with a session; forms also with their secret.
func (c *Console) guard(next http.Handler) http.Handler {
	pages := &door.Guard{Hosts: append([]string{}, c.cfg.Hosts...), Links: true, Refuse: c.refuse}
	inner := pages.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if token := r.URL.Query().Get("token"); token != "" && r.Method == http.MethodGet {
			c.login(w, r, token)
			return
		}
		if shown, err := r.Cookie(cookie(r)); err != nil || !c.isSession(shown.Value, time.Now()) {
			c.refuse(w, http.StatusForbidden, "open the address that the command has printed: it has the token that lets a browser in")
			return
		}
		if r.Method == http.MethodPost && !equal(r.PostFormValue("csrf"), c.csrf()) {
			c.refuse(w, http.StatusForbidden, "this form is out of date, or not of this console; go back and load the page again")
			return
		}
		next.ServeHTTP(w, r)
	}))
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Security-Policy", "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'")
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Referrer-Policy", "same-origin")
		h.Set("Cache-Control", "no-store")
		inner.ServeHTTP(w, r)
	})
}

// login gives a browser that shows the token a session of its own: the token itself is kept nowhere but in the printed address.
func (c *Console) login(w http.ResponseWriter, r *http.Request, token string) {
	if c.logins.Refuse(w, r) {
		return
	}
	if !equal(token, c.token) {
		c.logins.Failed(r)
		c.refuse(w, http.StatusForbidden, "this is not the console's token; it prints its address anew at every start")
		return
	}
	http.SetCookie(w, &http.Cookie{
		Name: cookie(r), Value: c.session(time.Now()), Path: "/", MaxAge: int(sessionFor.Seconds()),
		HttpOnly: true, Secure: r.TLS != nil, SameSite: http.SameSiteStrictMode,
	})
	http.Redirect(w, r, r.URL.Path, http.StatusSeeOther)
}

// session makes what a browser shows from now on: when it ends, a random part, and the signature of both.
func (c *Console) session(now time.Time) string {
	text := strconv.FormatInt(now.Add(sessionFor).Unix(), 10) + "." + rand.Text()
	return text + "." + c.sign("session "+text)
}

// isSession tells whether this console has made the session, and it has not ended.
func (c *Console) isSession(value string, now time.Time) bool {
	at := strings.LastIndexByte(value, '.')
	if at < 0 || !equal(value[at+1:], c.sign("session "+value[:at])) {
		return false
	}
	end, _, _ := strings.Cut(value, ".")
	until, err := strconv.ParseInt(end, 10, 64)
	return err == nil && now.Before(time.Unix(until, 0))
}

// refuse reveals nothing about the environment.
func (c *Console) refuse(w http.ResponseWriter, status int, why string) {
	http.Error(w, "fanout console: "+why, status)
}

// csrf is what a form of this console must carry.
func (c *Console) csrf() string { return c.sign("csrf") }

func (c *Console) sign(text string) string {
	mac := hmac.New(sha256.New, c.secret)
	mac.Write([]byte(text))
	return hex.EncodeToString(mac.Sum(nil))
}

func equal(a, b string) bool { return subtle.ConstantTimeCompare([]byte(a), []byte(b)) == 1 }
