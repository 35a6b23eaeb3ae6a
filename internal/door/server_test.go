package door

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

// What a client leaves out, it may leave out for a time only.
func TestServer_EveryStepHasADeadline(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		say    string
		before time.Duration // it is still there
		after  time.Duration // it is gone
	}{
		"nothing":                       {"", 4 * time.Second, 2 * time.Second},
		"half a header":                 {"GET / HTTP/1.1\r\nHost: localhost\r\n", 4 * time.Second, 2 * time.Second},
		"half a body":                   {"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\nhalf", 9 * time.Second, 2 * time.Second},
		"no body":                       {"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\n", 9 * time.Second, 2 * time.Second},
		"a chunk without end":           {"POST / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab", 9 * time.Second, 2 * time.Second},
		"a body where nobody wants one": {"GET /healthz HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\n", 0, 2 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				mux := http.NewServeMux()
				mux.HandleFunc("/", func(_ http.ResponseWriter, r *http.Request) { _, _ = io.Copy(io.Discard, r.Body) })
				mux.HandleFunc("/healthz", func(http.ResponseWriter, *http.Request) {})
				p := start(t, Config{Handler: mux}).dial("192.0.2.1")
				p.say(c.say)
				if c.before > 0 && p.gone(c.before) {
					t.Errorf("gone within %v", c.before)
				}
				if !p.gone(c.after) {
					t.Errorf("still there %v later", c.after)
				}
			})
		})
	}
}

func TestServer_ASlowReaderIsCutOff(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		wrote := make(chan error, 1)
		b := start(t, Config{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			_, err := w.Write(make([]byte, 1<<20))
			wrote <- err
		})})
		begin := time.Now()
		b.dial("192.0.2.1").say("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
		if err := <-wrote; err == nil || time.Since(begin) > time.Minute {
			t.Errorf("got %v after %v, want the write cut off after half a minute", err, time.Since(begin))
		}
	})
}

// A long poll, and an answer that takes its time, need no deadline of their own.
func TestServer_AHandlerMayTakeItsTime(t *testing.T) {
	t.Parallel()
	for name, body := range map[string]string{"with a body": "x", "without": ""} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				b := start(t, Config{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					_, _ = io.Copy(io.Discard, r.Body)
					select {
					case <-r.Context().Done():
						w.WriteHeader(http.StatusTeapot)
					case <-time.After(10 * time.Minute):
					}
				})})
				p := b.dial("192.0.2.1")
				for range 2 {
					if got := p.ask("/", body); got != http.StatusOK {
						t.Errorf("got %d, want 200", got)
					}
				}
			})
		})
	}
}

// However many connections say nothing, or half of something, whoever sends a request at once is answered.
func TestServer_SilentConnectionsMakeRoom(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := start(t, Config{room: newRoom(8, 0)})
		idle := b.dial("192.0.2.7")
		if got := idle.ask("/", ""); got != http.StatusOK {
			t.Fatalf("got %d, want 200", got)
		}
		var silent []*peer
		for n := range 100 {
			p := b.dial(fmt.Sprintf("192.0.2.%d", n))
			if n%2 == 0 {
				p.say("GET / HTTP/1.1\r\nHo")
			}
			silent = append(silent, p)
		}
		if got := b.dial("192.0.2.200").ask("/", ""); got != http.StatusOK {
			t.Errorf("among silent ones: got %d, want 200", got)
		}
		if !idle.gone(time.Millisecond) || !silent[0].gone(time.Millisecond) {
			t.Error("those that waited longest are still there")
		}
		if silent[99].gone(time.Millisecond) {
			t.Error("the last one is gone")
		}
		if got := b.log.Count("level=WARN msg=\"too many connections"); got != 1 {
			t.Errorf("%d warnings within a second, want one", got)
		}
	})
}

