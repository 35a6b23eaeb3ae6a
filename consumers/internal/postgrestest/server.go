// Package postgrestest gives a test PostgreSQL servers of its own, to be killed, made read-only and failed over, and a proxy to stand before
// them. They listen on loopback and are gone when the test ends.
package postgrestest

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

// Server is a PostgreSQL server. It is for the goroutine of its test.
type Server struct {
	t       testing.TB
	bin     string // folder of PostgreSQL's programs
	folder  string
	port    int
	account account // who runs the programs

	process *exec.Cmd     // nil when it is down
	ended   chan struct{} // closed when no process of the server is left

	mu  sync.Mutex // guards what is below
	log strings.Builder
}

// New makes a server with an empty database, which is not started yet. Without PostgreSQL's programs it skips the test.
func New(t testing.TB) *Server {
	t.Helper()
	s := prepare(t)
	s.run("initdb", "-D", s.data(), "-A", "trust", "-U", "fanout", "-E", "UTF8", "--no-sync")
	return s
}

// prepare makes the folder of a server.
func prepare(t testing.TB) *Server {
	t.Helper()
	s := &Server{t: t, bin: programs(t)}
	s.account = accountFor(t)
	var err error
	if s.folder, err = os.MkdirTemp("", "fanout-postgres-"); err != nil { // the test's own temporary folder is closed to others
		t.Fatal(err)
	}
	if err := s.account.own(s.folder); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if s.process != nil {
			s.end(syscall.SIGQUIT)
		}
		if err := os.RemoveAll(s.folder); err != nil {
			t.Error(err)
		}
	})
	listener, err := net.Listen("tcp", "127.0.0.1:0") // nobody else gets that port for a while
	if err != nil {
		t.Fatal(err)
	}
	s.port = listener.Addr().(*net.TCPAddr).Port
	listener.Close()
	return s
}

// programs finds the folder of PostgreSQL's programs.
func programs(t testing.TB) string {
	t.Helper()
	found, _ := filepath.Glob("/usr/lib/postgresql/*/bin/initdb") // Debian keeps them out of the path
	if len(found) > 0 {
		return filepath.Dir(found[len(found)-1])
	}
	path, err := exec.LookPath("initdb")
	if err != nil {
		t.Skip("needs PostgreSQL's programs (Debian: apt-get install postgresql)")
	}
	return filepath.Dir(path)
}

func (s *Server) data() string { return filepath.Join(s.folder, "data") }

func (s *Server) command(program string, args ...string) *exec.Cmd {
	cmd := exec.Command(filepath.Join(s.bin, program), args...)
	cmd.Dir = s.folder                         // the user may not be allowed to enter the folder that we come from
	cmd.Env = append(os.Environ(), "LC_ALL=C") // Start reads what the server says
	s.account.run(cmd)
	return cmd
}

func (s *Server) run(program string, args ...string) {
	s.t.Helper()
	if out, err := s.command(program, args...).CombinedOutput(); err != nil {
		s.t.Fatalf("%s: %v\n%s", program, err, out)
	}
}

// Start starts the server and returns when it takes connections. settings are such as "default_transaction_read_only=off".
func (s *Server) Start(settings ...string) {
	s.t.Helper()
	args := []string{"-D", s.data(), "-p", strconv.Itoa(s.port)}
	for _, setting := range append([]string{"listen_addresses=127.0.0.1", "unix_socket_directories=" + s.folder, "fsync=off"}, settings...) {
		args = append(args, "-c", setting)
	}
	output, input, err := os.Pipe()
	if err != nil {
		s.t.Fatal(err)
	}
	s.process = s.command("postgres", args...)
	s.process.Stderr = input
	err = s.process.Start()
	input.Close() // the server has it now
	if err != nil {
		s.t.Fatal(err)
	}
	ready, isReady := make(chan struct{}), false
	ended := make(chan struct{})
	s.ended = ended
	go func() { // ends with the last process of the server
		defer close(ended)
		defer output.Close()
		for lines := bufio.NewScanner(output); lines.Scan(); {
			s.mu.Lock()
			s.log.WriteString(lines.Text() + "\n")
			s.mu.Unlock()
			if !isReady && strings.Contains(lines.Text(), "ready to accept") {
				isReady = true
				close(ready)
			}
		}
	}()
	select {
	case <-ready:
	case <-ended:
		_ = s.process.Wait()
		s.process = nil
		s.t.Fatalf("postgres has ended:\n%s", s.Log())
	}
}

// Kill ends the server by kill -9, and returns when none of its processes is left.
func (s *Server) Kill() { s.end(syscall.SIGKILL) }

func (s *Server) end(signal syscall.Signal) {
	s.t.Helper()
	if err := s.process.Process.Signal(signal); err != nil {
		s.t.Error(err)
	}
	_ = s.process.Wait() // with the signal
	<-s.ended            // its children find out by themselves
	s.process = nil
}

// Copy makes a server with what this one, which runs, has committed. It is not started yet.
func (s *Server) Copy() *Server {
	s.t.Helper()
	other := prepare(s.t)
	s.run("pg_basebackup", "-D", other.data(), "-h", "127.0.0.1", "-p", strconv.Itoa(s.port), "-U", "fanout", "--checkpoint=fast", "--no-sync")
	return other
}

// SetReadOnly makes the server refuse to write, or take that back, as an administrator would. Connections that are open hear of it soon.
func (s *Server) SetReadOnly(on bool) {
	s.t.Helper()
	s.Exec("SET default_transaction_read_only = off", fmt.Sprintf("ALTER SYSTEM SET default_transaction_read_only = %t", on), "SELECT pg_reload_conf()")
}

// Exec runs statements on a connection of its own.
func (s *Server) Exec(statements ...string) {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), 30*time.Second)
	defer cancel()
	conn, err := pgx.Connect(ctx, s.URL())
	if err != nil {
		s.t.Fatal(err)
	}
	defer conn.Close(ctx)
	for _, statement := range statements {
		if _, err := conn.Exec(ctx, statement); err != nil {
			s.t.Fatalf("%s: %v", statement, err)
		}
	}
}

// Address is where the server listens.
func (s *Server) Address() string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(s.port)) }

// URL is that of the server's database.
func (s *Server) URL() string { return URL(s.Address()) }

// URL is that of a server's database behind that address.
func URL(address string) string {
	return "postgres://fanout@" + address + "/postgres?sslmode=disable"
}

// Log returns what the server has said so far.
func (s *Server) Log() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.log.String()
}
