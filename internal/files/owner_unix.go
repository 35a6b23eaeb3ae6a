//go:build unix

package files

import (
	"io/fs"
	"os"
	"syscall"
)

// keepOwner gives a file the owner and the group of another, unless it has them.
func keepOwner(file *os.File, of fs.FileInfo) error {
	now, err := file.Stat()
	if err != nil {
		return err
	}
	has, ok1 := now.Sys().(*syscall.Stat_t)
	wants, ok2 := of.Sys().(*syscall.Stat_t)
	if !ok1 || !ok2 || has.Uid == wants.Uid && has.Gid == wants.Gid {
		return nil
	}
	return file.Chown(int(wants.Uid), int(wants.Gid))
}
