package redact_test

import (
	"net/url"
	"strings"
	"testing"

	"github.com/device-fanout/fanout/internal/redact"
)

func TestURL_TakesSecretsOut(t *testing.T) {
	t.Parallel()
	tests := map[string]string{
		"":                                   "",
		"data/history.db":                    "data/history.db",
		"http://127.0.0.1:4566":              "http://127.0.0.1:4566",
		"http://[::1]:4566/a?b=c#d":          "http://[::1]:4566/a?b=c#d",
		"https://hooks.test/a?b&c=%zz":       "https://hooks.test/a?b&c=%zz",
		"mqtt://hall:secret@broker:1883":     "mqtt://hall:xxxxx@broker:1883",
		"mqtt://:secret@broker":              "mqtt://:xxxxx@broker",
		"mqtt://hall@broker":                 "mqtt://hall@broker",
		"mqtt://a:secret@x:secret@broker":    "mqtt://a:xxxxx@broker",
		"mqtt://a:sec/ret@broker":            "mqtt://…",
		"mqtt://a:1/secret@broker":           "mqtt://…",
		"mqtt://a:se@c/r@et@broker":          "mqtt://…",
		"mqtt://a:sec#ret@broker":            "mqtt://…",
		"mqtt://a:sec ret@broker":            "mqtt://…",
		"mqtt://a:%zzsecret@broker?token=s":  "mqtt://…",
		"host=db password=secret x://%zz":    "…://…",
		"mqtt://a:secret":                    "mqtt://…",
		"HTTPS://secret@hooks.test/a":        "HTTPS://xxxxx@hooks.test/a",
		"https://hooks.test/?token=secret":   "https://hooks.test/?token=xxxxx",
		"https://h.test/?a=b&TOKEN=secret&c": "https://h.test/?a=b&TOKEN=xxxxx&xxxxx",
		"https://h.test/?pass%77ord=secret":  "https://h.test/?pass%77ord=xxxxx",
		"https://h.test/?a;api_key=secret;b": "https://h.test/?a;api_key=xxxxx",
		"https://h.test/?a=b#token=secret":   "https://h.test/?a=b#token=xxxxx",
		"https://h.test/#access_token=sec":   "https://h.test/#access_token=xxxxx",
		"https://b.test/k?X-Amz-Credential=secret%2Fa&X-Amz-Date=1&X-Amz-Signature=secret&X-Amz-Security-Token=secret": "https://b.test/k?X-Amz-Credential=xxxxx&X-Amz-Date=1&X-Amz-Signature=xxxxx&X-Amz-Security-Token=xxxxx",
		"postgres://a:secret@db/x?sslmode=require&sslpassword=secret":                                                  "postgres://a:xxxxx@db/x?sslmode=require&sslpassword=xxxxx",
	}
	for text, want := range tests {
		if got := redact.URL(text); got != want {
			t.Errorf("URL(%q): got %q, want %q", text, got, want)
		}
	}
}

func TestText_TakesSecretsOutOfWhatIsAround(t *testing.T) {
	t.Parallel()
	tests := map[string]string{
		"":                            "",
		"got 3, want 4: see https://": "got 3, want 4: see https://",
		"password authentication failed for user \"a\"":                  "password authentication failed for user \"a\"",
		`Get "https://a:secret@h.test/?token=secret": refused`:           `Get "https://xxxxx@h.test/?token=xxxxx": refused`,
		"tried mqtt://a:secret@one, then mqtt://b:secret@two":            "tried mqtt://a:xxxxx@one, then mqtt://b:xxxxx@two",
		"endpoint http://127.0.0.1:4566: refused":                        "endpoint http://127.0.0.1:4566: refused",
		"(at http://a:secret@[::1]:4566).":                               "(at http://xxxxx@[::1]:4566).",
		"--token: got 3 characters, want 16":                             "--token: got 3 characters, want 16",
		"host=db user=a password=secret sslmode=require":                 "host=db user=a password=xxxxx sslmode=require",
		`host=db password='sec ret\' secret' user=a`:                     `host=db password=xxxxx user=a`,
		`{"host":"db","password":"sec\"ret","port":5432}`:                `{"host":"db","password":xxxxx,"port":5432}`,
		"(see http://127.0.0.1:9325/metrics) and [http://127.0.0.1:1/x]": "(see http://127.0.0.1:9325/metrics) and [http://127.0.0.1:1/x]",
	}
	for text, want := range tests {
		if got := redact.Text(text); got != want {
			t.Errorf("Text(%q):\n got %q\nwant %q", text, got, want)
		}
	}
}

// FuzzURL: the password of a URL is never in what is shown, whatever characters it has.
func FuzzURL(f *testing.F) {
	for _, password := range []string{"secret", "a@b", "a/b", "a?b", "a#b", "%zz", "a b", "[::1]", ":", "a\nb", "\x00"} {
		f.Add(password)
	}
	f.Fuzz(func(t *testing.T, password string) {
		const marker = "SECRET"
		password = marker + password + marker
		for _, scheme := range []string{"mqtt", "postgres", "https"} {
			for _, text := range []string{
				scheme + "://user:" + password + "@host/path",
				scheme + "://user:" + url.QueryEscape(password) + "@host/path",
				scheme + "://host/path?a=b&token=" + url.QueryEscape(password),
				scheme + "://host/path?a=b&token=" + strings.ReplaceAll(password, "=", ""),
			} {
				if got := redact.URL(text); strings.Contains(got, marker) {
					t.Errorf("URL(%q): got %q, want it without the password", text, got)
				}
			}
		}
	})
}
