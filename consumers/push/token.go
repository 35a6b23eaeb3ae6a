package push

import (
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"net/http"
	"regexp"
	"strings"
)

// Subprotocol is what a client that names WebSocket subprotocols asks for. One that names none is let in too.
const Subprotocol = "fanout.events.v1"

// tokenProtocol is what the subprotocol begins with in which a browser hides its token: a page can set no header, and
// what stands in a URL ends up in logs.
const tokenProtocol = "fanout.token."

// legalToken is what can stand in a header, a subprotocol and a URL without being escaped.
var legalToken = regexp.MustCompile(`^[A-Za-z0-9._~-]{16,256}$`)

// CheckToken returns an error if token cannot be a [Config.Token]. The error does not show it.
func CheckToken(token string) error {
	if token != "" && !legalToken.MatchString(token) {
		return errors.New("push: token: want 16 to 256 letters, digits or any of - . _ ~")
	}
	return nil
}

// authorized tells whether a request shows a token at all, and whether it is the right one, if one is wanted.
func (s *Service) authorized(r *http.Request) (shown, right bool) {
	if s.cfg.Token == "" {
		return false, true
	}
	if token, found := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer "); found {
		return true, s.isToken(token)
	}
	for _, list := range r.Header.Values("Sec-WebSocket-Protocol") {
		for name := range strings.SplitSeq(list, ",") {
			if token, found := strings.CutPrefix(strings.TrimSpace(name), tokenProtocol); found {
				return true, s.isToken(token)
			}
		}
	}
	return false, false
}

// isToken compares in a time that tells nothing of either.
func (s *Service) isToken(token string) bool {
	got, want := sha256.Sum256([]byte(token)), sha256.Sum256([]byte(s.cfg.Token))
	return subtle.ConstantTimeCompare(got[:], want[:]) == 1
}
