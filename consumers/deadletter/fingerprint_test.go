package deadletter

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"syscall"
	"testing"

	"github.com/device-fanout/fanout/consumers/failure"
	"github.com/device-fanout/fanout/events"
)

func TestFingerprintOf(t *testing.T) {
	t.Parallel()
	if got := FingerprintOf("history", "device.humidity.measured.v1", "error", "connection refused"); got != "92d2e235" {
		t.Errorf("got %s: stored messages have another", got)
	}
	seen := map[string]bool{}
	for _, parts := range [][4]string{{"a", "b", "c", "d"}, {"ab", "", "c", "d"}, {"a", "b", "cd", ""}, {"", "ab", "c", "d"}, {"a", "b", "c", ""}} {
		f := FingerprintOf(parts[0], parts[1], parts[2], parts[3])
		if seen[f] {
			t.Errorf("%v has the fingerprint of another", parts)
		}
		seen[f] = true
	}
}

// pgError is like that of pgx.
type pgError struct{ Code, Message string }

func (e *pgError) Error() string    { return e.Message }
func (e *pgError) SQLState() string { return e.Code }

type codedError struct{ code int }

func (e codedError) Error() string { return "coded" }
func (e codedError) Code() int     { return e.code }

type brittleError struct{ err error }

func (e *brittleError) Error() string    { return "brittle" }
func (e *brittleError) SQLState() string { return e.err.Error() }

func TestCauseOf(t *testing.T) {
	t.Parallel()
	refused := &net.OpError{Op: "dial", Net: "tcp", Addr: &net.TCPAddr{IP: net.IPv4(10, 0, 0, 7), Port: 5432}, Err: syscall.ECONNREFUSED}
	_, number := strconv.Atoi("x")
	for _, row := range []struct {
		err  error
		want string
	}{
		{errors.New("bell is ringing already"), "bell is ringing already"},
		{fmt.Errorf("ring bell 17 of hall-bell: %w", errors.New("bell is ringing already")), "ring bell # of #: bell is ringing already"},
		{refused, "syscall.Errno 111"},
		{fmt.Errorf("save: %w", refused), "syscall.Errno 111"},
		{fmt.Errorf("save e1: %w", &pgError{"23505", "duplicate key"}), "*deadletter.pgError 23505"},
		{errors.Join(errors.New("first"), fmt.Errorf("then: %w", codedError{5})), "deadletter.codedError 5"},
		{errors.Join(errors.New("first"), io.EOF), "first EOF"},
		{&failure.UnavailableError{Err: codedError{6}}, "deadletter.codedError 6"},
		{&failure.KnownError{Code: "refused"}, "refused"},
		{&failure.KnownError{Code: "refused", Err: errors.New("no bell")}, "no bell"},
		{&events.Error{Code: events.CodeInvalidData, Err: errors.New("data.on: got 5")}, "events: invalid data: data.on: got #"},
		{fmt.Errorf("read: %w", context.DeadlineExceeded), "context.deadlineExceededError"},
		{number, "*strconv.NumError"},
		{&json.SyntaxError{Offset: 5}, "*json.SyntaxError"},
		{&brittleError{}, "*deadletter.brittleError"},
	} {
		if got := CauseOf(row.err, "hall-bell", "hall"); got != row.want {
			t.Errorf("%v: got %q, want %q", row.err, got, row.want)
		}
	}
}

// rooms panics in several ways.
type rooms struct{ open map[string]bool }

func (r *rooms) enter(room string) { r.open[room] = true }

func (r *rooms) at(n int) int { return []int{1, 2, 3}[n] }

func recovered(f func()) (err error) {
	defer func() { err = failure.Recovered(recover()) }()
	f()
	return nil
}

// Panics of one place are alike, wherever they were called from; those of two are not.
func TestCauseOf_Panics(t *testing.T) {
	t.Parallel()
	r := &rooms{}
	const at = "panic github.com/device-fanout/fanout/consumers/deadletter.(*rooms)."
	for _, row := range []struct {
		panics []func()
		want   string
	}{
		{[]func(){func() { r.enter("hall") }, func() { r.enter("attic") }, func() { // recovered, and begun anew
			defer func() { panic(recover()) }()
			r.enter("attic")
		}}, at + "enter fingerprint_test.go assignment to entry in nil map"},
		{[]func(){func() { r.at(5) }, func() { r.at(17) }}, at + "at fingerprint_test.go runtime error: index out of range [#] with length #"},
		{[]func(){func() { (*rooms)(nil).enter("hall") }}, at + "enter fingerprint_test.go runtime error: invalid memory address or nil pointer dereference"},
	} {
		for i, panics := range row.panics {
			if got := CauseOf(recovered(panics)); got != row.want {
				t.Errorf("panic %d: got %q, want %q", i, got, row.want)
			}
		}
	}
}

func TestCauseOfText(t *testing.T) {
	t.Parallel()
	for want, texts := range map[string][]string{
		"":                      {"", " \n "},
		"connection refused":    {"connection refused", "connection  refused\n"},
		"bell # rings":          {"bell 5 rings", "bell 17.5 rings", "bell 0x7f rings", "bell hall-bell rings", "bell deadbeef01 rings", "bell 12,345 rings"},
		"event #: no":           {"event 2c6f9aea-edd5-5a12-8bb4-e98c639d3744: no", "event 2C6F9AEA-EDD5-5A12-8BB4-E98C639D3745: no"},
		"dial tcp #: refused":   {"dial tcp 10.0.0.7:5432: refused", "dial tcp [::1]:80: refused", "dial tcp [fe80::1%eth0]:443: refused", "dial tcp 192.168.1.1: refused"},
		`no such "…" here`:      {`no such "hall" here`, "no such 'attic-3' here", "no such `x y` here"},
		"can't ring, don't try": {"can't ring, don't try"},
		"#-bells rang":          {"hall-bells rang"},
		"hallway":               {"hallway"},
		"bell #T# rings":        {"bell 2026-01-05T12:00:07.5 rings", "bell 2026-11-15T02:00:07.512 rings"},
		"lamp# is late":         {"lamp1 is late", "lamp22 is late"},
		"# is late":             {"e1 is late", "e22 is late"},
	} {
		for _, text := range texts {
			if got := CauseOfText(text, "hall", "hall-bell"); got != want {
				t.Errorf("%q: got %q, want %q", text, got, want)
			}
		}
	}
	long := ""
	for range 10_000 {
		long += "lang "
	}
	if got := CauseOfText(long); len(got) > maxCauseBytes {
		t.Errorf("got %d bytes, want at most %d", len(got), maxCauseBytes)
	}
}

// FuzzCauseOfText checks that any text has a cause, within the bounds, and that another number in it is no other cause.
func FuzzCauseOfText(f *testing.F) {
	f.Add("dial tcp 10.0.0.7:5432: \"x", "hall")
	f.Add("\xff\xfe'", "")
	f.Fuzz(func(t *testing.T, text, id string) {
		got := CauseOfText(text, id)
		if len(got) > maxCauseBytes {
			t.Errorf("got %d bytes", len(got))
		}
		if CauseOfText(text, id) != got {
			t.Error("twice: got two causes")
		}
	})
}
