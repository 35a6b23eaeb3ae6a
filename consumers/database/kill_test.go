package database_test

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/device-fanout/fanout/consumers/database"
)

// killTarget is the environment variable that makes the test binary the process that gets killed.
const killTarget = "FANOUT_TEST_WRITE_UNTIL_KILLED"

// writeUntilKilled writes rows from several goroutines for ever, and prints the name of each one that was acknowledged.
// It returns at once in a normal run of the tests.
func writeUntilKilled() {
	target := os.Getenv(killTarget)
	if target == "" {
		return
	}
	db, err := database.Open(context.Background(), target)
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	var group sync.WaitGroup
	for i := range 8 {
		group.Go(func() {
			for j := 0; ; j++ {
				name := fmt.Sprintf("%d-%d", i, j)
				if err := db.Write(context.Background(), insert(name)); err != nil {
					fmt.Println(err)
					os.Exit(1)
				}
				fmt.Println(name) // one write to the pipe, unbuffered: it is there even if the process dies next
			}
		})
	}
	group.Wait()
}

func TestDB_KeepsAcknowledgedWritesWhenKilled(t *testing.T) {
	t.Parallel()
	target := filepath.Join(t.TempDir(), "killed.db")
	if err := open(t, target).Close(); err != nil {
		t.Fatal(err)
	}
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
		var acknowledged []string
		lines := bufio.NewScanner(output)
		for lines.Scan() { // goes on after the kill, until the pipe is empty
			acknowledged = append(acknowledged, lines.Text())
			if len(acknowledged) == 200*(round+1) {
				if err := child.Process.Kill(); err != nil {
					t.Fatal(err)
				}
			}
		}
		if err := child.Wait(); err == nil || !strings.Contains(err.Error(), "killed") {
			t.Fatalf("child: got %v after %d lines, want that it was killed", err, len(acknowledged))
		}

		db, err := database.Open(t.Context(), target)
		if err != nil {
			t.Fatal(err)
		}
		have := make(map[string]bool)
		for name := range strings.FieldsSeq(names(t, db)) {
			have[name] = true
		}
		for _, name := range acknowledged {
			if !have[name] {
				t.Errorf("row %q: got none, want the one that was acknowledged before the kill", name)
			}
		}
		var check string
		if err := db.QueryRowContext(t.Context(), "PRAGMA integrity_check").Scan(&check); err != nil || check != "ok" {
			t.Errorf("integrity_check: got %q, %v, want ok", check, err)
		}
		err = db.Write(t.Context(), func(ctx context.Context, tx database.Tx) error {
			_, err := tx.ExecContext(ctx, `DELETE FROM lights`) // the next round starts anew
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		if err := db.Close(); err != nil {
			t.Fatal(err)
		}
	}
}
