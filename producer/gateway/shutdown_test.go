package gateway_test

import (
	"context"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/device-fanout/fanout/producer/gateway"
)

// TestServe_ShutdownDelay: for that long readiness is gone and everything else is served, by connections that were open and by new ones; each
// answer ends its connection. Then the gateway drains.
func TestServe_ShutdownDelay(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const delay = 20 * time.Second
		w := newFakeWorld(t, confirming, gateway.Config{ShutdownDelay: delay})
		var connections atomic.Int64
		w.client.Transport = &http.Transport{DialContext: func(context.Context, string, string) (net.Conn, error) {
			connections.Add(1)
			return w.pipe.dial()
		}}
		post := func(t *testing.T) (status int, last bool) {
			t.Helper()
			request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://gateway/v1/events", strings.NewReader(
				`{"device_id":"lamp-7","type":"device.power.changed.v1","time":"2026-01-31T12:00:00Z","data":{"on":true}}`))
			if err != nil {
				t.Fatal(err)
			}
			request.Header.Set("Content-Type", "application/json")
			request.Header.Set("Authorization", "Bearer "+w.key)
			response, err := w.client.Do(request)
			if err != nil {
				t.Fatal(err)
			}
			_, _ = io.Copy(io.Discard, response.Body)
			return response.StatusCode, response.Close
		}
		if status, last := post(t); status != http.StatusAccepted || last {
			t.Errorf("before the signal: got %d, Connection: close %t, want 202, and the connection kept", status, last)
		}
		begin, ended := time.Now(), make(chan struct{})
		go func() { w.stop(); close(ended) }()
		synctest.Wait()
		for served := range int64(10) { // the first comes by the connection of before
			status, last := post(t)
			if status != http.StatusAccepted || !last || connections.Load() != 2*served+1 {
				t.Errorf("%v after the signal: got %d, Connection: close %t, by connection %d, want 202, close and %d",
					time.Since(begin), status, last, connections.Load(), 2*served+1)
			}
			if got := w.get(t, "/readyz"); got.status != http.StatusServiceUnavailable || !strings.Contains(got.body, "shutting down") {
				t.Errorf("/readyz: got %d %s, want 503: shutting down", got.status, got.body)
			}
			time.Sleep(delay / 11)
		}
		if got := w.get(t, "/healthz"); got.status != http.StatusOK {
			t.Errorf("/healthz: got %d, want 200: nothing is wrong with it", got.status)
		}
		<-ended
		if took := time.Since(begin); took < delay || took > delay+3*time.Second {
			t.Errorf("it took %v to end, want %v and a moment", took, delay)
		}
		if _, err := w.pipe.dial(); err == nil {
			t.Error("it takes connections after its end")
		}
	})
}

// countedListener counts the connections that it takes.
type countedListener struct {
	net.Listener
	taken atomic.Int64
}

func (l *countedListener) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err == nil {
		l.taken.Add(1)
	}
	return conn, err
}

// TestServe_ShutdownDelayMovesHTTP2 too: what comes after the signal is answered, and the connection takes no more after it.
func TestServe_ShutdownDelayMovesHTTP2(t *testing.T) {
	t.Parallel()
	authority := httptest.NewTLSServer(nil)
	defer authority.Close()
	g, err := gateway.New(confirming, gateway.Anyone(), gateway.Config{ShutdownDelay: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	plain, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	counted := &countedListener{Listener: plain}
	encrypted := tls.NewListener(counted, &tls.Config{Certificates: authority.TLS.Certificates, NextProtos: []string{"h2", "http/1.1"}})
	ctx, stop := context.WithCancel(t.Context())
	served := make(chan error, 1)
	go func() { served <- g.Serve(ctx, encrypted) }()
	transport := authority.Client().Transport.(*http.Transport).Clone()
	transport.ForceAttemptHTTP2 = true
	client := &http.Client{Transport: transport}
	ask := func(path string) int {
		t.Helper()
		response, err := client.Get("https://" + plain.Addr().String() + path)
		if err != nil {
			t.Fatal(err)
		}
		_, _ = io.Copy(io.Discard, response.Body)
		_ = response.Body.Close()
		if response.ProtoMajor != 2 {
			t.Errorf("got an answer by %s, want HTTP/2", response.Proto)
		}
		return response.StatusCode
	}
	for range 3 {
		if got := ask("/readyz"); got != http.StatusOK {
			t.Errorf("before the signal: got %d, want 200", got)
		}
	}
	if got := counted.taken.Load(); got != 1 {
		t.Errorf("before the signal: got %d connections, want 1", got)
	}
	stop()
	for ask("/readyz") != http.StatusServiceUnavailable { // until it has heard
	}
	before := counted.taken.Load()
	for counted.taken.Load() < before+3 { // the client hears of it a moment after the answer
		if got := ask("/healthz"); got != http.StatusOK {
			t.Fatalf("after the signal: got %d, want 200", got)
		}
	}
	client.CloseIdleConnections()
	_ = plain.Close() // an hour is long
	if err := <-served; err == nil {
		t.Error("without its listener Serve ended without an error")
	}
}
