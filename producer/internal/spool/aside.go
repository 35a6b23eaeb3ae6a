package spool

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/device-fanout/fanout/internal/files"
)

// SetAside appends a line to a file in the folder aside, and returns once it is on disk. On an error nothing of the line
// is there, as far as the disk still takes orders.
func (s *Spool) SetAside(name string, line []byte) (path string, err error) {
	s.asideLines.Lock()
	defer s.asideLines.Unlock()
	path = filepath.Join(s.dir, asideFolder, name)
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return path, err
	}
	size, err := appendLine(f, line)
	if err = errors.Join(err, f.Close()); err == nil && size == 0 {
		err = files.SyncFolder(filepath.Dir(path)) // the file is new
	}
	return path, err
}

// appendLine appends a line behind the last one that is whole, and returns where the file ended before.
func appendLine(f *os.File, line []byte) (size int64, err error) {
	if size, err = f.Seek(0, io.SeekEnd); err != nil {
		return size, err
	}
	text := append(line, '\n')
	if last := []byte{'\n'}; size > 0 {
		if _, err := f.ReadAt(last, size-1); err != nil {
			return size, err
		}
		if last[0] != '\n' { // a crash has cut it off
			text = append([]byte{'\n'}, text...)
		}
	}
	_, err = f.WriteAt(text, size)
	if err == nil {
		err = f.Sync()
	}
	if err != nil {
		err = errors.Join(err, f.Truncate(size))
	}
	return size, err
}

// setAside keeps the bytes of a damaged piece, and tells whether they were not kept yet.
func (s *Spool) setAside(seg *segment, d *Damage, piece []byte) (isNew bool, err error) {
	d.Aside = filepath.Join(s.dir, asideFolder, fmt.Sprintf("%010d-%d.damaged", seg.number, d.Offset))
	for n := 2; ; n++ {
		kept, err := os.ReadFile(d.Aside)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			return true, files.Replace(d.Aside, piece, 0o600)
		case err != nil:
			return false, err
		case bytes.Equal(kept, piece):
			return false, nil
		}
		// It is of an earlier segment: numbers begin anew once a spool was empty.
		d.Aside = filepath.Join(s.dir, asideFolder, fmt.Sprintf("%010d-%d-%d.damaged", seg.number, d.Offset, n))
	}
}
