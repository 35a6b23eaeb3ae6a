//go:build unix

package files_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/device-fanout/fanout/internal/files"
)

func write(t *testing.T, path, text string, mode fs.FileMode) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), mode); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, mode); err != nil { // whatever the umask
		t.Fatal(err)
	}
}

func want(t *testing.T, path, text string, mode fs.FileMode) {
	t.Helper()
	got, err := os.ReadFile(path)
	if err != nil || string(got) != text {
		t.Errorf("%s: got %q, %v, want %q", path, got, err, text)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != mode {
		t.Errorf("%s: got %v, %v, want mode %v", path, info, err, mode)
	}
	rest, err := filepath.Glob(filepath.Join(filepath.Dir(path), ".*"))
	if err != nil || len(rest) > 0 {
		t.Errorf("left behind: got %v, %v, want nothing", rest, err)
	}
}

func TestReplace_KeepsModeAndLinks(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	path := filepath.Join(folder, "new")
	if err := files.Replace(path, []byte("one"), 0o640); err != nil {
		t.Fatal(err)
	}
	want(t, path, "one", 0o640)
	write(t, path, "two", 0o604)
	if err := files.Replace(path, []byte("three"), 0o600); err != nil {
		t.Fatal(err)
	}
	want(t, path, "three", 0o604)

	elsewhere := t.TempDir()
	for name, to := range map[string]string{"absolute": filepath.Join(elsewhere, "a"), "relative": "../" + filepath.Base(folder) + "/r", "chain": "relative", "dangling": "d"} {
		link := filepath.Join(folder, name)
		if err := os.Symlink(to, link); err != nil {
			t.Fatal(err)
		}
	}
	for name, target := range map[string]string{
		"absolute": filepath.Join(elsewhere, "a"), "relative": filepath.Join(folder, "r"), "chain": filepath.Join(folder, "r"), "dangling": filepath.Join(folder, "d"),
	} {
		link := filepath.Join(folder, name)
		if err := files.Replace(link, []byte(name), 0o600); err != nil {
			t.Fatal(err)
		}
		want(t, target, name, 0o600)
		if info, err := os.Lstat(link); err != nil || info.Mode()&fs.ModeSymlink == 0 {
			t.Errorf("%s: got %v, %v, want the link as it was", name, info, err)
		}
	}
}

func TestReplace_KeepsTheOwner(t *testing.T) {
	t.Parallel()
	if os.Getuid() != 0 {
		t.Skip("only root can give files away")
	}
	path := filepath.Join(t.TempDir(), "file")
	write(t, path, "one", 0o600)
	if err := os.Chown(path, 1234, 2345); err != nil {
		t.Fatal(err)
	}
	if err := files.Replace(path, []byte("two"), 0o600); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if owner := info.Sys().(*syscall.Stat_t); owner.Uid != 1234 || owner.Gid != 2345 {
		t.Errorf("owner: got %d:%d, want 1234:2345", owner.Uid, owner.Gid)
	}
}

func TestReplace_LeavesNothingBehindWhenItFails(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	if err := os.Mkdir(filepath.Join(folder, "folder"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("loop", filepath.Join(folder, "loop")); err != nil {
		t.Fatal(err)
	}
	for name, says := range map[string]string{"folder": "is no regular file", "loop": "too many symbolic links", "no/where": "no such file"} {
		err := files.Replace(filepath.Join(folder, name), []byte("x"), 0o600)
		if file := (*fs.PathError)(nil); !errors.As(err, &file) || !strings.Contains(err.Error(), says) {
			t.Errorf("%s: got %v, want a path and %q", name, err, says)
		}
	}
	if rest, err := os.ReadDir(folder); err != nil || len(rest) != 2 {
		t.Errorf("folder: got %v, %v, want what was there", rest, err)
	}
}
