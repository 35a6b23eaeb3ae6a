package history_test

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"

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

func TestService_KilledAndStartedAgainNoneMissingNoneTwice(t *testing.T) {
	t.Parallel()
	target := databasetest.SQLite(t)
	acknowledged := make(map[string]bool)
	for round := range 3 {
		child := exec.CommandContext(t.Context(), os.Args[0])
		child.Env = append(os.Environ(), killTarget+"="+target)
		output, err := child.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := child.Start(); err != nil {
			t.Fatal(err)
		}
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