// A place in a handler is kept. Where all places are, there is 503, and health is answered.
func TestServer_AnswersWithoutRoom(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		mux := http.NewServeMux()
		mux.HandleFunc("/", func(http.ResponseWriter, *http.Request) { <-release })
		mux.HandleFunc("/healthz", func(http.ResponseWriter, *http.Request) {})
		b := start(t, Config{Handler: mux, Always: []string{"/healthz"}, room: newRoom(3, 0)})
		answers := make(chan int, 3)
		for n := range 3 {
			p := b.dial(fmt.Sprintf("192.0.2.%d", n))
			go func() { answers <- p.ask("/", "x") }()
			synctest.Wait()
		}
		for range 3 * reserve { // a place beyond the room is given back
			if got := b.dial("192.0.2.9").ask("/", "x"); got != http.StatusServiceUnavailable {
				t.Fatalf("got %d, want 503", got)
			}
			if got := b.dial("192.0.2.9").ask("/healthz", ""); got != http.StatusOK {
				t.Fatalf("health: got %d, want 200", got)
			}
		}
		close(release)
		for range 3 {
			if got := <-answers; got != http.StatusOK {
				t.Errorf("in a handler: got %d, want 200", got)
			}
		}
		synctest.Wait()
		if got := b.dial("192.0.2.9").ask("/", "x"); got != http.StatusOK {
			t.Errorf("with room again: got %d, want 200", got)
		}
	})
}

// One address can't take the places of all others, by silence or by requests.
func TestServer_BoundsOneAddress(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		hold := make(chan struct{})
		b := start(t, Config{room: newRoom(40, 4), Handler: http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/hold" {
				<-hold
			}
		})})
		defer close(hold)
		friend := b.dial("198.51.100.1")
		if got := friend.ask("/", ""); got != http.StatusOK {
			t.Fatalf("got %d, want 200", got)
		}
		for n := range 50 { // of one IPv6 network
			b.dial(fmt.Sprintf("2001:db8::%d", n+1))
		}
		if got := friend.ask("/", ""); got != http.StatusOK {
			t.Errorf("an idle connection from elsewhere: got %d, want 200", got)
		}
		var holding []*peer
		for range 4 {
			p := b.dial("203.0.113.5")
			p.say("GET /hold HTTP/1.1\r\nHost: localhost\r\n\r\n")
			holding = append(holding, p)
		}
		if got := b.dial("203.0.113.5").ask("/", ""); got != http.StatusServiceUnavailable {
			t.Errorf("a fifth from an address that may have four: got %d, want 503", got)
		}
		if got := b.dial("203.0.113.6").ask("/", ""); got != http.StatusOK {
			t.Errorf("from its neighbour: got %d, want 200", got)
		}
		if holding[0].gone(time.Millisecond) {
			t.Error("a connection in a handler is gone")
		}
	})
}

func TestServer_AcceptErrorsAreTriedAgain(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := start(t, Config{})
		silent := b.dial("192.0.2.1")
		for range 8 {
			b.street.fail <- &net.OpError{Op: "accept", Err: syscall.EMFILE}
		}
		time.Sleep(3 * time.Second) // of the bubble, and less than a header may take
		if got := b.dial("192.0.2.2").ask("/", ""); got != http.StatusOK {
			t.Errorf("got %d, want 200", got)
		}
		if got := b.log.Count("level=WARN msg=\"connections can't be accepted"); got != 1 {
			t.Errorf("%d warnings, want one", got)
		}
		if !silent.gone(time.Millisecond) {
			t.Error("the silent connection still has its descriptor")
		}
	})
}

