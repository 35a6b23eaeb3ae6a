package database_test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"golang.org/x/sync/errgroup"

	"github.com/device-fanout/fanout/consumers/database"
)

const (
	// countTarget is the environment variable that makes the test binary one of the processes that count.
	countTarget = "FANOUT_TEST_COUNT_UP"
	// countEach is how far each of them counts.
	countEach = 100
)

// countUp adds one to a number countEach times, each time by reading and writing it in a transaction, and ends the process.
// It returns at once in a normal run of the tests.
func countUp() {
	target := os.Getenv(countTarget)
	if target == "" {
		return
	}
	db, err := database.Open(context.Background(), target)
	for n := 0; err == nil && n < countEach; n++ {
		err = db.Write(context.Background(), func(ctx context.Context, tx database.Tx) error {
			var lit int
			if err := tx.QueryRowContext(ctx, `SELECT lit FROM lights WHERE name = $1`, "hall").Scan(&lit); err != nil {
				return err
			}
			_, err := tx.ExecContext(ctx, `UPDATE lights SET lit = $2 WHERE name = $1`, "hall", lit+1)
			return err
		})
	}
	if err == nil {
		err = db.Close()
	}
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	os.Exit(0)
}

// Processes that share a file wait for each other, and none undoes what another one wrote.
func TestDB_ProcessesShareAFile(t *testing.T) {
	t.Parallel()
	target := filepath.Join(t.TempDir(), "shared.db")
	db := open(t, target)
	if err := db.Write(t.Context(), func(ctx context.Context, tx database.Tx) error {
		_, err := tx.ExecContext(ctx, `INSERT INTO lights (name, lit) VALUES ($1, 0)`, "hall")
		return err
	}); err != nil {
		t.Fatal(err)
	}
	const processes = 3
	var group errgroup.Group
	for range processes {
		child := exec.CommandContext(t.Context(), os.Args[0])
		child.Env = append(os.Environ(), countTarget+"="+target)
		group.Go(func() error {
			if out, err := child.CombinedOutput(); err != nil {
				return fmt.Errorf("%w: %s", err, out)
			}
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		t.Error(err)
	}
	var lit int
	err := db.QueryRowContext(t.Context(), `SELECT lit FROM lights WHERE name = $1`, "hall").Scan(&lit)
	if want := processes * countEach; err != nil || lit != want {
		t.Errorf("number: got %d, %v, want %d", lit, err, want)
	}
	var check string
	if err := db.QueryRowContext(t.Context(), "PRAGMA integrity_check").Scan(&check); err != nil || check != "ok" {
		t.Errorf("integrity_check: got %q, %v, want ok", check, err)
	}
}
