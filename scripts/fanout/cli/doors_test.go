package cli

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// scarce is how many descriptors a program has whose doors are tried.
const scarce = 256

// startScarce runs the program with few descriptors.
func startScarce(t *testing.T, env []string, args ...string) *program {
	t.Helper()
	if runtime.GOOS == "windows" {
		t.Skip("needs ulimit")
	}
	var p *program
	t.Cleanup(func() { // when it has ended
		if t.Failed() && p != nil {
			t.Logf("%s: standard error:\n%s", args[0], p.stderr)
		}
	})
	p = startCommand(t, exec.Command("sh", append([]string{"-c", fmt.Sprintf(`ulimit -n %d && exec fanout "$@"`, scarce), "sh"}, args...)...), env, nil)
	return p
}

// server is one server of a program.
type server struct {
	name, address string
	health        string // path that is answered with 200
	post          string // path that takes a body
	foreign       int    // status for what comes from a page or by a foreign name, if it has a key that pages don't have
}

// doors starts all servers that there are.
func doors(t *testing.T) []server {
	t.Helper()
	_, endpoint := localEngine(t)
	folder := t.TempDir()
	keys := filepath.Join(folder, "keys.json")
	invoke(t, "", "gateway", "key", "test", "--file", keys).want(t, exitOK)
	any := "127.0.0.1:0"

	local := startScarce(t, nil, "local", "--addr", any)
	up := startScarce(t, nil, "up", "--addr", any, "--push-addr", any, "--gateway", any, "--mqtt", any, "--data", filepath.Join(folder, "up"))
	gateway := startScarce(t, nil, "gateway", "--endpoint", endpoint, "--addr", any, "--metrics-addr", any, "--keys", keys, "--spool", filepath.Join(folder, "spool"))
	consume := startScarce(t, nil, "consume", "push", "--endpoint", endpoint, "--push-addr", any, "--health-addr", any)
	token := startScarce(t, []string{pushTokenVariable + "=0123456789abcdef"}, "consume", "push", "--endpoint", endpoint, "--push-addr", any)
	console := startScarce(t, nil, "console", "--endpoint", endpoint, "--addr", any, "--state", folder)
	const engineHealth = "/_fanout/status"
	return []server{
		{"local", local.stderr.find(t, `SNS and SQS on http://([^,\s]+)`), engineHealth, "/", 0},
		{"engine of up", up.stderr.find(t, `SNS and SQS +http://(\S+)`), engineHealth, "/", 0},
		{"gateway of up", up.stderr.find(t, `gateway +http://([^/\s]+)`), "/healthz", "/v1/events", 0},
		{"push of up", up.stderr.find(t, `live events +http://([^/\s]+)`), "/healthz", "/ws", 0},
		{"gateway", gateway.stderr.find(t, `gateway on (\S+)`), "/healthz", "/v1/events", http.StatusUnauthorized},
		{"metrics", gateway.stderr.find(t, `metrics on http://([^/\s]+)`), "/metrics", "/metrics", 0},
		{"push", consume.stderr.find(t, `listens on http://([^/\s]+)`), "/healthz", "/ws", 0},
		{"health", consume.stderr.find(t, `metrics on http://([^/\s]+)`), "/livez", "/livez", 0},
		{"push with a token", token.stderr.find(t, `listens on http://([^/\s]+)`), "/healthz", "/ws", http.StatusUnauthorized},
		{"console", console.stderr.find(t, `at http://([^/\s]+)`), "", "/do/redrive/dev-history-dlq.fifo", 0},
	}
}

// say connects and says something; it is the test's to read.
func (s server) say(t *testing.T, text string) net.Conn {
	t.Helper()
	conn, err := net.Dial("tcp", s.address)
	if err != nil {
		t.Errorf("%s: %v", s.name, err)
		return nil
	}
	t.Cleanup(func() { _ = conn.Close() })
	_, _ = io.WriteString(conn, text) // it may be closed already
	return conn
}

