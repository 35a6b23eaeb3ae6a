package database

import (
	"os"
	"path/filepath"
	"syscall"
	"testing"
)

// A disk that is really full, and then is not any more.
func TestVerdict_FullDisk(t *testing.T) {
	folder := t.TempDir()
	if err := syscall.Mount("none", folder, "tmpfs", 0, "size=1m"); err != nil {
		t.Skipf("needs a small file system of its own: %v", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(folder, 0); err != nil {
			t.Error(err)
		}
	})
	db, err := Open(t.Context(), filepath.Join(folder, "small.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if err := db.Migrate(t.Context(), "test", `CREATE TABLE t (n BLOB)`); err != nil {
		t.Fatal(err)
	}
	ballast := filepath.Join(folder, "ballast")
	if err := os.WriteFile(ballast, make([]byte, 512<<10), 0o600); err != nil {
		t.Fatal(err)
	}
	put := func() error {
		_, err := db.ExecContext(t.Context(), `INSERT INTO t VALUES (zeroblob($1))`, 20_000)
		return err
	}
	for err = put(); err == nil; err = put() {
	}
	t.Log(err)
	if !isUnavailable(err) {
		t.Errorf("got %v, want that it is unavailable", err)
	}
	if err := os.Remove(ballast); err != nil {
		t.Fatal(err)
	}
	if err := put(); err != nil {
		t.Errorf("with room again: %v", err)
	}
}
