package gateway_test

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/device-fanout/fanout/producer/gateway"
)

// TestStream_AreBoundedPerKey: one client can't take the memory of all streams; others still get theirs.
func TestStream_AreBoundedPerKey(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newFakeWorld(t, confirming, gateway.Config{MaxStreams: 2})
		other, err := gateway.AddKey(w.keyFile, "other")
		if err != nil {
			t.Fatal(err)
		}
		w.reload(t)
		open := func() (end func() answer) {
			body, client := io.Pipe()
			stream := make(chan answer, 1)
			go func() { stream <- w.postAs(t, w.key, ndjson, body) }()
			synctest.Wait()
			return func() answer {
				_ = client.Close()
				return <-stream
			}
		}
		first, second := open(), open()
		refused := w.post(t, ndjson, power("hall", "e1")+"\n")
		if p := refused.wantProblem(t, http.StatusTooManyRequests, "too-many-streams"); !strings.Contains(p.Detail, "2 streams") || refused.header.Get("Retry-After") == "" {
			t.Errorf("got %+v, want the limit and Retry-After", p)
		}
		if got := w.postAs(t, other, ndjson, strings.NewReader(power("hall", "e1")+"\n")); got.status != http.StatusOK {
			t.Errorf("another key: got %d, want 200", got.status)
		}
		first()
		synctest.Wait()
		if got := w.post(t, ndjson, power("hall", "e1")+"\n"); got.status != http.StatusOK {
			t.Errorf("after one has ended: got %d, want 200", got.status)
		}
		second()
		w.stop()
	})
}

// TestServe_HalfARequestDoesNotHoldUpTheEnd, wherever it stops.
func TestServe_HalfARequestDoesNotHoldUpTheEnd(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newFakeWorld(t, confirming, gateway.Config{DrainTimeout: time.Hour, BodyTimeout: time.Hour})
		head := "POST /v1/events HTTP/1.1\r\nHost: gateway\r\nContent-Type: application/json\r\n"
		silent, _ := w.rawRequest(t, "")
		half, _ := w.rawRequest(t, head)
		keyless, _ := w.rawRequest(t, head+"Content-Length: 100\r\n\r\n")
		body, in := w.rawRequest(t, head+"Authorization: Bearer "+w.key+"\r\nContent-Length: 100\r\n\r\n{")
		for _, conn := range []net.Conn{silent, half, keyless, body} {
			defer conn.Close()
		}
		go func() { _, _ = io.Copy(io.Discard, keyless) }()
		synctest.Wait()
		begin := time.Now()
		answered := make(chan int, 1)
		go func() {
			answer, err := http.ReadResponse(in, nil)
			if err != nil {
				t.Error(err)
				answered <- 0
				return
			}
			_, _ = io.Copy(io.Discard, answer.Body)
			answered <- answer.StatusCode
		}()
		w.stop()
		if took := time.Since(begin); took > 3*time.Second {
			t.Errorf("the end took %v, want a second or two", took)
		}
		if got := <-answered; got != http.StatusServiceUnavailable {
			t.Errorf("half a body: got %d, want 503: send it again", got)
		}
	})
}

// TestServe_TakesNothingFromWebPagesWithoutKeys; with keys a page can't do anything, as it has none.
func TestServe_TakesNothingFromWebPagesWithoutKeys(t *testing.T) {
	t.Parallel()
	g, err := gateway.New(confirming, gateway.Anyone(), gateway.Config{})
	if err != nil {
		t.Fatal(err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	client := &http.Client{Transport: &http.Transport{}}
	untilTheEnd(t, func(ctx context.Context) error { return g.Serve(ctx, listener) })
	defer client.CloseIdleConnections()
	for name, c := range map[string]struct {
		host, origin string
		want         int
	}{"curl": {"", "", 202}, "a page": {"", "https://evil.example", 403}, "DNS rebinding": {"evil.example", "http://evil.example", 421}} {
		request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://"+listener.Addr().String()+"/v1/events", strings.NewReader(power("hall", "e1")))
		if err != nil {
			t.Fatal(err)
		}
		request.Host = c.host
		request.Header.Set("Content-Type", "application/json")
		if c.origin != "" {
			request.Header.Set("Origin", c.origin)
		}
		response, err := client.Do(request)
		if err != nil {
			t.Fatal(err)
		}
		_ = response.Body.Close()
		if response.StatusCode != c.want {
			t.Errorf("%s: got %d, want %d", name, response.StatusCode, c.want)
		}
		if media := response.Header.Get("Content-Type"); c.want != 202 && media != "application/problem+json" {
			t.Errorf("%s: got an answer of type %s, want a problem document", name, media)
		}
	}
}

// TestServe_HTTP2 by a TLS listener.
func TestServe_HTTP2(t *testing.T) {
	t.Parallel()
	authority := httptest.NewTLSServer(nil)
	defer authority.Close()
	w := newFakeWorld(t, confirming, gateway.Config{})
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	encrypted := tls.NewListener(listener, &tls.Config{Certificates: authority.TLS.Certificates, NextProtos: []string{"h2", "http/1.1"}})
	untilTheEnd(t, func(ctx context.Context) error { return w.Serve(ctx, encrypted) })
	transport := authority.Client().Transport.(*http.Transport).Clone()
	transport.ForceAttemptHTTP2 = true
	client := &http.Client{Transport: transport}
	defer client.CloseIdleConnections()
	for n := range 3 {
		request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "https://"+listener.Addr().String()+"/v1/events", strings.NewReader(power("hall", fmt.Sprint(n))))
		if err != nil {
			t.Fatal(err)
		}
		request.Header.Set("Content-Type", "application/json")
		request.Header.Set("Authorization", "Bearer "+w.key)
		response, err := client.Do(request)
		if err != nil {
			t.Fatal(err)
		}
		_ = response.Body.Close()
		if response.StatusCode != http.StatusAccepted || response.ProtoMajor != 2 {
			t.Errorf("got %d by %s, want 202 by HTTP/2", response.StatusCode, response.Proto)
		}
	}
}
