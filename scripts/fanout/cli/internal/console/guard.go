package console

import (
	"crypto/hmac"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"net/http"
	"slices"
)

const cookie = "fanout_console"

// guard passes on only requests with the token and a known host name, and forms only from the console's own pages.
func (c *Console) guard(next http.Handler) http.Handler {
	forms := http.NewCrossOriginProtection()
	forms.SetDenyHandler(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		c.refuse(w, "this request comes from another page; open the console itself")
	}))
	inner := forms.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPost && !equal(r.PostFormValue("csrf"), c.csrf()) {
			c.refuse(w, "this form is out of date, or not of this console; go back and load the page again")
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
		if !slices.Contains(c.cfg.Hosts, r.Host) {
			http.Error(w, "the console does not go by the name "+r.Host, http.StatusMisdirectedRequest)
			return
		}
		if token := r.URL.Query().Get("token"); token != "" && r.Method == http.MethodGet {
			if !equal(token, c.token) {
				c.refuse(w, "this is not the console's token; it prints its address anew at every start")
				return
			}
			http.SetCookie(w, &http.Cookie{Name: cookie, Value: c.token, Path: "/", HttpOnly: true, SameSite: http.SameSiteStrictMode})
			http.Redirect(w, r, r.URL.Path, http.StatusSeeOther)
			return
		}
		if shown, err := r.Cookie(cookie); err != nil || !equal(shown.Value, c.token) {
			c.refuse(w, "open the address that the command has printed: it has the token that lets a browser in")
			return
		}
		inner.ServeHTTP(w, r)
	})
}

// refuse answers 403 and reveals nothing about the environment.
func (c *Console) refuse(w http.ResponseWriter, why string) {
	http.Error(w, "fanout console: "+why, http.StatusForbidden)
}

// csrf is what a form of this console must carry.
func (c *Console) csrf() string {
	mac := hmac.New(sha256.New, []byte(c.token))
	mac.Write([]byte("csrf"))
	return hex.EncodeToString(mac.Sum(nil))
}

func equal(a, b string) bool { return subtle.ConstantTimeCompare([]byte(a), []byte(b)) == 1 }