// What holds half a request must not hold up the end. What is in a handler is answered.
func TestServer_DrainsInItsTime(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := start(t, Config{BodyTimeout: time.Hour, HeaderTimeout: time.Hour, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if _, err := io.Copy(io.Discard, r.Body); err != nil {
				w.WriteHeader(http.StatusRequestTimeout)
			}
			if r.URL.Path == "/slow" {
				time.Sleep(5 * time.Second)
			}
		})})
		silent, half, noBody := b.dial("192.0.2.1"), b.dial("192.0.2.2"), b.dial("192.0.2.3")
		half.say("GET / HTTP/1.1\r\n")
		noBody.say("POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\n\r\n")
		working, answer := b.dial("192.0.2.4"), make(chan int, 1)
		go func() { answer <- working.ask("/slow", "x") }()
		synctest.Wait()
		begin, ended := time.Now(), make(chan error, 1)
		go func() { ended <- b.Shutdown(t.Context()) }()
		if !silent.gone(0) || !half.gone(0) {
			t.Error("without a complete header, and still there")
		}
		if got := noBody.status(); got != http.StatusRequestTimeout || time.Since(begin) > 2*time.Second {
			t.Errorf("without its body: got %d after %v, want 408 after a second", got, time.Since(begin))
		}
		if got := <-answer; got != http.StatusOK {
			t.Errorf("in a handler: got %d, want 200", got)
		}
		if err := <-ended; err != nil || time.Since(begin) > 6*time.Second {
			t.Errorf("Shutdown: got %v after %v", err, time.Since(begin))
		}
	})
}

func TestServer_ADrainHasAnEnd(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := start(t, Config{Handler: http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })})
		p := b.dial("192.0.2.1")
		p.say("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := b.Shutdown(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v, want the deadline", err)
		}
		if !p.gone(time.Second) {
			t.Error("the connection is still there")
		}
	})
}

// A hijacked connection keeps its place until its handler ends.
func TestServer_CountsHijackedConnections(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		end := make(chan struct{})
		room := newRoom(2, 0)
		b := start(t, Config{room: room, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path != "/hijack" {
				return
			}
			conn, _, err := http.NewResponseController(w).Hijack()
			if err != nil {
				t.Error(err)
				return
			}
			<-end
			_ = conn.Close()
		})})
		for n := range 2 {
			b.dial(fmt.Sprintf("192.0.2.%d", n)).say("GET /hijack HTTP/1.1\r\nHost: localhost\r\n\r\n")
		}
		if got := b.dial("192.0.2.9").ask("/", ""); got != http.StatusServiceUnavailable {
			t.Errorf("beside two hijacked: got %d, want 503", got)
		}
		close(end)
		synctest.Wait()
		if got, _ := room.size(); got != 0 {
			t.Errorf("%d places are taken at the end, want none", got)
		}
	})
}

func TestRoomOf(t *testing.T) {
	t.Parallel()
	for descriptors, want := range map[int]int{1: 1, 64: 16, 256: 128, 1024: 768, 20_000: 15_000, 1 << 20: maxConnections} {
		if got := roomOf(descriptors); got != want {
			t.Errorf("%d descriptors: got room for %d, want %d", descriptors, got, want)
		}
	}
}

