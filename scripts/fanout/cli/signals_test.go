package cli

import (
	"bufio"
	"database/sql"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// rowsSoFar counts the rows of history while another process writes them.
func rowsSoFar(t *testing.T, folder string, atLeast int) {
	t.Helper()
	var db *sql.DB
	eventually(t, "more rows in history", func() bool {
		if db == nil {
			if count(t, folder) == 0 {
				return false
			}
			db = openDatabase(t, folder, "history")
		}
		n := 0
		if err := db.QueryRow(`SELECT count(*) FROM event_history`).Scan(&n); err != nil {
			return false
		}
		return n >= atLeast
	})
	db.Close()
}

// published puts the input into the queues of an engine of its own.
func published(t *testing.T, input string) (endpoint string, inFlight func() int, expire func()) {
	t.Helper()
	engine, endpoint := localEngine(t)
	var sum publishSummary
	invoke(t, input, "publish", "-", "--endpoint", endpoint, "--json").want(t, exitOK).decode(t, &sum)
	if lines := strings.Count(input, "\n"); sum.Published != int64(lines) {
		t.Fatalf("published: got %d, want %d", sum.Published, lines)
	}
	inFlight = func() int {
		for _, q := range engine.Queues() {
			if q.Name == "dev-history.fifo" {
				return q.InFlight
			}
		}
		t.Fatal("no queue dev-history.fifo")
		return 0
	}
	expire = func() {
		if _, err := engine.ExpireVisibility("dev-history.fifo", ""); err != nil {
			t.Fatal(err)
		}
	}
	return endpoint, inFlight, expire
}

func TestConsume_KilledAndStartedAgainNoneMissingNoneTwice(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("kills and starts the program many times; run without -short")
	}
	input := generate(4000)
	want := expect(input)
	endpoint, inFlight, expire := published(t, input)
	folder := t.TempDir()
	args := []string{"consume", "history", "--endpoint", endpoint, "--data", folder, "--json"}
	held := 0
	for _, rows := range []int{150, 900, 1700} {
		consume := start(t, nil, args...)
		rowsSoFar(t, folder, rows)
		if err := consume.Process.Kill(); err != nil { // SIGKILL
			t.Fatal(err)
		}
		if done := consume.end(t); done.code != -1 {
			t.Fatalf("consume: got exit code %d before it was killed; standard error:\n%s", done.code, done.stderr)
		}
		held += inFlight()
		// What would come by itself after 30 s. A receive that the dead process has left behind may take some of it once more.
		quiet := 0
		eventually(t, "nothing in flight", func() bool {
			if quiet++; inFlight() > 0 {
				quiet = 0
				expire()
			}
			return quiet == 20
		})
	}
	if held == 0 {
		t.Error("in flight after the kills: got nothing, want that they came in mid-stream")
	}
	last := start(t, nil, append(args, "--until-idle", "300ms")...).end(t).want(t, exitOK)
	var sum struct{ Handled, Redelivered int }
	last.decode(t, &sum)
	t.Logf("%d messages were in flight at the kills, %d came again to the last run", held, sum.Redelivered)
	want.checkHistory(t, folder)
	if n := inFlight(); n != 0 {
		t.Errorf("in flight at the end: got %d, want 0", n)
	}
}