// ask asks for the server's health as a new client, and returns the status.
func (s server) ask(t *testing.T) int {
	t.Helper()
	status, _ := s.request(t, "GET", s.health, "", nil)
	return status
}

func (s server) request(t *testing.T, method, path, host string, header http.Header) (int, string) {
	t.Helper()
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: patience}
	r, err := http.NewRequestWithContext(t.Context(), method, "http://"+s.address+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Host, r.Header = host, header
	answer, err := client.Do(r)
	if err != nil {
		return 0, err.Error()
	}
	defer answer.Body.Close()
	body, _ := io.ReadAll(answer.Body)
	return answer.StatusCode, string(body)
}

// healthy is what a health check is answered with.
func (s server) healthy() int {
	if s.health == "" {
		return http.StatusForbidden // the console has no health; it is an answer
	}
	return http.StatusOK
}

// TestDoors tries every server there is with what a client can do wrong, or a web page on purpose.
func TestDoors(t *testing.T) {
	if testing.Short() {
		t.Skip("waits for deadlines of many seconds; run without -short")
	}
	all := doors(t)
	page := http.Header{"Origin": {"https://evil.example"}, "Sec-Fetch-Site": {"cross-site"}}
	image := http.Header{"Sec-Fetch-Site": {"cross-site"}, "Sec-Fetch-Mode": {"no-cors"}, "Sec-Fetch-Dest": {"image"}}
	// cut waits until the server has closed the connection.
	cut := func(text func(server) string) func(*testing.T, server) {
		return func(t *testing.T, s server) {
			conn := s.say(t, text(s))
			if conn == nil {
				return
			}
			_ = conn.SetReadDeadline(time.Now().Add(patience))
			if _, err := io.Copy(io.Discard, conn); os.IsTimeout(err) {
				t.Errorf("%s: the connection is held for ever", s.name)
			}
		}
	}
	// refused wants a request refused as one of a page.
	refused := func(method, host string, header http.Header, want int) func(*testing.T, server) {
		return func(t *testing.T, s server) {
			wanted := want
			if s.foreign != 0 {
				wanted = s.foreign
			}
			if status, body := s.request(t, method, s.post, host, header); status != wanted && !(s.foreign != 0 && status == http.StatusMethodNotAllowed) {
				t.Errorf("%s: got %d %q, want %d", s.name, status, body, wanted)
			}
		}
	}
	for name, try := range map[string]func(*testing.T, server){
		"no header":   cut(func(server) string { return "" }),
		"slow header": cut(func(server) string { return "GET / HTTP/1.1\r\nHost: localhost\r\nX-Sl" }),
		"slow body": cut(func(s server) string {
			return "POST " + s.post + " HTTP/1.1\r\nHost: " + s.address + "\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{"
		}),
		"no body": cut(func(s server) string {
			return "GET " + s.health + " HTTP/1.1\r\nHost: " + s.address + "\r\nContent-Length: 100\r\n\r\n"
		}),
		"many connections": func(t *testing.T, s server) {
			for n := range 3 * scarce {
				s.say(t, []string{"", "GET / HTTP/1.1\r\n"}[n%2])
			}
			if got := s.ask(t); got != s.healthy() {
				t.Errorf("%s: got %d, want %d", s.name, got, s.healthy())
			}
		},
		"foreign Host":   refused("GET", "evil.example", nil, http.StatusMisdirectedRequest),
		"foreign Origin": refused("POST", "", page, http.StatusForbidden),
		"an image's GET": refused("GET", "", image, http.StatusForbidden),
		"its own name":   func(t *testing.T, s server) { wantHealth(t, s, "", nil) },
		"by localhost": func(t *testing.T, s server) {
			_, port, _ := net.SplitHostPort(s.address)
			wantHealth(t, s, "localhost:"+port, nil)
		},
		"its own page": func(t *testing.T, s server) {
			wantHealth(t, s, "", http.Header{"Origin": {"http://" + s.address}, "Sec-Fetch-Site": {"same-origin"}})
		},
		"typed by a person": func(t *testing.T, s server) { wantHealth(t, s, "", http.Header{"Sec-Fetch-Site": {"none"}}) },
	} {
		t.Run(name, func(t *testing.T) {
			if name != "many connections" { // it would free the others' connections
				t.Parallel()
			}
			var side sync.WaitGroup
			for _, s := range all {
				side.Go(func() { try(t, s) })
			}
			side.Wait()
		})
	}
}

