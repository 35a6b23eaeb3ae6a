// Package files replaces files in one step, as files that others read at the same time must be, and files that a loss of power must leave
// whole.
package files

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
)

// maxLinks is how many symbolic links are followed in a row. Linux follows as many.
const maxLinks = 40

// Target returns the path of the file that is meant by path: that which the symbolic links at its end lead to, which need not be there.
func Target(path string) (string, error) {
	for range maxLinks {
		next, err := os.Readlink(path)
		if err != nil {
			return path, nil //nolint:nilerr // no link, or not there
		}
		if !filepath.IsAbs(next) {
			next = filepath.Join(filepath.Dir(path), next)
		}
		path = next
	}
	return "", &fs.PathError{Op: "open", Path: path, Err: errors.New("too many symbolic links")}
}

// Replace makes text the content of the file at path. Whoever reads it meanwhile gets what it was or what it will be, and so does
// everybody after a loss of power. Owner, group and mode stay; a new file has the mode. A symbolic link stays, and what it leads to is
// replaced; a file that this process may not write is not. Two calls at once for one file must not be: the one that ends first is lost.
//
// After an error the file is as it was, or, if only the folder could not be synced, already replaced.
func Replace(path string, text []byte, mode fs.FileMode) error {
	path, err := Target(path)
	if err != nil {
		return err
	}
	before, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return err
	case !before.Mode().IsRegular():
		return &fs.PathError{Op: "replace", Path: path, Err: errors.New("is no regular file")}
	default:
		mode = before.Mode().Perm()
		// A rename would not mind that the file may not be written.
		file, err := os.OpenFile(path, os.O_WRONLY, 0)
		if err == nil {
			err = file.Close()
		}
		if err != nil {
			return err
		}
	}
	next, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*") // O_EXCL, and for its owner alone
	if err != nil {
		return err
	}
	_, err = next.Write(text)
	if err == nil && before != nil {
		if err = keepOwner(next, before); err != nil {
			err = fmt.Errorf("keep owner and group of %s: %w", path, err)
		}
	}
	if err == nil {
		err = next.Chmod(mode)
	}
	if err = errors.Join(err, next.Sync(), next.Close()); err == nil {
		err = os.Rename(next.Name(), path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(next.Name()))
	}
	return SyncFolder(filepath.Dir(path))
}

// SyncFolder makes sure that the entries of a folder are on disk, where that can be asked for: who may write to a folder need not be
// allowed to read it, and Windows has no such call.
func SyncFolder(path string) error {
	if runtime.GOOS == "windows" {
		return nil
	}
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrPermission) {
		return nil
	}
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}