func TestConsume_TerminatedHandsBackAtOnce(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("runs the program as a process on thousands of events; run without -short")
	}
	for name, signal := range map[string]os.Signal{"SIGTERM": syscall.SIGTERM, "SIGINT": os.Interrupt} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			input := generate(3000)
			want := expect(input)
			endpoint, inFlight, _ := published(t, input)
			folder := t.TempDir()
			args := []string{"consume", "history", "--endpoint", endpoint, "--data", folder, "--json"}

			consume := start(t, nil, append(args, "--slots", "4")...)
			rowsSoFar(t, folder, 100)
			if err := consume.Process.Signal(signal); err != nil {
				t.Fatal(err)
			}
			var first struct{ Handled, Released int }
			consume.end(t).want(t, exitOK).decode(t, &first)
			if n := inFlight(); n != 0 {
				t.Errorf("in flight after the drain: got %d, want all handed back", n)
			}
			if n := count(t, folder); n != first.Handled || n == len(want.events) {
				t.Errorf("rows after the drain: got %d, want the %d handled, and fewer than %d", n, first.Handled, len(want.events))
			}
			// No clock has moved and no timeout has been cut short: only what was handed back can be handled now.
			var second struct{ Handled int }
			start(t, nil, append(args, "--until-idle", "200ms")...).end(t).want(t, exitOK).decode(t, &second)
			if got := first.Handled + second.Handled; got != len(want.events) {
				t.Errorf("handled: got %d and %d, want %d in all", first.Handled, second.Handled, len(want.events))
			}
			want.checkHistory(t, folder)
		})
	}
}

func TestUp_InterruptedAsAProcess(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	up := start(t, nil, upArgs(folder, "--rate", "100")...)
	up.stderr.find(t, `(dead letters)`)
	rowsSoFar(t, folder, 40)
	if err := up.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	var sum upSummary
	up.end(t).want(t, exitOK).decode(t, &sum)
	if sum.In != sum.Published || sum.Handled["history"] != sum.In || sum.Lost != 0 {
		t.Errorf("summary: got %+v, want everything handled", sum)
	}
	if n := count(t, folder); n != sum.In {
		t.Errorf("rows: got %d, want %d", n, sum.In)
	}
}

// An interrupted publish says how far it came, and that was published.
func TestPublish_Interrupted(t *testing.T) {
	t.Parallel()
	engine, endpoint := localEngine(t)
	reader, writer, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer writer.Close()
	publish := background(t, reader, "publish", "-", "--endpoint", endpoint, "--json")
	if _, err := writer.WriteString(generate(30)); err != nil {
		t.Fatal(err)
	}
	eventually(t, "30 messages", func() bool {
		for _, q := range engine.Queues() {
			if q.Name == "dev-history.fifo" {
				return q.Visible == 30
			}
		}
		return false
	})
	publish.interrupt()
	done := publish.wait(t).want(t, exitFailed)
	contains(t, "standard error", done.stderr, "interrupted: of the input, 30 lines were taken")
	var sum publishSummary
	done.decode(t, &sum)
	if sum.In != 30 || sum.Published != 30 {
		t.Errorf("summary: got %+v, want 30 in and published", sum)
	}
}

// TestGateway_OutlivesTheReaderOfItsLog, as in `fanout gateway 2>&1 | head -1`.
func TestGateway_OutlivesTheReaderOfItsLog(t *testing.T) {
	t.Parallel()
	_, endpoint := localEngine(t)
	keys := filepath.Join(t.TempDir(), "keys.json")
	key := strings.TrimSpace(invoke(t, "", "gateway", "key", "test", "--file", keys).want(t, exitOK).stdout)
	read, write, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	p := exec.Command("fanout", "gateway", "--endpoint", endpoint, "--addr", "127.0.0.1:0", "--keys", keys)
	p.Stdout, p.Stderr = write, write
	if err := p.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	defer func() {
		_ = p.Process.Kill()
		<-ended
	}()
	_ = write.Close()
	line, err := bufio.NewReader(read).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	_ = read.Close()
	go func() { ended <- p.Wait() }()
	_, address, _ := strings.Cut(strings.TrimSpace(line), "gateway on ")
	client := &http.Client{}
	defer client.CloseIdleConnections()
	if postOne(client, address, "test.wrong", "{}") { // which is logged
		t.Fatal("a wrong key was taken")
	}
	body := `{"device_id":"hall","id":"e1","type":"device.power.changed.v1","time":"2026-01-31T12:00:00Z","data":{"on":true}}`
	if !postOne(client, address, key, body) {
		t.Error("the gateway takes no events any more")
	}
	if err := p.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	err = <-ended
	ended <- err
	if err != nil {
		t.Errorf("the end: got %v, want exit code 0", err)
	}
}
