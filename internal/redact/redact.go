// Package redact takes secrets out of URLs before they are shown: in errors, log lines, plans and pages.
//
// Where it can't tell what is a secret it takes out too much. A secret in the path of a URL, as in those of some web hooks, it can't
// know.
package redact

import (
	"net/url"
	"regexp"
	"strings"
)

// mark stands where a secret stood.
const mark = "xxxxx"

// secretWords are in the names of parameters whose values are secrets; secretNames are such names.
var (
	secretWords = []string{"pass", "pwd", "secret", "token", "signature", "credential", "auth", "key", "jwt"}
	secretNames = []string{"sig", "code", "sas"}
)

// urls finds URLs in a text, pairs the assignments of passwords and tokens outside of them, as in host=db password=… or
// {"password": "…"}.
var (
	urls  = regexp.MustCompile("[A-Za-z][A-Za-z0-9+.-]*://[^\\s\"'`<>]+")
	pairs = regexp.MustCompile(`(?i)\b((?:ssl)?password|passwd|pwd|token|secret)(\s*=\s*|\\?"\s*:\s*)('(?:[^'\\]|\\.)*'?|\\?"(?:[^"\\]|\\.)*"?|[^\s&,;'"}]+)`)
)

// URL returns a URL, or what somebody took for one, without its secrets: the password before the host, the user too for HTTP, and the
// values of parameters that are called like secrets. All of text is taken for the URL. Of what can't be parsed, or may have a password
// that needs escapes, only the scheme is left. A text without :// is returned as it is.
func URL(text string) string {
	scheme, rest, found := strings.Cut(text, "://")
	if !found {
		return text
	}
	u, err := url.Parse(text)
	at := strings.LastIndexByte(rest, '@')
	if host := strings.IndexAny(rest, "/?#"); err != nil || host >= 0 && host < at {
		if !isScheme(scheme) {
			scheme = "…"
		}
		return scheme + "://…"
	}
	if at >= 0 {
		name, _, hasPassword := strings.Cut(rest[:at], ":")
		if u.Scheme == "http" || u.Scheme == "https" {
			name, hasPassword = mark, false // a token may stand for the user
		}
		if hasPassword {
			name += ":" + mark
		}
		rest = name + rest[at:]
	}
	return scheme + "://" + parameters(rest)
}

func isScheme(text string) bool {
	return !strings.ContainsFunc(text, func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && !strings.ContainsRune("+-.", r)
	})
}

// parameters returns the end of a URL without the secrets behind its question mark and its hash. What has no name behind a secret may be
// the rest of it.
func parameters(rest string) string {
	start := strings.IndexAny(rest, "?#")
	if start < 0 {
		return rest
	}
	pairs, secret := strings.Split(rest[start+1:], "&"), false
	for i, pair := range pairs {
		if !strings.Contains(pair, "=") {
			if secret {
				pairs[i] = mark
			}
			continue
		}
		secret = false
		for at, char := range pair {
			if char == '=' && isSecret(pair[strings.LastIndexAny(pair[:at], "?#;=")+1:at]) {
				pairs[i], secret = pair[:at+1]+mark, true
				break
			}
		}
	}
	return rest[:start+1] + strings.Join(pairs, "&")
}

func isSecret(name string) bool {
	if plain, err := url.QueryUnescape(name); err == nil {
		name = plain
	}
	name = strings.ToLower(name)
	for _, word := range secretWords {
		if strings.Contains(name, word) {
			return true
		}
	}
	for _, whole := range secretNames {
		if name == whole {
			return true
		}
	}
	return false
}

// Text returns a text without the secrets of the URLs in it, and without the passwords that it assigns, as in password=….
func Text(text string) string {
	if strings.Contains(text, "://") {
		text = urls.ReplaceAllStringFunc(text, func(found string) string {
			address := strings.TrimRight(found, ":,.;)]}") // of the text around it
			return URL(address) + found[len(address):]
		})
	}
	return pairs.ReplaceAllString(text, "${1}${2}"+mark)
}
