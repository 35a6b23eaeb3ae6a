package console

import (
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// tripper answers requests without a network.
type tripper func(*http.Request) (*http.Response, error)

func (f tripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// TestBlocked_ConsumersThatDoNotAnswer: one that hangs, fails or talks nonsense is told of, in time, and the others are heard.
func TestBlocked_ConsumersThatDoNotAnswer(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		asked := 0
		b := newBlocked([]string{"http://hangs/blocked", "http://fails/blocked", "http://html/blocked", "http://works/blocked"})
		b.client.Transport = tripper(func(r *http.Request) (*http.Response, error) {
			says := func(status int, body string) (*http.Response, error) {
				return &http.Response{StatusCode: status, Status: http.StatusText(status), Body: io.NopCloser(strings.NewReader(body))}, nil
			}
			switch r.Host {
			case "hangs":
				<-r.Context().Done()
				return nil, r.Context().Err()
			case "fails":
				return says(http.StatusServiceUnavailable, "{}")
			case "html":
				return says(http.StatusOK, "<html>")
			}
			if r.URL.Path == "/readyz" {
				return says(http.StatusServiceUnavailable, `{"status": "not_ready", "reason": "the check says: refused"}`)
			}
			asked++
			return says(http.StatusOK, `[{"service": "push", "device_id": "hub-3", "since": "2026-01-31T12:00:00Z"}]`)
		})
		start := time.Now()
		answers := b.get(t.Context())
		if took := time.Since(start); took != askTimeout {
			t.Errorf("the answers took %v, want %v", took, askTimeout)
		}
		var v devicesView
		v.addBlocked(answers)
		if v.Consumers != 4 || len(v.Blocked) != 1 || v.Blocked[0].DeviceID != "hub-3" || len(v.Silent) != 3 {
			t.Fatalf("got %+v", v)
		}
		if len(v.NotReady) != 1 || v.NotReady[0].Address != "http://works" || v.NotReady[0].NotReady != "the check says: refused" {
			t.Errorf("got %+v, want the one that is not ready", v.NotReady)
		}
		for i, want := range []string{"did not answer within 1s", "Service Unavailable", "not a list of blocked devices"} {
			if got := v.Silent[i].Err.Error(); !strings.Contains(got, want) {
				t.Errorf("%s: got %q, want %q", v.Silent[i].Address, got, want)
			}
		}
		b.get(t.Context())
		if asked != 1 {
			t.Errorf("asked %d times at once, want one round", asked)
		}
		time.Sleep(blockedFor)
		b.get(t.Context())
		if asked != 2 {
			t.Errorf("asked %d times, want again after %v", asked, blockedFor)
		}
	})
}

func TestParseConsumer(t *testing.T) {
	t.Parallel()
	for address, want := range map[string]string{
		"http://127.0.0.1:8080": "http://127.0.0.1:8080/blocked", "http://127.0.0.1:8080/": "http://127.0.0.1:8080/blocked",
		"http://127.0.0.1:8080/blocked": "http://127.0.0.1:8080/blocked", "https://in.example/history": "https://in.example/history/blocked",
		"127.0.0.1:8080": "", "localhost": "", "": "", "ftp://x": "", "http://": "",
	} {
		got, err := ParseConsumer(address)
		if got != want || (err == nil) != (want != "") {
			t.Errorf("%q: got %q, %v, want %q", address, got, err, want)
		}
	}
}

func TestUntil_SaysWhenAtTheLatest(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 1, 31, 12, 0, 0, 0, time.UTC)
	for want, at := range map[string]time.Time{
		"open": {}, "now": now.Add(-time.Hour), "in 90 s": now.Add(90 * time.Second), "in 5 min": now.Add(5 * time.Minute), "in 11 h": now.Add(11 * time.Hour),
	} {
		if got := until(now, at); got != want {
			t.Errorf("%v: got %q, want %q", at, got, want)
		}
	}
}
