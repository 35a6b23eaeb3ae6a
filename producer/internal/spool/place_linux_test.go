package spool

import (
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"
)

// mounted is a folder with a small file system of its own.
func mounted(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	if err := syscall.Mount("none", dir, "tmpfs", 0, "size=1m"); err != nil {
		t.Skipf("needs the right to mount a small file system: %v", err)
	}
	t.Cleanup(func() { _ = syscall.Unmount(dir, syscall.MNT_DETACH) })
	return dir
}

// TestPlace_VolumeIsUnmounted under a spool that has its files open.
func TestPlace_VolumeIsUnmounted(t *testing.T) {
	t.Parallel()
	dir := mounted(t)
	s, _ := open(t, dir, Options{})
	mustAppend(t, s, record("a", 1))
	if err := syscall.Unmount(dir, syscall.MNT_DETACH); err != nil {
		t.Fatal(err)
	}
	wantTrouble(t, s, "not the folder that was opened")
	_ = s.Close()
}

// TestAppend_OnADiskThatIsReallyFull accepts nothing, and goes on once there is room.
func TestAppend_OnADiskThatIsReallyFull(t *testing.T) {
	t.Parallel()
	dir := mounted(t)
	s, _ := open(t, dir, Options{})
	ballast := filepath.Join(dir, "ballast")
	if err := os.WriteFile(ballast, make([]byte, 900<<10), 0o600); err != nil {
		t.Fatal(err)
	}
	large := record("a", 1)
	large.Body = make([]byte, 64<<10)
	var err error
	for err == nil {
		_, err = s.Append([]Record{large})
	}
	s.probed = time.Time{}
	if check := s.Check(); !errors.Is(err, syscall.ENOSPC) || !errors.Is(check, syscall.ENOSPC) {
		t.Errorf("got %v, and %v from Check, want ENOSPC", err, check)
	}
	if err := os.Remove(ballast); err != nil {
		t.Fatal(err)
	}
	s.probed = time.Time{}
	if err := s.Check(); err != nil {
		t.Errorf("with room again: %v", err)
	}
	mustAppend(t, s, large)
	mustClose(t, s)
}
