package opened

import (
	"io/fs"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// sameFile asks for the number of the file and nothing else.
func sameFile(path string, opened os.FileInfo) (bool, error) {
	want, ok := opened.Sys().(*syscall.Stat_t)
	if !ok {
		return byStat(path, opened)
	}
	var found unix.Statx_t
	err := ignoringEINTR(func() error { return unix.Statx(unix.AT_FDCWD, path, 0, unix.STATX_INO, &found) })
	switch {
	case err == unix.ENOSYS || err == unix.EPERM: // an old kernel, or a sandbox that does not know the call
		return byStat(path, opened)
	case err != nil:
		return false, &fs.PathError{Op: "stat", Path: path, Err: err}
	}
	return found.Ino == want.Ino && unix.Mkdev(found.Dev_major, found.Dev_minor) == uint64(want.Dev), nil
}

func ignoringEINTR(call func() error) error {
	for {
		if err := call(); err != unix.EINTR {
			return err
		}
	}
}