func wantHealth(t *testing.T, s server, host string, header http.Header) {
	t.Helper()
	if status, body := s.request(t, "GET", s.health, host, header); status != s.healthy() {
		t.Errorf("%s: got %d %q, want %d", s.name, status, body, s.healthy())
	}
}

// TestDoors_OfTheBroker: silent connections keep no MQTT client out.
func TestDoors_OfTheBroker(t *testing.T) {
	any := "127.0.0.1:0"
	up := startScarce(t, nil, "up", "--addr", any, "--push-addr", any, "--mqtt", any, "--data", t.TempDir())
	s := server{name: "MQTT broker", address: up.stderr.find(t, `tcp://([^,\s]+)`)}
	for range 3 * scarce {
		s.say(t, "")
	}
	conn := s.say(t, "\x10\x0d\x00\x04MQTT\x04\x02\x00\x3c\x00\x01x") // CONNECT of the client x
	_ = conn.SetReadDeadline(time.Now().Add(patience))
	answer := make([]byte, 4)
	if _, err := io.ReadFull(conn, answer); err != nil || string(answer) != "\x20\x02\x00\x00" {
		t.Errorf("got %q, %v, want CONNACK", answer, err)
	}
}

// TestDoors_StayOnLoopback: no server that asks for no key listens where others reach it, unless it is told outright.
func TestDoors_StayOnLoopback(t *testing.T) {
	t.Parallel()
	_, endpoint := localEngine(t)
	keys := filepath.Join(t.TempDir(), "keys.json")
	invoke(t, "", "gateway", "key", "test", "--file", keys).want(t, exitOK)
	for _, public := range []string{"0.0.0.0:0", ":0", "[::]:0"} {
		if l, err := net.Listen("tcp", public); err != nil {
			continue // no IPv6 here
		} else {
			_ = l.Close()
		}
		up := []string{"up", "--addr", "127.0.0.1:0", "--push-addr", "127.0.0.1:0", "--data", t.TempDir()}
		for _, args := range [][]string{
			append(up, "--push-addr", public),
			append(up, "--gateway", public),
			append(up, "--mqtt", public),
			{"consume", "push", "--endpoint", endpoint, "--push-addr", public},
			{"consume", "history", "--endpoint", endpoint, "--health-addr", public},
			{"gateway", "--endpoint", endpoint, "--keys", keys, "--addr", "127.0.0.1:0", "--metrics-addr", public},
			{"gateway", "--endpoint", endpoint, "--no-keys", "--addr", public},
			{"console", "--endpoint", endpoint, "--addr", public},
		} {
			if done := invoke(t, "", args...).want(t, exitUsage); !strings.Contains(done.stderr, "hint: ") || !strings.Contains(done.stderr, "127.0.0.1") {
				t.Errorf("%q: got %q, want a hint", args, done.stderr)
			}
		}
		if public == ":0" {
			continue // loopback to the engine
		}
		invoke(t, "", append(up, "--addr", public)...).want(t, exitUsage)
		invoke(t, "", "local", "--addr", public).want(t, exitUsage)
	}
	job := background(t, nil, "consume", "history", "--endpoint", endpoint, "--health-addr", "0.0.0.0:0", "--expose")
	job.stderr.find(t, `metrics on (http://\S+)/livez`)
	job.interrupt()
	job.wait(t).want(t, exitOK)
}

