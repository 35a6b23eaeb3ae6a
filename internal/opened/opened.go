// Package opened tells whether a file that was opened still has its name. What is written to one that was deleted, renamed or replaced, or
// whose volume is no longer mounted, is lost with the process, and no write and no sync says so.
package opened

import (
	"io/fs"
	"os"
)

// Same returns nil if the file or folder at path is the one that was opened. Otherwise the error wraps [fs.ErrNotExist], or is that of looking.
// On Linux it costs the file's next write nothing, which os.Stat does: it asks for the time of the last change, and once somebody has, the next
// change notes a time of its own, whose way to the disk takes a quarter longer.
func Same(path string, opened os.FileInfo) error {
	same, err := sameFile(path, opened)
	if err == nil && !same {
		err = &fs.PathError{Op: "find what was opened at", Path: path, Err: fs.ErrNotExist}
	}
	return err
}

// SameFile is Same of an open file. It asks for everything about the file.
func SameFile(path string, file interface{ Stat() (os.FileInfo, error) }) error {
	opened, err := file.Stat()
	if err != nil {
		return err
	}
	return Same(path, opened)
}

func byStat(path string, opened os.FileInfo) (bool, error) {
	found, err := os.Stat(path)
	return err == nil && os.SameFile(found, opened), err
}
