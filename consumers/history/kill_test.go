package history_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/device-fanout/fanout/consumers/database"
	"github.com/device-fanout/fanout/consumers/database/databasetest"
	"github.com/device-fanout/fanout/consumers/history"
)

// killTarget is the environment variable that makes the test binary the process that gets killed.
const killTarget = "FANOUT_TEST_HANDLE_UNTIL_KILLED"

const killDevices = 8

// handleUntilKilled handles events of several devices for ever, and prints the ID of each that was recorded.
// It returns at once in a normal run of the tests.
func handleUntilKilled() {
	target := os.Getenv(killTarget)
	if target == "" {
		return
	}
	service, err := history.Open(context.Background(), target, history.Config{})
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	var group sync.WaitGroup
	for device := range killDevices {
		group.Go(func() {
			for n := 0; ; n++ { // after a restart from the first: the queue delivers again
				e := event(fmt.Sprintf("device-%d", device), n)
				if err := service.Handle(context.Background(), e); err != nil {
					fmt.Println(err)
					os.Exit(1)
				}
				fmt.Println(e.ID)
			}
		})
	}
	group.Wait()
}

// startChild starts a process that handles events until it is killed, and says on its output which it has handled.
func startChild(t *testing.T, target string) (*exec.Cmd, io.Reader) {
	t.Helper()
	child := exec.CommandContext(t.Context(), os.Args[0])
	child.Env = append(os.Environ(), killTarget+"="+target)
	output, err := child.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	return child, output
}

func TestService_KilledAndStartedAgainNoneMissingNoneTwice(t *testing.T) {
	t.Parallel()
	target := databasetest.SQLite(t)
	acknowledged := make(map[string]bool)
	for round := range 3 {
		child, output := startChild(t, target)
		n := 0
		for lines := bufio.NewScanner(output); lines.Scan(); { // goes on after the kill, until the pipe is empty
			acknowledged[lines.Text()] = true
			if n++; n == 150*(round+1) {
				if err := child.Process.Kill(); err != nil {
					t.Fatal(err)
				}
			}
		}
		if err := child.Wait(); err == nil || !strings.Contains(err.Error(), "killed") {
			t.Fatalf("child: got %v after %d lines, want that it was killed", err, n)
		}
	}
	next := make(map[string]int)
	for _, row := range rows(t, open(t, target)) {
		if want := event(row.DeviceID, next[row.DeviceID]).ID; row.EventID != want { // in order, without gap, none twice
			t.Errorf("position %d: got event %q, want %q", row.Position, row.EventID, want)
		}
		next[row.DeviceID]++
		delete(acknowledged, row.EventID)
	}
	for id := range acknowledged {
		t.Errorf("event %q: got no row, want the one that was acknowledged before the kill", id)
	}
}

// The first start of this version is killed while it writes an old table anew: whatever it has come to, the next start has all of it.
func TestIdentity_KilledInTheMigration(t *testing.T) {
	t.Parallel()
	const old = 30_000
	target := databasetest.SQLite(t)
	db := oldDatabase(t, target)
	execute(t, db, `WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < $1)
		INSERT INTO event_history (event_id, source, device_id, type, time, sequence, data, recorded_at)
		SELECT i, '/gateways/home-1', 'hall', 'device.temperature.measured.v1', '2005-01-29T12:00:00.000000000Z', '1', '{"celsius":20}', '2005-01-29T12:00:00.000000Z' FROM n`, old)
	execute(t, db, `DELETE FROM event_history WHERE event_id = '7'`)
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	killed := 0
	for _, written := range []int64{0, 1 << 20, 3 << 20, 5 << 20} { // bytes that it has written, committed or not
		child, output := startChild(t, target)
		opened := make(chan struct{})
		go func() {
			defer close(opened)
			_, _ = output.Read(make([]byte, 1))
		}()
		for wait := true; wait; {
			log, err := os.Stat(strings.TrimPrefix(target, "sqlite:") + "-wal")
			if err == nil && log.Size() > written {
				wait = false
				killed++
			}
			select {
			case <-opened:
				wait = false
			case <-time.After(time.Millisecond): // to look again
			}
		}
		_ = child.Process.Kill()
		<-opened
		_ = child.Wait()
		db, err := database.Open(t.Context(), target)
		if err == nil { // closing it empties the log
			err = db.Close()
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("killed %d times before it was open", killed)
	service := open(t, target)
	other := event("attic", 0)
	other.ID = "1"
	handle(t, service, other)
	n, position := 0, int64(0)
	for _, row := range rows(t, service) {
		if row.DeviceID == "hall" {
			n++
			if row.EventID != fmt.Sprint(row.Position) {
				t.Fatalf("event %s has position %d", row.EventID, row.Position)
			}
		}
		if row.EventID == "1" && row.DeviceID == "attic" {
			position = row.Position
		}
	}
	if n != old-1 || position <= old {
		t.Errorf("got %d old rows, and a new one at position %d, want %d and a position after %d", n, position, old-1, old)
	}
}