// hoard opens as many connections as its argument says, half of them with half a request, and holds them until its standard input ends.
// What the server closes it opens again if there is a third argument.
func hoard() {
	n, _ := strconv.Atoi(os.Args[2])
	slots := make(chan struct{}, 64)
	open := func(half bool) net.Conn {
		slots <- struct{}{}
		defer func() { <-slots }()
		conn, err := net.Dial("tcp", os.Args[1])
		if err == nil && half {
			_, _ = io.WriteString(conn, "POST /v1/events HTTP/1.1\r\nHost: localhost\r\n")
		}
		return conn
	}
	var opening sync.WaitGroup
	for i := range n {
		opening.Add(1)
		go func() {
			conn := open(i%2 == 0)
			opening.Done()
			for len(os.Args) > 3 {
				if conn != nil {
					_, _ = io.Copy(io.Discard, conn)
					_ = conn.Close()
				}
				conn = open(i%2 == 0)
			}
		}()
	}
	opening.Wait()
	fmt.Println("open")
	_, _ = io.Copy(io.Discard, os.Stdin)
}

// Twenty thousand open connections against 256 descriptors, held or opened again at once: health is answered, events are accepted or get 503 and are
// accepted later, and the end comes in its time.
// It runs alone, as the others would time out beside it.
func TestDoors_TwentyThousandConnections(t *testing.T) {
	if testing.Short() {
		t.Skip("opens 20,000 connections; run without -short")
	}
	for _, again := range []bool{false, true} {
		t.Run(fmt.Sprintf("again=%t", again), func(t *testing.T) {
			_, endpoint := localEngine(t)
			folder := t.TempDir()
			keys := filepath.Join(folder, "keys.json")
			key := strings.TrimSpace(invoke(t, "", "gateway", "key", "test", "--file", keys).want(t, exitOK).stdout)
			p := startScarce(t, nil, "gateway", "--endpoint", endpoint, "--addr", "127.0.0.1:0", "--metrics-addr", "127.0.0.1:0", "--keys", keys, "--spool", filepath.Join(folder, "spool"))
			s := server{name: "gateway", address: p.stderr.find(t, `gateway on (\S+)`), health: "/healthz"}
			metrics := server{name: "metrics", address: p.stderr.find(t, `metrics on http://([^/\s]+)`), health: "/metrics"}
			for range 4 {
				args := []string{s.address, "5000"}
				if again {
					args = append(args, "again")
				}
				ctx, cancel := context.WithCancel(t.Context())
				h := exec.CommandContext(ctx, "hoard", args...)
				in, err := h.StdinPipe()
				if err != nil {
					t.Fatal(err)
				}
				out, err := h.StdoutPipe()
				if err != nil {
					t.Fatal(err)
				}
				if err := h.Start(); err != nil {
					t.Fatal(err)
				}
				t.Cleanup(func() {
					cancel()
					_ = in.Close()
					_ = h.Wait()
				})
				if line, err := bufio.NewReader(out).ReadString('\n'); line != "open\n" {
					t.Fatalf("hoard: got %q, %v", line, err)
				}
			}
			var slowest time.Duration
			ask := func(s server) {
				begin := time.Now()
				if got := s.ask(t); got != http.StatusOK {
					t.Errorf("%s: got %d, want 200", s.name, got)
				}
				slowest = max(slowest, time.Since(begin))
			}
			client := &http.Client{Transport: &http.Transport{}}
			defer client.CloseIdleConnections()
			begin := time.Now()
			for n := range 50 {
				ask(s)
				ask(metrics)
				body := fmt.Sprintf(`{"device_id":"hall","id":"e%d","type":"device.power.changed.v1","time":"2026-01-31T12:00:00Z","data":{"on":true}}`, n)
				eventually(t, "the event accepted", func() bool { return postOne(client, s.address, key, body) })
			}
			t.Logf("50 events took %v; the slowest answer of 100 about health %v", time.Since(begin), slowest)
			begin = time.Now()
			if err := p.Process.Signal(os.Interrupt); err != nil {
				t.Fatal(err)
			}
			p.end(t).want(t, exitOK)
			t.Logf("the end took %v", time.Since(begin))
			if strings.Contains(p.stderr.String(), "requests were cut off") {
				t.Error("silent connections made the drain take all its patience")
			}
		})
	}
}