// By HTTP/2 a connection with a request in a handler is not closed for others, and one without is.
func TestServer_HTTP2(t *testing.T) {
	t.Parallel()
	cert, key := pairOf(t, 1)
	pair, err := tls.X509KeyPair(cert, key)
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	entered, release := make(chan struct{}), make(chan struct{})
	s := New(Config{
		room: newRoom(4, 0), Logger: slog.New(slog.DiscardHandler), TLS: &tls.Config{Certificates: []tls.Certificate{pair}, NextProtos: []string{"h2", "http/1.1"}},
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/hold" {
				entered <- struct{}{}
				<-release
				_, _ = w.Write(make([]byte, 100<<10))
			}
		}),
	})
	served := make(chan error, 1)
	go func() { served <- s.Serve(l) }()
	get := func(c *http.Client, path string) string {
		answer, err := c.Get("https://" + l.Addr().String() + path)
		if err != nil {
			return err.Error()
		}
		defer answer.Body.Close()
		if _, err := io.Copy(io.Discard, answer.Body); err != nil {
			return err.Error()
		}
		return fmt.Sprint(answer.ProtoMajor, " ", answer.StatusCode)
	}
	client := func() *http.Client {
		transport := &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, ForceAttemptHTTP2: true} //nolint:gosec // the certificate is the test's
		t.Cleanup(transport.CloseIdleConnections)
		return &http.Client{Transport: transport}
	}
	holding, held := client(), make(chan string, 1)
	if got := get(holding, "/"); got != "2 200" {
		t.Fatalf("got %s, want 200 by HTTP/2", got)
	}
	go func() { held <- get(holding, "/hold") }()
	<-entered
	for range 20 { // idle ones
		if got := get(client(), "/"); got != "2 200" {
			t.Errorf("another client: got %s, want 200 by HTTP/2", got)
		}
	}
	release <- struct{}{}
	if got := <-held; got != "2 200" {
		t.Errorf("in a handler all the time: got %s, want 200", got)
	}
	go func() { held <- get(holding, "/hold") }()
	<-entered
	ended := make(chan error, 1)
	go func() { ended <- s.Shutdown(t.Context()) }()
	for draining := false; !draining; runtime.Gosched() {
		s.mu.Lock()
		draining = s.draining
		s.mu.Unlock()
	}
	release <- struct{}{}
	if got := <-held; got != "2 200" {
		t.Errorf("in a handler when the server drains: got %s, want 200", got)
	}
	if err := <-ended; err != nil {
		t.Error(err)
	}
	if err := <-served; err != nil {
		t.Error(err)
	}
}

// deadlines is a response whose read deadline is set as by HTTP/2: by the goroutine that also tells of the connection's states.
type deadlines struct {
	http.ResponseWriter
	set func()
}

func (d deadlines) SetReadDeadline(time.Time) error {
	d.set()
	return nil
}

// TestServer_HTTP2DeadlinesHoldUpNothing: one that waits for its connection's goroutine must not hold what that goroutine waits for.
func TestServer_HTTP2DeadlinesHoldUpNothing(t *testing.T) {
	t.Parallel()
	s, set := New(Config{Handler: http.NotFoundHandler()}), 0
	body := func() *body {
		r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/", strings.NewReader("x"))
		return s.watch(r, http.NewResponseController(deadlines{set: func() {
			set++
			if !s.mu.TryLock() {
				t.Error("the server's mutex is held while a deadline is set")
				return
			}
			s.mu.Unlock()
		}}))
	}
	read, given, _ := body(), body(), body()
	_, _ = io.Copy(io.Discard, read)
	s.forget(given)
	if set != 3 {
		t.Errorf("%d deadlines for 3 bodies", set)
	}
	if err := s.Shutdown(t.Context()); err != nil {
		t.Fatal(err)
	}
	if set != 4 {
		t.Errorf("%d deadlines in all, want one more for the body that somebody reads", set)
	}
}

// TestServer_HTTP2ReaderThatDoesNotRead: who takes no answers is gone after the time for a write, however much it goes on to say.
func TestServer_HTTP2ReaderThatDoesNotRead(t *testing.T) {
	t.Parallel()
	cert, key := pairOf(t, 1)
	pair, err := tls.X509KeyPair(cert, key)
	if err != nil {
		t.Fatal(err)
	}
	synctest.Test(t, func(t *testing.T) {
		b := start(t, Config{TLS: &tls.Config{Certificates: []tls.Certificate{pair}, NextProtos: []string{"h2"}, SessionTicketsDisabled: true}})
		p := tls.Client(b.dial("127.0.0.1"), &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"h2"}})              //nolint:gosec // the certificate is the test's
		if _, err := io.WriteString(p, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00"); err != nil { // with empty settings
			t.Fatal(err)
		}
		begin := time.Now()
		for time.Since(begin) < 2*b.cfg.WriteTimeout {
			time.Sleep(time.Second)
			if _, err := io.WriteString(p, "\x00\x00\x04\x08\x00\x00\x00\x00\x00\x00\x00\x00\x01"); err != nil { // it could take more
				return
			}
		}
		t.Error("a client that reads nothing keeps its connection")
	})
}
