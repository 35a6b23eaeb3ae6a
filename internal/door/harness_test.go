package door

import (
	"bufio"
	"context"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/device-fanout/fanout/internal/logtest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// street is a listener without sockets, so that the clock of synctest moves when everybody waits.
type street struct {
	accept chan net.Conn
	fail   chan error
	closed chan struct{}
	once   sync.Once
}

func newStreet() *street {
	return &street{accept: make(chan net.Conn), fail: make(chan error, 8), closed: make(chan struct{})}
}

func (s *street) Accept() (net.Conn, error) {
	select {
	case err := <-s.fail:
		return nil, err
	case conn := <-s.accept:
		return conn, nil
	case <-s.closed:
		return nil, net.ErrClosed
	}
}

func (s *street) Close() error {
	s.once.Do(func() { close(s.closed) })
	return nil
}

func (*street) Addr() net.Addr { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 80} }

// addressed is a connection from an address.
type addressed struct {
	net.Conn
	from *net.TCPAddr
}

func (a addressed) RemoteAddr() net.Addr { return a.from }

// bench is a server in a bubble of synctest.
type bench struct {
	*Server
	t      *testing.T
	street *street
	log    logtest.Log
}

func start(t *testing.T, cfg Config) *bench {
	t.Helper()
	b := &bench{t: t, street: newStreet()}
	cfg.Name, cfg.Logger = "test", b.log.Logger()
	if cfg.Handler == nil {
		cfg.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { _, _ = io.Copy(w, r.Body) })
	}
	b.Server = New(cfg)
	served := make(chan error)
	go func() { served <- b.Serve(b.street) }()
	t.Cleanup(func() {
		_ = b.Close()
		if err := <-served; err != nil {
			t.Errorf("Serve: %v", err)
		}
	})
	return b
}

// peer is the client's end of a connection.
type peer struct {
	net.Conn
	t  *testing.T
	in *bufio.Reader
}

// dial connects from an address and waits until the server does nothing more.
func (b *bench) dial(from string) *peer {
	b.t.Helper()
	near, far := net.Pipe()
	b.t.Cleanup(func() { _ = near.Close() })
	b.street.accept <- addressed{far, &net.TCPAddr{IP: net.ParseIP(from), Port: 1}}
	synctest.Wait()
	return &peer{near, b.t, bufio.NewReader(near)}
}

// ask sends a request with that body and returns the status, 0 if the connection is gone.
func (p *peer) ask(path, body string) int {
	p.t.Helper()
	method := "GET"
	if body != "" {
		method = "POST"
	}
	r, err := http.NewRequestWithContext(context.Background(), method, "http://localhost"+path, strings.NewReader(body))
	if err != nil {
		p.t.Fatal(err)
	}
	go func() { _ = r.Write(p) }() // a pipe holds nothing
	return p.status()
}

// status reads an answer.
func (p *peer) status() int {
	p.t.Helper()
	answer, err := http.ReadResponse(p.in, nil)
	if err != nil {
		return 0
	}
	_, _ = io.Copy(io.Discard, answer.Body)
	_ = answer.Body.Close()
	return answer.StatusCode
}

// say sends a part of a request.
func (p *peer) say(text string) {
	p.t.Helper()
	if _, err := io.WriteString(p, text); err != nil {
		p.t.Fatalf("say: %v", err)
	}
	synctest.Wait()
}

// gone tells whether the server has closed the connection, now or within a time.
func (p *peer) gone(within time.Duration) bool {
	p.t.Helper()
	synctest.Wait()
	_ = p.SetReadDeadline(time.Now().Add(within))
	defer func() { _ = p.SetReadDeadline(time.Time{}) }()
	_, err := io.Copy(io.Discard, p.in)
	return err == nil
}
