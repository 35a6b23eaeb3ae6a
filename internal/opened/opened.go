// Package opened tells whether a file that was opened still has its name. What is written to one that was deleted, renamed or replaced, or
// whose volume is no longer mounted, is lost with the process, and no write and no sync says so.
package opened

import (
	"io/fs"
	"os"
)

// Same returns nil if the file or folder at path is the one that was opened. Otherwise the error wraps [fs.ErrNotExist], or is that of looking.
func Same(path string, opened os.FileInfo) error {
	found, err := os.Stat(path)
	if err == nil && !os.SameFile(found, opened) {
		err = &fs.PathError{Op: "find what was opened at", Path: path, Err: fs.ErrNotExist}
	}
	return err
}

// SameFile is Same of an open file.
func SameFile(path string, file interface{ Stat() (os.FileInfo, error) }) error {
	opened, err := file.Stat()
	if err != nil {
		return err
	}
	return Same(path, opened)
}
